"""Where in a growing file reading stopped, and whether the file still goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PIECE = 8 << 20
_END = 1 << 12


class Changed(Exception):
    """The file is no longer what was read of it: it was truncated, replaced or written over."""


class Tail:
    """How much of a file has been read, and how that ends, so that a rewritten file is noticed."""

    def __init__(self) -> None:
        self.offset = 0
        self._end = b""

    def pieces(self, path: Path) -> Iterator[bytes]:
        """What has come since, in pieces; raises Changed when what was read is no longer there."""
        with path.open("rb") as stream:
            stream.seek(self.offset - len(self._end))
            if stream.read(len(self._end)) != self._end:
                raise Changed
            while piece := stream.read(PIECE):
                yield piece

    def take(self, data: bytes) -> None:
        """So much more has been read."""
        self.offset += len(data)
        self._end = (self._end + data[-_END:])[-_END:]
