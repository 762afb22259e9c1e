"""How far a test is: on the terminal, where there is one, and never in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]  # called with (done, of how many)


@contextmanager
def shown(what: str, progress: Progress | bool | None) -> Iterator[Progress]:
    """Where the body reports to.

    Args:
        what: a few words beside the bar.
        progress: a function that is called with (done, total); False for silence; None or True for a bar on stderr,
            which is shown on a terminal only.
    """
    if callable(progress):
        yield progress
    elif progress is False or not sys.stderr.isatty():
        yield _silent
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _silent(done: int, total: int) -> None:
    """Nobody looks."""
