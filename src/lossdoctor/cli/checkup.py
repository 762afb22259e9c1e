"""``lossdoctor checkup``: run the active tests on a model, and write one report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.io import choose, fail, pairs, progress, remark, say, write_file
from lossdoctor.cli.options import FailOn, Output, one_of
from lossdoctor.core.errors import LossdoctorError, UsageError
from lossdoctor.core.vocabulary import FAIL_ON

if TYPE_CHECKING:
    from lossdoctor.probes.checkups.report import CheckupReport

FORMATS = ("text", "html", "json")


def _complete_tests(incomplete: str) -> list[str]:
    """Shell completion of the tests, of the last one after a comma."""
    from lossdoctor.probes.checkups.battery import TITLES

    head, comma, last = incomplete.rpartition(",")
    return [f"{head}{comma}{word}" for word in TITLES if word.startswith(last)]


def checkup(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION; what it returns is tested. It is imported and called.",
        ),
    ],
    format: Annotated[str, one_of(FORMATS)] = "text",
    output: Output = None,
    fail_on: FailOn = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TESTS",
            autocompletion=_complete_tests,
            help="Run only these tests, as in initial_loss,check_gradients; repeatable.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="TESTS", autocompletion=_complete_tests, help="Leave these tests out; repeatable."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(metavar="STEPS", min=1, help="Optimizer steps and evaluations that all tests may take together."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="All tests in short: a third to half of the steps.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of everything drawn at random.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="An argument of the function, as in batch_size=64; repeatable."
        ),
    ] = None,
) -> None:
    """Run the active tests on a model, its loss and its data: what is wrong, what most likely causes it, what to do.

    The function returns a mapping or an object with model, loss_fn and train, and, where there are, val, optimizer,
    scheduler and forward; or a tuple (model, loss_fn, train[, val[, optimizer]]). The tests leave no trace in them.

    Exit code: 0 nothing at or above --fail-on, 1 something was found, 2 wrong usage, the target cannot be made, or most
    tests could not be run. A failed test is a warning; it is critical where not even one batch can be learned, where
    gradients are not finite, or where the data cannot be trained on.
    """
    format = choose("format", format, FORMATS)
    limit = choose("severity for --fail-on", fail_on, FAIL_ON) if fail_on is not None else "critical"
    if output is not None and output != "-":
        _check_place(output)
    options = pairs(option or (), "--set", "KEY=VALUE")
    report = _examined(target, options, _words(select), _words(ignore), budget=budget, quick=quick, seed=seed)
    _tell(report, format, output)
    if report.mostly_broken:
        fail(f"{len(report.errors)} of {len(report.errors) + len(report.results)} tests could not be run")
        raise typer.Exit(2)
    raise typer.Exit(int(report.fails(limit)))


def _check_place(path: str) -> None:
    """Raise UsageError on an output that cannot be written, before minutes are spent on what goes there."""
    place = Path(path)
    if place.is_dir():
        raise UsageError(f"{path}: cannot be written (it is a folder); name a file in it")
    if not place.parent.is_dir():
        raise UsageError(f"{path}: cannot be written (there is no folder {place.parent}); make it first")


def _needs_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise LossdoctorError("a checkup needs torch, which is not installed; run: pip install 'lossdoctor[torch]'")


def _words(given: list[str] | None) -> list[str]:
    """Comma-separated and repeated words in one list."""
    return [word for part in given or () for word in part.split(",") if word.strip()]


def _examined(
    target: str,
    options: dict[str, str],
    select: list[str],
    ignore: list[str],
    *,
    budget: int | None,
    quick: bool,
    seed: int,
) -> CheckupReport:
    from lossdoctor.cli.checkup_target import made
    from lossdoctor.probes.checkups.battery import chosen

    chosen(select, ignore)  # an unknown test is told before anything of the user's is run
    _needs_torch()
    from lossdoctor.probes.checkups.run import checkup as examine
    from lossdoctor.probes.checkups.run import sown
    from lossdoctor.probes.checkups.target import Target

    sown(seed)
    with made(target, options) as given, progress("testing") as told:
        try:
            subject = Target.of(given)
        except UsageError as error:
            raise UsageError(f"{target}: {error}") from None
        return examine(
            subject,
            select=select,
            ignore=ignore,
            budget=budget,
            quick=quick,
            seed=seed,
            name=target,
            progress=told or False,
        )


def _tell(report: CheckupReport, format: str, output: str | None) -> None:
    """Render and write. Text for a terminal is printed through Rich, everything else is one piece of bytes."""
    from lossdoctor.render.probes import page, print_checkup, report_text

    if format == "text" and output is None:
        from lossdoctor.render.text import make_console

        print_checkup(report, make_console())
        return
    data: str | bytes = report_text(report) + "\n"
    if format == "html":
        data = page(report).encode()
    elif format == "json":
        from lossdoctor.render.jsonout import to_json

        data = to_json(report.as_dict(), indent=True)
    if output is None or output == "-":
        say(data)
    else:
        write_file(output, data)
        remark(f"wrote {output}")
