"""What repeats itself with every epoch: the peak of the autocorrelation at an epoch's length, and its imitations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.arrays import median
from lossdoctor.signal.periodicity import Period, period_at, without_trend
from lossdoctor.signal.reading import Reading

Floats = NDArray[np.float64]
LEAST_PERIODS = 4
_LEAST_POINTS = 4  # per period


@dataclass(frozen=True, slots=True)
class Seen:
    """The peak at an epoch's length, where the stretch looked at begins, and how many epochs it has."""

    period: Period
    first_step: int
    epochs: float


def at_epoch(reading: Reading, length: float) -> Seen | None:
    """The stronger peak of the finest stretches that hold several epochs; None when none does."""
    found = [seen for steps, values in _stretches(reading) if (seen := _in_stretch(steps, values, length))]
    return max(found, key=lambda seen: seen.period.z, default=None)


def _stretches(reading: Reading) -> list[tuple[Floats, Floats]]:
    """The raw points as far as they are kept; of a long curve its blocks, too."""
    s = reading.summary
    raw = s.raw()
    if raw is not None:
        return [(raw[0].astype(np.float64), raw[1])]
    b = s.blocks
    keep = b.count > 0
    middle = (b.first_step[keep] + b.last_step[keep]) / 2.0
    return [(s.tail_steps.astype(np.float64), s.tail_values), (middle, b.mean[keep])]


def _in_stretch(steps: Floats, values: Floats, length: float) -> Seen | None:
    gaps = np.diff(steps)
    if len(gaps) < 16 or not (gap := median(gaps)) > 0:
        return None
    if np.count_nonzero(np.abs(gaps - gap) > 0.5 * gap) / len(gaps) > 0.1:
        return None  # unevenly logged: points are no measure of time
    points = length / gap
    skip = len(values) // 10  # the first steps fall fast
    steps, values = steps[skip:], values[skip:]
    if points < _LEAST_POINTS or len(values) < LEAST_PERIODS * points:
        return None
    y = _clipped(values, points)
    lags = {math.floor(points), math.ceil(points)}
    periods = [p for lag in lags if lag >= _LEAST_POINTS and (p := period_at(y, lag)) is not None]
    best = max(periods, key=lambda p: p.z, default=None)
    if best is None or not math.isfinite(best.z):
        return None
    return Seen(best, int(steps[0]), len(values) / points)


def is_running_mean(reading: Reading, length: float) -> bool:
    """Whether the log is a mean over the epoch so far: its k-th step within an epoch moves it by about one k-th."""
    s = reading.summary
    if s.first_step > 1 or len(s.head_values) < 2 * _LEAST_POINTS:
        return False
    place = (s.head_steps[1:] - s.first_step) % length * (len(s.head_steps) - 1)
    place = place / max(int(s.head_steps[-1] - s.head_steps[0]), 1)  # in points, from 0
    moved = np.abs(np.diff(s.head_values))
    moved = np.where(np.isfinite(moved), moved, 0.0)
    middles, sizes = [], []
    low = 1.0
    while low < place.max():
        inside = moved[(place >= low) & (place < 2 * low)]
        if len(inside) >= LEAST_PERIODS:
            middles.append(math.log(1.4 * low + 1))
            sizes.append(median(inside))
        low *= 2
    if len(sizes) < 3 or min(sizes) <= 0:
        return False
    slope, _ = np.polyfit(middles, np.log(sizes), 1)
    if not -1.5 < slope < -0.6 or not all(b < a for a, b in pairwise(sizes)):
        return False
    undone = _in_stretch(s.head_steps.astype(np.float64), _undone(s.head_steps, s.head_values, length), length)
    return undone is None or undone.period.strength < 0.15  # sorted data repeat themselves below a mean, too


def _undone(steps: NDArray[np.int64], values: Floats, length: float) -> Floats:
    """The plain values below a mean over the epoch so far: between two points, the mean of what came in between."""
    k = (steps - steps[0]) % length + 1.0
    before, mean = np.concatenate(([0.0], k[:-1])), np.concatenate(([0.0], values[:-1]))
    new = k <= before
    before, mean = np.where(new, 0.0, before), np.where(new, 0.0, mean)
    plain: Floats = (k * values - before * mean) / (k - before)
    return plain


def _clipped(values: Floats, points: float) -> Floats:
    """Values about their trend, in units of their local scatter, without outliers: one spike is no pattern."""
    rest = without_trend(values, round(4 * points))
    finite = np.isfinite(rest)
    if not finite.any():
        return rest
    window = max(round(4 * points), 8)
    local = np.abs(rest if finite.all() else np.where(finite, rest, 0.0))
    kernel = np.ones(min(window, len(local)))
    count = _overlap(len(local), len(kernel)) if finite.all() else np.convolve(finite.astype(float), kernel, "same")
    scale = np.convolve(local, kernel, "same") / np.maximum(count, 1.0)
    if scale.min() > 0:
        return np.minimum(np.maximum(rest / scale, -4.0), 4.0)
    return np.where(scale > 0, np.clip(rest / np.where(scale > 0, scale, 1.0), -4.0, 4.0), rest * 0.0)


def _overlap(n: int, width: int) -> Floats:
    """How many of n points a window of that width holds, centred on each; ``width`` is at most n."""
    end = np.arange(n) + (width - 1) // 2  # the last point in it
    return (np.minimum(end, n - 1) - np.maximum(end - width + 1, 0) + 1).astype(np.float64)


def swings_too(rate: Reading, length: float) -> bool:
    """Whether the learning rate itself comes back with every epoch."""
    seen = at_epoch(rate, length)
    return seen is not None and seen.period.strength > 0.3 and seen.period.z > 3
