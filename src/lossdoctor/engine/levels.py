"""The level at a curve's end and how sure it is, honest also where the noise remembers and the points are few.

Noise that remembers (AR(1) with lag-1 correlation rho) wanders like a trend, and a short curve cannot tell the two
apart: fitted to it, a trend swallows the wander, and both the size of the noise and its memory come out too low. So the
memory is taken at its upper confidence bound, and the size follows from the successive differences, which a slow wander
cannot hide from: ``sd(difference)² = 2 sigma² (1 - rho)``. A long curve pays little for that, a short one is told less.

What it buys, and what it costs (``tests/engine/test_levels.py`` draws it again): 800 pairs of runs on the same steps,
an exponential descent each, alpha 0.05. The first three columns are twins that differ in nothing but noise: how often
one is called better. The last three have a true difference, in standard deviations of the noise: how often it is found.

====== ======= ========= ========= ======== ======== ========
points rho 0   rho 0.6   rho 0.9   2, rho 0 4, rho 0 8, rho 0
====== ======= ========= ========= ======== ======== ========
    10  0.0 %     0.1 %     1.5 %      0 %      3 %     17 %
    20  0.0 %     0.4 %     3.0 %      3 %     33 %     85 %
    50  0.0 %     0.5 %     1.9 %     10 %     65 %     97 %
   100  0.4 %     0.1 %     2.4 %     62 %    100 %    100 %
   300  0.9 %     0.2 %     0.9 %    100 %    100 %    100 %
====== ======= ========= ========= ======== ======== ========
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.tails import student_cdf, student_quantile

LEAST_POINTS = 3
_NORMAL = 1.0 / 1.3489795  # interquartile range of a normal distribution to its standard deviation
_MEDIAN = 0.2533  # a median's standard error exceeds a mean's by this share, where the noise has no memory
_MOST_MEMORY = 0.95  # beyond it noise and trend are one
_BOUND = 2.0  # standard errors from the estimated memory to the one allowed for
_FREEDOM = 0.6  # share of the differences that their clipped standard deviation is worth

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """The level at the end (NaN when it did not end finite), its standard error, and the degrees of freedom of that."""

    value: float
    se: float
    freedom: float

    def p_value(self) -> float:
        """Two-sided p-value of this level if the true one is zero.

        >>> round(Level(2.228139, 1.0, 10.0).p_value(), 3)
        0.05
        """
        if self.se == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return 2.0 * student_cdf(-abs(self.value) / self.se, self.freedom)

    def least_visible(self, alpha: float) -> float:
        """The least level that would be told from zero at ``alpha``."""
        return self.se * student_quantile(1.0 - alpha / 2.0, self.freedom)

    def less(self, other: Level) -> Level:
        """The difference to another, independent level."""
        return Level(self.value - other.value, math.hypot(self.se, other.se), min(self.freedom, other.freedom))


def window(n: int) -> int:
    """How many of n points the level rests on: the last tenth, at least 3."""
    return min(n, max(LEAST_POINTS, math.ceil(n / 10)))


def end_level(values: Floats, *, of_pairs: bool = False) -> Level:
    """The median of the last tenth (3 points or more) with its standard error.

    Args:
        values: in the order of the steps, evenly spaced as logged; non-finite ones are left out.
        of_pairs: these are differences of two runs step by step. Their common descent has cancelled, so that more of
            them say what the noise is. For a single curve, half the caution with the memory is enough: two of them
            enter a difference, and rarely are both misjudged.

    Returns:
        NaN when most of the last points are not finite.
    """
    width = window(len(values))
    last = values[-width:] if width else values
    good = last[np.isfinite(last)]
    if len(good) * 2 <= width:
        return Level(math.nan, math.nan, 1.0)
    finite = values[np.isfinite(values)]
    least = 24 if of_pairs else 12
    stretch = finite[-min(len(finite), max(3 * width, len(finite) // 2, least)) :]
    sigma, rho = _noise(stretch, _BOUND if of_pairs else _BOUND / math.sqrt(2.0))
    se = sigma * math.sqrt(_mean_variance(len(good), rho)) * (1.0 + _MEDIAN * (1.0 - rho))
    return Level(float(np.median(good)), se, max(1.0, _FREEDOM * (len(stretch) - 1)))


def _noise(stretch: Floats, bound: float) -> tuple[float, float]:
    """Standard deviation of the noise about a smooth trend, and its lag-1 correlation at the upper bound."""
    n = len(stretch)
    if n < LEAST_POINTS:
        return (float(np.std(stretch, ddof=1)) if n > 1 else 0.0), 0.0
    degree = 2 if n >= 8 else 1
    at = np.linspace(-1.0, 1.0, n)
    fit = np.polynomial.polynomial
    rest = stretch - fit.polyval(at, fit.polyfit(at, stretch, degree))
    power = float(np.dot(rest, rest))
    # What rounding leaves of a smooth curve is not noise.
    if power <= n * (16 * np.finfo(np.float64).eps * float(np.abs(stretch).max())) ** 2:
        return 0.0, 0.0
    seen = float(np.dot(rest[1:], rest[:-1])) / power
    # Fitting a trend of degree d hides correlation: it comes out low by about (d + 1 + (d + 3) rho) / n.
    free = max(n - 3 - degree, 1)
    rho = (seen * n + degree + 1) / free
    error = math.sqrt(max(1.0 - min(max(rho, 0.0), _MOST_MEMORY) ** 2, 0.1) / n) * n / free
    rho = min(max(rho + bound * error, 0.0), _MOST_MEMORY)
    lost = (n - 1) / max(n - 1 - degree, 1)  # what the fit took out of the differences
    return _clipped_deviation(np.diff(rest)) * math.sqrt(lost / (2.0 * (1.0 - rho))), rho


def _clipped_deviation(values: Floats) -> float:
    """Standard deviation with outliers pulled in to four robust ones; uses nearly all that few values say."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 4.0 * _NORMAL * (high - low)
    if reach > 0:
        values = np.clip(values, middle - reach, middle + reach)
    return float(np.std(values, ddof=1))


def _mean_variance(n: int, rho: float) -> float:
    """Variance of the mean of n values of an AR(1) of variance 1.

    >>> _mean_variance(4, 0.0), _mean_variance(2, 1.0)
    (0.25, 1.0)
    """
    lags = np.arange(1, n)
    return (1.0 + 2.0 * float(((1.0 - lags / n) * rho**lags).sum())) / n
