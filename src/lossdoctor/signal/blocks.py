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

INT_FIELDS = (
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
FLOAT_FIELDS = ("mean", "m2", "sqdiff", "min", "max", "median", "mad", "diff_median", "first", "last")
INT = {name: k for k, name in enumerate(INT_FIELDS)}
FLOAT = {name: k for k, name in enumerate(FLOAT_FIELDS)}


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
    """Blocks as two tables, one line per field of ``INT_FIELDS`` and of ``FLOAT_FIELDS``: what the tree moves."""

    ints: Ints
    floats: Floats

    @classmethod
    def empty(cls) -> Rows:
        return cls(np.empty((len(INT_FIELDS), 0), np.int64), np.empty((len(FLOAT_FIELDS), 0), np.float64))

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
        line: Ints = self.ints[INT[name]]
        return line

    def float_field(self, name: str) -> Floats:
        line: Floats = self.floats[FLOAT[name]]
        return line

    def to_blocks(self, level: int) -> Blocks:
        ints, floats = np.ascontiguousarray(self.ints).view(), np.ascontiguousarray(self.floats).view()
        ints.flags.writeable = floats.flags.writeable = False
        return Blocks(level, *ints, *floats)  # the fields in the order of both tables


def merge(a: Rows, b: Rows) -> Rows:
    """Each row of ``a`` merged with the row of ``b`` that follows it."""
    ints, floats = a.ints + b.ints, np.empty_like(a.floats)
    na, nb = a.int_field("count"), b.int_field("count")
    ints[INT["first_step"]], ints[INT["last_step"]] = a.int_field("first_step"), b.int_field("last_step")
    floats[FLOAT["first"]], floats[FLOAT["last"]] = a.float_field("first"), b.float_field("last")
    floats[_MEANS] = _weighted(a.floats[_MEANS], b.floats[_MEANS], na, nb)
    floats[FLOAT["diff_median"]] = _weighted(
        a.float_field("diff_median"), b.float_field("diff_median"), a.int_field("n_diff"), b.int_field("n_diff")
    )
    floats[FLOAT["sqdiff"]] = a.float_field("sqdiff") + b.float_field("sqdiff")
    shift = b.float_field("mean") - a.float_field("mean")
    m2 = a.float_field("m2") + b.float_field("m2") + shift * shift * (na * (nb / np.maximum(na + nb, 1)))
    floats[FLOAT["m2"]] = np.where(na == 0, b.float_field("m2"), np.where(nb == 0, a.float_field("m2"), m2))
    for name, better in (("min", np.less), ("max", np.greater)):
        left, right = a.float_field(name), b.float_field(name)
        take = (nb > 0) & ((na == 0) | better(right, left))
        floats[FLOAT[name]] = np.where(take, right, left)
        for what in ("step", "index"):
            ints[INT[f"{name}_{what}"]] = np.where(take, b.int_field(f"{name}_{what}"), a.int_field(f"{name}_{what}"))
    return Rows(ints, floats)


def _weighted(a: Floats, b: Floats, na: Ints, nb: Ints) -> Floats:
    """Mean weighted by counts: exact for equal numbers, without overflow, the other number when one is empty."""
    half = (nb / np.maximum(na + nb, 1)) * (b * 0.5 - a * 0.5)
    return np.where(na == 0, b, np.where(nb == 0, a, (a + half) + half))


def merge_one(a: Rows, b: Rows) -> Rows:
    """:func:`merge` of a single row each, in plain numbers: NumPy would spend its time on calls."""
    ai, bi, af, bf = (x[:, 0].tolist() for x in (a.ints, b.ints, a.floats, b.floats))
    ints, floats = [x + y for x, y in zip(ai, bi, strict=True)], list(af)
    na, nb = ai[_COUNT], bi[_COUNT]
    share = nb / max(na + nb, 1)
    ints[INT["first_step"]], ints[INT["last_step"]] = ai[INT["first_step"]], bi[INT["last_step"]]
    floats[FLOAT["last"]] = bf[FLOAT["last"]]
    for k in _MEANS:
        floats[k] = bf[k] if na == 0 else af[k] if nb == 0 else _between(af[k], bf[k], share)
    k, da, db = FLOAT["diff_median"], ai[INT["n_diff"]], bi[INT["n_diff"]]
    floats[k] = bf[k] if da == 0 else af[k] if db == 0 else _between(af[k], bf[k], db / (da + db))
    floats[FLOAT["sqdiff"]] = af[FLOAT["sqdiff"]] + bf[FLOAT["sqdiff"]]
    k, shift = FLOAT["m2"], bf[FLOAT["mean"]] - af[FLOAT["mean"]]
    floats[k] = bf[k] if na == 0 else af[k] if nb == 0 else af[k] + bf[k] + shift * shift * (na * share)
    for name in ("min", "max"):
        k = FLOAT[name]
        better = bf[k] < af[k] if name == "min" else bf[k] > af[k]
        take = nb > 0 and (na == 0 or better)
        floats[k] = bf[k] if take else af[k]
        for i in (INT[f"{name}_step"], INT[f"{name}_index"]):
            ints[i] = bi[i] if take else ai[i]
    return Rows(np.array(ints, np.int64)[:, None], np.array(floats)[:, None])


_COUNT = INT["count"]
_MEANS = [FLOAT[name] for name in ("mean", "median", "mad")]


def _between(a: float, b: float, share: float) -> float:
    half = share * (b * 0.5 - a * 0.5)
    return (a + half) + half


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
        if even == 2:
            return merge_one(rows.cut(0, 1), rows.cut(1, 2))
        if even == 4:
            return merge_one(rows.cut(0, 1), rows.cut(1, 2)).then(merge_one(rows.cut(2, 3), rows.cut(3, 4)))
        return merge(rows.cut(0, even, 2), rows.cut(1, even, 2)) if even else Rows.empty()

    def blocks(self, partial: Rows | None) -> Blocks:
        """All rows; what waits for its neighbour and the last partial base block make the last one."""
        last = Rows.empty()
        rest = [w for w in reversed(self._waiting) if len(w)]  # older points first
        for row in (*rest, *(() if partial is None else (partial,))):
            last = merge_one(last, row) if len(last) else row
        return self._rows.then(last).to_blocks(self.level)
