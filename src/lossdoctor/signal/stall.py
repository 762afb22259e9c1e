"""For how long a curve has not been decreasing: Davis King's statistic, as in dlib's ``running_gradient.h``.

A line is fitted to the last j points, for every j. The probability that its slope is below zero comes from the slope
and its standard error. The largest j for which we are not confident of a decrease is the length of the stall: no
tolerance, no smoothing, and noise counts against confidence by itself.

References:
    D. King, "Automatic Learning Rate Scheduling That Really Works", dlib blog, 2018.
"""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, finite, median, power_scaled
from lossdoctor.signal.tails import normal_quantile


def probability_of_decrease(values: ArrayLike) -> Floats:
    """For each j, the probability that the line through the last j finite values falls; shape (n,), entry j - 1.

    Normal approximation with independent residuals, as dlib has it (1, 0.5 or 0 when a line fits exactly). NaN for j
    below 3. Cost O(n).

    >>> probability_of_decrease([4.0, 3.0, 2.0, 1.0]).tolist()
    [nan, nan, 1.0, 1.0]
    """
    z = _z_scores(finite(values)[::-1])
    return np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z.tolist()])


def _z_scores(backwards: Floats) -> Floats:
    """Slope over its standard error for the first j values, newest first; entry j - 1."""
    n = len(backwards)
    out = np.full(n, np.nan)
    if n < 3:
        return out
    y, _ = power_scaled(backwards)
    y = y - median(y[: min(n, 64)])  # sums of squares keep their digits where the curve is now
    count = np.arange(1, n + 1, dtype=np.float64)
    s1, s2, sx = np.cumsum(y), np.cumsum(y * y), np.cumsum(y * (count - 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        sxx = (count * count * count - count) / 12.0
        sxy = sx - 0.5 * (count - 1.0) * s1
        slope = sxy / sxx  # backwards in time: above zero means falling
        syy = s2 - s1 * s1 / count
        residual = syy - slope * sxy
        # below this, the difference of two sums is only rounding: the line fits exactly
        residual = np.where(residual > 1e-13 * s2, residual, 0.0)
        error = np.sqrt(residual / (count - 2.0) / sxx)
        flat = np.abs(sxy) <= 1e-13 * np.sqrt(s2 * sxx)
        z = np.where(error > 0, slope / error, np.where(flat, 0.0, np.copysign(np.inf, slope)))
    out[2:] = z[2:]
    return out


def steps_without_decrease(values: ArrayLike, probability: float = 0.51) -> int:
    """How many of the last finite values a decrease cannot be claimed for, with at least this probability.

    Args:
        values: n values, oldest first.
        probability: confidence wanted for a decrease, above 0.5 and below 1.

    >>> steps_without_decrease([5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0])
    4
    """
    _check(probability)
    return _longest(_z_scores(finite(values)[::-1]), probability)


def steps_without_decrease_robust(values: ArrayLike, probability: float = 0.51, discard: float = 0.10) -> int:
    """The same without the largest values: a spike early in a stall looks like a decrease after it.

    Args:
        discard: share of the largest values left out, 0 to 1. They still count as steps.

    >>> steps_without_decrease_robust([5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 90.0, 2.0, 2.0])
    6
    """
    _check(probability)
    if not 0.0 <= discard <= 1.0:
        raise UsageError(f"the share to discard is between 0 and 1, got {discard!r}")
    v = finite(values)[::-1]
    if len(v) == 0:
        return 0
    place = min(math.floor((len(v) - 1) * (1.0 - discard) + 0.5), len(v) - 1)
    keep = v <= np.partition(v, place)[place]
    z = _z_scores(v[keep])
    used = np.cumsum(keep)  # how many kept values the last j points hold
    return _longest(np.where(used > 0, z[np.maximum(used - 1, 0)], np.nan), probability)


def _longest(z: Floats, probability: float) -> int:
    unsure = np.flatnonzero(z < normal_quantile(probability))
    return int(unsure[-1]) + 1 if len(unsure) else 0


def _check(probability: float) -> None:
    if not 0.5 < probability < 1.0:
        raise UsageError(f"the probability of a decrease is above 0.5 and below 1, got {probability!r}")
