"""Running code inside somebody's training so that nothing of it escapes: what fails once is switched off."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Result = TypeVar("Result")
_LONGEST = 300


class Guard:
    """Runs parts of the monitor, actions and callbacks. A part that raises is told once and never run again.

    ``KeyboardInterrupt``, ``SystemExit`` and their like are the user's: they pass. With ``LOSSDOCTOR_RAISE`` in the
    environment (tests) everything passes.

    Args:
        tell: called with the part's name and its error, once for each part.

    >>> told = []
    >>> guard = Guard(lambda part, error: told.append(part))
    >>> with_raise = os.environ.pop("LOSSDOCTOR_RAISE", None)
    >>> [guard.run("half", "halving", lambda x: 1 // x, x, default=-1) for x in (1, 0, 1)]
    [1, -1, -1]
    >>> told
    ['halving']
    >>> os.environ.update({"LOSSDOCTOR_RAISE": with_raise} if with_raise else {})
    """

    def __init__(self, tell: Callable[[str, Exception], None]) -> None:
        self._tell = tell
        self._off: set[Hashable] = set()

    def run(
        self, key: Hashable, part: str, function: Callable[..., Result], *arguments: Any, default: Any = None
    ) -> Result | Any:
        """The function's result, or ``default`` where it (or what shares its ``key``) has raised."""
        if key in self._off:
            return default
        try:
            return function(*arguments)
        except Exception as error:
            self.failed(key, part, error)
            return default

    def failed(self, key: Hashable, part: str, error: Exception) -> None:
        """Switch a part off, for code that catches by itself because it is in a hurry."""
        if os.environ.get("LOSSDOCTOR_RAISE"):
            raise error
        if key in self._off:
            return
        self._off.add(key)
        try:
            self._tell(part, error)
        except Exception:  # telling must not be what stops a training
            return


def described(error: BaseException) -> str:
    """An error in one line: its class and the beginning of its message.

    >>> described(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = ""
    kind = type(error).__name__
    return f"{kind}: {message}"[:_LONGEST] if message else kind
