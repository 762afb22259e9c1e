"""Standard input, kept in a temporary file as it comes, so that it can be followed as any log."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lossdoctor.core.errors import ReadError

_PIECE = 1 << 16


class StdinSpool:
    """Reads standard input in a thread of its own until it ends: whoever writes to it never waits for a verdict.

    Args:
        descriptor: the file descriptor to read; standard input's by default.

    Attributes:
        tee: called with every piece as it comes; what it raises ends the passing on, not the reading.
        path: where what has come is kept.
        ended: set when standard input has ended.
        problem: why what comes can no longer be kept; empty when it can.

    Raises:
        ReadError: there is no standard input, or it is a terminal.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = _readable() if descriptor is None else descriptor
        self.tee: Callable[[bytes], None] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lossdoctor-")
        self.path = Path(self._folder.name, "standard input")
        self.path.touch()
        self.ended = threading.Event()
        self.problem = ""
        self._thread = threading.Thread(target=self._read, name="lossdoctor-stdin", daemon=True)

    def __enter__(self) -> StdinSpool:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def _read(self) -> None:
        try:
            with self.path.open("ab", buffering=0) as kept:
                while piece := os.read(self._descriptor, _PIECE):
                    self._pass_on(piece)
                    self._keep(kept.write, piece)
        except OSError as error:
            self.problem = self.problem or f"standard input cannot be read any further ({error.strerror or error})"
        finally:
            self.ended.set()

    def _pass_on(self, piece: bytes) -> None:
        if self.tee is None:
            return
        try:
            self.tee(piece)
        except (OSError, ValueError):  # nobody reads what is passed on any more; who writes must not suffer from that
            self.tee = None

    def _keep(self, write: Callable[[bytes], int | None], piece: bytes) -> None:
        """Write a piece whole; a full disk ends the keeping, not the reading: the training must go on."""
        if self.problem:
            return
        try:
            while piece:
                piece = piece[write(piece) or 0 :]
        except OSError as error:
            self.problem = f"{tempfile.gettempdir()}: what comes cannot be kept any more ({error.strerror or error})"


def _readable() -> int:
    hint = "pipe a log into it: python train.py 2>&1 | lossdoctor watch -"
    if sys.stdin is None:
        raise ReadError("-", "there is no standard input", hint=hint)
    if sys.stdin.isatty():
        raise ReadError("-", "standard input is a terminal", hint=hint)
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError):
        raise ReadError("-", "standard input is no file", hint=hint) from None
