"""Pictures of the lab: panels in columns, as a Matplotlib figure or a file."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Experiment, Panel
from lossdoctor.render.canvas import literal, new_figure, save_figure
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.axes import FONT, MOST_ENTRIES, SHARE, columns_for, draw_panel, note_lines
from lossdoctor.render.lab.pens import numbering
from lossdoctor.render.lab.space import draw_space
from lossdoctor.render.style import style_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VIEWS = ("plane", "space")
COLUMN = 80.0  # mm: the least width of a panel
WIDTHS = (60.0, 600.0)
_INCH = 25.4


def figure(
    panels: Sequence[Panel], *, title: str = "", width: float | None = None, style: str = "light", view: str = "plane"
) -> Figure:
    """Draw panels, in as many columns as the width holds.

    Args:
        title: above all of them.
        width: mm, 60 to 600; by default 160 (two columns), or 120 for a single panel.
        style: ``"light"`` or ``"dark"``.
        view: ``"plane"`` draws a field from above, ``"space"`` as a surface in space.

    Returns a Matplotlib ``Figure`` that belongs to nobody: no window, no pyplot.

    Raises:
        UsageError: no panel, an unknown style or view, or a width out of range.
    """
    look = style_named(style)
    if not panels:
        raise UsageError("there is nothing to draw: no panel")
    if view not in VIEWS:
        raise UsageError(f"unknown view {view!r}; views are {', '.join(VIEWS)}")
    if width is not None and not WIDTHS[0] <= width <= WIDTHS[1]:
        raise UsageError(f"the width is {width:g} mm; give {WIDTHS[0]:g} to {WIDTHS[1]:g}")
    wide = width or (120.0 if len(panels) == 1 else 160.0)
    columns = max(1, min(len(panels), int(wide / (COLUMN - 1))))
    rows = math.ceil(len(panels) / columns)
    column = wide / columns / _INCH
    heads = _head(title, wide)
    heights = [
        max(_height(p, column, view) for p in panels[row * columns : (row + 1) * columns]) for row in range(rows)
    ]
    made = new_figure((wide / _INCH, sum(heights) + 0.16 * len(heads)), look)
    layout: Any = made.get_layout_engine()
    layout.set(w_pad=0.05, h_pad=0.06, hspace=0.03, wspace=0.03)
    grid = made.add_gridspec(rows, columns, height_ratios=heights)
    numbers = numbering(panels)
    for i, panel in enumerate(panels):
        # A last panel that would stand alone takes the whole row.
        alone = i == len(panels) - 1 and i % columns == 0 and columns > 1
        cell = grid[i // columns, :] if alone else grid[i // columns, i % columns]
        if panel.field is not None and view == "space" and panel.field.levels != "category":
            draw_space(made.add_subplot(cell, projection="3d"), panel, look, numbers)
        else:
            draw_panel(made.add_subplot(cell), panel, look, numbers)
    if heads:
        text = literal("\n".join(heads))
        made.suptitle(text, color=look.ink, fontsize=FONT + 2.5, fontweight="bold", x=0.01, ha="left")
    if any(p.field is not None for p in panels):
        # Axes of a fixed shape need a second pass: the first one measures them before they have it.
        made.draw_without_rendering()
    return made


def experiment_figure(
    experiment: Experiment, *, width: float | None = None, style: str = "light", view: str = "plane"
) -> Figure:
    """Draw all panels of an experiment; arguments as for :func:`figure`."""
    if not experiment.panels:
        raise UsageError(f"{experiment.name} has no picture; its tables are printed")
    return figure(experiment.panels, title=experiment.title, width=width, style=style, view=view)


def save(
    panels: Sequence[Panel],
    path: str | Path,
    *,
    title: str = "",
    width: float | None = None,
    style: str = "light",
    view: str = "plane",
    dpi: int = 200,
) -> Path:
    """Write a picture of panels as PNG, SVG or PDF, by the suffix of ``path``; arguments as for :func:`figure`."""
    return save_figure(figure(panels, title=title, width=width, style=style, view=view), path, dpi=dpi)


def _head(title: str, wide: float) -> list[str]:
    points = 72.0 * wide / _INCH
    return textwrap.wrap(visible(title, 300), max(20, int(points / (0.56 * (FONT + 2.5))))) if title else []


def _height(panel: Panel, column: float, view: str) -> float:
    """Inches: the axes, and the lines of text above and below."""
    room = 72.0 * column
    note = len(note_lines(panel.note, room))
    titles = math.ceil(len(panel.title) * 0.6 * (FONT + 1) / (SHARE * room))
    entries = [line.label for line in panel.lines if line.label] + [band.label for band in panel.bands if band.label]
    entries += dict.fromkeys(m.text for m in panel.marks if m.text and (m.x is None or m.y is None))
    if panel.field is not None:
        entries += [*panel.field.categories, "minimum (4)", "saddle (4)"]
    shown = [visible(e, 60) for e in entries[:MOST_ENTRIES]]
    rows = math.ceil(len(shown) / columns_for(shown, room)) if shown else 0
    axes = 0.8 * column if panel.field is not None and view == "plane" else 0.58 * column
    axes = 0.85 * column if panel.field is not None and view == "space" else axes
    return min(axes, 4.2) + 0.42 + (note * 1.2 * FONT + titles * (FONT + 3) + rows * (FONT + 2.7)) / 72.0
