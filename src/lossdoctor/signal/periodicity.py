"""Patterns that come back: peaks of the autocorrelation, at a given or an unknown period, and how sure they are.

Periods are counted in points; the points are taken to be evenly spaced, gaps stay gaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, as_floats
from lossdoctor.signal.tails import normal_sf

# A running mean over W points lowers the autocorrelation of noise by a line in the lag, up to W / 2. With four periods
# that holds up to the lag of one and a half that is looked at, and the contrast below does not see it.
_TREND = 4


@dataclass(frozen=True, slots=True)
class Period:
    """A period in points and the autocorrelation at it (``strength``).

    ``z`` says how far that stands above the lags half a period away, in standard errors; ``p`` is the one-sided
    probability of that by chance, allowing for the search.
    """

    period: int
    strength: float
    z: float
    p: float


def autocorrelation(values: ArrayLike, max_lag: int) -> Floats:
    """Autocorrelation at lags 0 to ``max_lag`` of values about their mean, shape (max_lag + 1,).

    Gaps are left out pairwise. By FFT: O(n log n). All 0 but lag 0 for a constant; NaN without a finite value.

    >>> autocorrelation([1.0, -1.0, 1.0, -1.0], 2).round(6).tolist()
    [1.0, -0.75, 0.5]
    """
    v = as_floats(values)
    out = np.full(max_lag + 1, np.nan)
    keep = np.isfinite(v)
    if not keep.any():
        return out
    top = float(np.abs(v[keep]).max())
    z = np.where(keep, np.ldexp(np.where(keep, v, 0.0), -math.frexp(top)[1] if top > 0 else 0), 0.0)
    z = np.where(keep, z - z[keep].mean(), 0.0)
    power = float((z * z).sum())
    lags = min(max_lag + 1, len(v))
    if power <= len(v) * (4.0 * np.finfo(np.float64).eps) ** 2:
        out[:lags] = 0.0
        out[0] = 1.0
        return out
    size = 1 << (len(v) + lags).bit_length()
    spectrum = np.fft.rfft(z, size)
    out[:lags] = np.fft.irfft((spectrum * spectrum.conj()).real, size)[:lags] / power
    return out


def without_trend(values: ArrayLike, window: int) -> Floats:
    """Values less their centred running mean over ``window`` points (cut off at the ends); NaN at gaps."""
    v = as_floats(values)
    keep = np.isfinite(v)
    if not keep.any():
        return np.full(len(v), np.nan)
    half = max(window // 2, 1)
    at = np.arange(len(v))
    low, high = np.maximum(at - half, 0), np.minimum(at + (half + 1), len(v))
    total = np.zeros(len(v) + 1)
    if keep.all():
        top = float(np.abs(v).max())
        exponent = math.frexp(top)[1] if top > 0 else 0
        z = np.ldexp(v, -exponent)
        z -= z.mean()
        z.cumsum(out=total[1:])
        mean = (total[high] - total[low]) / (high - low)
        with np.errstate(over="ignore"):
            return np.asarray(np.ldexp(z - mean, exponent))
    top = float(np.abs(v[keep]).max())
    exponent = math.frexp(top)[1] if top > 0 else 0
    z = np.ldexp(np.where(keep, v, 0.0), -exponent)
    z = np.where(keep, z - z[keep].mean(), 0.0)
    z.cumsum(out=total[1:])
    count = np.concatenate(([0], keep.cumsum()))
    mean = (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
    with np.errstate(over="ignore"):
        return np.where(keep, np.ldexp(z - mean, exponent), np.nan)


def period_at(values: ArrayLike, period: int) -> Period | None:
    """How strongly a pattern of the given period (at least 4 points) comes back.

    The trend is taken out by a running mean over four periods. None with fewer than three periods of finite values.

    >>> period_at(np.tile([0.0, 1.0, 2.0, 3.0, 4.0], 10), 5).z > 3
    True
    """
    if period < 4:
        raise UsageError(f"a period is at least 4 points, got {period!r}")
    v = as_floats(values)
    n = int(np.isfinite(v).sum())
    if n < 3 * period:
        return None
    r = autocorrelation(without_trend(v, _TREND * period), period + period // 2 + 1)
    contrast, error = _contrast(r, np.array([period]), n)
    z = float(contrast[0] / error[0])
    return Period(period, float(r[period]), z, normal_sf(z))


def find_period(values: ArrayLike, low: int = 4, high: int | None = None) -> Period | None:
    """The period between ``low`` and ``high`` points that stands out most, or None when there is too little to see.

    The trend is taken out by a running mean over four of the longest periods; at least four periods must fit.
    ``high`` is by default an eighth of the number of points.

    >>> find_period(np.tile([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 20)).period
    6
    """
    v = as_floats(values)
    n = int(np.isfinite(v).sum())
    high = min(n // 4, high or n // 8)
    low = max(low, 4)
    if high < low or n < 16:
        return None
    r = autocorrelation(without_trend(v, _TREND * high), high + high // 2 + 2)
    lags = np.arange(low, high + 1)
    peak = (r[lags] >= r[lags - 1]) & (r[lags] >= r[lags + 1]) & (r[lags] > 0)
    lags = lags[peak]
    if len(lags) == 0:
        return None
    contrast, error = _contrast(r, lags, n)
    z = contrast / error
    if not z.max() > 0:
        return None
    # multiples of a period stand out as well: take the shortest that comes near the best
    k = int(np.flatnonzero(z >= 0.9 * z.max())[0])
    return Period(int(lags[k]), float(r[lags[k]]), float(z[k]), min(normal_sf(float(z[k])) * (high - low + 1), 1.0))


def _contrast(r: Floats, lags: np.typing.NDArray[np.int64], n: int) -> tuple[Floats, Floats]:
    """Autocorrelation at each lag less the mean of the two half a period away, and Bartlett's standard error of it.

    Noise that remembers raises neighbouring lags together; the contrast does not see it.
    """
    half = lags // 2
    contrast = r[lags] - 0.5 * (r[lags - half] + r[lags + half])
    squares = np.cumsum(np.where(np.isfinite(r), r * r, 0.0))
    memory = 1.0 + 2.0 * (squares[np.maximum(half // 2, 1)] - squares[0])  # sum of squares up to a quarter period
    return contrast, np.sqrt(1.5 * memory / n)
