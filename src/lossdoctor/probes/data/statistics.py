"""Tests of two samples and robust scales, as the checks of data use them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
NORMAL_MAD = 1.4826022185056018  # standard deviation of a normal distribution per unit of its MAD
_FEW = 20  # distinct values up to which a feature is compared value by value


@dataclass(frozen=True)
class Comparison:
    """Two samples compared.

    Attributes:
        statistic: Kolmogorov-Smirnov's largest difference of the distribution functions, or for values that are few the
            total variation distance: both 0 (alike) to 1 (apart).
        p: its p-value.
        how: ``"KS"`` or ``"chi²"``.
    """

    statistic: float
    p: float
    how: str


def mad_sigma(values: Values) -> float:
    """1.4826 times the median absolute deviation; NaN where there is none."""
    if not len(values):
        return math.nan
    return NORMAL_MAD * float(np.median(np.abs(values - np.median(values))))


def two_sample(a: Values, b: Values, *, discrete: bool | None = None) -> Comparison:
    """Whether two samples are of one distribution: by chi² where the values are few, else Kolmogorov-Smirnov.

    Values that are not finite are left out. The p-value of Kolmogorov-Smirnov is the asymptotic one with Stephens'
    (1970) correction; with ties it is too large, never too small.

    >>> rng = np.random.default_rng(0)
    >>> two_sample(rng.normal(size=500), rng.normal(1, 1, size=500)).p < 1e-6
    True
    """
    a, b = np.sort(a[np.isfinite(a)]), np.sort(b[np.isfinite(b)])
    if len(a) < 2 or len(b) < 2:
        return Comparison(0.0, 1.0, "KS")
    pooled = np.concatenate([a, b])
    distinct = np.unique(pooled) if discrete is not False else pooled
    if discrete or (discrete is None and len(distinct) <= _FEW):
        return _chi_squared(np.searchsorted(distinct, a), np.searchsorted(distinct, b), len(distinct))
    below_a = np.searchsorted(a, pooled, side="right") / len(a)
    below_b = np.searchsorted(b, pooled, side="right") / len(b)
    d = float(np.max(np.abs(below_a - below_b)))
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    return Comparison(d, kolmogorov_sf((root + 0.12 + 0.11 / root) * d), "KS")


def _chi_squared(a: NDArray[np.int64], b: NDArray[np.int64], kinds: int) -> Comparison:
    """Homogeneity of two samples of codes; kinds expected fewer than five times are pooled."""
    counts = np.stack([np.bincount(a, minlength=kinds), np.bincount(b, minlength=kinds)]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    least = min(len(a), len(b)) / (len(a) + len(b))
    rare = counts.sum(axis=0) * least < 5
    if rare.any():
        rest, pooled = counts[:, ~rare], counts[:, rare].sum(axis=1)
        if pooled.sum() * least >= 5 or not rest.size:
            rest = np.column_stack([rest, pooled])
        else:  # still too few: with the least frequent of the others
            rest[:, np.argmin(rest.sum(axis=0))] += pooled
        counts = rest
    if counts.shape[1] < 2:
        return Comparison(distance, 1.0, "chi²")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    value = float(((counts - expected) ** 2 / expected).sum())
    return Comparison(distance, chi2_sf(value, counts.shape[1] - 1), "chi²")


def kolmogorov_sf(t: float) -> float:
    """Probability that Kolmogorov's distribution exceeds ``t``.

    >>> round(kolmogorov_sf(1.3581), 3)
    0.05
    """
    if t < 0.2:
        return 1.0
    k = np.arange(1, 101)
    return float(min(1.0, max(0.0, 2.0 * np.sum((-1.0) ** (k - 1) * np.exp(-2.0 * (k * t) ** 2)))))


def chi2_sf(value: float, df: int) -> float:
    """Probability that chi² with ``df`` degrees of freedom exceeds ``value``.

    >>> round(chi2_sf(3.841459, 1), 3)
    0.05
    """
    from scipy.special import chdtrc

    return float(chdtrc(df, value))


def holm(p: list[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): those below α are false together with probability α at most.

    >>> holm([0.01, 0.04, 0.5])
    [0.03, 0.08, 0.5]
    """
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    running = 0.0
    for place, k in enumerate(order):
        running = max(running, min(1.0, (len(p) - place) * p[k]))
        out[k] = running
    return [float(v) for v in out]


def excess_kurtosis(values: Values) -> tuple[float, float]:
    """Excess kurtosis and its standard error under a normal distribution, sqrt(24 / n)."""
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    if variance == 0 or not math.isfinite(variance):
        return math.nan, math.nan
    return float(np.mean((centred / math.sqrt(variance)) ** 4)) - 3.0, math.sqrt(24.0 / len(values))


def tail_index(values: Values, share: float = 0.05) -> tuple[float, float]:
    """Hill's estimate of the tail's index of |values − median| over its top ``share``, and its standard error.

    Below 2 the variance is infinite, below 4 the kurtosis; a normal sample of 1,000 gives about 5 to 8.
    """
    far = np.sort(np.abs(values - np.median(values)))[::-1]
    k = max(10, int(share * len(far)))
    if len(far) <= k or far[k] <= 0:
        return math.nan, math.nan
    mean = float(np.mean(np.log(far[:k] / far[k])))
    return (math.inf, math.nan) if mean == 0 else (1.0 / mean, 1.0 / mean / math.sqrt(k))
