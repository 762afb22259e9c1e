"""Pictures of what a test has to show, as Matplotlib figures and files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.probes.result import ProbeResult
from lossdoctor.render.canvas import literal, new_figure, save_figure
from lossdoctor.render.escape import visible
from lossdoctor.render.probes.layout import Prepared, prepare
from lossdoctor.render.probes.outcome import outcome_of
from lossdoctor.render.probes.panel import FONT, LANE, draw_body, draw_names, keep_right, names_rows
from lossdoctor.render.style import Style, style_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN = 5.2  # inches
_SINGLE = 6.4
_ROW = 0.19  # of a bar
_CHARACTER = 0.52  # mean width of a letter, by its size


def plot(result: ProbeResult, path: str | Path | None = None, *, style: str = "light", dpi: int = 200) -> Figure:
    """Draw the charts of a result under its verdict.

    Args:
        path: where to write it as well: PNG, SVG or PDF, by the suffix.
        style: ``"light"`` or ``"dark"``.
        dpi: dots per inch of a PNG.

    Returns a Matplotlib ``Figure`` that belongs to nobody: no window, no pyplot. A result without charts gives its
    verdict alone.

    Raises:
        UsageError: an unknown style or suffix, or the file cannot be written.
    """
    look = style_named(style)
    charts = [prepare(c) for c in result.charts()]
    columns = min(2, len(charts)) or 1
    wide = _SINGLE if columns == 1 else 2 * _COLUMN
    rows = [charts[i : i + columns] for i in range(0, len(charts), columns)]
    heights = [max(_height(ready, wide / len(row)) for ready in row) for row in rows]
    head = _Head(result, wide)
    figure = new_figure((wide, head.inches + sum(heights)), look)
    if charts:
        _draw_rows(figure, rows, heights, head.inches, look)
    head.draw(figure, look)
    if path is not None:
        save_figure(figure, path, dpi=dpi)
    return figure


class _Head:
    """Outcome, title and verdict above the charts."""

    def __init__(self, result: ProbeResult, wide: float) -> None:
        self.outcome = outcome_of(result)
        self.title = f"{visible(result.title or result.test, 200)}: {self.outcome.word}"
        letters = int(72 * (wide - 0.25) / (_CHARACTER * (FONT + 0.5)))
        self.lines = textwrap.wrap(visible(result.verdict), letters)

    @property
    def inches(self) -> float:
        return (FONT + 12 + (FONT + 4) * len(self.lines) + 4) / 72.0

    def draw(self, figure: Figure, look: Style) -> None:
        tall, left = figure.get_figheight(), 0.12 / figure.get_figwidth()
        tints = {"healthy": look.good, "insufficient_data": look.info}
        tint = tints.get(self.outcome.status) or look.severity(self.outcome.status)
        text: dict[str, Any] = {"ha": "left", "va": "top"}
        top = 1 - 0.09 / tall
        title = literal(f"{self.outcome.sign} {self.title}")
        figure.text(left, top, title, color=tint, fontsize=FONT + 2.5, fontweight="bold", **text)
        below = top - (FONT + 6) / 72.0 / tall
        for i, line in enumerate(self.lines):
            y = below - i * (FONT + 4) / 72.0 / tall
            figure.text(left, y, literal(line), color=look.ink, fontsize=FONT + 0.5, **text)


def _height(ready: Prepared, column: float) -> float:
    """Inches of a chart: its axes, and the text above and below."""
    axes = max(0.7, _ROW * len(ready.bars) + 0.1) if ready.bars else max(2.3, LANE / 72 * len(ready.level) + 0.3)
    room = 72.0 * column * 0.78
    title = len(_title(ready, room))
    return axes + (title * (FONT + 3) + LANE * names_rows(ready, room) + 48) / 72.0


def _title(ready: Prepared, room: float) -> list[str]:
    letters = max(20, int(room / (_CHARACTER * 1.12 * (FONT + 1))))
    return textwrap.wrap(visible(ready.chart.title, 300), letters) or [""]


def _draw_rows(
    figure: Figure, rows: Sequence[Sequence[Prepared]], heights: Sequence[float], above: float, look: Style
) -> None:
    """All panels. Names are placed by the panels' real size, so the layout is found first, and kept."""
    layout: Any = figure.get_layout_engine()
    share = 1 - above / figure.get_figheight()
    layout.set(w_pad=0.06, h_pad=0.05, hspace=0.02, wspace=0.03, rect=(0, 0, 1, share))
    grid = figure.add_gridspec(len(rows), max(map(len, rows)), height_ratios=heights)
    drawn: list[tuple[Axes, Prepared, Any]] = []
    for i, row in enumerate(rows):
        for k, ready in enumerate(row):
            axes = figure.add_subplot(grid[i, :] if len(row) == 1 else grid[i, k])
            draw_body(axes, ready, look)
            drawn.append((axes, ready, keep_right(axes, ready)))
    figure.draw_without_rendering()
    for axes, ready, _ in drawn:
        room = axes.get_window_extent().width * 72.0 / figure.dpi
        lines = _title(ready, room)
        axes.set_title("\n".join(lines), loc="left", fontsize=FONT + 1, pad=7 + LANE * names_rows(ready, room))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, ready, keeper in drawn:
        if keeper is not None:
            keeper.remove()
        room = axes.get_window_extent().width * 72.0 / figure.dpi
        draw_names(axes, ready, look, "\n".join(_title(ready, room)))
