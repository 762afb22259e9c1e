"""Steps from a block's own counters: a global step, or an epoch and a position that starts again in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.readers.text.layout import MISSING, Block, Column

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Track:
    """A counter's course over the log: its value holds from ``order`` on until the next."""

    order: Ints
    value: Floats
    total: int = 0

    def at(self, order: Ints) -> Floats:
        """float64[n]: the value that holds at each place; NaN before the first.

        >>> Track(np.array([2, 5]), np.array([1.0, 2.0])).at(np.array([1, 2, 4, 9])).tolist()
        [nan, 1.0, 1.0, 2.0]
        """
        index = np.searchsorted(self.order, order, side="right") - 1
        found = np.full(len(order), np.nan)
        known = index >= 0
        found[known] = self.value[index[known]]
        return found

    def last_before(self, order: Ints) -> Ints:
        """int64[n]: index of the entry that holds at each place, -1 before the first."""
        return np.asarray(np.searchsorted(self.order, order, side="right") - 1, dtype=np.int64)


def track(parts: list[tuple[Ints, Floats]]) -> Track:
    """One track from several blocks' counters."""
    if not parts:
        return Track(np.zeros(0, dtype=np.int64), np.zeros(0))
    order = np.concatenate([p[0] for p in parts])
    value = np.concatenate([p[1] for p in parts])
    by = np.argsort(order, kind="stable")
    return Track(order[by], value[by])


def integral(values: Floats) -> bool:
    """Whether a counter counts: whole, not negative, not all missing."""
    present = values[np.isfinite(values) & (values != MISSING)]
    if len(present) == 0 or len(present) < 0.9 * len(values):
        return False
    return bool(np.all(present == np.floor(present)) and present.min() >= -1 and present.max() < 2**53)


def epoch_column(block: Block) -> Column | None:
    """The column that counts whole epochs, if any."""
    for column in block.layout.counters:
        if column.role == "epoch" and integral(block.column(column)):
            return column
    return None


def step_column(block: Block) -> Column | None:
    """The best step-like column: named before unnamed, moving before constant."""
    found = [c for c in block.layout.counters if c.role != "epoch" and integral(block.column(c))]
    if not found:
        return None

    def key(column: Column) -> tuple[bool, int]:
        values = block.column(column)
        return (len(values) > 3 and bool(np.all(values == values[0])), column.order)

    return min(found, key=key)


def repeats_each_epoch(position: Floats, epoch: Floats) -> bool:
    """Whether a position starts again whenever the epoch goes up.

    >>> repeats_each_epoch(np.array([1.0, 2, 1, 2]), np.array([0.0, 0, 1, 1]))
    True
    """
    up = np.flatnonzero(np.diff(epoch) > 0) + 1
    if len(up) == 0:
        return False
    back = position[up] <= position[up - 1]
    return bool(back.mean() >= 0.5)


def per_epoch(position: Floats, total: Floats | None) -> int:
    """Positions in an epoch: the printed total, else what the positions reach."""
    most = float(position.max())
    if total is not None:
        printed = total[np.isfinite(total) & (total > 0) & (total != MISSING)]
        if len(printed):
            usual = float(np.median(printed))
            if usual >= most:
                return int(usual)
    steps = np.diff(np.unique(position))
    spacing = float(np.median(steps)) if len(steps) else 1.0
    return int(most if position.min() > 0 else most + spacing)


def wraps(position: Floats, total: Floats | None) -> Ints:
    """int64[n]: how often the position has started again before each row, where it had reached its total.

    >>> wraps(np.array([1.0, 2, 1, 2]), np.array([2.0] * 4)).tolist()
    [0, 0, 1, 1]
    """
    count = np.zeros(len(position), dtype=np.int64)
    if total is None or len(position) < 2:
        return count
    back = (np.diff(position) < 0) & (position[:-1] >= 0.85 * total[:-1]) & (total[1:] == total[:-1])
    count[1:] = np.cumsum(back)
    return count


def sweeps(position: Floats, outer: Floats) -> Ints:
    """int64[n]: number of the sweep each row belongs to; a new one begins where the position does not advance."""
    new = np.ones(len(position), dtype=np.int64)
    if len(position) > 1:
        with np.errstate(invalid="ignore"):
            new[1:] = (np.diff(position) < 0) | ((np.diff(position) == 0) & (position[1:] == position.min()))
            new[1:] |= np.diff(np.nan_to_num(outer, nan=-1.0)) != 0
    return np.cumsum(new)


def last_of_each(group: Ints) -> Ints:
    """Indices of the last row of each run of equal numbers."""
    if len(group) == 0:
        return np.zeros(0, dtype=np.int64)
    ends = np.flatnonzero(np.diff(group) != 0)
    return np.append(ends, len(group) - 1).astype(np.int64)
