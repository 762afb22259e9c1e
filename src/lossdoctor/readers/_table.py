"""A table-like log while it is read: columns with holes, filled by blocks or cell by cell."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A log with more columns than this is an attack or no log; further ones are left out, with a note.
MAX_COLUMNS = 20_000
# Distinct texts that a label column (metric, split, run) may have.
MAX_LABELS = 50_000

Rows = NDArray[np.int64]


@dataclass(slots=True)
class Series:
    """One column: the rows that have a value (None: every row), and the values."""

    rows: Rows | None
    values: NDArray[np.float64]

    def dense(self, rows: int) -> NDArray[np.float64]:
        """One value per row; NaN where the row has none."""
        if self.rows is None:
            return self.values
        out = np.full(rows, np.nan)
        out[self.rows] = self.values
        return out

    def at(self) -> Rows | slice:
        """The rows as an index."""
        return slice(None) if self.rows is None else self.rows


@dataclass(slots=True)
class Labels:
    """One column of texts: per row a code (-1 where it has none), and the text of each code."""

    codes: NDArray[np.int64]
    texts: list[str]


@dataclass(slots=True)
class Table:
    """What was read: number of rows, number columns and label columns by name, in the order of the log."""

    rows: int
    columns: dict[str, Series] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)


class _Column:
    """A column under construction: finished pieces, and packed arrays for single cells."""

    __slots__ = ("pieces", "rows", "values")

    def __init__(self) -> None:
        self.pieces: list[tuple[Rows | tuple[int, int], NDArray[np.float64]]] = []
        self.rows = array("q")
        self.values = array("d")

    def flush(self) -> None:
        if self.values:
            rows = np.frombuffer(self.rows, dtype=np.int64)
            self.pieces.append((rows, np.frombuffer(self.values, dtype=np.float64)))
            self.rows, self.values = array("q"), array("d")

    def finish(self, total: int) -> Series:
        self.flush()
        if not self.pieces:
            return Series(np.zeros(0, dtype=np.int64), np.zeros(0))
        joined = np.concatenate([values for _, values in self.pieces])
        spans = [where for where, _ in self.pieces if isinstance(where, tuple)]
        if len(spans) == len(self.pieces) and len(joined) == total:  # the common case, without an array of rows
            return Series(None, joined)
        rows = np.concatenate([np.arange(*w) if isinstance(w, tuple) else w for w, _ in self.pieces])
        whole = len(rows) == total and bool((rows == np.arange(total)).all())
        return Series(None if whole else rows, joined)


class TableBuilder:
    """Collects rows. ``cell`` fills the current row, ``end_row`` goes to the next; ``block`` adds many rows at once."""

    def __init__(self) -> None:
        self.rows = 0
        self.left_out = 0
        self._columns: dict[str, _Column] = {}
        self._labels: dict[str, tuple[array[int], array[int], dict[str, int]]] = {}

    def column(self, name: str) -> _Column | None:
        """The column of a name, made when new; None when there are too many."""
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) >= MAX_COLUMNS:
                self.left_out += 1
                return None
            column = self._columns[name] = _Column()
        return column

    def cell(self, name: str, value: float) -> None:
        """A number in the current row."""
        column = self._columns.get(name) or self.column(name)
        if column is not None:
            column.rows.append(self.rows)
            column.values.append(value)

    def label(self, name: str, text: str) -> None:
        """A text in the current row."""
        if name not in self._labels:
            if len(self._labels) >= 64:
                return
            self._labels[name] = (array("q"), array("q"), {})
        rows, codes, texts = self._labels[name]
        text = text[:200]
        if text not in texts and len(texts) >= MAX_LABELS:
            return
        rows.append(self.rows)
        codes.append(texts.setdefault(text, len(texts)))

    def end_row(self) -> None:
        """The current row is complete."""
        self.rows += 1

    def block(self, names: list[str | None], pieces: list[tuple[Rows | None, NDArray[np.float64]]], rows: int) -> None:
        """Many rows; ``names[i]`` is None for a column that is not kept."""
        for name, (at, values) in zip(names, pieces, strict=True):
            column = None if name is None else self.column(name)
            if column is None:
                continue
            column.flush()
            where = (self.rows, self.rows + rows) if at is None else at + self.rows
            column.pieces.append((where, values))
        self.rows += rows

    def names(self) -> Iterator[str]:
        """The number columns so far."""
        return iter(self._columns)

    def finish(self) -> Table:
        """The table; the builder is empty afterwards, so that memory holds each column once."""
        table = Table(self.rows)
        for name in list(self._columns):
            table.columns[name] = self._columns.pop(name).finish(self.rows)
        for name, (rows, codes, texts) in self._labels.items():
            dense = np.full(self.rows, -1, dtype=np.int64)
            dense[np.frombuffer(rows, dtype=np.int64)] = np.frombuffer(codes, dtype=np.int64)
            table.labels[name] = Labels(dense, list(texts))
        return table
