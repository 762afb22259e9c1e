"""Is there a trend, how steep, how sure? All tests allow for noise that remembers (autocorrelation)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, binned, finite, finite_pairs, median, power_scaled, unscaled
from lossdoctor.signal.tails import normal_sf, student_cdf, student_quantile

MOST_PAIRED = 300  # points for which all pairs are compared; longer curves are first reduced to medians of runs
MOST_RANKED = 1000


def theil_sen(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Median of the slopes of all pairs, and the median intercept. Tolerates 29 % outliers.

    Above 300 points, 300 medians of neighbouring points stand for them (the cost stays bounded and the precision of
    all points is kept). Pairs with a non-finite member are dropped. NaN with fewer than two different x.

    >>> theil_sen(range(6), [1.0, 3.0, 5.0, 7.0, 90.0, 11.0])
    (2.0, 1.0)
    """
    a, b = finite_pairs(x, y)
    a, ex = power_scaled(a)
    b, ey = power_scaled(b)
    if len(a) > MOST_PAIRED:
        a, b = binned(a, MOST_PAIRED)[0], binned(b, MOST_PAIRED)[0]
    i, j = np.triu_indices(len(a), 1)
    run = a[j] - a[i]
    ok = run != 0
    if not ok.any():
        return math.nan, math.nan
    slope = median((b[j] - b[i])[ok] / run[ok])
    return unscaled(slope, ey - ex), unscaled(median(b - slope * a), ey)


@dataclass(frozen=True, slots=True)
class MannKendall:
    """Result of the Mann-Kendall test: ``z`` below 0 means falling; ``p`` is two-sided; ``tau`` from -1 to 1.

    ``inflation`` is the factor by which autocorrelation widened the variance (1: none).
    """

    z: float
    p: float
    tau: float
    inflation: float
    n: int


def mann_kendall(values: ArrayLike, *, correct: bool = True) -> MannKendall:
    """Test for a monotone trend, corrected for ties and, with ``correct``, for autocorrelation.

    Above 1,000 values, medians of runs stand for them. Fewer than 4 finite values give z 0 and p 1.

    References:
        Hamed and Rao, "A modified Mann-Kendall trend test for autocorrelated data", J. Hydrology 204 (1998).
        Deviations: lags up to a quarter of the length; at least the variance of an AR(1) with the bias-corrected lag-1
        autocorrelation, and never less than under independence.

    >>> mann_kendall([5.0, 4.0, 4.5, 3.0, 2.5, 2.0, 1.0, 0.5]).z < -2
    True
    """
    y = binned(finite(values), MOST_RANKED)[0]
    n = len(y)
    if n < 4:
        return MannKendall(0.0, 1.0, 0.0, 1.0, n)
    signs = sum(int((y[k + 1 :] > y[k]).sum()) - int((y[k + 1 :] < y[k]).sum()) for k in range(n - 1))
    ties = np.unique(y, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    tau = signs / (n * (n - 1) / 2)
    if variance <= 0:  # all equal
        return MannKendall(0.0, 1.0, tau, 1.0, n)
    inflation = _rank_inflation(y) if correct else 1.0
    z = (signs - int(np.sign(signs))) / math.sqrt(variance * inflation)
    return MannKendall(z, 2.0 * normal_sf(abs(z)), tau, inflation, n)


def _rank_inflation(y: Floats) -> float:
    """The larger of Hamed and Rao's factor, from the significant autocorrelations of the ranks of the detrended values,
    and that of an AR(1): on short curves the significant ones are too few."""
    n = len(y)
    at = np.arange(n, dtype=np.float64)
    slope, _ = theil_sen(at, y)
    scaled, exponent = power_scaled(y)
    rank = ranks(scaled - unscaled(slope, -exponent) * at)
    rank = rank - rank.mean()
    power = float((rank * rank).sum())
    if power == 0:
        return 1.0
    factor = 0.0
    for lag in range(1, n // 4 + 1):
        rho = float((rank[lag:] * rank[:-lag]).sum()) / power
        if abs(rho) > 1.96 / math.sqrt(n):
            factor += (n - lag) * (n - lag - 1) * (n - lag - 2) * rho
    rho = _unbiased_rho(rank, power)
    return max(1.0 + 2.0 * factor / (n * (n - 1) * (n - 2)), (1.0 + rho) / (1.0 - rho), 1.0)


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of their ranks.

    >>> ranks(np.array([10.0, 30.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse])


@dataclass(frozen=True, slots=True)
class LinearTrend:
    """A fitted line. ``low`` and ``high`` bound the slope; ``p_negative`` is the probability that it is below 0.

    ``rho`` is the lag-1 autocorrelation of the residuals that was allowed for, ``n_eff`` the number of independent
    points that the n are worth.
    """

    slope: float
    intercept: float
    se: float
    low: float
    high: float
    p_negative: float
    rho: float
    n: int
    n_eff: float


def linear_trend(x: ArrayLike, y: ArrayLike, alpha: float = 0.05) -> LinearTrend:
    """Least-squares line with a confidence interval that holds under autocorrelated noise.

    The standard error is the larger of Newey and West's (with their usual number of lags) and that of an AR(1) with the
    residuals' lag-1 autocorrelation, corrected for its bias; Student's t with ``n_eff - 2`` degrees of freedom.

    Args:
        x, y: n values each; pairs with a non-finite member are dropped.
        alpha: the interval misses the true slope with this probability, 0 < alpha < 1.

    Returns:
        NaN throughout when there are fewer than 3 pairs or x does not vary.

    >>> t = linear_trend(range(6), [6.0, 5.1, 3.9, 3.0, 2.1, 0.9])
    >>> t.high < 0 and t.p_negative > 0.99
    True
    """
    if not 0.0 < alpha < 1.0:
        raise UsageError(f"alpha is between 0 and 1, got {alpha!r}")
    a, b = finite_pairs(x, y)
    a, ex = power_scaled(a)
    b, ey = power_scaled(b)
    n = len(a)
    nan = math.nan
    if n < 3 or not np.ptp(a) > 0:
        return LinearTrend(nan, nan, nan, nan, nan, nan, nan, n, nan)
    ma, mb = float(a.mean()), float(b.mean())
    dx, dy = a - ma, b - mb
    sxx = float((dx * dx).sum())
    slope = float((dx * dy).sum()) / sxx
    rest = dy - slope * dx
    power = float((rest * rest).sum())
    # what rounding leaves of an exact line is not noise
    if power <= n * (8.0 * np.finfo(np.float64).eps * float(np.abs(b).max())) ** 2:
        power, rest = 0.0, np.zeros(n)
        slope = slope if abs(slope) > 64.0 * np.finfo(np.float64).eps * float(np.abs(b).max()) else 0.0
    rho = _unbiased_rho(rest, power)
    n_eff = max(n * (1.0 - rho) / (1.0 + rho), 2.5)
    plain = math.sqrt(power / (n - 2) / sxx)
    se = max(plain * math.sqrt((1.0 + rho) / (1.0 - rho)), _newey_west(dx, rest, sxx))
    df = max(n_eff - 2.0, 0.5)
    margin = student_quantile(1.0 - alpha / 2.0, df) * se
    p_negative = student_cdf(-slope / se, df) if se > 0 else 0.5 - 0.5 * float(np.sign(slope))
    scale = ey - ex
    return LinearTrend(
        slope=unscaled(slope, scale),
        intercept=unscaled(mb - slope * ma, ey),
        se=unscaled(se, scale),
        low=unscaled(slope - margin, scale),
        high=unscaled(slope + margin, scale),
        p_negative=p_negative,
        rho=rho,
        n=n,
        n_eff=n_eff,
    )


def _unbiased_rho(rest: Floats, power: float) -> float:
    """Lag-1 autocorrelation of residuals of a line, less its bias, between 0 and 0.98 (never narrows an interval)."""
    n = len(rest)
    if power == 0 or n < 4:
        return 0.0
    rho = float((rest[1:] * rest[:-1]).sum()) / power
    return min(max(rho + (2.0 + 4.0 * rho) / n, 0.0), 0.98) if rho > 0 else 0.0


def _newey_west(dx: Floats, rest: Floats, sxx: float) -> float:
    n = len(rest)
    moment = dx * rest
    total = float((moment * moment).sum())
    lags = min(int(4.0 * (n / 100.0) ** (2.0 / 9.0)), n - 1)
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1.0)) * float((moment[lag:] * moment[:-lag]).sum())
    return math.sqrt(max(total, 0.0) * n / (n - 2)) / sxx


def prob_negative_slope(values: ArrayLike) -> float:
    """Probability that the line through evenly spaced values falls, allowing for autocorrelation.

    NaN with fewer than 3 finite values; 0.5 for a constant.

    >>> prob_negative_slope([1.0, 1.0, 1.0, 1.0])
    0.5
    """
    v = np.asarray(finite(values))
    return linear_trend(np.arange(len(v)), v).p_negative
