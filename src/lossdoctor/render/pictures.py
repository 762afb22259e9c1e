"""Pictures of runs as Matplotlib figures and files. No global state: figures are made and drawn as objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render import words
from lossdoctor.render.canvas import (
    check_options,
    drawable,
    dress,
    literal,
    mark_bad,
    new_figure,
    save_figure,
    scale_y,
)
from lossdoctor.render.escape import visible
from lossdoctor.render.series import Chart, Line, make_chart
from lossdoctor.render.style import DASHES, Style, style_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LANES = 4
_PANEL_LABELS = {"learning_rate": "learning rate", "grad_norm": "gradient norm"}


def plot_history(
    history: TrainingHistory,
    diagnosis: Diagnosis | None = None,
    *,
    size: tuple[float, float] | None = None,
    style: str = "light",
    smooth: float | None = None,
    xscale: str = "linear",
    yscale: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a run: losses raw under smoothed, their gap, the best step, findings since their onset.

    Args:
        diagnosis: its findings are marked; without one, only the curves are drawn.
        size: inches; by default 8 wide and as high as the panels need.
        style: ``"light"`` or ``"dark"``.
        smooth: factor of the moving average, 0 (none) to below 1; chosen by the run's length when None.
        xscale, yscale: ``"linear"``, ``"log"`` or ``"symlog"``; the y axis is chosen by the values when None.

    Returns a Matplotlib ``Figure`` that belongs to nobody: no window, no pyplot.

    Raises:
        UsageError: an unknown style or scale, or a smoothing factor outside 0 to 1.
    """
    look = style_named(style)
    check_options(smooth, xscale, yscale)
    chart = make_chart(history, diagnosis)
    lanes = chart.marks[:_MOST_LANES]
    # A small picture keeps what matters: the losses.
    shown = chart.panels if size is None or size[1] >= 4.2 else ()
    heights = [4.0, *([0.95] * len(shown))]
    if lanes:
        heights.insert(0, 0.26 * len(lanes))
    figure = new_figure(size or (8.0, 0.9 + sum(heights)), look)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    lane_axes = axes[0] if lanes else None
    main, panels = (axes[1], axes[2:]) if lanes else (axes[0], axes[1:])
    _draw_main(main, chart, look, smooth, yscale)
    for panel, line in zip(panels, shown, strict=True):
        _draw_panel(panel, line, look)
    bottom = axes[-1]
    bottom.set_xscale(xscale)
    bottom.set_xlabel(chart.unit, color=look.ink)
    _limit_x(bottom, chart, xscale)
    if lane_axes is not None:
        _draw_lanes(lane_axes, [main, *panels], chart, look)
    name = title if title is not None else (history.path or history.name)
    if name:
        status = "" if diagnosis is None else f" – {words.STATUS_WORDS[diagnosis.status]}"
        text = words.fitted(visible(name), int(9 * figure.get_figwidth()) - len(status)) + status
        figure.suptitle(literal(text), color=look.ink, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    figure.align_ylabels(axes)
    return figure


def save_picture(
    history: TrainingHistory, path: str | Path, diagnosis: Diagnosis | None = None, *, dpi: int = 300, **options: Any
) -> Path:
    """Write a picture of a run as PNG, SVG or PDF, by the suffix of ``path``; options as for :func:`plot_history`.

    Raises:
        UsageError: another suffix, or the file cannot be written.
    """
    return save_figure(plot_history(history, diagnosis, **options), path, dpi=dpi)


def _draw_main(axes: Axes, chart: Chart, look: Style, smooth: float | None, yscale: str | None) -> None:
    dress(axes, look)
    colors = {"train_loss": look.train, "val_loss": look.val}
    lines = [*chart.main] or list(chart.others)
    for i, line in enumerate(lines):
        _draw_line(axes, line, colors.get(line.role, look.cycle[i % len(look.cycle)]), smooth, dashed=line is chart.val)
    scale_y(axes, lines, yscale)
    if chart.comparable and chart.train and chart.val:
        _shade_gap(axes, chart.train, chart.val, smooth, look)
    if chart.best is not None and lines and chart.main:
        step, value, _ = chart.best
        label = f"best {words.number(value)} @ {step:,}"
        star: dict[str, Any] = {"color": look.good, "markersize": 12, "markeredgecolor": look.ground, "zorder": 6}
        axes.plot([step], drawable(np.array([value])), "*", label=label, **star)
    mark_bad(axes, lines, look)
    for restart in chart.restarts:
        axes.axvline(restart, color=look.soft, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.set_ylabel("loss" if chart.main else "value", color=look.ink)
    if not lines:
        axes.text(0.5, 0.5, "no curves to draw", transform=axes.transAxes, ha="center", color=look.soft)
        return
    _legend(axes, look)


def _legend(axes: Axes, look: Style) -> None:
    """The legend above the panel, in as many columns as the figure's width holds."""
    figure = axes.get_figure(root=True)
    width = 8.0 if figure is None else figure.get_figwidth()
    font = 8.5 if width > 6 else 7.0
    room = width * 105 / font
    _, labels = axes.get_legend_handles_labels()
    one_row = sum(len(label) + 7 for label in labels) < room
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=len(labels) if one_row else max(1, int(room / max(len(label) + 7 for label in labels))),
        frameon=False,
        fontsize=font,
        labelcolor=look.ink,
        borderaxespad=0.2,
        handlelength=2.4,
        columnspacing=1.4,
    )


def _draw_line(axes: Axes, line: Line, color: str, smooth: float | None, *, dashed: bool) -> None:
    factor = line.factor() if smooth is None else smooth
    few = len(line.values) <= 60
    style: Any = DASHES[1] if dashed else "solid"
    label = literal(words.fitted(visible(line.name), 40))
    if line.points and not len(line.finite()):
        label += " (no finite value)"
    marker: dict[str, Any] = {"marker": "s" if dashed else "o", "markersize": 3.4} if few else {}
    if factor > 0 or line.reduced:
        axes.plot(line.steps, drawable(line.values), color=color, linewidth=0.7, alpha=0.32, zorder=2)
        axes.plot(
            line.mean_steps,
            line.centred(factor),
            color=color,
            linewidth=1.9,
            linestyle=style,
            label=label,
        )
    else:
        axes.plot(
            line.steps,
            drawable(line.values),
            color=color,
            linewidth=1.6,
            linestyle=style,
            label=label,
            zorder=3,
            **marker,
        )
    if len(line.old):
        axes.plot(
            line.old_steps, drawable(line.old), color=color, linewidth=0.8, alpha=0.5, linestyle=":", label="superseded"
        )


def _shade_gap(axes: Axes, train: Line, val: Line, smooth: float | None, look: Style) -> None:
    """The area between validation and training, where both are known."""
    f_train, f_val = (line.factor() if smooth is None else smooth for line in (train, val))
    low, high = train.centred(f_train), val.centred(f_val)
    fine_t, fine_v = np.isfinite(low), np.isfinite(high)
    if fine_t.sum() < 2 or fine_v.sum() < 2:
        return
    order = np.argsort(train.mean_steps[fine_t], kind="stable")
    ts, tv = train.mean_steps[fine_t][order], low[fine_t][order]
    steps, values = val.mean_steps[fine_v], high[fine_v]
    inside = (steps >= ts[0]) & (steps <= ts[-1])
    if inside.sum() >= 2:
        under = np.interp(steps[inside], ts, tv)
        axes.fill_between(
            steps[inside], under, values[inside], color=look.gap, alpha=0.18, linewidth=0, label="gap", zorder=1
        )


def _draw_panel(axes: Axes, line: Line, look: Style) -> None:
    dress(axes, look)
    color = look.lr if line.role == "learning_rate" else look.grad
    axes.plot(line.steps, drawable(line.values), color=color, linewidth=1.2)
    axes.set_ylabel(_PANEL_LABELS[line.role].replace(" ", "\n"), color=look.ink, fontsize=8.5)
    scale_y(axes, [line], "linear" if line.role == "learning_rate" else None)
    axes.locator_params(axis="y", nbins=3) if axes.get_yscale() == "linear" else None
    mark_bad(axes, [line], look)


def _limit_x(axes: Axes, chart: Chart, xscale: str) -> None:
    first, last = chart.first, chart.last
    if xscale == "linear" and last > first:
        margin = 0.015 * (last - first)
        axes.set_xlim(first - margin, last + margin)
    if xscale == "linear":
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))


def _draw_lanes(lanes: Axes, below: Sequence[Axes], chart: Chart, look: Style) -> None:
    """Findings above the plot, one bar each from onset to end, so that their labels never meet curves or each other."""
    marks = chart.marks[:_MOST_LANES]
    lanes.set_facecolor(look.ground)
    lanes.set_ylim(len(marks) - 0.5, -0.5)
    lanes.set_yticks([])
    lanes.tick_params(which="both", bottom=False, labelbottom=False)
    for spine in lanes.spines.values():
        spine.set_visible(False)
    left, right = lanes.get_xlim()
    for row, mark in enumerate(marks):
        color = look.severity(mark.finding.severity)
        start = left if mark.start is None else mark.start
        if mark.finding.severity != "info":  # an event or a remark, not a state that lasts
            lanes.plot([start, max(mark.end, start)], [row, row], color=color, linewidth=7, alpha=0.35)[
                0
            ].set_solid_capstyle("butt")
        lanes.plot([start], [row], "|", color=color, markersize=9, markeredgewidth=2)
        text = literal(f"{words.UNICODE.signs[mark.finding.severity]} {mark.finding.code} {mark.finding.name}")
        late = _fraction(lanes, start, left, right) > 0.6
        lanes.annotate(
            text,
            (start, row),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center_baseline",
            fontsize=8.5,
            color=look.ink,
        )
        if mark.start is not None and mark.finding.severity != "info":
            for axes in below:
                axes.axvline(start, color=color, linewidth=1.3, linestyle=(0, (4, 2)), zorder=4, alpha=0.9)
    hidden = len(chart.marks) - len(marks)
    if hidden:
        lanes.annotate(f"+{hidden} more", (1, 1), xycoords="axes fraction", ha="right", fontsize=8, color=look.soft)


def _fraction(axes: Axes, x: float, left: float, right: float) -> float:
    transform = axes.transScale.transform
    a, b, c = (float(transform((v, 0.0))[0]) for v in (left, x, right))
    return (b - a) / (c - a) if c > a else 0.0
