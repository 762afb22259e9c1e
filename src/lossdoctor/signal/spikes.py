"""Spikes and non-finite stretches in a piece of raw points, given the noise at each of them.

A spike is a point far above the local level that no point shortly before came near: the start of a rise that is not
noise. What follows within 32 points belongs to it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.blocks import Floats, Ints

WINDOW = 32  # points before a point that make its local level
SPIKE_SIGMAS = 6.0  # above the local median, in robust noise units
RECORD_SIGMAS = 2.0  # and above every point of the window
LEAST = 8  # finite points or pairs that make a level or a noise
FLAT = 2.0**-10  # share of the level that stands in for the noise of a curve that never moved

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """An event before its context is cut out; positions count within the buffer."""

    at: int
    onset: int
    score: float
    baseline: float
    change: float


def find_spikes(
    values: Floats, finite: Bools, noise: Floats, low: int, high: int, last_onset: int
) -> tuple[list[Found], int]:
    """Spikes whose onset lies in [low, high). Points up to 32 after an onset belong to it.

    Returns the spikes and the position of the last onset.
    """
    begin = max(low - WINDOW, 0)
    stop = min(high + WINDOW, len(values))
    shown = np.full(WINDOW + stop - begin, -np.inf)
    shown[WINDOW:] = np.where(finite[begin:stop], values[begin:stop], -np.inf)
    top = shown
    for width in (1, 2, 4, 8, 16):  # running maximum over 32 points by doubling
        top = np.maximum(top[width:], top[:-width])
    record = shown[WINDOW:] - top[: stop - begin]  # the window ends just before the point
    flagged = np.flatnonzero(record > RECORD_SIGMAS * noise[begin:stop]) + begin
    flagged = flagged[flagged >= max(low, last_onset + WINDOW + 1)]
    if len(flagged) == 0:
        return [], last_onset
    at, score, base = _stands_out(values, finite, noise, flagged)
    found: list[Found] = []
    where = at.tolist()
    k = 0
    while k < len(where) and where[k] < high:
        end = bisect_right(where, where[k] + WINDOW)
        peak = k + int(np.argmax(values[at[k:end]]))
        change = float(values[where[peak]] - base[k])
        found.append(Found(where[peak], where[k], float(score[k:end].max()), float(base[k]), change))
        last_onset = where[k]
        k = end
    return found, last_onset


def _stands_out(values: Floats, finite: Bools, noise: Floats, points: Ints) -> tuple[Ints, Floats, Floats]:
    """Which points are more than six noise units above the median of the window before them; score, median."""
    base = local_medians(values, finite, points)
    unit = noise[points]
    unit = np.where(unit > 0, unit, np.abs(base) * FLAT)
    excess = values[points] - base
    score = np.where(unit > 0, excess / unit, np.inf)
    keep = (excess > SPIKE_SIGMAS * unit) & np.isfinite(base)
    return points[keep], score[keep], base[keep]


def local_medians(values: Floats, finite: Bools, points: Ints) -> Floats:
    """Median of the finite values among the 32 before each point; NaN when there are fewer than eight."""
    if len(points) == 0:
        return np.empty(0)
    index = points[:, None] + np.arange(-WINDOW, 0)
    ok = (index >= 0) & finite[np.maximum(index, 0)]
    window = np.sort(np.where(ok, values[np.maximum(index, 0)], np.inf), axis=1)
    count = ok.sum(axis=1)
    every = np.arange(len(points))
    middle = (
        window[every, np.maximum(count - 1, 0) // 2] * 0.5 + window[every, np.minimum(count // 2, WINDOW - 1)] * 0.5
    )
    return np.where(count >= LEAST, middle + 0.0, np.nan)


def nonfinite_starts(finite: Bools, low: int, high: int) -> Ints:
    """First points of non-finite stretches in [low, high)."""
    if finite.all():
        return np.empty(0, np.int64)
    start = ~finite
    start[1:] &= finite[:-1]
    return np.flatnonzero(start[low:high]) + low


def nonfinite_found(values: Floats, finite: Bools, points: Ints) -> list[Found]:
    """What is known of the given starts of non-finite stretches."""
    if len(points) == 0:
        return []
    base = local_medians(values, finite, points)
    return [Found(int(p), int(p), math.inf, float(b), math.nan) for p, b in zip(points, base, strict=True)]
