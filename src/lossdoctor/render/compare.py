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
from lossdoctor.render.text import glyphs_for, make_console
from lossdoctor.render.text_run import print_hanging
from lossdoctor.render.words import at_step, number

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
    from lossdoctor.render.pictures import plot_overlay

    return plot_overlay(histories, comparison, size=size, style=style, yscale=yscale)
