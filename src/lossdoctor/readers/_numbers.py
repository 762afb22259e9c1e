"""Blocks of clean numeric lines to columns, at the speed of C: Polars where it is installed, else orjson.

A block is *proven* clean before it is parsed: with every character of a number deleted, what remains must be the same
separators in every line. So nothing irregular can slip through a fast parser that is lenient in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Digits, signs, exponents, blanks, and the letters of nan and inf; a word that is no number fails in the parser.
_NUMERIC = b"0123456789+-.eE \t\rnaifNAItyINF"
_STRICT = b"0123456789+-.eE \t\r"
# Smaller blocks are not worth starting Polars for: importing it takes longer than reading them.
_SMALL = 1 << 18
# Shorter stretches of clean lines are not worth a parser's call.
_LEAST_RUN = 8
_TRAILING_BLANKS = re.compile(rb"[ \t]+(?=[,;\t\r\n])")

# One column of a block: offsets of the rows that have a value (None: all), and the values.
Piece = tuple[NDArray[np.int64] | None, NDArray[np.float64]]


@cache
def fast_engine() -> str:
    """``"polars"`` when it is installed, else ``"orjson"``."""
    try:
        import polars  # noqa: F401
    except ImportError:
        return "orjson"
    return "polars"


def skeleton(data: bytes, separator: bytes = b",") -> bytes:
    """What is left of lines when every character of a number is deleted.

    >>> skeleton(b"1,2.5e-3,nan\\n")
    b',,\\n'
    """
    return data.translate(None, _NUMERIC.replace(separator, b""))


def strict_skeleton(data: bytes, separator: bytes = b",") -> bytes:
    """As ``skeleton``, but the letters of nan and inf stay: what orjson can read."""
    return data.translate(None, _STRICT.replace(separator, b""))


def line_skeleton(columns: int, separator: bytes = b",") -> bytes:
    """The skeleton of a clean line without its end."""
    return separator * (columns - 1)


def clean_runs(skeletons: list[bytes], clean: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
    """Stretches of lines that are all clean or all not, in order; clean ones too short to matter count as not.

    >>> list(clean_runs([b","] * 9 + [b"x", b",", b"x"], b",", 0, 12))
    [(0, 9, True), (9, 12, False)]
    """
    at = odd = start
    while at < stop:
        if skeletons[at] != clean:
            at += 1
            continue
        end = at
        while end < stop and skeletons[end] == clean:
            end += 1
        if end - at >= _LEAST_RUN:
            if odd < at:
                yield odd, at, False
            yield at, end, True
            odd = end
        at = end
    if odd < stop:
        yield odd, stop, False


def parse_block(data: bytes, columns: int, separator: bytes = b",", engine: str | None = None) -> list[Piece] | None:
    """The columns of a block of whole lines, or None when it is not clean.

    Args:
        data: lines, each ending in a newline.
        columns: cells that every line must have; an empty cell is one that was not logged.
        separator: one byte.
        engine: ``"polars"`` or ``"orjson"``; what is installed when None.
    """
    left = skeleton(data, separator)
    rows = len(left) // columns  # of a clean line its separators and its end are left, one for each column
    if not rows or left != (separator * (columns - 1) + b"\n") * rows:
        return None
    if columns == 1 and (b"\n\n" in data or data[:1] == b"\n" or b"\n\r" in data):
        return None  # a blank line is no row, an empty cell is: only the slow way tells them apart
    if b" " in data and (b" " + separator in data or b" \n" in data or b" \r" in data):
        data = _TRAILING_BLANKS.sub(b"", data)
    if (engine or (fast_engine() if len(data) > _SMALL else "orjson")) == "polars":
        return _with_polars(data, columns, separator)
    return _with_orjson(data, columns, separator, rows)


def _with_polars(data: bytes, columns: int, separator: bytes) -> list[Piece] | None:
    import polars as pl

    names = [f"c{i}" for i in range(columns)]
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            separator=separator.decode(),
            schema=dict.fromkeys(names, pl.Float64),
            quote_char=None,
        )
    except pl.exceptions.PolarsError:
        return None
    out: list[Piece] = []
    for name in names:
        series = frame[name]
        if series.null_count():
            present = series.is_not_null().to_numpy()
            out.append((np.flatnonzero(present), series.drop_nulls().to_numpy()))
        else:
            out.append((None, series.to_numpy()))
    return out


def _with_orjson(data: bytes, columns: int, separator: bytes, rows: int) -> list[Piece] | None:
    import orjson

    data = data.removesuffix(b"\n")
    if b"\r" in data:
        data = data.replace(b"\r", b"")
    if separator != b",":
        data = data.replace(separator, b",")
    flat = b"[" + data.replace(b"\n", b",") + b"]"
    if b",," in flat or flat.startswith(b"[,") or flat.endswith(b",]"):
        flat = flat.replace(b",,", b",null,").replace(b",,", b",null,")
        flat = flat.replace(b"[,", b"[null,").replace(b",]", b",null]")
    try:
        values: Any = orjson.loads(flat)
        table = np.array(values, dtype=np.float64).reshape(rows, columns)
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    out: list[Piece] = []
    for j in range(columns):
        column = np.ascontiguousarray(table[:, j])
        missing = np.isnan(column)  # JSON has no NaN: each one here was a null
        if missing.any():
            out.append((np.flatnonzero(~missing), column[~missing]))
        else:
            out.append((None, column))
    return out
