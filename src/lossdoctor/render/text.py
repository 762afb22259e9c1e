"""The report for a terminal: one line per run, then what is wrong with each sick run, then what could not be read."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.text import Text

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.report import Report, RuleDoc
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.sparkline import history_spark
from lossdoctor.render.text_run import STYLES, print_hanging, print_run
from lossdoctor.render.words import ASCII, UNICODE, Glyphs

# From this many runs on, healthy ones are counted and only the worst are told in full, unless --verbose.
MANY = 20
FULL = 10
_SPARK = 16


def make_console(file: IO[str] | None = None, *, width: int | None = None, color: bool | None = None) -> Console:
    """A console for reports: colour only where the output is a terminal, unless ``color`` says otherwise."""
    return Console(
        file=file,
        width=width,
        force_terminal=color,
        color_system="standard" if color else ("auto" if color is None else None),
        highlight=False,
        emoji=False,
        markup=False,
    )


def report_text(report: Report, *, width: int = 88, color: bool = False, verbose: bool = False) -> str:
    """The report as text; without colour it holds no ANSI codes."""
    buffer = io.StringIO()
    print_report(report, make_console(buffer, width=width, color=color), verbose=verbose)
    return buffer.getvalue()


def diagnosis_text(diagnosis: Diagnosis, *, width: int = 88, color: bool = False, verbose: bool = False) -> str:
    """One run in full, as text.

    Args:
        verbose: with what each rule that could not judge the run would need.
    """
    buffer = io.StringIO()
    print_run(diagnosis, make_console(buffer, width=width, color=color), verbose=verbose, more=".abstained")
    return buffer.getvalue().rstrip("\n")


def glyphs_for(console: Console) -> Glyphs:
    """The signs that the console's encoding can show."""
    return UNICODE if console.encoding.lower().replace("-", "").startswith("utf") else ASCII


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print a report on a Rich console.

    Args:
        verbose: every run in the list and every sick run in full, however many, and what each rule that could not
            judge would need.
    """
    glyphs = glyphs_for(console)
    runs = report.worst_first()
    many = len(runs) > MANY and not verbose
    if len(runs) == 1:
        print_run(runs[0], console, glyphs, verbose=verbose)
    elif runs:
        _print_list(runs, console, glyphs, many=many)
        sick = [d for d in runs if d.alarm or d.internal_errors or (verbose and d.findings)]
        for diagnosis in sick[:FULL] if many else sick:
            console.print()
            print_run(diagnosis, console, glyphs, verbose=verbose)
        if many and len(sick) > FULL:
            rest = f"{len(sick) - FULL} more sick runs are listed above only; --verbose or --format html tells all."
            console.print()
            console.print(Text(rest, "dim"))
    _print_errors(report, console, glyphs)
    _print_summary(report, console)


def _print_list(runs: Sequence[Diagnosis], console: Console, glyphs: Glyphs, *, many: bool) -> None:
    listed = [d for d in runs if d.alarm] if many else list(runs)
    base = words.shared_folder(listed)
    if base:
        console.print(Text(f"Runs under {base}", "dim"), soft_wrap=True)
    names = [words.title_under(base, d) for d in listed]
    worst = [_worst(d) for d in listed]
    narrow = console.width < 100
    # A file or pipe gets names in full, a terminal what fits.
    taken = 13 + (_SPARK if not narrow else 10) + 4 + max((len(w) for w in worst), default=0) + (0 if narrow else 9)
    room = max(16, console.width - taken) if console.is_terminal else 10_000
    wide = min(room, max((len(n) for n in names), default=0))
    for d, name, finding in zip(listed, names, worst, strict=True):
        line = Text(f"{glyphs.signs[d.status]} {words.SHORT_STATUS[d.status]:<10} ", STYLES[d.status])
        spark = history_spark(d.history, 10 if narrow else _SPARK, glyphs)
        line.append(f"{spark:<{10 if narrow else _SPARK}}  ", "default")
        line.append(words.fitted(name, wide, glyphs.more).ljust(wide), "default bold" if d.alarm else "default")
        line.append("" if narrow else f"  {d.history.points:>7,}", "default dim")
        line.append_text(Text("  ").append_text(finding))
        line.rstrip()
        console.print(line, soft_wrap=True)
        if not d.alarm and not many and d.basis:
            print_hanging(console, Text(" " * 13), Text(visible(d.basis), "dim"))
        for remark in d.findings if not d.alarm and not many else ():
            head = Text(f"{' ' * 13}{glyphs.signs[remark.severity]} ", STYLES[remark.severity])
            print_hanging(
                console, head, Text(f"{visible(remark.code)} {visible(remark.name)}: {visible(remark.summary)}")
            )
    if many:
        _print_counted(runs, console, glyphs)


def _worst(d: Diagnosis) -> Text:
    """The finding to act on, where it begins, and how many alarms there are besides."""
    text = Text()
    if not (d.findings and d.alarm):
        return text
    first = d.findings[0]
    text.append(f"{visible(first.code)} {visible(first.name)}", STYLES[first.severity])
    if first.onset_step is not None:
        text.append(f" @{first.onset_step:,}")
    others = sum(severity_rank(f.severity) >= 1 for f in d.findings[1:])
    return text.append(f" +{others}" if others else "", "dim")


def _print_counted(runs: Sequence[Diagnosis], console: Console, glyphs: Glyphs) -> None:
    """What the list leaves out, and which findings are how frequent."""
    for status in ("insufficient_data", "healthy"):
        count = sum(d.status == status for d in runs)
        if count:
            line = Text(f"{glyphs.signs[status]} {words.SHORT_STATUS[status]:<10} ", STYLES[status])
            console.print(line.append(f"{count:,} run{'' if count == 1 else 's'}", "default"))
    found = Counter((f.code, f.name) for d in runs for f in d.findings if severity_rank(f.severity) >= 1)
    if found:
        console.print(Text("\nMost frequent", "bold"))
        for (code, name), count in found.most_common(8):
            console.print(Text(f"  {count:>6,}  {visible(code)} {visible(name)}"))


def _print_errors(report: Report, console: Console, glyphs: Glyphs) -> None:
    if not report.errors:
        return
    console.print(Text(f"\nCould not be read ({len(report.errors)})", "bold"))
    for error in report.errors:
        line = Text(f"  {glyphs.signs['critical']} ", STYLES["critical"])
        line.append(f"{visible(error['path'])}: {visible(error['error'])}", "default")
        console.print(line, soft_wrap=True)


def _print_summary(report: Report, console: Console) -> None:
    counts = report.counts()
    parts = [f"{counts[s]:,} {words.STATUS_WORDS[s]}" for s in ("critical", "warning", "healthy", "insufficient_data")]
    shown = [p for p in parts if not p.startswith("0 ")]
    runs = len(report.runs)
    text = f"{runs:,} run{'' if runs == 1 else 's'}" + (f": {', '.join(shown)}" if runs > 1 and shown else "")
    if report.errors:
        text += f"; {len(report.errors):,} could not be read"
    if report.skipped:
        text += f"; {report.skipped:,} file{'' if report.skipped == 1 else 's'} skipped (no format recognised them)"
    console.print()
    console.print(Text(text, "bold" if runs > 1 else "dim"), soft_wrap=True)


def print_rule(rule: RuleDoc, console: Console) -> None:
    """What ``lossdoctor explain`` shows of a rule: its sections, and its thresholds with unit and range."""
    head = Text(f"{rule.code} {rule.name}", "bold")
    head.append(f"  {rule.severity}" + ("  (preview)" if rule.preview else ""), STYLES[rule.severity])
    console.print(head)
    if rule.summary:
        console.print(Text(rule.summary))
    for title, body in rule.sections.items():
        console.print()
        console.print(Text(title, "bold"))
        for i, paragraph in enumerate(body.strip().split("\n\n")):
            if i:
                console.print()
            print_hanging(console, Text("  "), _paragraph(paragraph))
    if rule.needs:
        console.print(Text("\nNeeds", "bold"))
        console.print(Text(f"  {rule.needs}"))
    if rule.options:
        console.print(Text("\nOptions", "bold"))
        for o in rule.options:
            console.print(Text(f"  {o.name} = {o.default:g}", "bold"), soft_wrap=True)
            print_hanging(console, Text("    "), Text(f"{o.meaning} ({o.unit}; {o.low:g} to {o.high:g})"))


def _paragraph(text: str) -> Text:
    """Prose is joined and wrapped anew; a list keeps its lines."""
    lines = [line.strip() for line in text.splitlines()]
    if any(line.startswith(("- ", "* ")) for line in lines):
        return Text("\n".join(lines))
    return Text(" ".join(lines))


def rule_text(rule: RuleDoc, *, width: int = 88, color: bool = False) -> str:
    """:func:`print_rule` as text."""
    buffer = io.StringIO()
    print_rule(rule, make_console(buffer, width=width, color=color))
    return buffer.getvalue()
