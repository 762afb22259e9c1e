"""Blocks of 64 points, and the fixed binary tree that merges them so that their number stays bounded.

Every number of a block is computed elementwise in a fixed order, so a point-by-point stream and one vectorised pass
give the same bits, and multiplying all values by a power of two scales every number exactly.

A difference belongs to the block of its *later* point: block k counts the difference across its left border. Merging
two neighbours is then plain addition, joints included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BLOCK = 64
FULL = 1024  # at this many rows neighbours are merged, and half of them remain

_INT_FIELDS = (
    "first_step",
    "last_step",
    "count",
    "nonfinite",
    "n_diff",
    "n_turn",
    "sign_changes",
    "min_step",
    "min_index",
    "max_step",
    "max_index",
)
_FLOAT_FIELDS = ("mean", "m2", "sqdiff", "min", "max", "median", "mad", "diff_median", "first", "last")
_I = {name: k for k, name in enumerate(_INT_FIELDS)}
_F = {name: k for k, name in enumerate(_FLOAT_FIELDS)}


@dataclass(frozen=True, eq=False)
class Blocks:
    """Struct of arrays, one entry per block of ``64 * 2**level`` points in the order of arrival.

    The last entry covers what is left and may be shorter (down to one point), so that the blocks cover all points.

    Attributes:
        level: how often neighbours were merged.
        first_step, last_step: steps of the first and the last raw point, finite or not.
        count, nonfinite: how many finite and non-finite points.
        mean, m2: mean and sum of squared deviations of the finite points (merged by Chan's formula).
        n_diff, sqdiff: number of pairs of finite neighbours and the sum of their squared differences; the pair across
            the left border counts here.
        n_turn, sign_changes: number of three finite points in a row, and how often the difference changed sign there.
        min, max: of the finite points, with the step and the index of their first occurrence.
        median, mad: exact in blocks of 64; a merged block takes the mean of its children's, weighted by their counts.
        diff_median: median absolute difference of finite neighbours, merged likewise: a noise scale that ignores level.
        first, last: the first and the last raw value.

    A block without a finite point has NaN for its numbers and -1 for the indices.
    """

    level: int
    first_step: Ints
    last_step: Ints
    count: Ints
    nonfinite: Ints
    n_diff: Ints
    n_turn: Ints
    sign_changes: Ints
    min_step: Ints
    min_index: Ints
    max_step: Ints
    max_index: Ints
    mean: Floats
    m2: Floats
    sqdiff: Floats
    min: Floats
    max: Floats
    median: Floats
    mad: Floats
    diff_median: Floats
    first: Floats
    last: Floats

    def __len__(self) -> int:
        return len(self.count)

    @property
    def size(self) -> int:
        """Points of a full block."""
        return BLOCK << self.level

    @property
    def first_index(self) -> Ints:
        """Index of each block's first raw point."""
        return np.arange(len(self), dtype=np.int64) * self.size

    @property
    def middle_step(self) -> Floats:
        """Middle of each block on the step axis."""
        return 0.5 * self.first_step + 0.5 * self.last_step

    @property
    def std(self) -> Floats:
        """Standard deviation of the finite points of each block; NaN below two."""
        with np.errstate(all="ignore"):
            return np.where(self.count > 1, np.sqrt(self.m2 / np.maximum(self.count - 1, 1)), np.nan)

    @property
    def noise(self) -> Floats:
        """Robust standard deviation of the noise around the local level, from ``diff_median``; NaN without a pair."""
        return self.diff_median * DIFF_TO_SIGMA

    def same(self, other: Blocks) -> bool:
        """Whether every number is the same, bit for bit (NaN equals NaN)."""
        return all(
            np.array_equal(np.asarray(getattr(self, f.name)), np.asarray(getattr(other, f.name)), equal_nan=True)
            for f in fields(self)
        )


# median |difference| of independent normal noise is 0.6745 * sqrt(2) sigma
DIFF_TO_SIGMA = 1.0 / (0.6744897501960817 * math.sqrt(2.0))


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Blocks as two tables, one line per field of ``_INT_FIELDS`` and of ``_FLOAT_FIELDS``: what the tree moves."""

    ints: Ints
    floats: Floats

    @classmethod
    def empty(cls) -> Rows:
        return cls(np.empty((len(_INT_FIELDS), 0), np.int64), np.empty((len(_FLOAT_FIELDS), 0), np.float64))

    def __len__(self) -> int:
        return int(self.ints.shape[1])

    def cut(self, start: int, stop: int, stride: int = 1) -> Rows:
        return Rows(self.ints[:, start:stop:stride], self.floats[:, start:stop:stride])

    def then(self, later: Rows) -> Rows:
        if len(self) == 0:
            return later
        if len(later) == 0:
            return self
        return Rows(
            np.concatenate((self.ints, later.ints), axis=1), np.concatenate((self.floats, later.floats), axis=1)
        )

    def int_field(self, name: str) -> Ints:
        line: Ints = self.ints[_I[name]]
        return line

    def float_field(self, name: str) -> Floats:
        line: Floats = self.floats[_F[name]]
        return line

    def to_blocks(self, level: int) -> Blocks:
        ints = {n: np.ascontiguousarray(self.ints[k]) for k, n in enumerate(_INT_FIELDS)}
        floats = {n: np.ascontiguousarray(self.floats[k]) for k, n in enumerate(_FLOAT_FIELDS)}
        for array in (*ints.values(), *floats.values()):
            array.flags.writeable = False
        return Blocks(level=level, **ints, **floats)


def tree_sum(x: Floats) -> Floats:
    """Sum over the last axis (a power of two long) by halving: an order that does not depend on the other axes."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]


def sorted_median(ordered: Floats, count: Ints) -> Floats:
    """Median of the first ``count`` entries of each sorted row; NaN where there are none."""
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, ordered.shape[1] - 1)
    rows = np.arange(len(ordered))
    # halves first, so that the largest floats do not overflow; + 0.0 makes -0.0 and 0.0 one
    middle = ordered[rows, low] * 0.5 + ordered[rows, high] * 0.5 + 0.0
    return np.where(count > 0, middle, np.nan)


def base_rows(steps: Ints, values: Floats, present: int, start: int, before: Floats) -> Rows:
    """Summaries of blocks of 64 points.

    Args:
        steps, values: shape (k, 64). Only the last row may be padded.
        present: how many of the k * 64 points are real; the rest is padding.
        start: index of the first point.
        before: the two raw values before the first point, NaN where there are none.
    """
    k = len(values)
    out = Rows(np.empty((len(_INT_FIELDS), k), np.int64), np.empty((len(_FLOAT_FIELDS), k), np.float64))
    ints, floats = out.ints, out.floats
    real = np.full(k, BLOCK)
    real[-1] = present - (k - 1) * BLOCK
    finite = np.isfinite(values)
    if real[-1] < BLOCK:
        finite[-1, real[-1] :] = False
    every_row = np.arange(k)
    ints[_I["first_step"]] = steps[:, 0]
    ints[_I["last_step"]] = steps[every_row, real - 1]
    floats[_F["first"]] = values[:, 0]
    floats[_F["last"]] = values[every_row, real - 1]
    count = finite.sum(axis=1)
    ints[_I["count"]] = count
    ints[_I["nonfinite"]] = real - count
    _centre(out, values, finite, count)
    _extremes(out, steps, values, finite, count, start)
    _differences(out, values, finite, before)
    return out


def _centre(out: Rows, values: Floats, finite: NDArray[np.bool_], count: Ints) -> None:
    median = sorted_median(np.sort(np.where(finite, values, np.inf), axis=1), count)
    out.floats[_F["median"]] = median
    # Deviations from the median: a constant block's mean is exactly its constant; 1/64 keeps the sum from overflowing.
    filled = np.where(finite, values, median[:, None])
    deviation = tree_sum((filled - median[:, None]) * (1.0 / BLOCK))
    part = deviation * (BLOCK / np.maximum(count, 1))
    mean = np.clip(median + part, _masked(filled.min(axis=1), count), _masked(filled.max(axis=1), count))
    out.floats[_F["mean"]] = mean
    rest = np.where(finite, filled - mean[:, None], 0.0)
    out.floats[_F["m2"]] = _masked(tree_sum(rest * rest), count)
    spread = np.where(finite, np.abs(filled - median[:, None]), np.inf)
    out.floats[_F["mad"]] = sorted_median(np.sort(spread, axis=1), count)


def _masked(x: Floats, count: Ints) -> Floats:
    return np.where(count > 0, x, np.nan)


def _extremes(out: Rows, steps: Ints, values: Floats, finite: NDArray[np.bool_], count: Ints, start: int) -> None:
    every_row = np.arange(len(values))
    for name, fill, pick in (("min", np.inf, np.argmin), ("max", -np.inf, np.argmax)):
        at = pick(np.where(finite, values, fill), axis=1)
        out.floats[_F[name]] = _masked(values[every_row, at], count)
        out.ints[_I[f"{name}_step"]] = np.where(count > 0, steps[every_row, at], steps[:, 0])
        out.ints[_I[f"{name}_index"]] = np.where(count > 0, start + every_row * BLOCK + at, -1)


def _differences(out: Rows, values: Floats, finite: NDArray[np.bool_], before: Floats) -> None:
    k = len(values)
    line = np.empty(2 + k * BLOCK)
    line[:2] = before
    line[2:] = np.where(finite, values, np.nan).ravel()
    ok = np.empty(len(line), bool)
    ok[:2] = np.isfinite(before)
    ok[2:] = finite.ravel()
    pair = ok[1:] & ok[:-1]
    difference = line[1:] - line[:-1]
    turn = pair[1:] & pair[:-1]
    up, down = difference > 0, difference < 0
    changed = (turn & ((up[1:] & down[:-1]) | (down[1:] & up[:-1]))).reshape(k, BLOCK)
    pairs = pair[1:].reshape(k, BLOCK)
    step = np.where(pairs, np.abs(difference[1:].reshape(k, BLOCK)), 0.0)
    n_diff = pairs.sum(axis=1)
    out.ints[_I["n_diff"]] = n_diff
    out.ints[_I["n_turn"]] = turn.reshape(k, BLOCK).sum(axis=1)
    out.ints[_I["sign_changes"]] = changed.sum(axis=1)
    out.floats[_F["sqdiff"]] = tree_sum(step * step)
    out.floats[_F["diff_median"]] = sorted_median(np.sort(np.where(pairs, step, np.inf), axis=1), n_diff)


def merge(a: Rows, b: Rows) -> Rows:
    """Each row of ``a`` merged with the row of ``b`` that follows it."""
    ints, floats = a.ints + b.ints, np.empty_like(a.floats)
    na, nb = a.int_field("count"), b.int_field("count")
    ints[_I["first_step"]], ints[_I["last_step"]] = a.int_field("first_step"), b.int_field("last_step")
    floats[_F["first"]], floats[_F["last"]] = a.float_field("first"), b.float_field("last")
    for name in ("mean", "median", "mad"):
        floats[_F[name]] = _weighted(a.float_field(name), b.float_field(name), na, nb)
    floats[_F["diff_median"]] = _weighted(
        a.float_field("diff_median"), b.float_field("diff_median"), a.int_field("n_diff"), b.int_field("n_diff")
    )
    floats[_F["sqdiff"]] = a.float_field("sqdiff") + b.float_field("sqdiff")
    shift = b.float_field("mean") - a.float_field("mean")
    m2 = a.float_field("m2") + b.float_field("m2") + shift * shift * (na * (nb / np.maximum(na + nb, 1)))
    floats[_F["m2"]] = np.where(na == 0, b.float_field("m2"), np.where(nb == 0, a.float_field("m2"), m2))
    for name, better in (("min", np.less), ("max", np.greater)):
        left, right = a.float_field(name), b.float_field(name)
        take = (nb > 0) & ((na == 0) | better(right, left))
        floats[_F[name]] = np.where(take, right, left)
        for what in ("step", "index"):
            ints[_I[f"{name}_{what}"]] = np.where(take, b.int_field(f"{name}_{what}"), a.int_field(f"{name}_{what}"))
    return Rows(ints, floats)


def _weighted(a: Floats, b: Floats, na: Ints, nb: Ints) -> Floats:
    """Mean weighted by counts: exact for equal numbers, without overflow, the other number when one is empty."""
    half = (nb / np.maximum(na + nb, 1)) * (b * 0.5 - a * 0.5)
    return np.where(na == 0, b, np.where(nb == 0, a, (a + half) + half))


class BlockTree:
    """Takes base blocks in order and keeps 512 to 1,023 rows: node j of level l always covers the same points."""

    def __init__(self) -> None:
        self.level = 0
        self._rows = Rows.empty()
        self._waiting: list[Rows] = []  # one row or none per level below ours: left children without a right one

    def add(self, rows: Rows) -> None:
        """Append base blocks (level 0)."""
        for level in range(self.level):
            rows = self._pair(level, rows)
        while len(rows):
            room = FULL - len(self._rows)
            self._rows = self._rows.then(rows.cut(0, room))
            rows = rows.cut(room, len(rows)) if len(rows) > room else Rows.empty()
            if len(self._rows) == FULL:
                self._rows = merge(self._rows.cut(0, FULL, 2), self._rows.cut(1, FULL, 2))
                self._waiting.append(Rows.empty())
                rows = self._pair(self.level, rows)
                self.level += 1

    def _pair(self, level: int, rows: Rows) -> Rows:
        rows = self._waiting[level].then(rows)
        even = len(rows) - len(rows) % 2
        self._waiting[level] = rows.cut(even, len(rows))
        return merge(rows.cut(0, even, 2), rows.cut(1, even, 2)) if even else Rows.empty()

    def blocks(self, partial: Rows | None) -> Blocks:
        """All rows; what waits for its neighbour and the last partial base block make the last one."""
        last = Rows.empty()
        rest = [w for w in reversed(self._waiting) if len(w)]  # older points first
        for row in (*rest, *(() if partial is None else (partial,))):
            last = merge(last, row) if len(last) else row
        return self._rows.then(last).to_blocks(self.level)
