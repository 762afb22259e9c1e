"""One panel on one set of axes: lines, bands, marks, legend, title and the sentence under it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.lab.result import Array, Band, Line, Panel
from lossdoctor.render.canvas import drawable, dress, far_ticks, literal
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.pens import Pen, color, is_reference, numbering, pens
from lossdoctor.render.lab.plane import draw_field
from lossdoctor.render.style import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT = 7.5  # points: what can still be read where a column is 80 mm wide
SHARE = 0.84  # of the room of a panel; the rest holds the numbers of its axis
LEGEND_SHARE = 0.74  # the same, beside a panel that takes more than its part
_HIGHEST = 1e280
_FAR = 1.5  # a curve is far wider than what moves on it from this share on
_FEW = 40  # up to so many points, each gets a marker
_MANY = 150  # from so many points on a line is thinner: it may be noisy
MOST_ENTRIES = 9


def draw_panel(axes: Axes, panel: Panel, look: Style, numbers: Mapping[str, int] | None = None) -> None:
    """Draw a panel.

    Args:
        numbers: key of a line -> number of its colour, to keep colours over the panels of a picture.
    """
    numbers = numbering([panel]) if numbers is None else numbers
    dress(axes, look)
    axes.tick_params(labelsize=FONT, length=2.5)
    if panel.log_x:
        axes.set_xscale("log", nonpositive="mask")
    if panel.log_y:
        axes.set_yscale("log", nonpositive="mask")
    if panel.field is not None:
        draw_field(axes, panel.field, look)
        for line, pen in zip(panel.lines, pens(panel, look, numbers), strict=True):
            _draw_path(axes, line, pen, look)
    else:
        for band in panel.bands:
            _draw_band(axes, band, look, numbers)
        # Points beside a reference alone are steps on a curve; beside other lines they are data.
        joined = {line.style for line in panel.lines} == {"points", "dashed"}
        for line, pen in zip(panel.lines, pens(panel, look, numbers), strict=True):
            _draw_line(axes, line, pen, look, joined=joined)
    _draw_marks(axes, panel, look)
    _near_points(axes, panel)
    if not panel.log_x:
        axes.locator_params(axis="x", nbins=6)
    if not panel.log_y:
        axes.locator_params(axis="y", nbins=6)
    log_ticks(axes, panel)
    axes.set_ylabel(literal(visible(panel.y_label)), color=look.ink, fontsize=FONT, labelpad=2)
    _caption(axes, panel, look)


def width_of(axes: Axes) -> float:
    """The width that an axes has in its figure, in points, before the layout is known."""
    figure: Figure = axes.get_figure(root=True)  # type: ignore[assignment]
    spec = axes.get_subplotspec()
    columns = 1 if spec is None else spec.get_gridspec().ncols / (spec.colspan.stop - spec.colspan.start)
    return 72.0 * figure.get_figwidth() / columns


def _draw_line(axes: Axes, line: Line, pen: Pen, look: Style, *, joined: bool) -> None:
    label = literal(visible(line.label, 60)) or "_"
    # A logarithmic axis needs room beyond its last value, which doubles have not above this.
    x, y = (np.minimum(drawable(values), _HIGHEST) for values in (line.x, line.y))
    fine = int((np.isfinite(x) & np.isfinite(y)).sum())
    few: dict[str, Any] = {"marker": pen.marker, "markersize": 3.2, "markeredgewidth": 0} if fine <= _FEW else {}
    if line.style == "points":
        # Steps on a curve are joined where they are few enough to follow: their order is half of what they say.
        thin, size, halo = (0.7 if joined else 0.0, 3.6, 0.4) if fine <= _FEW else (0.0, 2.6, 0.0)
        style = {"color": pen.color, "linewidth": thin, "marker": pen.marker, "markersize": size, "zorder": 3}
        axes.plot(x, y, label=label, markeredgecolor=look.ground, markeredgewidth=halo, **style)  # type: ignore[arg-type]
    elif line.style == "steps":
        axes.step(x, y, where="post", color=pen.color, linewidth=1.4, linestyle=pen.dash, label=label, zorder=3)
    else:
        few = few if pen.number >= 0 else {}
        width = 1.1 if pen.number < 0 or fine > _MANY else 1.5
        axes.plot(x, y, color=pen.color, linewidth=width, linestyle=pen.dash, label=label, zorder=3, **few)


def _near_points(axes: Axes, panel: Panel) -> None:
    """Of a curve that reaches far beyond what moves on it, the axes show only the surroundings of that."""
    drawn = [line for line in panel.lines if not is_reference(line)]
    curves = [line for line in panel.lines if is_reference(line)]
    if panel.field is not None or not drawn or not curves or panel.log_x or panel.log_y:
        return
    x, y = (np.concatenate([getattr(line, side) for line in drawn]) for side in "xy")
    fine = np.isfinite(x) & np.isfinite(y)
    far = max(float(np.ptp(line.x[np.isfinite(line.x)])) for line in curves if np.isfinite(line.x).any())
    if not fine.any() or far < _FAR * float(np.ptp(x[fine])):
        return
    for values, limit, low, high in ((x[fine], axes.set_xlim, 0.2, 0.2), (y[fine], axes.set_ylim, 0.08, 0.15)):
        span = float(np.ptp(values)) or 1.0
        limit(float(values.min()) - low * span, float(values.max()) + high * span)


def _draw_band(axes: Axes, band: Band, look: Style, numbers: Mapping[str, int]) -> None:
    tint = color(numbers.get(band.group or band.label, 0), look)
    low, high = drawable(band.low), drawable(band.high)
    axes.fill_between(
        *(band.x, low, high),
        color=tint,
        alpha=0.2,
        linewidth=0,
        label=literal(visible(band.label, 60)) or "_",
        zorder=1,
    )


def _draw_path(axes: Axes, line: Line, pen: Pen, look: Style) -> None:
    """A path over a plane: a ring where it starts, arrows where it goes, a filled marker where it ends."""
    fine = np.isfinite(line.x) & np.isfinite(line.y)
    x, y = line.x[fine], line.y[fine]
    label = literal(visible(line.label, 60)) or "_"
    if not len(x):
        axes.plot([], [], color=pen.color, linewidth=1.4, linestyle=pen.dash, label=label)
        return
    if line.style == "points":
        axes.plot(x, y, pen.marker, color=pen.color, markersize=3.4, markeredgecolor=look.ground, label=label, zorder=5)
        return
    axes.plot(x, y, color=look.ground, linewidth=2.8, alpha=0.75, zorder=4)
    axes.plot(x, y, color=pen.color, linewidth=1.4, linestyle=pen.dash, label=label, zorder=5)
    if pen.number < 0:
        return
    if len(x) <= _FEW:
        axes.plot(x, y, "o", color=pen.color, markersize=2.2, markeredgewidth=0, zorder=5)
    arrow = {"arrowstyle": "-|>", "color": pen.color, "lw": 0.8, "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    for at in arrows(x, y, axes):
        axes.annotate(
            "",
            xy=(x[at + 1], y[at + 1]),
            xytext=(x[at], y[at]),
            arrowprops=arrow,
            zorder=6,
        )
    ring = {"markersize": 5.2, "markeredgewidth": 1.4, "markeredgecolor": pen.color}
    axes.plot(x[:1], y[:1], "o", markerfacecolor=look.ground, zorder=7, **ring)  # type: ignore[arg-type]
    end = {"markersize": 5.6, "markeredgewidth": 0.8, "markeredgecolor": look.ground}
    axes.plot(x[-1:], y[-1:], pen.marker, color=pen.color, zorder=7, **end)  # type: ignore[arg-type]


def arrows(x: Array, y: Array, axes: Axes) -> list[int]:
    """The steps that get an arrow: where a fifth and a half of the way (as the eye sees it) lie behind."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    length = np.hypot(np.diff(x) / (right - left), np.diff(y) / (high - low))
    way = np.cumsum(length)
    if not len(way) or not way[-1] > 0.03:
        return []
    found = {int(np.searchsorted(way, share * way[-1])) for share in (0.2, 0.5)}
    return sorted(at for at in found if length[at] > 0)


def _draw_marks(axes: Axes, panel: Panel, look: Style) -> None:
    """Lines get a place in the legend, where nothing can cover them; points are named beside themselves."""
    dashes = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
    known: dict[str, Any] = {}  # marks of one text are of one kind
    for mark in panel.marks:
        text = literal(visible(mark.text, 60))
        if mark.x is None and mark.y is None:
            continue
        if mark.x is None or mark.y is None:
            new = text not in known
            dash = known.setdefault(text, dashes[len(known) % 3])
            style: dict[str, Any] = {"color": look.ink, "linewidth": 0.9, "linestyle": dash}
            at = mark.x if mark.x is not None else mark.y
            draw = axes.axvline if mark.x is not None else axes.axhline
            draw(float(at or 0.0), label=text if text and new else "_", zorder=2, **style)
            continue
        axes.plot([mark.x], [mark.y], "*", color=look.ink, markersize=7, markeredgecolor=look.ground, zorder=8)
        _beside(axes, text, mark.x, mark.y, look)


def _beside(axes: Axes, text: str, x: float, y: float, look: Style) -> None:
    """A name beside a point, on the side where there is room, with a halo against what lies under it."""
    from matplotlib.patheffects import withStroke

    place = axes.transLimits.transform(axes.transScale.transform((x, y)))
    right, upper = place[0] < 0.6, place[1] < 0.8
    axes.annotate(
        text,
        (x, y),
        xytext=(5 if right else -5, 4 if upper else -4),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if upper else "top",
        fontsize=FONT - 0.5,
        color=look.ink,
        path_effects=[withStroke(linewidth=2, foreground=look.ground)],
        zorder=9,
        annotation_clip=True,
    )


def log_ticks(axes: Axes, panel: Panel) -> None:
    """Within a few powers of ten plain numbers read better than exponents; beyond, six labels are enough."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

    for wanted, axis, limits in (
        (panel.log_x, axes.xaxis, axes.get_xlim()),
        (panel.log_y, axes.yaxis, axes.get_ylim()),
    ):
        if not wanted:
            continue
        low, high = sorted(limits)
        decades = math.log10(high) - math.log10(low) if 0 < low < high < math.inf else math.inf
        plain = decades < 5 and low >= 1e-5 and high <= 1e6
        close = decades < 2.2  # few powers of ten in view: name 2 and 5 as well
        if far_ticks(axis, limits):
            continue
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if close else (1.0,), numticks=12 if close else 7))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}") if plain else LogFormatterSciNotation())
        axis.set_minor_formatter(NullFormatter())


def _caption(axes: Axes, panel: Panel, look: Style) -> None:
    """The title above, the legend under it, and the panel's sentence below the axis.

    Legend and sentence have no say in the layout, or they would make narrow axes narrower: the title keeps the height
    that the legend needs, blank lines under the axis' name that of the sentence.
    """
    room = width_of(axes)
    rows = _legend(axes, panel, look, room)
    wrapped = textwrap.wrap(visible(panel.title, 200), max(16, int(SHARE * room / (0.6 * (FONT + 1))))) or [""]
    axes.set_title(
        literal("\n".join(wrapped)),
        loc="left",
        color=look.ink,
        fontsize=FONT + 1,
        fontweight="bold",
        pad=4.5 + rows * (FONT + 2.7),
        linespacing=1.05,
    )
    lines = note_lines(panel.note, room)
    name = literal(visible(panel.x_label)) + "\n " * len(lines)
    label = axes.set_xlabel(name, color=look.ink, fontsize=FONT, labelpad=2, linespacing=1.2)
    if lines:
        axes.annotate(
            literal("\n".join(lines)),
            xy=(0.0, 0.0),
            xycoords=("axes fraction", label),
            va="bottom",
            ha="left",
            fontsize=FONT - 0.5,
            color=look.soft,
            annotation_clip=False,
            linespacing=1.2,
        ).set_in_layout(False)


def note_lines(note: str, room: float) -> list[str]:
    """The sentence under a panel in lines of its width, ``room`` points."""
    return textwrap.wrap(visible(note, 600), max(20, int(SHARE * room / (0.54 * (FONT - 0.5)))))


def columns_for(labels: Sequence[str], room: float) -> int:
    """The most columns in which entries of these names fit beside an axis of a panel ``room`` points wide.

    >>> columns_for(["one", "another"], 200), columns_for(["a name as long as this one"] * 2, 150)
    (2, 1)
    """
    widths = np.array([text_width(label, FONT) for label in labels])
    for columns in range(len(labels), 1, -1):
        widest = [float(part.max()) for part in np.array_split(widths, columns)]  # as Matplotlib fills them
        if sum(widest) + 27 * len(widest) <= LEGEND_SHARE * room:
            return columns
    return 1


@cache
def text_width(text: str, size: float) -> float:
    """The width of a text in points, in the font of pictures."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width)


def _legend(axes: Axes, panel: Panel, look: Style, room: float) -> int:
    """The legend above the panel, paths before points; returns its rows."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels or (len(labels) == 1 and labels[0] in (panel.y_label, panel.title.partition(":")[0])):
        return 0
    if panel.field is not None:
        named = {literal(visible(line.label, 60)) for line in panel.lines}
        order = sorted(range(len(labels)), key=lambda i: labels[i] not in named)
        handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    if len(labels) > MOST_ENTRIES:
        hidden = len(labels) - MOST_ENTRIES + 1
        handles, labels = handles[: MOST_ENTRIES - 1], labels[: MOST_ENTRIES - 1]
        handles, labels = [*handles, axes.plot([], [], " ")[0]], [*labels, f"and {hidden} more"]
    columns = columns_for(labels, room)
    rows = math.ceil(len(labels) / columns)
    legend = axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=FONT,
        labelcolor=look.ink,
        borderaxespad=0.15,
        borderpad=0.1,
        handlelength=1.8,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.28,
        markerscale=1.4 if any(line.style == "points" for line in panel.lines) else 1.0,
    )
    legend.set_in_layout(False)
    return rows
