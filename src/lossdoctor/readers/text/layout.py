"""What one kind of line holds: its counters and metrics, and the rows read so far."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lossdoctor.readers.text.shapes import to_float

MISSING = -1.7976931348623157e308
"""Stands for an empty cell of a table, which is not the same as a NaN that was printed."""
NO_COUNTERS = frozenset({"metric", "rank", "best"})


@dataclass(frozen=True, slots=True)
class Column:
    """One number of a line.

    Attributes:
        role: ``"step"``, ``"pos"`` (a position without a name), ``"lead"`` (a number that opens the line),
            ``"epoch"``, ``"rank"``, ``"best"`` (the best value so far) or ``"metric"``.
        key: the log's word for it.
        name: of a metric: the curve's name.
        split: of a metric: ``"train"``, ``"val"``, ``"test"`` or ``""``.
        order: among step counters, 0 for the surest.
        total: another column follows with the total (``10/100``); for a metric, with the denominator.
        average: another column follows with a running average (``6.9 (7.0)``).
        negated: the log prints what is to be maximised; its negative is the loss.
    """

    role: str
    key: str
    name: str = ""
    split: str = ""
    order: int = 0
    total: bool = False
    average: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """All lines with the same columns.

    Attributes:
        columns: in the order of the line.
        split: what the whole line is about, ``"val"`` for ``Test: [10/48] ...``.
        bar: ``"keras"`` or ``"tqdm"`` for progress bars, ``"table"`` for rows under a header, else ``""``.
        rank: the writing process where the text says so, else -1.
        single: the line holds one key and one number, nothing else.
        timed: six more columns hold year to second.
        source: distinguishes tables with equal columns.
        boxed: the line belongs to a box or to printed JSON, in which the step may come last.
    """

    columns: tuple[Column, ...]
    split: str = ""
    bar: str = ""
    rank: int = -1
    single: bool = False
    timed: bool = False
    source: int = 0
    boxed: bool = False

    @property
    def metrics(self) -> list[Column]:
        """The metric columns."""
        return [c for c in self.columns if c.role == "metric"]

    @property
    def counters(self) -> list[Column]:
        """The columns that say where in the run the line is."""
        return [c for c in self.columns if c.role not in NO_COUNTERS]

    def at(self, column: Column) -> int:
        """Index of a column's value in a row."""
        i = 0
        for c in self.columns:
            if c is column:
                return i
            i += 1 + c.total + c.average
        raise KeyError(column.key)

    @property
    def width(self) -> int:
        """Numbers per row."""
        return sum(1 + c.total + c.average for c in self.columns) + (6 if self.timed else 0)


@dataclass(slots=True)
class Rows:
    """The rows of one layout while the log is read: packed arrays, 8 bytes a number.

    Numbers wait as text in ``waiting``, since many are turned into floats faster than one by one.
    """

    layout: Layout
    values: array[float] = field(default_factory=lambda: array("d"))
    order: array[int] = field(default_factory=lambda: array("q"))
    waiting: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Turn what waits into numbers."""
        import orjson

        if not self.waiting:
            return
        found: list[float] = []
        with suppress(ValueError):  # nan, 007 and 5. are numbers, but not in JSON
            found = orjson.loads(f"[{','.join(self.waiting)}]")
        if len(found) != len(self.waiting):  # so are "1,234" and what else JSON took for two
            try:
                found = [*map(float, self.waiting)]
            except ValueError:
                found = [*map(to_float, self.waiting)]
        self.values.extend(found)
        self.waiting.clear()


@dataclass(slots=True)
class Block:
    """The rows of one layout, as arrays.

    Attributes:
        layout: their columns.
        order: int64[n], place of each line in the log, increasing.
        values: float64[n, width].
        steps: int64[n] once the axis is known.
        fine: whether the rows carry their own step, not only an epoch.
        group: int64[n]: rows of one number are states of one progress bar, of which the last counts.
        averaged: the running average stands for the value (a whole evaluation was collapsed to its last line).
    """

    layout: Layout
    order: NDArray[np.int64]
    values: NDArray[np.float64]
    steps: NDArray[np.int64] | None = None
    fine: bool = False
    averaged: bool = False
    group: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, rows: Rows) -> Block:
        """From the packed arrays."""
        order = np.frombuffer(rows.order, dtype=np.int64)  # no copy: the rows are complete
        values = np.frombuffer(rows.values, dtype=np.float64).reshape(len(order), rows.layout.width)
        return cls(rows.layout, order, values)

    def __len__(self) -> int:
        return len(self.order)

    def column(self, column: Column) -> NDArray[np.float64]:
        """float64[n]: the values of a column."""
        found: NDArray[np.float64] = self.values[:, self.layout.at(column)]
        return found

    def total(self, column: Column) -> NDArray[np.float64] | None:
        """float64[n]: the totals beside a column, or None."""
        if not column.total:
            return None
        found: NDArray[np.float64] = self.values[:, self.layout.at(column) + 1]
        return found

    def keep(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> None:
        """Drop the other rows."""
        self.order = self.order[index]
        self.values = self.values[index]
        if self.steps is not None:
            self.steps = self.steps[index]
        if self.group is not None:
            self.group = self.group[index]
