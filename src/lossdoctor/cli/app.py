"""Puts the commands together, and turns every way a command can end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lossdoctor import __version__
from lossdoctor.cli import checkup, compare, diagnose, explain, export, formats, lab, plot, rules, watch
from lossdoctor.cli.io import fail
from lossdoctor.core.errors import LossdoctorError

PIPE_CLOSED = 141  # as the shell reports a process that SIGPIPE ended
INTERRUPTED = 130


class Doctor(TyperGroup):
    """The command group: our own errors become one line and exit code 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LossdoctorError as error:
            fail(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(PIPE_CLOSED) from None
        except OSError as error:
            raise typer.Exit(_unwritable(error)) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lossdoctor {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="lossdoctor",
    cls=Doctor,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def lossdoctor(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Read the loss curves of training runs and tell what is wrong, since when, why, and what to do."""


for command in (
    diagnose.diagnose,
    watch.watch,
    checkup.checkup,
    explain.explain,
    rules.rules,
    compare.compare,
    plot.plot,
    export.export,
    formats.formats,
):
    app.command(no_args_is_help=command in (diagnose.diagnose, watch.watch, checkup.checkup, compare.compare))(command)
app.add_typer(lab.app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (findings), 2 (usage, nothing found or readable)."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character shows a replacement
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="lossdoctor")
    except SystemExit as leaving:
        code = leaving.code
    else:
        code = 0
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except OSError as error:
        return _unwritable(error)
    return code if isinstance(code, int) else int(bool(code))


def _unwritable(error: OSError) -> int:
    """One line about output that cannot be written (a full disk); exit code 2."""
    fail(f"{error.filename or 'standard output'}: {error.strerror or error}; free some space or write elsewhere")
    _drop_output()
    return 2


def _drop_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail as well."""
    with suppress(OSError, ValueError, AttributeError):  # none, or not a real file: nothing to protect
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
