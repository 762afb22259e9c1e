"""A curve as rules read it: at most 128 bins with robust levels, their noise, and the few windows rules ask about.

Made from the bounded summary alone, so its cost does not depend on the length of the run. Bins hold a power of two of
consecutive points: single points up to 128 of them, aligned blocks beyond. All numbers scale with the loss.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.arrays import median, windows
from lossdoctor.signal.noise import TO_SIGMA, noise_of, second_diff_noise, second_differences
from lossdoctor.signal.smoothing import rolling_median
from lossdoctor.signal.summary import CurveSummary

MAX_BINS = 128

Floats = NDArray[np.float64]


P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a stretch of the curve: its robust centre, its standard error, and the steps it spans."""

    value: float
    se: float
    first_step: int
    last_step: int
    bins: int


class Reading:
    """What rules know of one curve in one segment.

    Attributes:
        summary: the bounded summary it is made from.
        steps: float64[k], the middle step of each bin.
        y: float64[k], the median of each bin's finite values.
        spread: float64[k], the robust standard deviation within each bin (0 for single points).
        width: points per bin.
        n: number of finite points.
    """

    def __init__(self, summary: CurveSummary) -> None:
        self.summary = summary
        self.n = summary.n_finite
        self.steps, self.y, self.spread, self.width = _bins(summary)
        self.measured: dict[Hashable, Any] = {}
        self._windows: dict[tuple[int, int], Level] = {}

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def positive(self) -> bool:
        """Whether every finite value is above zero, so that ratios mean something.

        Subnormal numbers count as zero: half of one is none, and a median of two is a sum of halves.
        """
        return self.n > 0 and self.summary.min_value >= sys.float_info.min

    @cached_property
    def level(self) -> Floats:
        """float64[k]: the smoothed curve (a short running median, then a short mean)."""
        k = len(self.y)
        half = 0 if k < 8 else 1 if k < 24 else 2
        return running_mean(rolling_median(self.y, 2 * half + 1), min(half, 1))

    @cached_property
    def sigma(self) -> float:
        """Robust standard deviation of a bin about the smooth curve, from second differences; blind to any trend."""
        k = len(self.y)
        return self.noise_between(k // 5 if k >= 20 else 0, k)

    def noise_between(self, first: int, last: int) -> float:
        """:func:`bin_noise` of the bins ``first`` to ``last`` (excluded), from differences that are taken once."""
        if last - first < 4:
            return 0.0
        noise = noise_of(self._second[first : last - 2])
        return math.inf if math.isnan(noise) else noise

    @cached_property
    def _second(self) -> Floats:
        return second_differences(self.y)

    @cached_property
    def raw_sigma(self) -> float:
        """Robust standard deviation of single points about the smooth curve, over the later four fifths."""
        if self.width == 1:
            return self.sigma
        return median(self.spread[len(self.spread) // 5 :])

    @cached_property
    def inflation(self) -> float:
        """How much wandering of the level widens the standard error of a mean: 1 (white noise) to 4.4 (smoothed)."""
        k = len(self.y)
        if k < 16:
            return 1.0
        rest = self.y - running_mean(self.y, max(2, k // 10))
        rest = rest[k // 5 :]
        largest = float(np.abs(rest).max())
        if 0 < largest < np.inf:
            rest = rest / largest  # squares of very large or small losses leave the range of doubles
        scale = float(np.dot(rest, rest))
        rho = float(np.dot(rest[1:], rest[:-1])) / scale if scale > 0 else 0.0
        rho = min(max(rho, 0.0), 0.9)
        return float(np.sqrt((1 + rho) / (1 - rho)))

    def window(self, first: int, last: int) -> Level:
        """The level of bins ``first`` to ``last`` (excluded), with the noise of its neighbourhood."""
        known = self._windows.get((first, last))
        if known is not None:
            return known
        part = self.y[first:last]
        count, k = len(part), len(self)
        local = self.sigma
        if k >= 24:  # noise may grow or shrink along the run: look at an eighth of it on either side
            local = max(self.noise_between(max(0, first - k // 8), min(last + k // 8, k)), 0.25 * self.sigma)
        level = Level(median(part), self._se(local, count), int(self.steps[first]), int(self.steps[last - 1]), count)
        self._windows[first, last] = level
        return level

    def _se(self, local: float, count: int) -> float:
        """The standard error of the median of some bins, given the noise of a bin there."""
        return 1.2533 * local / math.sqrt(max(count, 1)) * self.inflation if count > 2 else local

    def least_se(self, count: int) -> float:
        """The least standard error that a window of so many bins can have."""
        return self._se(0.25 * self.sigma if len(self) >= 24 else self.sigma, count)

    @cached_property
    def start(self) -> Level:
        """Where the curve starts: its first bin, or the median of its first three points where that is higher.

        The first steps fall fast, so a wider window would hide the drop.
        """
        first = self.window(0, 1)
        if self.width == 1:
            return first
        values = self.summary.head_values[:64]
        values = values[np.isfinite(values)][:3]
        raw = median(values) if len(values) else first.value
        return Level(max(first.value, raw), max(first.se, self.raw_sigma), first.first_step, first.last_step, 1)

    @cached_property
    def fell(self) -> bool:
        """Whether the end lies below the start by more than the noise of both."""
        return self.start.value - self.end.value > 3 * float(np.hypot(self.start.se, self.end.se))

    @cached_property
    def tail_bins(self) -> int:
        """How many bins the tail (the last tenth, at least three where there are ten) has."""
        k = len(self)
        return max(1, k // 10) if k < 10 else max(3 if k >= 20 else 2, k // 10)

    @cached_property
    def end(self) -> Level:
        """The level of the last tenth."""
        return self.window(len(self) - self.tail_bins, len(self))

    @cached_property
    def best_index(self) -> int:
        """The bin around which the smoothed curve is lowest."""
        half = max(len(self) // 40, 0)
        return int(np.argmin(running_mean(self.level, half)))

    @cached_property
    def best(self) -> Level:
        """The lowest level: a window as wide as half the tail around the best bin."""
        half = max((self.tail_bins - 1) // 2, 0)
        lo = max(0, self.best_index - half)
        return self.window(lo, min(len(self), self.best_index + half + 1))

    @cached_property
    def drop(self) -> float:
        """How far the curve fell: start level minus lowest level, never below zero."""
        return max(self.start.value - self.best.value, 0.0)

    @property
    def best_step(self) -> int:
        """The step of the lowest level."""
        return int(self.steps[self.best_index])

    def last_good_step(self) -> int | None:
        """The step of the last finite value before the first non-finite one, where the summary still holds it."""
        s = self.summary
        if s.first_nonfinite_index is None:
            return s.last_finite_step
        if s.first_nonfinite_index <= len(s.head_values):
            good = np.flatnonzero(np.isfinite(s.head_values[: s.first_nonfinite_index]))
            return int(s.head_steps[good[-1]]) if len(good) else None
        event = next((e for e in s.events if e.kind == "nonfinite" and e.index == s.first_nonfinite_index), None)
        if event is None or event.offset == 0:
            return None
        good = np.flatnonzero(np.isfinite(event.context_values[: event.offset]))
        return int(event.context_steps[good[-1]]) if len(good) else None

    def fraction(self, step: float) -> float:
        """Where a step lies in the curve, 0 (its first step) to 1 (its last)."""
        span = self.summary.last_step - self.summary.first_step
        return float((step - self.summary.first_step) / span) if span > 0 else 0.0


def once(measure: Callable[Concatenate[Reading, P], T]) -> Callable[Concatenate[Reading, P], T]:
    """Decorate a measurement of a reading: several rules ask for the same one, it is taken once."""

    @wraps(measure)
    def remembered(reading: Reading, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (measure.__name__, args, tuple(kwargs.items()))
        if key not in reading.measured:
            reading.measured[key] = measure(reading, *args, **kwargs)
        found: T = reading.measured[key]
        return found

    return remembered


def _bins(summary: CurveSummary) -> tuple[Floats, Floats, Floats, int]:
    raw = summary.raw()
    if raw is not None:
        steps, values = raw
        if summary.n_nonfinite:
            finite = np.isfinite(values)
            steps, values = steps[finite], values[finite]
        s, v = steps.astype(np.float64), values
        width = 1
        while len(v) > MAX_BINS * width:
            width *= 2
        if width == 1:
            return s, v, np.zeros(len(v)), 1
        full = len(v) // width * width
        rows = v[:full].reshape(-1, width)
        y = _row_medians(rows)
        spread = TO_SIGMA * _row_medians(np.abs(rows - y[:, None]))
        x = s[:full].reshape(-1, width)
        return (x[:, 0] + x[:, -1]) / 2, y, spread, width
    b = summary.blocks
    keep = b.count > 0
    x = (b.first_step[keep] + b.last_step[keep]) / 2.0
    y, spread = b.median[keep], TO_SIGMA * b.mad[keep]
    if len(y) > 1:  # the last block is partial: too few points would make a noisy last bin
        full_count = int(b.count[keep].max())
        if b.count[keep][-1] * 2 < full_count:
            x, y, spread = x[:-1], y[:-1], spread[:-1]
    width = 64 << summary.level
    while len(y) > MAX_BINS:
        even = len(y) // 2 * 2
        x, y, spread = ((a[:even:2] + a[1:even:2]) / 2 for a in (x, y, spread))
        width *= 2
    return x, y, spread, width


def _row_medians(rows: Floats) -> Floats:
    width = rows.shape[1]
    ordered = np.sort(rows, axis=1)
    return np.asarray(ordered[:, (width - 1) // 2] * 0.5 + ordered[:, width // 2] * 0.5 + 0.0)


def bin_noise(y: Floats) -> float:
    """Noise of a bin from second differences; 0 with fewer than four bins, which can show none.

    Values so large that their differences overflow have noise without bound.

    >>> bin_noise(np.arange(10.0))
    0.0
    """
    if len(y) < 4:
        return 0.0
    noise = second_diff_noise(y)
    return float("inf") if np.isnan(noise) else noise


def running_mean(y: Floats, half: int) -> Floats:
    """Running mean over ``2 * half + 1`` values; the window shrinks at the ends.

    Summed window by window: a cumulative sum would lose everything after one huge value.
    """
    if half <= 0 or len(y) < 2 * half + 1:
        return y
    out = np.empty_like(y)
    width = 2 * half + 1
    out[half : len(y) - half] = np.add.reduce(windows(y, width), axis=1) / width
    for i in range(half):
        count = i + half + 1
        out[i] = np.add.reduce(y[:count]) / count
        out[len(y) - 1 - i] = np.add.reduce(y[-count:]) / count
    return out
