"""Robust size and memory of the noise on a curve. Non-finite values are gaps: no difference is taken across them.

All sizes are standard deviations that normal noise would have. They are 0 when most differences (or deviations) are 0,
as in a log with few digits, and NaN when there are too few values.
"""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.signal.arrays import ArrayLike, Floats, as_floats, finite, median, quantiles

TO_SIGMA = 1.0 / 0.6744897501960817  # median |x| of a standard normal


def mad_sigma(values: ArrayLike) -> float:
    """Median absolute deviation from the median, as a standard deviation. NaN of nothing.

    >>> round(mad_sigma([1.0, 2.0, 3.0, 4.0, 100.0]), 3)
    1.483
    """
    v = finite(values)
    with np.errstate(over="ignore"):
        return TO_SIGMA * median(np.abs(v - median(v)))


def diff_noise(values: ArrayLike) -> float:
    """Noise from successive differences: half the range of their middle half, as a standard deviation over sqrt(2).

    For symmetric differences that is their median absolute deviation; unlike it, it does not vanish when a curve
    alternates between two levels. Right under any linear trend and little touched by a slow curve or by spikes (fewer
    than one point in eight). Positively autocorrelated noise is underestimated by ``sqrt(1 - rho)``.
    NaN with fewer than two differences.

    >>> diff_noise([5.0, 4.0, 3.0, 2.0])
    0.0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        d = finite(np.diff(as_floats(values)))
    return _half_range(d) / math.sqrt(2.0) if len(d) >= 2 else math.nan


def _half_range(d: Floats) -> float:
    """Half the interquartile range, as the standard deviation of a normal."""
    low, high = quantiles(d, 0.25, 0.75)
    return TO_SIGMA * (0.5 * high - 0.5 * low)


def second_diff_noise(values: ArrayLike) -> float:
    """Noise from second differences over the square root of 6: immune to any slope and to slow changes of slope.

    NaN with fewer than two second differences.

    >>> round(second_diff_noise([0.0, 1.0, 4.0, 9.0, 16.0]), 4)  # the curvature is all that is left
    1.2105
    """
    return noise_of(second_differences(as_floats(values)))


def second_differences(values: Floats) -> Floats:
    """Sizes of the second differences, two fewer than there are values."""
    with np.errstate(over="ignore", invalid="ignore"):
        d = values[1:] - values[:-1]
        return np.abs(d[1:] - d[:-1])


def noise_of(second: Floats) -> float:
    """The noise that the sizes of second differences show; NaN with fewer than two finite ones."""
    known = np.isfinite(second)
    if np.count_nonzero(known) < len(second):
        second = second[known]
    return TO_SIGMA * median(second) / math.sqrt(6.0) if len(second) >= 2 else math.nan


def noise_autocorr(values: ArrayLike, lag: int = 1) -> float:
    """Autocorrelation of the noise at a lag, -1 to 1, with the trend taken out by differencing.

    The spread of ``v[t] - v[t - k]`` grows with ``1 - rho(k)``. Comparing lag ``k`` with a lag far beyond the memory
    of the noise (16 times the lag, less on short curves) gives rho without a model of the trend; a straight trend
    drops out because spreads are taken about the median. NaN with fewer than 16 finite values, 0 without noise.
    """
    v = as_floats(values)
    far = min(16 * lag, len(v) // 4)
    if int(np.isfinite(v).sum()) < 16 or far <= lag:
        return math.nan
    near, wide = _spread(v, lag), _spread(v, far)
    if math.isnan(near) or not (wide > 0 and math.isfinite(wide)):
        return 0.0 if wide == 0 else math.nan
    ratio = near / wide
    return float(min(max(1.0 - ratio * ratio, -1.0), 1.0))


def _spread(v: Floats, lag: int) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        d = finite(v[lag:] - v[:-lag])
    return _half_range(d) if len(d) >= 2 else math.nan


def residual_autocorr(values: ArrayLike, lag: int = 1) -> float:
    """Autocorrelation at a lag of what a straight line leaves over; 0 when nothing is left, NaN below lag + 3 values.

    >>> round(residual_autocorr([1.0, -1.0] * 20), 2)
    -0.97
    """
    v = as_floats(values)
    keep = np.isfinite(v)
    if int(keep.sum()) < lag + 3:
        return math.nan
    return correlation_at(detrended(v), lag)


def detrended(values: Floats) -> Floats:
    """Values less their least-squares line over the positions; NaN at gaps. Scaled so that nothing overflows."""
    keep = np.isfinite(values)
    if not keep.any():
        return np.full(len(values), np.nan)
    x = np.arange(len(values), dtype=np.float64)
    x = x - x[keep].mean()
    top = float(np.abs(values[keep]).max())
    exponent = math.frexp(top)[1] if top > 0 else 0
    y = np.where(keep, np.ldexp(np.where(keep, values, 0.0), -exponent), np.nan)
    y = y - y[keep].mean()
    power = float((x[keep] * x[keep]).sum())
    slope = float((x[keep] * y[keep]).sum()) / power if power > 0 else 0.0
    rest = y - slope * x
    # what rounding leaves of a perfect line is not noise
    floor = 8.0 * np.finfo(np.float64).eps
    rest = np.where(np.abs(rest) > floor, rest, np.where(keep, 0.0, np.nan))
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(rest, exponent))


def correlation_at(rest: Floats, lag: int) -> float:
    """Sum of products at a lag over the sum of squares, pairs with a gap left out; 0 when all is 0."""
    if lag >= len(rest):
        return math.nan
    z = np.where(np.isfinite(rest), rest, 0.0)
    top = float(np.abs(z).max())
    if top == 0.0:
        return 0.0
    z = z / top
    return float((z[lag:] * z[:-lag]).sum() / (z * z).sum())
