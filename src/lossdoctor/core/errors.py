"""Errors that name what was found, where, what was expected and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The end of a message on an unknown word: the allowed one closest to it, or nothing.

    >>> nearest("overfiting", ["overfitting", "plateau"])
    "; did you mean 'overfitting'?"
    """
    from difflib import get_close_matches

    by_fold = {a.lower(): a for a in allowed}
    close = get_close_matches(word.lower(), by_fold, n=1, cutoff=0.55)
    return f"; did you mean {by_fold[close[0]]!r}?" if close else ""


class LossdoctorError(Exception):
    """Base of every error that lossdoctor raises on purpose."""


class UsageError(LossdoctorError):
    """The caller asked for something that cannot be done (unknown option, code or metric)."""


class UserCodeError(LossdoctorError):
    """The caller's own model, loss or loader raised while a test ran it; the original is the ``__cause__``.

    Args:
        where: what raised and when, for example ``"the loss function, on batch 3"``.
        error: what it raised.
    """

    def __init__(self, where: str, error: BaseException) -> None:
        self.where = where
        text = str(error).strip() or "no message"
        super().__init__(f"{where} raised {type(error).__name__}: {text}")


class ReadError(LossdoctorError):
    """A path could not be turned into a history.

    Args:
        path: the path as the user gave it.
        problem: what was found and, where it applies, what was expected instead.
        where: line or byte, for example ``"line 12"`` or ``"byte 81,220"``; empty when it concerns the whole file.
        hint: the next step for the user.
    """

    def __init__(self, path: str, problem: str, *, where: str = "", hint: str = "") -> None:
        self.path = path
        self.problem = problem
        self.where = where
        self.hint = hint
        super().__init__(path, problem, where, hint)

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error comes back whole from a worker process: exceptions are rebuilt from ``args`` otherwise."""
        return _rebuild, (type(self), dict(self.__dict__))

    @property
    def message(self) -> str:
        """The whole message without the path."""
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}; {self.hint}" if self.hint else text

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class NotRecognizedError(ReadError):
    """No reader recognises this file: it is skipped and counted in a folder, an error when named."""


class MissingDependencyError(ReadError):
    """The format is known but needs a package that is not installed; the hint names the extra."""

    def __init__(self, path: str, format: str, package: str, extra: str) -> None:
        self.format = format
        self.package = package
        self.extra = extra
        super().__init__(
            path,
            f"this is a {format} file, and reading it needs the package {package!r}, which is not installed",
            hint=f"run: pip install 'lossdoctor[{extra}]'",
        )


class BrokenFileError(ReadError):
    """The format is recognised, but the file is broken at ``where``."""


def _rebuild(kind: type[ReadError], state: dict[str, Any]) -> ReadError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state["path"], state["problem"], state["where"], state["hint"])
    return error
