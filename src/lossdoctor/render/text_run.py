"""One run in full, for a terminal: findings with evidence, causes and what to do."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.sparkline import history_spark
from lossdoctor.render.words import UNICODE, Glyphs

STYLES = {
    "healthy": "green",
    "warning": "yellow",
    "critical": "bold red",
    "insufficient_data": "cyan",
    "info": "cyan",
}
_MOST_NOTES = 6
_SHORT = 100  # needs up to this length are told in full; longer ones would drown the findings
_WIDEST = 110  # longer lines are hard to read


def print_run(
    diagnosis: Diagnosis,
    console: Console,
    glyphs: Glyphs = UNICODE,
    *,
    verbose: bool = False,
    more: str = "--verbose",
) -> None:
    """Print one run: what it is, what its status rests on, and each finding.

    Args:
        verbose: with what each rule that could not judge the run would need, however long that is.
        more: what tells these needs when they are left out here.
    """
    d = diagnosis
    head = Text(f"{glyphs.signs[d.status]} {words.STATUS_WORDS[d.status]}  ", STYLES[d.status])
    head.append(words.title(d), "bold default")
    console.print(head, soft_wrap=True)
    spark = history_spark(d.history, 32, glyphs)
    facts = Text(f"  {spark}{'  ' if spark else ''}", STYLES[d.status].removeprefix("bold "))
    facts.append(f"{visible(d.history.format, 60)} {glyphs.dot} {words.span(d)}", "default")
    console.print(facts, soft_wrap=True)
    named = "; ".join(f"{role} = {name}" for role, name in words.mapping(d))
    rows = [("metrics", named or "no loss recognised; name one with --metric train_loss=NAME")]
    basis = words.basis(d)
    if basis:
        rows.append(("basis", basis))
    print_rows(console, rows, 2)
    for finding in d.findings:
        console.print()
        _print_finding(finding, d, console, glyphs)
    _print_rest(d, console, _not_judged(d, verbose=verbose, more=more))


def _print_finding(f: Finding, d: Diagnosis, console: Console, glyphs: Glyphs) -> None:
    name = Text(f"  {glyphs.signs[f.severity]} {visible(f.code)} {visible(f.name)}", STYLES[f.severity])
    parts = [f.severity, words.where(f, d.history.step_unit), visible(f.metric, 200), words.confidence(f)]
    about = Text(f" {glyphs.dot} ".join(parts), "dim")
    if len(name) + 2 + len(about) <= console.width:
        console.print(Text.assemble(name, "  ", about))
    else:
        console.print(name, soft_wrap=True)
        print_hanging(console, Text("    "), about)
    print_hanging(console, Text("    "), Text(visible(f.summary)))
    rows = [(("or" if i else "do"), _with_grade(i, f)) for i in range(len(f.actions))]
    if f.causes:
        rows.append(("causes", "; ".join(words.cause(c) for c in f.causes)))
    if f.evidence:
        rows.append(("evidence", "; ".join(f"{k} {v}" for k, v in words.evidence(f))))
    if f.explains:
        rows.append(("explains", ", ".join(visible(c, 40) for c in f.explains)))
    print_rows(console, rows, 4)


def _with_grade(index: int, f: Finding) -> str:
    action = f.actions[index]
    return words.action(action) + ("" if action.action == "none" else f" [{words.grade(action)}]")


def _print_rest(d: Diagnosis, console: Console, not_judged: list[tuple[str, str]]) -> None:
    """Notes, events, what could not be judged, and rules that crashed."""
    rows = [("note", n) for n in _few([visible(n) for n in d.notes], "notes")]
    rows += [("event", e) for e in _few([words.event(e, d.history.step_unit) for e in d.events], "events")]
    rows += [("internal error", visible(e)) for e in d.internal_errors]
    rows += not_judged
    if rows:
        console.print()
        print_rows(console, rows, 2, style="dim")


def _not_judged(d: Diagnosis, *, verbose: bool, more: str) -> list[tuple[str, str]]:
    """The rules that lacked something: with their needs where those are short or asked for, else as codes alone."""
    lines = [f"{words.grouped(codes.split(', '))} (needs {need})" for need, codes in words.abstentions(d)]
    if verbose:
        return [("" if i else "not judged", line) for i, line in enumerate(lines)]
    told = "; ".join(lines)
    if len(told) > _SHORT:
        codes = words.grouped(visible(a.code, 40) for a in d.abstained)
        told = f"{codes}: lack what they need ({more} tells what)"
    return [("not judged", told)] if told else []


def _few(lines: list[str], what: str) -> list[str]:
    if len(lines) <= _MOST_NOTES:
        return lines
    return [*lines[:_MOST_NOTES], f"and {len(lines) - _MOST_NOTES} more {what} (--format json has all)"]


def print_rows(console: Console, rows: list[tuple[str, str]], indent: int, style: str = "") -> None:
    """Label and text, the text wrapped under itself."""
    wide = max([8, *(len(label) for label, _ in rows)])
    for label, text in rows:
        head = Text(" " * indent)
        head.append(label.ljust(wide) + "  ", "bold green" if label == "do" else "dim")
        print_hanging(console, head, Text(text, style))


def print_hanging(console: Console, head: Text, body: Text) -> None:
    """A text behind a head, wrapped to the console's width and indented under its own first line.

    Done by hand rather than by a table of Rich, which would pad every line with blanks and crop long words.
    """
    room = max(20, min(console.width, _WIDEST) - len(head))
    for i, line in enumerate(body.wrap(console, room, overflow="fold")):
        line.rstrip()
        console.print(Text.assemble(head if i == 0 else " " * len(head), line), soft_wrap=True)
