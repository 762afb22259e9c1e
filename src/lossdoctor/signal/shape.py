"""The shapes that rules judge, measured on a :class:`~lossdoctor.signal.reading.Reading`: turn, fall and stall.

Every number is invariant to the scale of the loss (ratios, z-scores, shares of the run), and every z-score allows for
what was searched: the lowest of many windows is low by chance alone, so "above the minimum" is biased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.arrays import median, power_scaled, unscaled
from lossdoctor.signal.reading import Level, Reading, once
from lossdoctor.signal.smoothing import rolling_median
from lossdoctor.signal.stall import steps_without_decrease
from lossdoctor.signal.trend import MOST_PAIRED, theil_sen

Floats = NDArray[np.float64]
_FLOOR = 0.002  # least noise of a level, as a share of the level's own size: printed digits and float32 rounding


@dataclass(frozen=True, slots=True)
class Turn:
    """How the curve ends above its lowest level.

    Attributes:
        best, end: the lowest level and the level of the last tenth.
        onset_step: the step of the lowest level, after which it rises.
        rise: end minus best, in units of the loss.
        relative: rise over the size of the best level; NaN where values are not all positive.
        share: rise over the drop from the start to the best level; inf when it never fell.
        z: the rise in standard errors, less what choosing the minimum explains.
        trend_z: Mann-Kendall z of the curve after the best level (above 0: rising).
        kept: the rise as a share of the largest one in the later half of the stretch after the best level.
        kept_of_all: the same over the largest rise anywhere after the best level.
        recovered: share of the largest single rise after the best level that was lost again, in a steady fall, by the
            end; 0 when the curve does not fall steadily since.
        late_z: Mann-Kendall z of that later half (below 0: coming back).
        after: share of the bins that come after the best level.
        bins_after: the number of bins after the best one.
    """

    best: Level
    end: Level
    onset_step: int
    rise: float
    relative: float
    share: float
    z: float
    trend_z: float
    kept: float
    kept_of_all: float
    recovered: float
    late_z: float
    after: float
    bins_after: int


@once
def turn(reading: Reading) -> Turn | None:
    """Measure the rise after the lowest level; None with fewer than four bins.

    On level curves ``z`` passes 3.5 in at most 1 % with white noise, in 1 to 4 % where bins remember half of the one
    before, and in up to 17 % where they remember four fifths: such wandering is swings, which :mod:`.swings` measures.
    """
    k = len(reading)
    if k < 4:
        return None
    best, end = reading.best, reading.end
    rise = end.value - best.value
    if reading.best_index >= k - reading.tail_bins:
        rise = min(rise, 0.0)  # the lowest level is part of the end, whose median lags behind a fall
    windows = max(k / max(reading.tail_bins, 1), 2.0)
    floor = _FLOOR * abs(best.value) if reading.positive else _FLOOR * reading.drop
    se_best, se_end = max(best.se, floor), max(end.se, floor)
    chosen = se_best * float(np.sqrt(2 * np.log(windows)))
    z = _in_errors(rise - chosen, float(np.hypot(se_best, se_end)), rise)
    third = (k - reading.best_index) // 3
    if third > reading.tail_bins and rise > 0:  # a wider window where the noise is strong and the rise is old
        wide = reading.window(k - third, k)
        more = min(wide.value - best.value, rise)
        z = max(z, _in_errors(more - chosen, float(np.hypot(se_best, max(wide.se, floor))), more))
    after = reading.level[reading.best_index :]
    late = after[len(after) // 2 :]
    peak, highest = float(late.max()) - best.value, float(after.max()) - best.value
    return Turn(
        best=best,
        end=end,
        onset_step=reading.best_step,
        rise=float(rise),
        relative=float(rise / abs(best.value)) if reading.positive else float("nan"),
        share=float(rise / reading.drop) if reading.drop > 0 else float("inf"),
        z=float(z),
        trend_z=kendall_z(reading.y[reading.best_index :]),
        kept=float(min(rise / peak, 1.0)) if peak > 0 else 0.0,
        kept_of_all=float(min(rise / highest, 1.0)) if highest > 0 else 0.0,
        recovered=_recovered(reading.y[reading.best_index :], best.value),
        late_z=kendall_z(late),
        after=len(after) / k,
        bins_after=len(after) - 1,
    )


def _recovered(after: Floats, best: float) -> float:
    """How much of a jump has been won back in a steady fall since its peak, 0 to 1."""
    top = int(np.argmax(after))
    since = after[top:]
    if len(since) < 4 or kendall_z(since) > -2.0 or after[top] <= best:
        return 0.0
    return float((after[top] - median(since[-2:])) / (after[top] - best))


def _in_errors(value: float, se: float, sign: float) -> float:
    """A value in standard errors; without any noise all or nothing, by the sign of what was measured."""
    if se > 0:
        return value / se
    return float("inf") if sign > 0 else 0.0


FEW = 24  # with fewer bins second differences tell too little of the noise


@once
def clear_rise(reading: Reading) -> Turn | None:
    """The rise after the lowest value of a curve of few values, where it is clear without knowing the noise; else None.

    With a handful of evaluations no noise can be estimated. What can be seen: every value after the lowest stands above
    it, most of the largest rise is still there at the end, and the rise is larger than any setback before the lowest
    value (or, where the lowest is the first or the second, several times what the values after it scatter about their
    trend).
    """
    k, y = len(reading), reading.y
    if not 5 <= k < FEW:
        return None
    low = int(np.argmin(y))
    before, after = y[: low + 1], y[low + 1 :]
    if len(after) < 2:
        return None
    best = float(y[low])
    end = median(after[-3:]) if len(after) > 5 else median(after[-2:]) if len(after) > 3 else float(after[-1])
    rise, stands = end - best, float(after.min()) - best
    # One wild evaluation is no setback, unless little has been seen since.
    calm = rolling_median(before, 3) if len(before) >= 5 and len(after) >= 4 else before
    setback = float(np.max(calm - np.minimum.accumulate(calm)))
    if len(before) < 3:
        line = median_slope(after) * np.arange(len(after))
        rest = after - line
        scatter = float(np.max(np.abs(rest - median(rest))))
        setback = max(setback, 2.0 * scatter) if len(after) > 2 else rise
    trend = kendall_z(y[low:])
    going_on = bool(np.all(np.diff(y[low:]) > 0)) or (len(after) > 3 and (trend > 1.9 or stands > 0.6 * rise))
    late_peak, peak = float(after[len(after) // 2 :].max()) - best, float(after.max()) - best
    if stands <= 0 or rise < 1.5 * setback or not going_on or rise < 0.6 * peak:
        return None
    drop = float(y[0]) - best
    step = int(reading.steps[low])
    last = int(reading.steps[-1])
    return Turn(
        best=Level(best, setback, step, step, 1),
        end=Level(end, setback, last, last, 1),
        onset_step=step,
        rise=rise,
        relative=rise / abs(best) if reading.positive else float("nan"),
        share=rise / drop if drop > 0 else float("inf"),
        z=rise / setback if setback > 0 else float("inf"),
        trend_z=trend,
        kept=min(rise / late_peak, 1.0),
        kept_of_all=min(rise / peak, 1.0),
        recovered=_recovered(y[low:], best),
        late_z=kendall_z(after[len(after) // 2 :]),
        after=len(after) / k,
        bins_after=len(after),
    )


def kendall_z(y: Floats) -> float:
    """Mann-Kendall trend z-score of up to a few hundred values; 0 with fewer than three.

    The plain statistic, in microseconds: bins are medians of many points, and the rules ask for a level shift as well.
    :func:`lossdoctor.signal.trend.mann_kendall` also corrects for the memory of single points.

    >>> kendall_z(np.arange(5.0)) > 2
    True
    """
    n = len(y)
    if n < 3:
        return 0.0
    pairs = _later(n)
    if np.count_nonzero(np.isfinite(y)) == n:
        if 32 <= n <= 128:  # of so many the ranks, in single bytes, are compared in a fraction of the time
            y = np.sort(y).searchsorted(y).astype(np.int8)
        column = y[:, None]
        s = float(np.count_nonzero((column > y) & pairs) - np.count_nonzero((column < y) & pairs))
    else:  # NaN where two values are no larger or smaller than one another
        s = float(np.sign(y[:, None] - y)[pairs].sum())
    return (s - float(np.sign(s))) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)


@lru_cache(maxsize=160)
def _later(n: int) -> NDArray[np.bool_]:
    """Which pairs (row, column) are of a later and an earlier value."""
    return np.tri(n, k=-1, dtype=bool)


@dataclass(frozen=True, slots=True)
class Fall:
    """How the curve falls over a stretch.

    Attributes:
        drop: level at the start of the stretch minus level at its end.
        relative: drop over the start level; NaN where values are not all positive.
        z: the drop in standard errors.
        trend_z: Mann-Kendall z over the stretch (below 0: falling).
    """

    drop: float
    relative: float
    z: float
    trend_z: float


@once
def fall(reading: Reading, first: int = 0, last: int | None = None) -> Fall | None:
    """Measure the fall between bins ``first`` and ``last`` (excluded); None with fewer than four bins."""
    last = len(reading) if last is None else last
    if last - first < 4:
        return None
    drop, level, se = _drop(reading, first, last)
    return Fall(
        drop=drop,
        relative=drop / abs(level) if reading.positive and level else float("nan"),
        z=_in_errors_of_drop(drop, se),
        trend_z=kendall_z(reading.y[first:last]),
    )


def _drop(reading: Reading, first: int, last: int) -> tuple[float, float, float]:
    """How far a stretch falls, the level that it falls from, and the standard error of the fall."""
    count = last - first
    edge = max(1, min(count // 3, max(2, count // 8)))
    head, tail = reading.window(first, first + edge), reading.window(last - edge, last)
    floor = _FLOOR * (abs(head.value) if reading.positive else reading.drop)
    return head.value - tail.value, head.value, float(np.hypot(max(head.se, floor), max(tail.se, floor)))


def _in_errors_of_drop(drop: float, se: float) -> float:
    return drop / se if se > 0 else math.copysign(math.inf, drop) if drop else 0.0


def median_slope(y: Floats) -> float:
    """Theil-Sen slope per index: the median of all pairwise slopes; 0 with fewer than two values.

    >>> median_slope(np.array([0.0, 1.0, 2.0, 30.0, 4.0]))
    1.0
    """
    n = len(y)
    if n < 2:
        return 0.0
    if n > MOST_PAIRED or np.count_nonzero(np.isfinite(y)) < n:
        return theil_sen(np.arange(n), y)[0]
    earlier, later, run, exponent = _runs(n)
    scaled, more = power_scaled(y)
    return unscaled(median((scaled[later] - scaled[earlier]) / run), more - exponent)


def _slopes_down(y: Floats) -> bool:
    """Whether :func:`median_slope` is below zero: nearly always told by how many pairs fall."""
    n = len(y)
    pairs = n * (n - 1) // 2
    falling = int(np.count_nonzero((y[:, None] < y) & _later(n)))
    if falling <= (pairs - 1) // 2 or falling > pairs // 2:
        return falling > pairs // 2
    return median_slope(y) < 0


@lru_cache(maxsize=16)
def _runs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, int]:
    """All pairs of places (earlier, later), the distance in each, scaled by a power of two, and its exponent."""
    at, exponent = power_scaled(np.arange(n, dtype=np.float64))
    earlier, later = np.triu_indices(n, 1)
    return earlier, later, at[later] - at[earlier], exponent


@dataclass(frozen=True, slots=True)
class Stall:
    """The level stretch at the end of the curve.

    Attributes:
        onset_index, onset_step: where it begins: from there the curve lies within noise of its end level.
        share: its share of the bins.
        relative_fall: share of the start level that was lost before; NaN where values are not all positive.
    """

    onset_index: int
    onset_step: int
    share: float
    relative_fall: float


@once
def stall(reading: Reading) -> Stall | None:
    """The longest final stretch without a significant fall; None with fewer than eight bins."""
    k = len(reading)
    if k < 8:
        return None
    onset = k
    for start in range(k - 6, -1, -max(1, k // 32)):
        if _falls(reading, start):
            break
        onset = start
    # The level windows miss a slow fall; a line through the stretch does not (King 2018).
    onset = max(onset, k - steps_without_decrease(reading.y, 0.95))
    if k - onset < 6:
        return None
    base = reading.start.value
    lost = (base - reading.end.value) / abs(base) if reading.positive and base else float("nan")
    return Stall(onset, int(reading.steps[onset]), (k - onset) / k, float(lost))


def _falls(reading: Reading, start: int) -> bool:
    """Whether the curve falls from a bin to its end: what :func:`fall` says of that stretch.

    Most stretches do not, and most of those do not by their levels alone: the noise of either end is measured only
    where the fall could be three times the least that it can be.
    """
    k = len(reading)
    edge = max(1, min((k - start) // 3, max(2, (k - start) // 8)))
    head, tail = median(reading.y[start : start + edge]), median(reading.y[k - edge :])
    drop = head - tail
    least = reading.least_se(edge)
    if drop <= 0 or drop <= 2.99 * math.hypot(least, least):
        return False
    drop, _, se = _drop(reading, start, k)
    return _in_errors_of_drop(drop, se) > 3.0 and kendall_z(reading.y[start:]) < -2.5


@once
def straightness(reading: Reading) -> float:
    """Slope of the last third over the mean slope of the whole curve: 1 for a straight line, near 0 for a levelled one.

    NaN with fewer than nine bins or when the curve does not fall.
    """
    k = len(reading)
    if k < 9:
        return float("nan")
    overall = (reading.end.value - reading.start.value) / (k - 1)
    if overall >= 0 or not _slopes_down(reading.y):
        return float("nan")
    return median_slope(reading.y[-(k // 3) :]) / overall
