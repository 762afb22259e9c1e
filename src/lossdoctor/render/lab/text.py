"""The lab in a terminal: an experiment's words, tables, numbers and diagnoses, and the guides, within its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.lab.result import Experiment, Table
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.page import cell_text
from lossdoctor.render.sparkline import history_spark
from lossdoctor.render.text import glyphs_for
from lossdoctor.render.text_run import STYLES, print_hanging, print_rows, print_run

if TYPE_CHECKING:
    from lossdoctor.lab.guide import Topic

_GAP = 2  # blanks between columns
_LEAST = 14  # a column of words may be wrapped to this width
_TALL = 4  # a cell of so many lines is easier to read in a record
_MOST = 20  # runs told one by one


def print_experiment(
    experiment: Experiment, diagnoses: Mapping[str, Diagnosis], console: Console, *, verbose: bool = False
) -> None:
    """Print what an experiment found, and what the doctor says of its runs.

    Args:
        diagnoses: label of a run -> what was found in it.
        verbose: each diagnosis in full.
    """
    console.print(Text(visible(experiment.title or experiment.name), "bold"))
    if experiment.text:
        print_hanging(console, Text(""), Text(visible(experiment.text, 5_000)))
    for table in experiment.tables:
        console.print()
        print_table(table, console)
    if experiment.numbers:
        console.print()
        console.print(Text("Numbers", "bold"))
        print_rows(console, [(visible(k, 60), cell_text(v)) for k, v in experiment.numbers.items()], 2)
    if diagnoses:
        print_verdicts(diagnoses, console, verbose=verbose)
    if experiment.sources:
        console.print()
        console.print(Text("Sources", "bold"))
        for source in experiment.sources:
            print_hanging(console, Text("  "), Text(visible(source), "dim"))


def print_verdicts(diagnoses: Mapping[str, Diagnosis], console: Console, *, verbose: bool = False) -> None:
    """What was found in each run's curve: a line each with the finding to act on and its first advice, or in full."""
    glyphs = glyphs_for(console)
    console.print()
    console.print(Text("Diagnosis of the loss curves", "bold"))
    if verbose:
        for d in diagnoses.values():
            console.print()
            print_run(d, console, glyphs, verbose=True)
        return
    shown = list(diagnoses.items())[:_MOST]
    room = max(12, console.width - 36)
    for label, d in shown:
        head = Text(f"  {glyphs.signs[d.status]} {words.SHORT_STATUS[d.status]:<10} ", STYLES[d.status])
        head.append(f"{history_spark(d.history, 16, glyphs):<16}  ", "default")
        name = words.fitted(visible(label), room, glyphs.more)
        console.print(head.append(name, "default bold" if d.alarm else "default"), soft_wrap=True)
        alarms = [f for f in d.findings if severity_rank(f.severity) >= 1]
        for finding in alarms[:1]:
            more = f" (and {', '.join(f.code for f in alarms[1:])})" if alarms[1:] else ""
            text = f"{finding.code} {finding.name}: {finding.summary}{more}"
            print_hanging(console, Text(" " * 15), Text(visible(text)))
            if finding.actions:
                print_hanging(console, Text(" " * 15 + "do: ", "bold green"), Text(words.action(finding.actions[0])))
    if len(diagnoses) > len(shown):
        console.print(Text(f"  and {len(diagnoses) - len(shown):,} more runs (--format json has all)", "dim"))


def print_table(table: Table, console: Console) -> None:
    """A table within the console's width; where its columns do not fit side by side, a record per row."""
    if table.title:
        console.print(Text(visible(table.title), "bold"))
    cells = [[cell_text(v) for v in row] for row in table.rows]
    numeric = [_numeric([row[i] for row in table.rows]) for i in range(len(table.columns))]
    least = [_width(column, [row[i] for row in cells], numeric[i]) for i, column in enumerate(table.columns)]
    tall = any(len(c) > _TALL * wide for row in cells for c, wide in zip(row, least, strict=True))
    if sum(least) + _GAP * (len(least) - 1) <= console.width and not tall:
        _print_grid(table, cells, numeric, least, console)
    else:
        _print_records(table, cells, console)
    if table.note:
        print_hanging(console, Text("  "), Text(visible(table.note), "dim"))


def _numeric(values: Sequence[object]) -> bool:
    there = [v for v in values if v is not None]
    return bool(there) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there)


def _width(column: str, cells: list[str], number: bool) -> int:
    """The least width of a column: numbers are never broken, words at blanks only."""
    head = max((len(w) for w in column.split()), default=0)
    if number:
        return max([head, *(len(t) for t in cells)])
    longest = max((len(w) for t in cells for w in t.split()), default=0)
    natural = max((len(t) for t in cells), default=0)
    return max(head, min(natural, max(longest, _LEAST)))


def _print_grid(table: Table, cells: list[list[str]], numeric: list[bool], least: list[int], console: Console) -> None:
    grid = Grid(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    natural = [max([len(column), *(len(row[i]) for row in cells)]) for i, column in enumerate(table.columns)]
    widths = _spread(least, natural, console.width - _GAP * (len(least) - 1))
    for column, number, wide in zip(table.columns, numeric, widths, strict=True):
        grid.add_column(visible(column), justify="right" if number else "left", width=wide, vertical="bottom")
    for row in cells:
        grid.add_row(*(visible(c) for c in row))
    buffer = console.render_lines(grid, console.options.update(width=console.width), pad=False)
    for line in buffer:
        text = Text.assemble(*((segment.text, segment.style or "") for segment in line))
        text.rstrip()
        console.print(text, soft_wrap=True)


def _spread(least: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Widths from the least to the natural ones: the room that is left goes to the columns that lack most.

    Fixed here: left to itself the grid takes room even from columns that have no more than their least.

    >>> _spread([4, 6], [4, 20], 16), _spread([4, 6], [4, 20], 40)
    ([4, 12], [4, 20])
    """
    widths = list(least)
    for _ in range(max(0, room - sum(widths))):
        short = [n - w for n, w in zip(natural, widths, strict=True)]
        if max(short) <= 0:
            break
        widths[short.index(max(short))] += 1
    return widths


def _print_records(table: Table, cells: list[list[str]], console: Console) -> None:
    for row in cells:
        print_hanging(console, Text("  "), Text(visible(row[0]), "bold"))
        pairs = zip(table.columns[1:], row[1:], strict=True)
        print_rows(console, [(visible(k), visible(v)) for k, v in pairs if v], 4)


def print_topic(topic: Topic, console: Console) -> None:
    """One guide: what to know, its rows, and the sources in full."""
    console.print(Text(visible(topic.title), "bold"))
    print_hanging(console, Text(""), Text(visible(topic.about, 5_000)))
    console.print()
    print_table(Table("", topic.table.columns, topic.table.rows), console)
    console.print()
    print_rows(console, [(visible(k), visible(v)) for k, v in topic.sources.items()], 2, style="dim")
