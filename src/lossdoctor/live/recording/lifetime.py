"""The end of a process and its forks: monitors that nobody ended are ended, and a forked worker writes nothing."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Protocol


class Open(Protocol):
    """What is to be ended with the process."""

    def _end(self, error: BaseException | None) -> None: ...
    def _leave_to_parent(self) -> None: ...


_open: dict[int, Open] = {}
_hooked = False


def begin(monitor: Open) -> None:
    """Remember a monitor until :func:`end`."""
    global _hooked  # noqa: PLW0603
    if not _hooked:
        _hooked = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
    _open[id(monitor)] = monitor


def end(monitor: Open) -> None:
    """It was ended, or has nothing to end."""
    _open.pop(id(monitor), None)


def _at_exit() -> None:
    for monitor in list(_open.values()):
        monitor._end(_uncaught())


def _uncaught() -> BaseException | None:
    """The exception that ends this process: Python keeps the one whose traceback it printed last.

    In an interactive session that may be any mistake typed before; there it says nothing.
    """
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None
    found = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return found if isinstance(found, BaseException) else None


def _in_child() -> None:
    for monitor in list(_open.values()):
        monitor._leave_to_parent()
    _open.clear()
