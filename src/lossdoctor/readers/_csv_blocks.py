"""Blocks of a table into a builder: clean ones at once; of others the clean stretches, and the rest row by row."""

from __future__ import annotations

from lossdoctor.readers._csv_dialect import Dialect
from lossdoctor.readers._csv_rows import RowReader
from lossdoctor.readers._lines import count_of
from lossdoctor.readers._numbers import clean_runs, line_skeleton, parse_block, strict_skeleton
from lossdoctor.readers._table import TableBuilder

_AT_A_TIME = 64


class BlockAdder:
    """Adds blocks in the order of the file, through the row reader wherever one is not clean."""

    def __init__(self, builder: TableBuilder, reader: RowReader, dialect: Dialect) -> None:
        self._builder = builder
        self._reader = reader
        self._separator = dialect.separator

    def add(self, data: bytes, line: int, byte: int, last: bool) -> None:
        """One block.

        Args:
            data: lines; the last one may lack its end where the file does.
            line, byte: of the first line in the file.
            last: whether the file ends here.
        """
        reader = self._reader
        if not reader.started:
            used = reader.start(data)
            line += count_of(data[:used], b"\n")
            byte += used
            data = data[used:]
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        if whole and not self._at_once(whole):
            if self._separator is None or reader.waiting:
                reader.rows(whole, line, byte, last=False)
            else:
                self._by_runs(whole, line, byte)
        if rest:
            reader.rows(rest, line + count_of(whole, b"\n"), byte + end, last)

    def _at_once(self, data: bytes, engine: str | None = None) -> bool:
        if self._separator is None or self._reader.waiting:
            return False
        pieces = parse_block(data, len(self._reader.columns), self._separator, engine)
        if pieces is None:
            return False
        self._builder.block(list(self._reader.columns), pieces, count_of(data, b"\n"))
        return True

    def _by_runs(self, data: bytes, line: int, byte: int) -> None:
        """Clean stretches of lines at once, the lines between them singly."""
        assert self._separator is not None
        lines = data.split(b"\n")
        lines.pop()
        bare = strict_skeleton(data, self._separator).split(b"\n")
        done = 0
        while done < len(lines):
            width = len(self._reader.columns)
            pattern = line_skeleton(width, self._separator)
            for start, stop, clean in clean_runs(bare, pattern, done, len(lines)):
                part = b"\n".join(lines[start:stop]) + b"\n"
                done = stop
                if not clean or not self._at_once(part, "orjson"):
                    done = self._singly(lines, start, stop, line, byte)
                if len(self._reader.columns) != width:  # a header in the middle: what is clean is another thing now
                    break

    def _singly(self, lines: list[bytes], start: int, stop: int, line: int, byte: int) -> int:
        """Lines one by one, up to a header that changes the width. Returns the first line not read."""
        width = len(self._reader.columns)
        for at in range(start, stop, _AT_A_TIME):
            end = min(at + _AT_A_TIME, stop)
            self._reader.rows(b"\n".join(lines[at:end]) + b"\n", line + at, byte, last=False)
            if len(self._reader.columns) != width:
                return end
        return stop
