"""A text log that grows: each line is scanned once."""

from __future__ import annotations

import re

from lossdoctor.cli.follow_tail import Tail
from lossdoctor.core.errors import NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.text.assemble import histories_of
from lossdoctor.readers.text.layout import Block
from lossdoctor.readers.text.lines import is_text, read_lines
from lossdoctor.readers.text.scan import Scan

_LONGEST_LINE = 16 << 20
# What ends a state of a progress bar, and what terminals are told beside it.
_BREAKS = re.compile(rb"(?:[\r\x08\x0b\x0c]|\x1b\[[0-9;?]*[ -/]*[@-~])+\Z")


class _GrowingScan(Scan):
    """A scan whose rows are looked at while they grow: arrays that are in use cannot grow, so copies are given out."""

    def blocks(self) -> list[Block]:
        found = super().blocks()
        for block in found:
            block.order, block.values = block.order.copy(), block.values.copy()
        return found


class TextGrower:
    """A text log in UTF-8: complete lines are scanned as they come, and what a carriage return completes as well."""

    def __init__(self) -> None:
        self._tail = Tail()
        self._scan = _GrowingScan()
        self._line = 1
        self._notes: list[str] = []

    def read(self, source: Source, *, whole: bool) -> list[TrainingHistory]:
        """See :class:`lossdoctor.cli.follow_files.Grower`."""
        assert source.local is not None
        if not is_text(source.head):
            raise NotRecognizedError(source.path, "binary data, not a text log", hint="name a log file")
        rest = b""
        for piece in self._tail.pieces(source.local):
            rest = self._complete(source, rest + piece)
        if rest and (whole or len(rest) > _LONGEST_LINE):
            self._feed(source, rest)
            self._tail.take(rest)
        found = histories_of(self._scan, source, self._notes)
        if not found:
            raise NotRecognizedError(
                source.path,
                f"text of {self._scan.lines:,} lines in which no loss or other metric recurs",
                hint="a log line needs a name and a number, such as 'step 100 loss 2.31'",
            )
        return found

    def _complete(self, source: Source, data: bytes) -> bytes:
        """Scan what is complete of the data; the rest comes back."""
        end = data.rfind(b"\n") + 1
        if end:
            self._feed(source, data[:end])
        rest = data[end:]
        stop = max(rest.rfind(b"\r"), rest.rfind(b"\x08")) + 1
        if 0 < stop < len(rest):  # at the very end it may be the first half of a line end
            self._feed(source, _BREAKS.sub(b"", rest[:stop]))
            end += stop
        self._tail.take(data[:end])
        return data[end:]

    def _feed(self, source: Source, data: bytes) -> None:
        if not data:  # a progress bar that begins with a carriage return: nothing stands before it
            self._scan.feed(self._line, [""])
        for number, lines in read_lines(Source(source.path, source.name, data=data), self._notes):
            self._scan.feed(self._line + number - 1, lines)
        self._line += data.count(b"\n")
