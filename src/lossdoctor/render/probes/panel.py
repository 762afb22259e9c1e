"""One chart of a test on Matplotlib axes: curves or bars, and the names of its marks where they meet nothing."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from lossdoctor.render import words
from lossdoctor.render.canvas import dress, far_ticks, literal, tick_labels
from lossdoctor.render.escape import visible
from lossdoctor.render.probes.layout import Bar, Curve, Prepared, band_tint
from lossdoctor.render.probes.places import Place, Tag, lanes, spread
from lossdoctor.render.style import DASHES, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FONT = 8.5
LANE = FONT + 3.5  # points: the height of a lane of names, and of a row of the legend
LONGEST = 34  # of a name; a longer one loses its middle
_BOLD = 1.13  # how much wider bold letters are
_LEVEL = 9.0  # points between a panel and the names of its level marks


def draw_body(axes: Axes, ready: Prepared, look: Style) -> None:
    """The curves or bars of a chart with their axes; its title, legend and names come with :func:`draw_names`."""
    dress(axes, look)
    axes.tick_params(labelsize=FONT - 0.5, length=2.5)
    if ready.log_x:
        axes.set_xscale("log", nonpositive="mask")
    if ready.chart.log_y and not ready.bars:
        axes.set_yscale("log", nonpositive="mask")
    axes.set_xlim(*ready.x)
    if ready.bars:
        _draw_bars(axes, ready, look)
    else:
        axes.set_ylim(*ready.y)
        for i, (start, end, _) in enumerate(ready.bands):
            axes.axvspan(start, end, color=look.cycle[band_tint(i)], alpha=0.13, linewidth=0, zorder=0.5)
        for curve in ready.curves:
            _draw_curve(axes, curve, look)
    if ready.empty:
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", color=look.soft, fontsize=FONT)
    for mark in ready.upright:
        axes.axvline(mark.at, **_pen(mark.good, look))
    for mark in ready.level:
        axes.axhline(mark.at, **_pen(mark.good, look))
    _ticks(axes, ready)
    names = (ready.value_label, "") if ready.bars else (ready.chart.x_label, ready.chart.y_label)
    axes.set_xlabel(literal(visible(names[0], 80)), color=look.ink, fontsize=FONT, labelpad=2)
    axes.set_ylabel(literal(visible(names[1], 60)), color=look.ink, fontsize=FONT, labelpad=3)


def _pen(good: bool, look: Style) -> dict[str, Any]:
    if good:
        return {"color": look.good, "linewidth": 2.0, "linestyle": "solid", "zorder": 2.6}
    return {"color": look.soft, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2.5}


def _draw_curve(axes: Axes, curve: Curve, look: Style) -> None:
    label, tint, marker = literal(named(curve.name)), look.cycle[curve.pen % 6], "osD^v"[curve.pen % 5]
    if curve.kind == "points":
        size = 4.2 if len(curve.x) <= 60 else 2.6
        axes.plot(
            curve.x, curve.y, marker, color=tint, markersize=size, linestyle="none", label=label,
            markeredgecolor=look.ground, markeredgewidth=0.3, zorder=3.2,
        )  # fmt: skip
        return
    x, y = curve.with_gaps()
    if curve.kind == "faint":
        axes.plot(x, y, color=look.soft, linewidth=0.8, alpha=0.6, label=label, zorder=2.8)
        return
    few: dict[str, Any] = {"marker": marker, "markersize": 3} if len(curve.x) <= 30 else {}
    axes.plot(x, y, color=tint, linewidth=1.7, linestyle=DASHES[curve.dash % 4], label=label, zorder=3, **few)


def _draw_bars(axes: Axes, ready: Prepared, look: Style) -> None:
    from matplotlib.patheffects import withStroke

    rows = range(len(ready.bars))
    foot = ready.x[0] if ready.log_x else 0.0
    axes.set_ylim(len(ready.bars) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(list(rows), [literal(named(b.name)) for b in ready.bars], color=look.ink)
    axes.tick_params(axis="y", length=0)
    if ready.x[0] < 0 and not ready.log_x:
        axes.axvline(0, color=look.soft, linewidth=0.8, zorder=3.5)
    halo = [withStroke(linewidth=2.2, foreground=look.ground)]
    for row, bar in zip(rows, ready.bars, strict=True):
        shown = ready.shows(bar)
        end = bar.value if shown else foot
        if shown:
            axes.barh(row, end - foot, left=foot, height=0.66, color=look.train, zorder=3)
        left = shown and end < foot
        axes.annotate(
            bar_text(bar), (end, row), xytext=(-3 if left else 3, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=FONT - 0.5, path_effects=halo, zorder=5,
            color=look.ink if shown or bar.value == 0 else look.critical,
        ).set_in_layout(False)  # fmt: skip


def bar_text(bar: Bar) -> str:
    """The value beside a bar; nothing beside the row that stands for many."""
    return "" if bar.many else words.number(bar.value)


def named(name: str) -> str:
    """A name that can be shown, its middle left out where it is too long."""
    return words.fitted(visible(name, 200), LONGEST)


def _ticks(axes: Axes, ready: Prepared) -> None:
    from matplotlib.ticker import Formatter, MaxNLocator

    class Whole(Formatter):
        """Every number in full: a power of ten taken out would stand where the names are."""

        def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - Matplotlib's signature
            return self.format_ticks([x])[0]

        def format_ticks(self, values: Any) -> list[str]:
            return [self.fix_minus(label) for label in tick_labels([float(v) for v in values])]

    log_y = ready.chart.log_y and not ready.bars
    if not ready.log_x:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(Whole())
    if not log_y and not ready.bars:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(Whole())
    for log, axis, ends in ((ready.log_x, axes.xaxis, ready.x), (log_y, axes.yaxis, ready.y)):
        if log and not far_ticks(axis, ends):
            _log_ticks(axis, ends)


def _log_ticks(axis: Axis, ends: tuple[float, float]) -> None:
    """Within a few powers of ten plain numbers, 2 and 5 among them where those are very few; else powers."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

    decades = math.log10(ends[1] / ends[0])
    close, plain = decades < 2.2, decades < 5 and ends[0] >= 1e-5 and ends[1] <= 1e6
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if close else (1.0,), numticks=12 if close else 7))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}") if plain else LogFormatterSciNotation())
    axis.set_minor_formatter(NullFormatter())


def names_rows(ready: Prepared, room: float) -> int:
    """How many rows of text stand between the title and the panel, ``room`` points wide: the legend and the lanes."""
    return _legend_rows(ready, room)[0] + _lanes(ready, room)[1]


def _legend_rows(ready: Prepared, room: float) -> tuple[int, int]:
    labels = [named(c.name) for c in ready.legend]
    if not labels:
        return 0, 1
    # 40 points are for the piece of the curve and the distance to the next name.
    columns = max(1, min(len(labels), int(1.1 * room / (40 + max(text_width(label) for label in labels)))))
    return math.ceil(len(labels) / columns), columns


@cache
def text_width(text: str) -> float:
    """The width of a name in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT), ismath=False)[0])


def _lanes(ready: Prepared, room: float) -> tuple[list[Place], int]:
    """Where the names above the panel go, in points, and how many lanes that takes."""
    tags = [
        Tag(
            room * (ready.share_x(n.start) + ready.share_x(n.end)) / 2,
            text_width(named(n.label)) * (_BOLD if n.good else 1.0),
            leader=n.band is None,
        )
        for n in ready.above
    ]
    beside = max((_LEVEL + text_width(named(m.label)) for m in ready.level), default=0.0)
    places = lanes(tags, room + beside)  # above the names of the level marks there is room, too
    return places, 1 + max((p.lane for p in places), default=-1)


def draw_names(axes: Axes, ready: Prepared, look: Style, title: str) -> None:
    """The title, the legend and the names of the marks, once the figure's layout is known."""
    figure: Any = axes.get_figure(root=True)
    box, points = axes.get_window_extent(), 72.0 / figure.dpi
    room, tall = box.width * points, box.height * points
    places, count = _lanes(ready, room)
    for name, place in zip(ready.above, places, strict=True):
        tint = look.good if name.good else look.soft
        if name.band is None:
            _leader(axes, name.start, (place.lane + 1) * LANE, tint)
        else:
            tint = look.cycle[band_tint(name.band)]
        _tag(axes, place, named(name.label), tint, look, bold=name.good)
    _beside(axes, ready, look, tall)
    rows = _legend(axes, ready, look, room, (count * LANE + 1) / tall)
    pad = 7 + (rows + count) * LANE
    axes.set_title(literal(title), loc="left", color=look.ink, fontsize=FONT + 1, fontweight="bold", pad=pad)


def keep_right(axes: Axes, ready: Prepared) -> Any:
    """An invisible name that keeps the room which the names of level marks will need; None where there are none."""
    if not ready.level:
        return None
    widest = max((named(m.label) for m in ready.level), key=text_width)
    place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (_LEVEL, 0), "textcoords": "offset points"}
    bold = "bold" if any(m.good for m in ready.level) else "normal"
    return axes.annotate(
        literal(widest), (1, 0.5), fontsize=FONT, fontweight=bold, alpha=0, annotation_clip=False, **place
    )


def _tag(axes: Axes, place: Place, text: str, tint: str, look: Style, *, bold: bool) -> None:
    axes.annotate(
        literal(text), (0, 1), xycoords="axes fraction", textcoords="offset points",
        xytext=(place.left, place.lane * LANE + 3), ha="left", va="bottom", fontsize=FONT, color=tint,
        fontweight="bold" if bold else "normal", zorder=7, annotation_clip=False,
        bbox={"facecolor": look.ground, "edgecolor": "none", "pad": 0.3},
    ).set_in_layout(False)  # fmt: skip


def _leader(axes: Axes, at: float, height: float, tint: str) -> None:
    """The line from a mark up to its name."""
    arrow = {"arrowstyle": "-", "color": tint, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    axes.annotate(
        "", (at, 1), xycoords=("data", "axes fraction"), xytext=(0, height), textcoords="offset points",
        arrowprops=arrow, annotation_clip=False, zorder=6,
    ).set_in_layout(False)  # fmt: skip


def _beside(axes: Axes, ready: Prepared, look: Style, tall: float) -> None:
    """The names of level marks on the right, pushed apart where they would touch."""
    wanted = [tall * ready.share_y(m.at) for m in ready.level]
    for mark, at, put in zip(ready.level, wanted, spread(wanted, LANE, 0.0, tall), strict=True):
        tint = look.good if mark.good else look.soft
        axes.annotate(
            literal(named(mark.label)), (1, at / tall), xycoords="axes fraction", xytext=(_LEVEL, put - at),
            textcoords="offset points", ha="left", va="center", fontsize=FONT, color=tint, annotation_clip=False,
            fontweight="bold" if mark.good else "normal",
            arrowprops={"arrowstyle": "-", "color": tint, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        ).set_in_layout(False)  # fmt: skip


def _legend(axes: Axes, ready: Prepared, look: Style, room: float, above: float) -> int:
    """The legend, ``above`` of the panel's height over it; returns its rows."""
    rows, columns = _legend_rows(ready, room)
    if rows:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0 + above), ncols=columns, frameon=False, fontsize=FONT,
            labelcolor=look.ink, borderaxespad=0.1, borderpad=0.1, handlelength=2.0, handletextpad=0.5,
            columnspacing=1.2, labelspacing=0.25,
        ).set_in_layout(False)  # fmt: skip
    return rows
