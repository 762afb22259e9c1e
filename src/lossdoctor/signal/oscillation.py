"""Swings about the trend: how often they turn, how high they are against the noise, and whether they die out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossdoctor.signal.arrays import ArrayLike, Floats, Ints, binned, finite, median, power_scaled, unscaled
from lossdoctor.signal.noise import correlation_at, second_diff_noise
from lossdoctor.signal.periodicity import without_trend
from lossdoctor.signal.smoothing import rolling_median

MOST = 2048  # longer curves are first reduced to medians of runs


@dataclass(frozen=True, slots=True)
class Oscillation:
    """Measures of the swings of a curve about its trend.

    Attributes:
        turn_rate: share of points where the curve, averaged over 1 % of its length, turns: 2/3 for unsmoothed white
            noise, near 0 for a trend.
        amplitude: median half height of the swings, in units of the values; 0 when none exceeds the noise.
        noise: noise of a single value, from second differences.
        ratio: amplitude over noise; infinite without noise.
        swings: number of swings higher than the noise explains.
        lag1: lag-1 autocorrelation of the residuals: high for slow swings, near 0 for noise. A zigzag from point to
            point looks like noise to all the rest: it shows as ``lag1`` near -1 and a period of 2.
        period: points per dominant cycle (of the reduced curve, times its reduction); NaN when there is none.
        power: share of the residuals' power within that cycle's frequency, 0 to 1.
        decay: median height of the swings in the last third over that in the first third; NaN when either has none.
    """

    turn_rate: float
    amplitude: float
    noise: float
    ratio: float
    swings: int
    lag1: float
    period: float
    power: float
    decay: float


def turn_rate(values: ArrayLike, window: int = 1) -> float:
    """How often the slope changes sign, per point where it could, after a running mean over ``window`` points.

    Equal neighbours carry the slope before them on. NaN with fewer than three smoothed points; 2/3 for white noise.

    >>> turn_rate([1.0, 2.0, 1.0, 2.0, 1.0])
    1.0
    """
    y, _ = power_scaled(finite(values))
    if window > 1 and len(y) >= window:
        y = np.lib.stride_tricks.sliding_window_view(y, window).mean(axis=1)
    if len(y) < 3:
        return math.nan
    sign = np.sign(np.diff(y))
    moving = sign[sign != 0]
    return float((moving[1:] != moving[:-1]).sum()) / (len(y) - 2)


def zigzag(values: Floats, least: float) -> Ints:
    """Indices of the turning points, first to last, between which the curve moves by more than ``least``.

    >>> zigzag(np.array([0.0, 5.0, 4.5, 5.2, 1.0, 3.0]), 1.0).tolist()
    [0, 3, 4, 5]
    """
    y = values.tolist()
    turns: list[int] = []
    low = high = top = 0
    side = 0  # 1 on the way up, -1 on the way down, 0 while neither is sure
    for i, value in enumerate(y):
        if side == 0:
            low, high = (i if value < y[low] else low), (i if value > y[high] else high)
            if value - y[low] > least or y[high] - value > least:
                side = 1 if value - y[low] > least else -1
                turns.append(low if side == 1 else high)
                top = i
        elif side * value > side * y[top]:
            top = i
        elif side * (y[top] - value) > least:
            turns.append(top)
            side, top = -side, i
    return np.array([*turns, top] if side else turns, np.int64)


def oscillation(values: ArrayLike) -> Oscillation | None:
    """Measure the swings of the finite values about a running mean over a third of the curve; None below 16 values.

    >>> x = np.arange(200.0)
    >>> o = oscillation(np.sin(x / 5) + 0.01 * x)
    >>> 28 < o.period < 35 and o.swings > 8
    True
    """
    full, exponent = power_scaled(finite(values))
    if len(full) < 16:
        return None
    y, width = binned(full, MOST)
    n = len(y)
    noise = second_diff_noise(full) if width == 1 else second_diff_noise(y)
    rest = without_trend(y, n // 3)
    smooth = rolling_median(rest, 3)
    # the range of n values of noise, after the median of three: what noise alone reaches between turns
    least = 2.0 * noise * math.sqrt(2.0 * math.log(n)) * 0.67
    floor = 64.0 * np.finfo(np.float64).eps
    turns = zigzag(smooth, max(least, floor))
    heights = np.abs(np.diff(smooth[turns]))
    middle = 0.5 * (turns[1:] + turns[:-1])
    first, last = heights[middle < n / 3], heights[middle >= 2 * n / 3]
    amplitude = 0.5 * median(heights) if len(heights) else 0.0
    period, power = dominant_period(rest)
    return Oscillation(
        turn_rate=turn_rate(y, max(1, n // 100)),
        amplitude=unscaled(amplitude, exponent),
        noise=unscaled(noise, exponent),
        ratio=amplitude / noise if noise > 0 else (math.inf if amplitude > 0 else 0.0),
        swings=len(heights),
        lag1=correlation_at(rest, 1),
        period=period * width,
        power=power,
        decay=median(last) / median(first) if len(first) and len(last) else math.nan,
    )


def dominant_period(rest: Floats) -> tuple[float, float]:
    """The period in points with most power in detrended values (at least two cycles), and its share of all power.

    The share includes the two neighbouring frequencies, since a period seldom falls on one. (NaN, 0) without power.

    >>> period, share = dominant_period(np.sin(np.arange(100) * 2 * np.pi / 10))
    >>> round(period, 6), round(share, 3)
    (10.0, 1.0)
    """
    n = len(rest)
    if n < 8:
        return math.nan, 0.0
    scaled, _ = power_scaled(np.where(np.isfinite(rest), rest, 0.0))
    power = np.abs(np.fft.rfft(scaled)) ** 2
    power[0] = 0.0
    total = float(power.sum())
    if total <= (n * 16.0 * np.finfo(np.float64).eps) ** 2:
        return math.nan, 0.0
    k = 2 + int(np.argmax(power[2:]))
    around = slice(max(k - 1, 1), k + 2)
    # centre of the peak, so that the period is not tied to whole cycles
    frequency = float((power[around] * np.arange(len(power))[around]).sum() / power[around].sum())
    return n / frequency, float(power[around].sum()) / total
