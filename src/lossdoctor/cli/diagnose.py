"""``lossdoctor diagnose``: read runs, judge them, tell, and leave with the exit code of the contract."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.io import choose, fail, pairs, progress, remark, say, write_file
from lossdoctor.cli.options import Config, Context, FailOn, Ignore, Metric, Output, Select, one_of
from lossdoctor.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossdoctor.cli.baseline import Baseline
    from lossdoctor.core.report import Report
    from lossdoctor.readers import Scan

FORMATS = ("text", "json", "sarif", "junit", "html")


def diagnose(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="A log, a folder of runs, - for standard input, or a URL.")
    ],
    format: Annotated[str, one_of(FORMATS)] = "text",
    output: Output = None,
    fail_on: FailOn = None,
    select: Select = None,
    ignore: Ignore = None,
    metric: Metric = None,
    context: Context = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="An earlier JSON report: its findings are accepted, new ones reported."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 when any file could not be read.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell all runs in full, and what unjudged rules need.")
    ] = False,
    config: Config = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes that judge."),
    ] = None,
) -> None:
    """Say what is wrong with training runs, since when, why, and what to do.

    Exit code: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage, nothing found or nothing readable.
    """
    from lossdoctor.cli.pool import diagnose_all
    from lossdoctor.cli.settings import effective_settings, run_context
    from lossdoctor.core.report import Report
    from lossdoctor.readers import scan

    format = choose("format", format, FORMATS)
    settings = effective_settings(
        config, select or (), ignore or (), pairs(metric or (), "--metric", "ROLE=NAME"),
        pairs(context or (), "--context", "KEY=VALUE"), fail_on,
    )  # fmt: skip
    given = run_context(settings)
    known = None if baseline is None else _baseline(baseline)
    if output is not None and os.path.isdir(output):
        raise UsageError(f"{output}: cannot be written (it is a folder); name a file in it")
    missing = [p for p in paths if _is_local(p) and not os.path.exists(p)]
    with progress("reading") as told:
        found = scan(paths, metrics=settings.metrics, context=given, progress=told)
    for note in found.notes:
        remark(note)
    if not found.histories:
        raise typer.Exit(_nothing(paths, found))
    with progress("judging") as told:
        judged = diagnose_all(found.histories, given, settings, jobs, told)
    report = Report(judged, [_as_entry(e) for e in found.errors], found.skipped)
    if known is not None:
        report, accepted = known.without_known(report)
        if accepted:
            remark(f"{accepted} known finding{'' if accepted == 1 else 's'} accepted by {baseline}")
    _tell(report, format, output, fail_on=settings.fail_on, verbose=verbose)
    if missing or (strict and report.errors):
        raise typer.Exit(2)
    raise typer.Exit(int(report.fails(settings.fail_on)))


def _baseline(path: str) -> Baseline:
    from lossdoctor.cli.baseline import Baseline

    return Baseline.load(path)


def _is_local(path: str) -> bool:
    return path != "-" and "://" not in path


def _as_entry(error: object) -> dict[str, str]:
    return {"path": str(getattr(error, "path", "")), "error": str(getattr(error, "message", error))}


def _nothing(paths: Sequence[str], found: Scan) -> int:
    """Say why there is nothing to judge. Always exit code 2."""
    for error in found.errors:
        fail(str(error))
    if not found.errors:
        skipped = f" ({found.skipped:,} files were skipped: no format recognised them)" if found.skipped else ""
        fail(f"no run found in {', '.join(paths)}{skipped}; `lossdoctor formats` lists what can be read")
    return 2


def _tell(report: Report, format: str, output: str | None, *, fail_on: str, verbose: bool) -> None:
    """Render and write. Text for a terminal is printed through Rich, everything else is one piece of bytes."""
    if format == "text" and output is None:
        from lossdoctor.render.text import make_console, print_report

        print_report(report, make_console(), verbose=verbose)
        return
    data = _render(report, format, fail_on=fail_on, verbose=verbose)
    if output is None or output == "-":
        say(data)
    else:
        write_file(output, data)
        remark(f"wrote {output}")


def _render(report: Report, format: str, *, fail_on: str, verbose: bool) -> str | bytes:
    if format == "json":
        from lossdoctor.render.jsonout import report_json

        return report_json(report)
    if format == "sarif":
        from lossdoctor.cli.pages import rule_docs
        from lossdoctor.render.sarif import report_sarif

        return report_sarif(report, rules=rule_docs())
    if format == "junit":
        from lossdoctor.render.junit import report_junit

        return report_junit(report, fail_on=fail_on)
    if format == "html":
        from lossdoctor.render.html import report_html

        return report_html(report)
    from lossdoctor.render.text import report_text

    return report_text(report, verbose=verbose)
