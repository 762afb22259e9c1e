"""Tail probabilities without SciPy: the normal and Student's t distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()


def normal_sf(z: float) -> float:
    """Probability that a standard normal exceeds ``z``.

    >>> round(normal_sf(1.959964), 4)
    0.025
    """
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def normal_quantile(p: float) -> float:
    """The value that a standard normal stays below with probability ``p``, 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def student_cdf(t: float, df: float) -> float:
    """Probability that Student's t with ``df`` degrees of freedom (> 0, not necessarily whole) stays below ``t``.

    >>> round(student_cdf(2.228139, 10), 4)
    0.975
    """
    if math.isnan(t):
        return math.nan
    if math.isinf(t) or math.isinf(df):
        return 1.0 - normal_sf(t) if math.isinf(df) else float(t > 0)
    ratio = t * t / df
    x = 1.0 / (1.0 + ratio)
    tail = 0.5 * _incomplete_beta(df / 2.0, 0.5, x, ratio * x)
    return 1.0 - tail if t > 0 else tail


def student_quantile(p: float, df: float) -> float:
    """The value that Student's t stays below with probability ``p``, 0 < p < 1; by bisection to 1e-12.

    >>> round(student_quantile(0.975, 10), 4)
    2.2281
    """
    if p < 0.5:
        return -student_quantile(1.0 - p, df)
    low, high = 0.0, 2.0
    while student_cdf(high, df) < p and high < 1e300:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if high - low <= 1e-12 * max(1.0, middle):
            break
        low, high = (middle, high) if student_cdf(middle, df) < p else (low, middle)
    return 0.5 * (low + high)


def _incomplete_beta(a: float, b: float, x: float, complement: float) -> float:
    """Regularised incomplete beta function; ``complement`` is 1 - x, given apart so that it keeps its digits."""
    if x <= 0.0 or complement <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(complement)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(front) * _beta_fraction(b, a, complement) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of the incomplete beta function (DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1.0 + term * d, 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return result
