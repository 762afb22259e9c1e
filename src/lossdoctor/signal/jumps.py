"""Lasting shifts of the level in a piece of raw points, given the noise at each of them."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.signal.blocks import Floats
from lossdoctor.signal.spikes import FLAT, WINDOW, Bools, Found

JUMP_SIGMAS = 2.0  # a mean of 16 against the 16 before: 5.7 standard errors of independent noise
JUMP_RATIO = 2.0  # and this often the largest such difference shortly before
_GROUP = 8  # points per group mean


def find_jumps(values: Floats, finite: Bools, noise: Floats, low: int, high: int) -> list[Found]:
    """Lasting shifts of the level whose place lies in [low, high) on the grid of eight points.

    The mean of 16 points is compared with the mean of the 16 before. The largest such difference around must exceed the
    noise and twice what was usual in the 64 points before (so a steep descent is no jump), and the level must stay.
    """
    groups = -(-len(values) // _GROUP)
    if groups < 14:  # 12 groups before a place and two after it
        return []
    mean = _group_means(values, finite)
    pair = mean[1:] * 0.5 + mean[:-1] * 0.5
    size = np.full(groups, np.nan)
    size[2:-1] = np.abs(pair[2:] - pair[:-2])
    unit = noise[::_GROUP]
    clear = size > JUMP_SIGMAS * unit
    clear[: low // _GROUP] = False
    clear[-(-high // _GROUP) :] = False
    if not clear.any():
        return []
    usual = np.full(groups, np.nan)  # the largest difference 3 to 10 groups before
    top = size
    for width in (1, 2, 4):
        top = np.fmax(top[width:], top[:-width])
    usual[10:] = top[: groups - 10]
    local = np.full(groups + 4, -np.inf)
    local[2:-2] = np.where(np.isnan(size), -np.inf, size)
    highest = (size > local[:-4]) & (size > local[1:-3]) & (size >= local[3:-1]) & (size >= local[4:])
    hit = clear & highest & (size > JUMP_RATIO * usual)
    found = [_jump(values, finite, float(unit[j]), int(j) * _GROUP, float(size[j])) for j in np.flatnonzero(hit)]
    return [f for f in found if f is not None]


def _group_means(values: Floats, finite: Bools) -> Floats:
    """Means of the finite values of eight points each, summed in a fixed order; NaN with fewer than four."""
    groups = -(-len(values) // _GROUP)
    padded = np.zeros(groups * _GROUP)
    every = bool(finite.all())
    padded[: len(values)] = values if every else np.where(finite, values, 0.0)
    grid = padded.reshape(-1, _GROUP) * (1.0 / _GROUP)
    total = (
        (grid[:, 0] + grid[:, 4]) + (grid[:, 1] + grid[:, 5]) + (grid[:, 2] + grid[:, 6]) + (grid[:, 3] + grid[:, 7])
    )
    if every:
        rest = len(values) - (groups - 1) * _GROUP
        total[-1] = total[-1] * (_GROUP / rest) if rest >= _GROUP // 2 else np.nan
        return total
    ok = np.zeros(groups * _GROUP, bool)
    ok[: len(values)] = finite
    count = ok.reshape(-1, _GROUP).sum(axis=1)
    return np.where(count >= _GROUP // 2, total * (_GROUP / np.maximum(count, 1)), np.nan)


def _jump(values: Floats, finite: Bools, unit: float, at: int, size: float) -> Found | None:
    """The jump near a position of the grid, placed exactly, or None when the level does not stay."""
    left, right = max(at - 8 - WINDOW, 0), at + 8
    before = values[left : at - 8][finite[left : at - 8]]
    after = values[right : right + WINDOW][finite[right : right + WINDOW]]
    if len(before) < WINDOW // 2 or len(after) < WINDOW // 2:
        return None
    base, level = _median(before), _median(after)
    change = level - base
    if not (abs(change) >= 0.6 * size and abs(change) > JUMP_SIGMAS * unit):
        return None
    unit = unit if unit > 0 else abs(base) * FLAT
    # the first point of the new level: the split that leaves the least absolute deviation from both levels
    near = values[at - 8 : right]
    cost = np.where(finite[at - 8 : right], np.abs(near - base) - np.abs(near - level), 0.0)
    place = at - 8 + int(np.argmin(np.concatenate(([0.0], np.cumsum(cost)[:-1]))))
    score = abs(change) / unit if unit > 0 else math.inf
    return Found(place, place, score, base, change)


def _median(x: Floats) -> float:
    ordered = np.sort(x)
    n = len(ordered)
    return float(ordered[(n - 1) // 2] * 0.5 + ordered[n // 2] * 0.5 + 0.0)
