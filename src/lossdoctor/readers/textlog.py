"""Plain-text logs of any training loop."""

from __future__ import annotations

from typing import ClassVar

from lossdoctor.core.errors import NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import PROBE_BYTES, Reader, Source
from lossdoctor.readers.text.assemble import histories_of
from lossdoctor.readers.text.lines import is_text, read_lines
from lossdoctor.readers.text.scan import Scan


class TextLogReader(Reader):
    """What a training loop printed: lines, progress bars, tables, boxes; no format need be named."""

    name: ClassVar[str] = "text"
    describes: ClassVar[str] = (
        "plain-text logs of any training loop: key-value lines, progress bars, tables, JSON or dicts behind a prefix"
    )

    def sniff(self, source: Source) -> int:
        """50 when the head holds metrics, 5 for any other text: its metrics may come later."""
        try:
            head = source.head
        except ReadError:
            return 0
        if not is_text(head):
            return 0
        scan = Scan()
        sample = Source(source.path, source.name, data=head)
        for number, lines in read_lines(sample, []):
            scan.feed(number, lines)
        if histories_of(scan, source, []):
            return 50
        return 5 if len(head) >= PROBE_BYTES else 2

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history per file, rows in the order of the log.

        Raises:
            NotRecognizedError: binary data, or text in which no metric recurs.
            BrokenFileError: compressed and damaged from the start.
        """
        if not is_text(source.head):
            raise NotRecognizedError(source.path, "binary data, not a text log", hint="name a log file")
        notes: list[str] = []
        scan = Scan()
        for number, lines in read_lines(source, notes):
            scan.feed(number, lines)
        found = histories_of(scan, source, notes)
        if not found:
            raise NotRecognizedError(
                source.path,
                f"text of {scan.lines:,} lines in which no loss or other metric recurs",
                hint="a log line needs a name and a number, such as 'step 100 loss 2.31'",
            )
        return found
