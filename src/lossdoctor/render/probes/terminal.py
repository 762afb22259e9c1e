"""Results of tests in a terminal: first what was found and what to do, then each test with its verdict and numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from lossdoctor.probes.checkups.report import CheckupReport
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.probes.outcome import ERROR, SKIPPED, Outcome, outcome_of, status_of
from lossdoctor.render.text import glyphs_for, make_console
from lossdoctor.render.text_run import STYLES, print_hanging, print_rows

_WORD = 16  # width of the longest outcome: "failed, critical"


def text(results: Sequence[ProbeResult], width: int = 80, *, color: bool = False) -> str:
    """Results as text, a block each; without colour it holds no ANSI codes.

    >>> print(text([ProbeResult(outcome="passed", verdict="All is well.")]))
    ✓ passed  ProbeResult
        All is well.
    """
    buffer = io.StringIO()
    console = make_console(buffer, width=width, color=color)
    for i, result in enumerate(results):
        if i:
            console.print()
        print_result(result, console)
    return buffer.getvalue().rstrip("\n")


def report_text(report: CheckupReport, width: int = 80, *, color: bool = False) -> str:
    """A checkup as text."""
    buffer = io.StringIO()
    print_checkup(report, make_console(buffer, width=width, color=color))
    return buffer.getvalue().rstrip("\n")


def print_result(result: ProbeResult, console: Console) -> None:
    """Print one result: outcome in sign and word, title, verdict and numbers."""
    outcome = outcome_of(result)
    head = Text(f"{_sign(outcome, console)} {outcome.word}  ", STYLES[outcome.status])
    console.print(head.append(name_of(result), "bold default"), soft_wrap=True)
    print_hanging(console, Text("    "), Text(visible(result.verdict)))
    print_rows(console, [(visible(name, 60), visible(value, 300)) for name, value in result.rows()], 4)


def print_checkup(report: CheckupReport, console: Console) -> None:
    """Print a checkup: status, what was found, likeliest causes and next steps, then every test."""
    glyphs = glyphs_for(console)
    status = status_of(report)
    head = Text(f"{_sign(status, console)} {status.word}  ", STYLES[status.status])
    console.print(head.append(visible(report.target), "bold default"), soft_wrap=True)
    facts = f" {glyphs.dot} ".join(f"{visible(k, 60)} {visible(v, 200)}" for k, v in report.facts)
    if facts:
        print_hanging(console, Text("  "), Text(facts, "dim"))
    print_hanging(console, Text("  "), Text(report.basis))
    _print_found(report, console)
    _print_causes(report, console)
    if report.next_steps:
        console.print(Text("\nNext steps", "bold"))
        for i, step in enumerate(report.next_steps, 1):
            print_hanging(console, Text(f"  {i}. ", "bold green"), Text(visible(step)))
    for result in report.results:
        console.print()
        print_result(result, console)
    _print_missing(report, console)


def name_of(result: ProbeResult) -> str:
    """The title of a test, or what stands for it."""
    return visible(result.title or result.test or type(result).__name__, 200)


def _sign(outcome: Outcome, console: Console) -> str:
    return outcome.sign if glyphs_for(console) is words.UNICODE else outcome.plain


def _print_found(report: CheckupReport, console: Console) -> None:
    found = report.worst_first()
    if not found:
        return
    console.print(Text("\nWhat was found", "bold"))
    for result in found:
        outcome = outcome_of(result)
        sign = Text(f"  {_sign(outcome, console)} ", STYLES[outcome.status])
        line = Text.assemble((name_of(result), "bold"), f" ({outcome.word}): {visible(result.verdict)}")
        print_hanging(console, sign, line)


def _print_causes(report: CheckupReport, console: Console) -> None:
    if not report.causes:
        return
    console.print(Text("\nLikeliest causes", "bold"))
    wide = max(len(words.plain(c.name)) for c in report.causes)
    for cause in report.causes:
        head = Text(f"  {words.plain(cause.name):<{wide}}  {words.percent(cause.likelihood):>4}  ")
        print_hanging(console, head, Text(visible(speaks(report, cause.name)), "dim"))


def speaks(report: CheckupReport, cause: str) -> str:
    """Which tests speak for and against a cause, the strongest first."""
    ratios = sorted(report.evidence(cause).items(), key=lambda item: -abs(_log(item[1])))
    return "; ".join(
        f"{report.title(test)} {'for' if ratio > 1 else 'against'} it (×{words.number(ratio)})"
        for test, ratio in ratios
    )


def _log(ratio: float) -> float:
    from math import inf, log

    return log(ratio) if ratio > 0 else -inf


def _print_missing(report: CheckupReport, console: Console) -> None:
    """What could not be run, and what was left out."""
    for error, titles in report.broken:
        console.print()
        head = Text(f"{_sign(ERROR, console)} {ERROR.word}  ", STYLES[ERROR.status])
        print_hanging(console, head, Text(visible(", ".join(titles)), "bold"))
        where = f"{error.where}: " if error.where else ""
        print_hanging(console, Text("    "), Text(visible(where + error.error)))
    if report.skipped:
        console.print(Text("\nNot run", "bold"))
        for skipped in report.skipped:
            line = f"{report.title(skipped.test)}: {skipped.why}"
            print_hanging(console, Text(f"  {_sign(SKIPPED, console)} ", "dim"), Text(visible(line), "dim"))
