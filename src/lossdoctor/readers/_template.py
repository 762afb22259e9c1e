"""Lines of JSON that all have one make, read at the speed of a table of numbers.

The keys of the first line are replaced by single marks. If then every line shows the same marks, braces and commas in
the same order once the numbers are deleted, the lines hold the same keys in the same order and nothing but numbers,
and what is left when marks and braces are deleted is a table with commas between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lossdoctor.readers._lines import count_of
from lossdoctor.readers._numbers import Piece, clean_runs, fast_engine, parse_block, skeleton, strict_skeleton
from lossdoctor.readers._table import TableBuilder

_SMALL = 1 << 18
_KEY = re.compile(rb'"[^"\\\x00-\x1f\x80-\xff]*"\s*:')
# Bytes that stand in no JSON text: control characters, and those that begin no UTF-8 letter in these lines.
_MARKS = bytes([*range(1, 9), *range(14, 32), *range(0x80, 0x100)])


@dataclass(slots=True)
class Template:
    """The make of lines: their keys as written, the mark of each, and the skeleton of a marked line."""

    keys: list[bytes]
    names: list[str]
    line: bytes
    opening: bytes

    @classmethod
    def of(cls, data: bytes) -> Template | None:
        """The template of a block's first line, or None when that is no plain row of numbers."""
        end = data.find(b"\n")
        first = data[:end].rstrip(b"\r") if end > 0 else b""
        keys = _KEY.findall(first)
        if not keys or len(keys) > len(_MARKS) or len(set(keys)) != len(keys):
            return None
        try:
            row = orjson.loads(first)
        except orjson.JSONDecodeError:
            return None
        names = _leaves(row)
        if names is None or len(set(names)) != len(names):
            return None
        template = cls(keys, names, b"", first.lstrip()[:20])
        template.line = skeleton(template._marked(first)) + b"\n"
        return template if template.line.count(b",") == len(names) - 1 else None

    def runs(self, data: bytes) -> Iterator[tuple[int, int, list[Piece] | None]]:
        """Stretches of lines: those of this make with their columns, the others with None."""
        marked = self._marked(data)
        bare = strict_skeleton(marked).split(b"\n")
        lines: list[bytes] = []
        for start, stop, clean in clean_runs(bare, self.line[:-1], 0, count_of(data, b"\n")):
            pieces = None
            if clean:
                lines = lines or marked.split(b"\n")
                table = b"\n".join(lines[start:stop]) + b"\n"
                table = table.translate(None, _MARKS[: len(self.keys)] + b"{}")
                pieces = parse_block(table, len(self.names), engine="orjson")
            yield start, stop, pieces

    def _with_marks(self, data: bytes, rows: int) -> list[Piece] | None:
        marked = self._marked(data)
        if skeleton(marked) != self.line * rows:
            return None
        return parse_block(marked.translate(None, _MARKS[: len(self.keys)] + b"{}"), len(self.names))

    def _with_polars(self, data: bytes, rows: int) -> list[Piece] | None:
        """Flat rows without NaN. Polars would drop an unknown key and fill a missing one with a null: so many quotes
        as the keys have, and not one null, leave room for neither."""
        if fast_engine() != "polars" or len(self.keys) != len(self.names) or b"[" in data or b"true" in data:
            return None
        if count_of(data, b'"') != 2 * len(self.keys) * rows or count_of(data, b"}") != rows:
            return None
        import polars as pl

        try:
            frame = pl.read_ndjson(data, schema=dict.fromkeys(self.names, pl.Float64))
        except pl.exceptions.PolarsError:
            return None
        if frame.height != rows or any(frame[n].null_count() for n in self.names):
            return None
        return [(None, frame[n].to_numpy()) for n in self.names]

    def fits(self, data: bytes) -> bool:
        """Whether the block begins as the template's lines do; cheap."""
        return data.startswith(self.opening[:2]) and self.keys[0] in data[:200]

    def _marked(self, data: bytes) -> bytes:
        for key, mark in zip(self.keys, _MARKS, strict=False):
            data = data.replace(key, bytes((mark,)))
        return data

    def fill(self, builder: TableBuilder, data: bytes) -> int | None:
        """Add the rows of a block. Returns their number, or None when some line is of another make."""
        if not data.endswith(b"\n"):
            return None
        rows = count_of(data, b"\n")
        pieces = self._with_polars(data, rows) if len(data) > _SMALL else None
        pieces = pieces or self._with_marks(data, rows)
        if pieces is None:
            return None
        builder.block(list(self.names), pieces, rows)
        return rows


def _leaves(row: Any) -> list[str] | None:
    """Paths of the numbers in the order of the text; None when something else than a number is among them."""
    if not isinstance(row, Mapping):
        return None
    out: list[str] = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            inner = _leaves(value)
            if not inner:
                return None
            out += [f"{key}/{name}" for name in inner]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out.append(key)
        else:
            return None
    return out
