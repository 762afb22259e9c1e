"""Swings about the trend, and excursions above it: what tells an oscillation and a spike from mini-batch noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.arrays import median, quantiles, windows
from lossdoctor.signal.reading import Reading, once
from lossdoctor.signal.smoothing import rolling_median

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Swings:
    """How the curve swings about its slow trend, after the first seventh of the run.

    Attributes:
        amplitude: half the distance between the 10th and the 90th percentile of the residuals, in units of the loss.
        relative: amplitude over the level; NaN where values are not all positive.
        share: amplitude over the drop from the start to the lowest level.
        late_share: amplitude over the drop that is left after the first seventh.
        excess: amplitude over what the noise of single points explains; NaN when bins are single points.
        smooth: amplitude over the noise seen in second differences: high for slow swings, about 1 for white noise.
        lag1: lag-1 autocorrelation of the residuals.
        reversals: how often the residuals change sign beyond a third of the amplitude.
        decay: amplitude in the last third over that in the first third.
    """

    amplitude: float
    relative: float
    share: float
    late_share: float
    excess: float
    smooth: float
    lag1: float
    reversals: int
    decay: float


@once
def swings(reading: Reading) -> Swings | None:
    """Measure the swings; None with fewer than sixteen bins."""
    k = len(reading)
    if k < 16:
        return None
    skip = max(2, k // 7)
    y = reading.y[skip:]
    trend = rolling_median(y, 2 * max(3, len(y) // 5) + 1)
    rest = y - trend
    amplitude = _half_range(rest)
    third = max(len(rest) // 3, 4)
    first = _half_range(rest[:third])
    centre = median(y)
    power = float(np.dot(rest, rest))
    late_drop = float(reading.level[skip] - reading.level[skip:].min())
    noise = reading.noise_between(skip, k)
    floor = median(reading.spread[skip:]) * 1.2533 / np.sqrt(reading.width) if reading.width > 1 else np.nan
    return Swings(
        amplitude=amplitude,
        relative=amplitude / abs(centre) if reading.positive and centre else float("nan"),
        share=_ratio(amplitude, reading.drop),
        late_share=_ratio(amplitude, max(late_drop, 0.0)),
        excess=_ratio(amplitude, 1.28 * floor),
        smooth=_ratio(amplitude, 1.28 * noise),
        lag1=float(np.dot(rest[1:], rest[:-1])) / power if power > 0 else 0.0,
        reversals=_reversals(rest, amplitude / 3),
        decay=_ratio(_half_range(rest[-third:]), first),
    )


def _half_range(values: Floats) -> float:
    low, high = quantiles(values, 0.1, 0.9)
    return (high - low) / 2


def _ratio(a: float, b: float) -> float:
    if not b > 0:
        return float("inf") if a > 0 and b == 0 else float("nan")
    return float(a / b)


def _reversals(values: Floats, least: float) -> int:
    signs = np.sign(values[np.abs(values) > least])
    return int(np.count_nonzero(signs[1:] != signs[:-1]))


@dataclass(frozen=True, slots=True)
class Excursion:
    """A stretch clearly above the levels on both sides.

    Attributes:
        step: of the first bin that jumped.
        height: peak above the level before.
        score: height in robust units of the noise.
        share: height over the drop from the start to the level before; of a loss that had fallen more than a
            thousandfold the same in decades, where that is more. Infinite while hardly anything had been learned.
        bins: its length in bins until the level before was reached again, or the end of the curve.
        recovered: whether the level before was reached again.
    """

    step: int
    height: float
    score: float
    share: float
    bins: int
    recovered: bool


@once
def excursions(reading: Reading, least_score: float = 6.0) -> list[Excursion]:
    """Jumps of the binned curve above the level before them, in order; empty with fewer than twelve bins."""
    k = len(reading)
    if k < 12:
        return []
    y = reading.y
    noise = max(reading.sigma, 0.002 * (abs(median(y)) if reading.positive else reading.drop))
    found: list[Excursion] = []
    start = y[0]
    # The median of the five bins before each bin, all at once: most bins end here.
    before_all = np.sort(windows(y, 5), axis=1)[:, 2]
    i = 5
    while i < k:
        before = float(before_all[i - 5])
        if y[i] - before <= least_score * noise:
            i += 1
            continue
        local = max(noise, reading.noise_between(max(0, i - 16), i))
        if local <= 0 or y[i] - before <= least_score * local:
            i += 1
            continue
        back = np.flatnonzero(y[i:] <= before + 2 * local)
        stop = i + int(back[0]) if len(back) else k
        height = float(y[i:stop].max()) - before
        found.append(
            Excursion(
                step=int(reading.steps[i]),
                height=height,
                score=height / local,
                share=_undone(float(start), before, height, reading.positive),
                bins=stop - i,
                recovered=len(back) > 0,
            )
        )
        i = stop + 1
    return found


def _undone(start: float, before: float, height: float, positive: bool) -> float:
    drop = start - before
    if positive and drop < 0.2 * start:
        return float("inf")  # hardly anything has been learned yet that could be undone
    linear = _ratio(height, max(drop, 0.0))
    if not positive or before <= 0 or start < 1000 * before:
        return linear
    return max(linear, float(np.log((before + height) / before) / np.log(start / before)))
