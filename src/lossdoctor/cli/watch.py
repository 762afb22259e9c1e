"""``lossdoctor watch``: follow a run while it is being written, and tell what is wrong with it as soon as it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.complete import completing
from lossdoctor.cli.io import choose, pairs, say
from lossdoctor.cli.options import Config, Context, FailOn, Ignore, Metric, Select
from lossdoctor.core.errors import UsageError

if TYPE_CHECKING:
    from lossdoctor.cli.follow_stdin import StdinSpool
    from lossdoctor.cli.watching import Watcher
    from lossdoctor.core.report import Report
    from lossdoctor.live.telling.webhooks import Webhook

FORMATS = ("text", "json")
STYLES = ("json", "slack")


def watch(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A log, a folder of runs, - for standard input, or a URL.")
    ],
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME|NUMBER", help="Which run, where there are several; by default the newest."),
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Look for news at most so often.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, show the panel, and leave.")] = False,
    exit_on_finish: Annotated[
        bool, typer.Option("--exit-on-finish", help="Leave when the run has ended, as far as its log says so.")
    ] = False,
    exit_on_alarm: Annotated[
        bool, typer.Option("--exit-on-alarm", help="Leave when something at or above --fail-on is found.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Leave when nothing new has come for so long.")
    ] = None,
    pid: Annotated[int | None, typer.Option(metavar="PID", help="Leave when this process has ended.")] = None,
    tee: Annotated[
        bool, typer.Option("--tee", help="Pass standard input on to standard output; all else goes to standard error.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a panel: one for each thing that happens.")
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            autocompletion=completing(*FORMATS),
            help="text, or json: one object a line.",
        ),
    ] = "text",
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="LOSSDOCTOR_WEBHOOK",
            help="Send what is found there, too; better given as LOSSDOCTOR_WEBHOOK, which other users cannot see.",
        ),
    ] = None,
    webhook_style: Annotated[
        str, typer.Option(metavar="STYLE", autocompletion=completing(*STYLES), help="json or slack.")
    ] = "json",
    fail_on: FailOn = None,
    select: Select = None,
    ignore: Ignore = None,
    metric: Metric = None,
    context: Context = None,
    config: Config = None,
) -> None:
    """Watch a run while it trains: its curves, what is wrong with it, since when, and what to do.

    On a terminal a panel, elsewhere a line for each thing that happens. What is not there yet is waited for. Ctrl-C,
    or the end of standard input, ends it with the diagnosis.

    Exit code: 0 nothing at or above --fail-on in the end, 1 findings, 2 wrong usage, or no run came.
    """
    from lossdoctor.cli.follow import Follower
    from lossdoctor.cli.settings import effective_settings, run_context
    from lossdoctor.cli.watch_view import make_view
    from lossdoctor.cli.watching import Reasons, Watcher, is_running

    format = choose("format", format, FORMATS)
    settings = effective_settings(
        config, select or (), ignore or (), pairs(metric or (), "--metric", "ROLE=NAME"),
        pairs(context or (), "--context", "KEY=VALUE"), fail_on,
    )  # fmt: skip
    given = run_context(settings)
    _check(path, interval, timeout, tee=tee)
    if pid is not None:
        is_running(pid)
    hook = None if webhook is None else _webhook(webhook, choose("style for --webhook-style", webhook_style, STYLES))
    watched = Reasons(once, exit_on_finish, exit_on_alarm, timeout, pid)
    spool = _spool() if path == "-" else None
    with ExitStack() as stack:
        stack.enter_context(_terminated())
        view = make_view(plain=plain, as_json=format == "json", once=once, tee=tee)
        stack.callback(view.close)
        if spool is not None:
            spool.tee = view.pass_on if tee else None
            stack.enter_context(spool)
        follower = Follower(path, settings.metrics, given, None if spool is None else spool.path)
        watcher = Watcher(follower, view, settings, given, watched, run, interval, spool, hook)
        report = _watch(watcher)
    if hook is not None:
        hook.drain()
    if format == "json":
        from lossdoctor.live.telling.payloads import encode

        say(encode({"source": "lossdoctor", "kind": "report", "report": report.as_dict()}))
    elif once and not plain:
        from lossdoctor.render.panel import RunPanel

        view.console.print(RunPanel(watcher.state()))
    else:
        from lossdoctor.render.text import print_report

        print_report(report, view.console)
    raise typer.Exit(int(report.fails(settings.fail_on)))


def _check(path: str, interval: float, timeout: float | None, *, tee: bool) -> None:
    if not path:
        raise UsageError("the path is empty; give a log, a folder of runs, a URL, or - for standard input")
    if not interval >= 0.1:
        raise UsageError(f"--interval must be at least 0.1 seconds, got {interval:g}")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout must be above 0 seconds, got {timeout:g}")
    if tee and path != "-":
        raise UsageError(f"--tee passes on standard input, and {path} is none; give - as the path")


def _webhook(url: str, style: str) -> Webhook:
    from lossdoctor.live.telling.webhooks import Webhook

    try:
        return Webhook(url, style="slack" if style == "slack" else "json")
    except ValueError as error:
        raise UsageError(f"--webhook: {error}") from None


def _spool() -> StdinSpool:
    from lossdoctor.cli.follow_stdin import StdinSpool

    return StdinSpool()


class _Terminated(KeyboardInterrupt):
    """SIGTERM: leave at once, but with the diagnosis and the terminal as it was."""


@contextmanager
def _terminated() -> Iterator[None]:
    def leave(_number: int, _frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _watch(watcher: Watcher) -> Report:
    """Until there is a reason to leave, then a last look.

    Ctrl-C reaches the training before the pipe as well: what it still writes (that it saves a checkpoint, say) is read
    to the end, for a closed pipe would break it off. The second Ctrl-C leaves.
    """
    try:
        watcher.watch()
    except _Terminated:
        pass
    except KeyboardInterrupt:
        if watcher.spool is not None and not watcher.input_ended:
            watcher.view.say("info", "-", "waiting for the end of standard input; Ctrl-C again leaves now")
            with suppress(KeyboardInterrupt):
                watcher.watch()
    except Exception:
        if watcher.spool is not None:  # whoever writes must not be broken off because nobody can be told
            with suppress(KeyboardInterrupt):
                watcher.spool.ended.wait()
        raise
    return watcher.last()
