"""Fill a grid from few evaluations: coarse to fine, finer only where the surface is not yet known well enough.

The grid is nested: every level has the lines of the one before and those halfway between. A level's new points are
first predicted from the level above by local cubic interpolation along both axes. By how much a prediction was wrong
(the surplus) falls at least fourfold per level where the surface is smooth, so it tells where the next level must be
evaluated and where its predictions can be kept; evaluation spreads from every point that was predicted badly. Points
drawn at random among the predicted ones are evaluated at the end, as a control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Evaluate = Callable[[list[tuple[int, int]]], list[float]]

COARSEST = 6  # lines of the first level
DECAY = 4.0  # what a surplus is divided by per level: 16 for smooth surfaces, 4 where slopes change abruptly
MARGIN = 0.4  # share of the tolerance that a prediction may be expected to be off
CONTROLS = 0.02  # share of the grid that is evaluated as a control


@dataclass(frozen=True, eq=False)
class Sampled:
    """A filled grid.

    Attributes:
        values: float64[rows, columns]; NaN and infinities are values.
        measured: which of them were evaluated, the others are interpolated.
        error: largest error found at the control points, as a share of the range of the finite values; 0 when all
            points were evaluated.
    """

    values: Floats
    measured: Mask
    error: float


def coarse_to_fine(shape: tuple[int, int], evaluate: Evaluate, tolerance: float = 0.01, seed: int = 0) -> Sampled:
    """Fill a grid with errors of at most ``tolerance`` times the range of its values.

    Args:
        shape: rows and columns, at least 2 each.
        evaluate: takes a list of (row, column), returns their values. Called a few times with many points.
        tolerance: largest error wanted, as a share of the range of the finite values; 0 evaluates all points.
        seed: of the control points.

    Raises:
        UsageError: a shape or a tolerance out of range.

    >>> surface = lambda points: [(i - 20) ** 2 / 4 + (j - 11) ** 2 for i, j in points]
    >>> found = coarse_to_fine((41, 41), surface)
    >>> int(found.measured.sum()) < 41 * 41 / 3, found.error < 0.01
    (True, True)
    """
    if min(shape) < 2 or not 0 <= tolerance < 1:
        raise UsageError(f"the grid needs two lines each way and 0 <= tolerance < 1, got {shape} and {tolerance}")
    grid = _Grid(shape, evaluate, tolerance)
    levels = _paired(_levels(shape[0]), _levels(shape[1]))
    rows, columns = levels[0]
    grid.fill(np.ix_(rows, columns))
    # The first level has no surplus: infinitely uncertain, so that the second is evaluated whole.
    doubt = np.full((len(rows), len(columns)), np.inf)
    for finer in levels[1:]:
        doubt = grid.refine((rows, columns), finer, doubt)
        rows, columns = finer
    error = grid.control(np.random.default_rng(seed))
    return Sampled(grid.values, grid.measured, error)


class _Grid:
    def __init__(self, shape: tuple[int, int], evaluate: Evaluate, tolerance: float) -> None:
        self.values: Floats = np.full(shape, np.nan)
        self.measured: Mask = np.zeros(shape, dtype=bool)
        self._evaluate, self._tolerance = evaluate, tolerance

    @property
    def allowed(self) -> float:
        """Largest error wanted, in the unit of the values measured so far."""
        known = self.values[self.measured]
        known = known[np.isfinite(known)]
        return self._tolerance * float(known.max() - known.min()) if len(known) else 0.0

    def fill(self, where: tuple[NDArray[np.int64], ...]) -> None:
        """Evaluate the points of an index (of :func:`numpy.ix_` or of flat arrays) that are not measured yet."""
        rows, columns = (a.ravel() for a in np.broadcast_arrays(*where))
        new = ~self.measured[rows, columns]
        points = list(zip(rows[new].tolist(), columns[new].tolist(), strict=True))
        if points:
            self.values[rows[new], columns[new]] = self._evaluate(points)
            self.measured[rows[new], columns[new]] = True

    def refine(self, coarse: tuple[list[int], list[int]], fine: tuple[list[int], list[int]], doubt: Floats) -> Floats:
        """Predict the next level, evaluate what is in doubt; the doubt about each of its points."""
        here = np.ix_(*fine)
        predicted = _predict(self.values[np.ix_(*coarse)], coarse, fine)
        known = np.ix_(*(np.isin(f, c) for f, c in zip(fine, coarse, strict=True)))
        old = np.zeros(predicted.shape, dtype=bool)
        old[known] = True
        expected = _spread(doubt, coarse, fine) / DECAY
        dead = _all_broken(self.values[np.ix_(*coarse)], coarse, fine)
        unsure = np.isnan(predicted) & ~dead
        wanted = ~old & ((expected > MARGIN * self.allowed) | unsure)
        surplus = np.zeros(predicted.shape)
        keep = predicted.copy()
        keep[old] = self.values[here][old]
        done = old.copy()
        while wanted.any():
            rows, columns = np.nonzero(wanted)
            self.fill((np.array(fine[0])[rows], np.array(fine[1])[columns]))
            done |= wanted
            measured = self.values[here]
            keep[wanted] = measured[wanted]
            off = np.where(unsure, 0.0, _difference(measured, predicted))  # what was not predicted was not wrong
            surplus[wanted] = off[wanted]
            bad = done & ~old & (surplus > self.allowed)
            edge = done & ~old & ~np.isfinite(measured)  # a surface may do anything beside where it ends
            wanted = ((_dilated(bad) > 0) | ((_dilated(edge) > 0) & ~dead)) & ~done
        self.values[here] = keep
        left = np.where(done, surplus, expected)
        left[old] = 0.0
        return _dilated(left)

    def control(self, random: np.random.Generator) -> float:
        """Evaluate some predicted points; where one is wrong, its surroundings too. The largest error of the last."""
        worst = 0.0
        for _ in range(4):
            open_points = np.argwhere(~self.measured)
            if not len(open_points):
                return 0.0
            count = max(8, round(CONTROLS * self.values.size))
            chosen = random.permutation(open_points)[:count]
            before = self.values[tuple(chosen.T)].copy()
            self.fill(tuple(chosen.T))
            off = _difference(self.values[tuple(chosen.T)], before)
            worst = float(off.max())
            bad = np.zeros(self.values.shape, dtype=bool)
            bad[tuple(chosen.T)] = off > self.allowed
            if not bad.any():
                break
            self._repair(bad)
        scale = self.allowed / self._tolerance if self._tolerance else 0.0
        return worst / scale if scale else 0.0

    def _repair(self, bad: Mask) -> None:
        while bad.any():
            near = (_dilated(bad) > 0) & ~self.measured
            before = self.values.copy()
            self.fill(np.nonzero(near))
            bad = near & (_difference(self.values, before) > self.allowed)


def _levels(count: int) -> list[list[int]]:
    """Nested index sets, coarsest first; the last line is in all of them."""
    found = [list(range(count))]
    while len(found[0]) > COARSEST:
        half = found[0][::2]
        found.insert(0, half if half[-1] == count - 1 else [*half, count - 1])
    return found


def _paired(rows: list[list[int]], columns: list[list[int]]) -> list[tuple[list[int], list[int]]]:
    """Both axes end with their finest level; the shorter one waits at its coarsest."""
    depth = max(len(rows), len(columns))
    rows = [rows[0]] * (depth - len(rows)) + rows
    columns = [columns[0]] * (depth - len(columns)) + columns
    return list(zip(rows, columns, strict=True))


def _weights(coarse: list[int], fine: list[int], nodes: int) -> Floats:
    """Lagrange interpolation on the nearest ``nodes`` lines, one row per fine line."""
    nodes = min(nodes, len(coarse))
    weights = np.zeros((len(fine), len(coarse)))
    for row, x in enumerate(fine):
        after = int(np.searchsorted(coarse, x))
        if coarse[min(after, len(coarse) - 1)] == x:
            weights[row, after] = 1.0
            continue
        start = min(max(after - nodes // 2, 0), len(coarse) - nodes)
        around = coarse[start : start + nodes]
        for k, a in enumerate(around):
            others = [b for b in around if b != a]
            weights[row, start + k] = np.prod([(x - b) / (a - b) for b in others])
    return weights


def _predict(values: Floats, coarse: tuple[list[int], list[int]], fine: tuple[list[int], list[int]]) -> Floats:
    """The fine grid by cubic interpolation; NaN where one of its nodes is not finite and should be evaluated."""
    finite = np.isfinite(values)
    down, across = (_weights(c, f, 4) for c, f in zip(coarse, fine, strict=True))
    broken = (down != 0) @ (~finite).astype(float) @ (across != 0).T
    with np.errstate(over="ignore", invalid="ignore"):
        found = down @ np.where(finite, values, 0.0) @ across.T
    predicted = np.where(broken == 0, found, np.nan)
    # Where all nodes around are broken alike, so is the point: no use in evaluating the far side of a cliff.
    dead = _all_broken(values, coarse, fine)
    nearest = values[np.ix_(*(_nearest(c, f) for c, f in zip(coarse, fine, strict=True)))]
    return np.where(dead, nearest, predicted)


def _all_broken(values: Floats, coarse: tuple[list[int], list[int]], fine: tuple[list[int], list[int]]) -> Mask:
    """Whether all four corners around a fine point are non-finite."""
    down, across = (_weights(c, f, 2) != 0 for c, f in zip(coarse, fine, strict=True))
    alive: Floats = down.astype(float) @ np.isfinite(values).astype(float) @ across.T.astype(float)
    dead: Mask = alive == 0
    return dead


def _nearest(coarse: list[int], fine: list[int]) -> list[int]:
    return [int(np.abs(np.array(coarse) - x).argmin()) for x in fine]


def _difference(a: Floats, b: Floats) -> Floats:
    """|a - b|; 0 where both are broken, infinite where only one is."""
    finite_a, finite_b = np.isfinite(a), np.isfinite(b)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(a - b)
    return np.where(finite_a & finite_b, apart, np.where(finite_a == finite_b, 0.0, np.inf))


def _spread(doubt: Floats, coarse: tuple[list[int], list[int]], fine: tuple[list[int], list[int]]) -> Floats:
    """The doubt of a level at the points of the next: the larger of the lines on both sides, along each axis."""
    for axis in (0, 1):
        before = np.searchsorted(coarse[axis], fine[axis], side="right") - 1
        after = np.searchsorted(coarse[axis], fine[axis], side="left")
        doubt = np.maximum(doubt.take(before, axis), doubt.take(after, axis))
    return doubt


def _dilated(values: Floats | Mask) -> Floats:
    """The largest of each 3 × 3 neighbourhood."""
    padded = np.pad(values.astype(np.float64), 1)
    n, m = values.shape
    largest: Floats = np.max([padded[i : i + n, j : j + m] for i in range(3) for j in range(3)], axis=0)
    return largest
