"""Where the level of a curve shifts: one split, many shifts, and an alarm for a slow drift.

Sizes are in units of the curve's own robust noise. All of it assumes levels: take a trend out first, or a steady
descent becomes a staircase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, as_floats, binned, median, power_scaled, unscaled
from lossdoctor.signal.noise import diff_noise, noise_autocorr, second_diff_noise
from lossdoctor.signal.smoothing import rolling_median

MOST = 1024  # points of the exact search; longer curves are first reduced to medians of runs
_LEAST = 3  # points of a segment


@dataclass(frozen=True, slots=True)
class Split:
    """The best single split: ``index`` is the first point of the new level (among all values given).

    ``z`` is the difference of the means in standard errors; ``p`` its probability without any shift, allowing for the
    search over all places.
    """

    index: int
    before: float
    after: float
    z: float
    p: float


@dataclass(frozen=True, slots=True)
class LevelShift:
    """A lasting shift: first point of the new level, medians of the segments before and after, size in noise units."""

    index: int
    before: float
    after: float
    size: float


def noise_unit(values: ArrayLike) -> float:
    """Noise by which levels are compared: differences' noise, widened for autocorrelation.

    Where most neighbours are equal (few digits) it is the smallest difference; 0 for a constant.
    """
    v = as_floats(values)
    v = v[np.isfinite(v)]
    sigma = diff_noise(v)
    if math.isnan(sigma):
        return 0.0
    sigma = max(sigma, second_diff_noise(v)) if len(v) > 3 else sigma
    rounding = 16.0 * np.finfo(np.float64).eps * float(np.abs(v).max())
    if sigma <= rounding:
        steps = np.abs(np.diff(v))
        steps = steps[steps > rounding]
        return float(steps.min()) if len(steps) else 0.0
    rho = noise_autocorr(v)
    rho = 0.0 if math.isnan(rho) else min(max(rho, 0.0), 0.9)
    return sigma * math.sqrt(1.0 + rho) / (1.0 - rho)


def best_split(values: ArrayLike) -> Split | None:
    """The place that best divides the finite values into two levels; None with fewer than 6 or for a constant.

    References:
        Miller and Siegmund, "Maximally selected chi square statistics", Biometrics 38 (1982), for ``p``.

    >>> best_split([1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9, 3.0]).index
    4
    """
    v = as_floats(values)
    where = np.flatnonzero(np.isfinite(v))
    y, exponent = power_scaled(v[where])
    n, unit = len(y), noise_unit(y)
    if n < 2 * _LEAST or unit == 0:
        return None
    y = y - median(y)
    total = np.cumsum(y)
    left = np.arange(_LEAST, n - _LEAST + 1)
    before = total[left - 1] / left
    after = (total[-1] - total[left - 1]) / (n - left)
    z = np.abs(after - before) * np.sqrt(left * (n - left) / n) / unit
    k = int(np.argmax(z))
    cut, sign = int(left[k]), math.copysign(1.0, after[k] - before[k])
    original = v[where]
    return Split(
        index=int(where[cut]),
        before=unscaled(float(np.ldexp(original[:cut], -exponent).mean()), exponent),
        after=unscaled(float(np.ldexp(original[cut:], -exponent).mean()), exponent),
        z=sign * float(z[k]),
        p=_searched_p(float(z[k]), _LEAST / n),
    )


def _searched_p(z: float, edge: float) -> float:
    """Probability that the largest of the standardised differences between shares edge and 1 - edge exceeds z."""
    if z <= 1.0:
        return 1.0
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return min(density * (4.0 / z + (z - 1.0 / z) * 2.0 * math.log((1.0 - edge) / edge)), 1.0)


def level_shifts(values: ArrayLike, max_k: int = 10, penalty: float | None = None) -> list[LevelShift]:
    """All lasting shifts of the level, in order: the exact least-squares segmentation with a penalty per shift.

    Single outliers are first clipped to 3 noise units from a running median of 9. Above 1,024 finite values the search
    runs on medians of runs, and each place is then refined on the values. When more than ``max_k`` shifts come out, the
    penalty is doubled until they do not.

    Args:
        values: n values; non-finite ones are skipped.
        max_k: at most so many shifts, at least 1.
        penalty: price of a shift in squared noise units; default ``3 log n``.

    >>> [s.index for s in level_shifts([0.0, 0.1] * 10 + [5.0, 5.1] * 10)]
    [20]
    """
    if max_k < 1:
        raise UsageError(f"max_k is at least 1, got {max_k!r}")
    v = as_floats(values)
    where = np.flatnonzero(np.isfinite(v))
    full, exponent = power_scaled(v[where])
    y, width = binned(full, MOST)
    unit = noise_unit(y)
    if len(y) < 2 * _LEAST or unit == 0:
        return []
    local = rolling_median(y, 9)
    y = np.clip(y, local - 3.0 * unit, local + 3.0 * unit)
    y = (y - median(y)) / unit
    price = 3.0 * math.log(len(y)) if penalty is None else penalty
    if not price > 0:
        raise UsageError(f"a penalty is above 0, got {penalty!r}")
    cuts = optimal_cuts(y, price)
    while len(cuts) > max_k:
        price *= 2.0
        cuts = optimal_cuts(y, price)
    if width > 1:
        cuts = _refined(full, [c * width for c in cuts], width)
    bounds = [0, *cuts, len(full)]
    shifts = []
    for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False):
        before, after = median(full[a:b]), median(full[b:c])
        size = (after - before) / unit
        shifts.append(LevelShift(int(where[b]), unscaled(before, exponent), unscaled(after, exponent), size))
    return shifts


def optimal_cuts(y: Floats, price: float) -> list[int]:
    """Starts of the segments (but the first) that minimise squared deviations plus ``price`` per cut.

    Optimal partitioning (Jackson et al. 2005), O(n^2) in the number of values, segments of at least 3.
    """
    n = len(y)
    s1, s2 = np.concatenate(([0.0], np.cumsum(y))), np.concatenate(([0.0], np.cumsum(y * y)))
    best = np.full(n + 1, np.inf)
    best[0] = -price
    back = np.zeros(n + 1, np.int64)
    starts = np.arange(n + 1, dtype=np.float64)
    for end in range(_LEAST, n + 1):
        s = slice(0, end - _LEAST + 1)
        sum1 = s1[end] - s1[s]
        cost = best[s] + (s2[end] - s2[s]) - sum1 * sum1 / (end - starts[s])
        k = int(np.argmin(cost))
        best[end], back[end] = cost[k] + price, k
    cuts = []
    end = int(back[n])
    while end > 0:
        cuts.append(end)
        end = int(back[end])
    return cuts[::-1]


def _refined(y: Floats, cuts: list[int], width: int) -> list[int]:
    """Each place moved within one run either way to where the absolute deviations from both levels are least."""
    out: list[int] = []
    for cut in cuts:
        low, high = max(cut - width, out[-1] + 1 if out else 1), min(cut + width, len(y) - 1)
        if high <= low:
            continue
        before, after = median(y[max(low - 4 * width, 0) : low]), median(y[high : high + 4 * width])
        cost = np.abs(y[low:high] - before) - np.abs(y[low:high] - after)
        out.append(low + int(np.argmin(np.concatenate(([0.0], np.cumsum(cost))))))
    return out


@dataclass(frozen=True, slots=True)
class Alarm:
    """``index`` is where the sum passed the threshold, ``onset`` the first point that it was built from."""

    index: int
    onset: int


def cusum_alarm(
    values: ArrayLike,
    reference: float,
    sigma: float,
    *,
    drift: float = 0.5,
    threshold: float = 5.0,
    up: bool = True,
) -> Alarm | None:
    """Page's one-sided CUSUM: the first point at which values have run above (below) a reference for too long.

    Args:
        values: n values; non-finite ones are skipped (indices count all).
        reference: the level held to be normal.
        sigma: noise of a single value, above 0.
        drift: what is forgiven per point, in sigmas: half the shift to be found.
        threshold: alarm when the sum exceeds it, in sigmas; 5 with drift 0.5 is one false alarm in about 930 points.
        up: whether to look for a rise.

    >>> cusum_alarm([0.0] * 10 + [2.0] * 10, reference=0.0, sigma=1.0)
    Alarm(index=13, onset=10)
    """
    if not sigma > 0:
        raise UsageError(f"sigma is above 0, got {sigma!r}")
    v = as_floats(values)
    where = np.flatnonzero(np.isfinite(v))
    z = (v[where] - reference) / sigma
    walk = np.concatenate(([0.0], np.cumsum((z if up else -z) - drift)))
    lowest = np.minimum.accumulate(walk)
    over = np.flatnonzero(walk - lowest > threshold)
    if len(over) == 0:
        return None
    end = int(over[0])
    # the last time the sum was at its lowest before the alarm
    begin = int(np.flatnonzero(walk[:end] == lowest[end])[-1])
    return Alarm(int(where[end - 1]), int(where[begin]))
