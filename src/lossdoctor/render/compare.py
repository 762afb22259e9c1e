"""Which of several runs is better: a table, the sentence, and one picture with all of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.report import Comparison
from lossdoctor.render.escape import visible
from lossdoctor.render.series import Line, line_of
from lossdoctor.render.style import DASHES, style_named
from lossdoctor.render.text import glyphs_for, make_console
from lossdoctor.render.text_run import print_hanging
from lossdoctor.render.words import at_step, fitted, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_text(comparison: Comparison, *, width: int = 88, color: bool = False) -> str:
    """The comparison as text: one line per run, the winner marked, then the sentence."""
    buffer = io.StringIO()
    print_comparison(comparison, make_console(buffer, width=width, color=color))
    return buffer.getvalue()


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison on a Rich console."""
    c = comparison
    glyphs = glyphs_for(console)
    better = "lower" if c.lower_is_better else "higher"
    console.print(Text(f"{visible(c.metric)} ({better} is better)", "bold"), soft_wrap=True)
    head = ("", "final", "noise", "best", "best at", "run")
    rows = [_cells(c, i, glyphs.signs["healthy"]) for i in range(len(c.rows))]
    wide = [max(len(r[k]) for r in (head, *rows)) for k in range(5)]
    console.print(Text("  ".join([*(head[k].rjust(wide[k]) for k in range(5)), head[5]]), "dim"), soft_wrap=True)
    for cells in rows:
        line = Text("  ".join([*(cells[k].rjust(wide[k]) for k in range(5)), cells[5]]))
        if cells[0]:
            line.stylize("bold green")
        console.print(line, soft_wrap=True)
    console.print()
    print_hanging(console, Text(), Text(visible(c.sentence), "bold"))
    for note in c.notes:
        print_hanging(console, Text("  note  ", "dim"), Text(visible(note), "dim"))


def _cells(c: Comparison, index: int, sign: str) -> tuple[str, str, str, str, str, str]:
    row = c.rows[index]
    won = c.winner is not None and row.run == c.winner and c.beyond_noise
    at = "" if row.best_step is None else at_step(row.best_step, c.step_unit)
    noise = f"±{number(row.noise)}" if row.noise == row.noise else ""
    return (sign if won else "", number(row.final), noise, number(row.best), at, visible(row.run))


def plot_comparison(
    histories: Sequence[TrainingHistory],
    comparison: Comparison,
    *,
    size: tuple[float, float] = (8.0, 4.5),
    style: str = "light",
    yscale: str | None = None,
) -> Figure:
    """A Matplotlib figure with the compared metric of every run, raw under smoothed, and since when one is ahead."""
    from lossdoctor.render.canvas import (
        check_options,
        drawable,
        dress,
        literal,
        mark_bad,
        new_figure,
        scale_y,
    )

    look = style_named(style)
    check_options(None, "linear", yscale)
    figure = new_figure(size, look)
    axes = figure.subplots()
    dress(axes, look)
    lines: list[Line] = []
    for i, history in enumerate(histories):
        name = comparison.metric if comparison.metric in history else history.roles.label(comparison.metric)
        if name is None or len(history[name]) == 0:
            continue
        line = line_of(history[name], history.path or history.name or f"run {i + 1}")
        lines.append(line)
        color, dash = look.cycle[i % len(look.cycle)], DASHES[i % len(DASHES)]
        factor = line.factor()
        if factor > 0 or line.reduced:
            axes.plot(line.steps, drawable(line.values), color=color, linewidth=0.6, alpha=0.25)
        label = fitted(visible(line.name), 60) + (" – ahead" if line.name == comparison.winner else "")
        axes.plot(
            line.mean_steps,
            drawable(line.centred(factor)),
            color=color,
            linestyle=dash,
            linewidth=1.9,
            label=literal(label),
        )
    scale_y(axes, lines, yscale)
    mark_bad(axes, lines, look)
    if comparison.since_step is not None:
        axes.axvline(comparison.since_step, color=look.soft, linestyle=(0, (4, 2)), linewidth=1.2)
        since = f"ahead since {at_step(comparison.since_step, comparison.step_unit)}"
        axes.annotate(
            since,
            (comparison.since_step, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4, -10),
            textcoords="offset points",
            fontsize=8.5,
            color=look.soft,
        )
    axes.set_xlabel(comparison.step_unit, color=look.ink)
    axes.set_ylabel(literal(visible(comparison.metric, 60)), color=look.ink)
    if lines:
        figure.legend(loc="outside lower left", frameon=False, fontsize=8.5, labelcolor=look.ink)
    return figure
