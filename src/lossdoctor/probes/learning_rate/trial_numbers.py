"""Short runs compared on the same batches: differences, and how far noise explains them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.noise import diff_noise, residual_autocorr
from lossdoctor.signal.tails import student_cdf
from lossdoctor.signal.trend import linear_trend

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences.

    Attributes:
        mean: below 0 where the run is better than the one at the present rate.
        error: its standard error, which allows for noise that remembers; NaN with fewer than 4 pairs.
        p: two-sided probability of a difference so far from 0 where there is none; 1 when it cannot be told.
    """

    mean: float
    error: float
    p: float


def compared(run: Floats, base: Floats) -> Difference:
    """Of two runs over the same batches in the same order.

    Neighbouring differences are alike, for each run goes its own way slowly. The standard error is that of their
    residuals about a line, widened by the residuals' autocorrelation at lag 1 corrected for its bias; Student's t with
    as many degrees of freedom as they are worth.

    >>> found = compared(np.array([1.0, 1.1, 0.9, 1.0, 1.1, 0.9]), np.array([2.0, 2.1, 1.9, 2.1, 2.1, 1.9]))
    >>> round(found.mean, 2), found.p < 0.01
    (-1.02, True)
    """
    with np.errstate(invalid="ignore"):
        d = run - base
    if np.isfinite(run).all() and np.isfinite(base).all():
        return mean_of(d)
    if np.isfinite(base).all():
        return Difference(math.inf, 0.0, 0.0)
    return Difference(-math.inf, 0.0, 0.0) if np.isfinite(run).all() else Difference(math.nan, math.nan, 1.0)


def mean_of(d: Floats) -> Difference:
    """The mean of values in order, and whether it is 0."""
    n = len(d)
    if n < 4:
        return Difference(float(d.mean()) if n else math.nan, math.nan, 1.0)
    at = np.arange(n, dtype=np.float64)
    slope, offset = np.polyfit(at, d, 1)
    rest = d - (slope * at + offset)
    mean = float(d.mean())
    variance = float((rest**2).sum()) / (n - 2)
    rho = residual_autocorr(d, 1)
    rho = 0.0 if not math.isfinite(rho) else min(max(rho + (1.0 + 4.0 * rho) / n, 0.0), 0.95)
    error = math.sqrt(variance / n * (1.0 + rho) / (1.0 - rho))
    if error <= 1e-12 * max(abs(mean), float(np.abs(d).max())):
        return Difference(mean, 0.0, 1.0 if mean == 0 else 0.0)
    worth = max(n * (1.0 - rho) / (1.0 + rho), 3.0)
    return Difference(mean, error, 2.0 * student_cdf(-abs(mean) / error, worth - 1.0))


@dataclass(frozen=True)
class Start:
    """Where all runs begin.

    Attributes:
        level: of the loss.
        noise: of the loss from batch to batch, as a standard deviation.
    """

    level: float
    noise: float


def start_of(runs: Mapping[float, Floats]) -> Start:
    """From the run at the lowest rate, which moves least."""
    slowest = runs[min(runs)]
    slowest = slowest[np.isfinite(slowest)]
    if not len(slowest):
        return Start(math.nan, math.nan)
    noise = diff_noise(slowest)
    return Start(float(np.median(slowest[:10])), noise if math.isfinite(noise) else 0.0)


def fall(losses: Floats) -> float:
    """How far a line through the losses falls from the first to the last; below 0 where it rises, 0 when not sure."""
    finite = losses[np.isfinite(losses)]
    trend = linear_trend(np.arange(len(finite)), finite)
    if not math.isfinite(trend.slope) or trend.low <= 0 <= trend.high:
        return 0.0
    return -trend.slope * (len(finite) - 1)


def diverged(losses: Floats, start: Start) -> bool:
    """Whether a run ended far above where all of them began, or is no longer finite."""
    if not np.isfinite(losses).all():
        return True
    last = losses[-max(4, len(losses) // 4) :]
    error = start.noise / math.sqrt(len(last))
    # The mean alone could be one bad batch, the median alone a small steady rise.
    return float(last.mean()) > start.level + 6.0 * error and float(np.median(last)) > start.level + 2.0 * start.noise
