"""Spikes, jumps and non-finite stretches: found block by block, kept in bounded lists with raw points around them.

An event depends on at most 128 points before it and 128 after it, and on the noise of the blocks before. A block is
settled when two full blocks follow it; what is not settled yet is judged anew at every summary from the points there
are. A stream and one vectorised pass therefore give the same events for the same points.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.blocks import BLOCK, DIFF_TO_SIGMA, Floats, Ints, Rows

CONTEXT = 32  # raw points kept on either side of an event
WINDOW = 32  # points before a point that make its local level
SPIKE_SIGMAS = 6.0  # above the local median, in robust noise units
RECORD_SIGMAS = 2.0  # and above every point of the window
JUMP_SIGMAS = 2.0  # a mean of 16 against the 16 before: 5.7 standard errors of independent noise
JUMP_RATIO = 2.0  # and this often the largest such difference shortly before
MAX_SPIKES, MAX_JUMPS, MAX_NONFINITE = 192, 32, 16  # non-finite stretches: the first 16 and the last 16
_GROUP = 8  # points per group mean for jumps
_LAG = 2  # full blocks that must follow before a block is settled
_LEAST = 8  # finite points or pairs that make a level or a noise
_FLAT = 2.0**-10  # share of the level that stands in for the noise of a curve that never moved

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Event:
    """Something that happened at one place of a curve.

    Attributes:
        kind: ``"spike"`` (up and alone), ``"jump"`` (the level shifts and stays), ``"nonfinite"`` (a stretch begins).
        step, index, value: the highest point of a spike, the first point of the new level, the first non-finite point.
        score: height of the spike or size of the shift in units of the local noise; infinite for non-finite.
        baseline: the local level before: the median of the last 32 points; NaN where there is none.
        change: value (of a jump: the new level) minus baseline, signed; NaN for non-finite.
        onset_step, onset_index: first point of a spike that stands out (at most 32 before its top); else as above.
        context_steps, context_values: up to 32 raw points on either side and the point itself.
        offset: position of the event's point in the context.
    """

    kind: str
    step: int
    index: int
    value: float
    score: float
    baseline: float
    change: float
    onset_step: int
    onset_index: int
    context_steps: Ints
    context_values: Floats
    offset: int

    def same(self, other: Event) -> bool:
        """Whether both are the same, bit for bit (NaN equals NaN)."""
        names = ("kind", "step", "index", "onset_step", "onset_index", "offset")
        numbers = ("value", "score", "baseline", "change")
        return (
            all(getattr(self, n) == getattr(other, n) for n in names)
            and all(_equal(getattr(self, n), getattr(other, n)) for n in numbers)
            and np.array_equal(self.context_steps, other.context_steps)
            and np.array_equal(self.context_values, other.context_values, equal_nan=True)
        )


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@dataclass(frozen=True, slots=True)
class Found:
    """An event before its context is cut out; positions count within the buffer."""

    at: int
    onset: int
    score: float
    baseline: float
    change: float


@dataclass
class Kept:
    """The bounded lists. ``spikes`` and ``jumps`` are ordered by score, earlier first among equals."""

    spikes: list[Event]
    jumps: list[Event]
    first_nonfinite: list[Event]
    last_nonfinite: list[Event]
    n_spikes: int = 0
    n_jumps: int = 0
    n_nonfinite_runs: int = 0

    def copy(self) -> Kept:
        lists = (list(self.spikes), list(self.jumps), list(self.first_nonfinite), list(self.last_nonfinite))
        return Kept(*lists, self.n_spikes, self.n_jumps, self.n_nonfinite_runs)

    def events(self) -> tuple[Event, ...]:
        """All kept events in the order of arrival."""
        every = (*self.spikes, *self.jumps, *self.first_nonfinite, *self.last_nonfinite)
        return tuple(sorted(every, key=lambda e: (e.index, e.kind)))


class EventDetector:
    """Feeds on full base blocks and keeps the raw points that unsettled blocks still need."""

    def __init__(self) -> None:
        self._steps: Ints = np.empty(0, np.int64)  # raw points from block `_origin` on
        self._values: Floats = np.empty(0, np.float64)
        self._sigma: Floats = np.empty(0, np.float64)  # noise per block of the buffer
        self._origin = 0  # the block the buffer begins with
        self._settled = 0  # the first block that is not settled
        self._noise_carry = (math.nan, math.inf)  # the last known noise; the smallest difference ever seen
        self._onset_carry = -WINDOW - 1  # index of the last spike's onset
        self._kept = Kept([], [], [], [])

    def feed(self, steps: Ints, values: Floats, rows: Rows) -> None:
        """Take full base blocks: raw points of shape (k * 64,) and their rows."""
        sigma, self._noise_carry = _block_noise(values, rows, self._noise_carry, self._last_value())
        self._steps = np.concatenate((self._steps, steps))
        self._values = np.concatenate((self._values, values))
        self._sigma = np.concatenate((self._sigma, sigma))
        stop = self._origin + len(self._sigma) - _LAG
        if stop > self._settled:
            self._onset_carry = self._settle(
                self._kept, self._steps, self._values, self._sigma, stop, self._onset_carry
            )
            self._settled = stop
            drop = max(self._settled - _LAG - self._origin, 0)  # two blocks before stay: windows look back
            self._steps, self._values = self._steps[drop * BLOCK :].copy(), self._values[drop * BLOCK :].copy()
            self._sigma = self._sigma[drop:].copy()
            self._origin += drop

    def result(self, steps: Ints, values: Floats, row: Rows | None) -> Kept:
        """Everything found, when these points of a partial block come last."""
        kept, sigma = self._kept.copy(), self._sigma
        if row is not None:
            more, _ = _block_noise(values, row, self._noise_carry, self._last_value())
            steps, values = np.concatenate((self._steps, steps)), np.concatenate((self._values, values))
            sigma = np.concatenate((sigma, more))
        else:
            steps, values = self._steps, self._values
        stop = self._origin + len(sigma)
        if stop > self._settled:
            self._settle(kept, steps, values, sigma, stop, self._onset_carry)
        return kept

    def _last_value(self) -> float:
        return float(self._values[-1]) if len(self._values) else math.nan

    def _settle(self, kept: Kept, steps: Ints, values: Floats, sigma: Floats, stop: int, onset: int) -> int:
        """Find the events of the blocks from `_settled` up to `stop`; returns the index of the last spike's onset."""
        start = self._origin * BLOCK
        low, high = self._settled * BLOCK - start, min(stop * BLOCK - start, len(values))
        noise = np.repeat(sigma, BLOCK)[: len(values)]
        finite = np.isfinite(values)
        spikes, last, n_spikes = find_spikes(values, finite, noise, low, high, onset - start)
        jumps = find_jumps(values, finite, noise, low, high)
        broken = find_nonfinite(values, finite, low, high)

        def build(kind: str, found: Found) -> Event:
            return _event(kind, found, steps, values, start)

        kept.n_spikes += n_spikes
        kept.n_jumps += len(jumps)
        kept.n_nonfinite_runs += len(broken)
        kept.spikes = _largest(kept.spikes, spikes, MAX_SPIKES, lambda f: build("spike", f))
        kept.jumps = _largest(kept.jumps, jumps, MAX_JUMPS, lambda f: build("jump", f))
        room = MAX_NONFINITE - len(kept.first_nonfinite)
        kept.first_nonfinite += [build("nonfinite", f) for f in broken[:room]]
        rest = broken[max(room, len(broken) - MAX_NONFINITE) :]
        kept.last_nonfinite = (kept.last_nonfinite + [build("nonfinite", f) for f in rest])[-MAX_NONFINITE:]
        return last + start


def _event(kind: str, found: Found, steps: Ints, values: Floats, start: int) -> Event:
    low, high = max(found.at - CONTEXT, 0), found.at + CONTEXT + 1
    context_steps, context_values = steps[low:high].copy(), values[low:high].copy()
    context_steps.flags.writeable = context_values.flags.writeable = False
    return Event(
        kind=kind,
        step=int(steps[found.at]),
        index=found.at + start,
        value=float(values[found.at]),
        score=found.score,
        baseline=found.baseline,
        change=found.change,
        onset_step=int(steps[found.onset]),
        onset_index=found.onset + start,
        context_steps=context_steps,
        context_values=context_values,
        offset=found.at - low,
    )


def _largest(old: list[Event], found: list[Found], limit: int, build: Callable[[Found], Event]) -> list[Event]:
    """The ``limit`` highest scores of both; equal scores are kept in the order of arrival."""
    if not found:
        return old
    best = sorted(found, key=lambda f: (-f.score, f.at))[:limit]
    if len(old) == limit:
        best = [f for f in best if f.score > old[-1].score]
    return sorted([*old, *(build(f) for f in best)], key=lambda e: (-e.score, e.index))[:limit]


def _block_noise(
    values: Floats, rows: Rows, carry: tuple[float, float], last: float
) -> tuple[Floats, tuple[float, float]]:
    """The noise of each base block: the larger of its own and the last one before it, but no less than the smallest
    difference seen before (a log with few digits has blocks that never move)."""
    own = np.where(rows.int_field("n_diff") >= _LEAST, rows.float_field("diff_median") * DIFF_TO_SIGMA, np.nan)
    known = np.concatenate(([carry[0]], own))
    seen = np.maximum.accumulate(np.where(np.isnan(known), 0, np.arange(len(known))))
    before = known[seen][:-1]
    line = np.full((len(rows) * BLOCK) + 1, np.nan)
    line[0] = last
    line[1 : len(values) + 1] = values
    difference = np.abs(line[1:] - line[:-1])
    difference[~(difference > 0)] = np.inf
    quantum = np.minimum.accumulate(np.concatenate(([carry[1]], difference.reshape(-1, BLOCK).min(axis=1))))
    floor = np.where(np.isfinite(quantum[:-1]), quantum[:-1], 0.0)
    return np.fmax(np.fmax(own, before), floor), (float(known[seen][-1]), float(quantum[-1]))


def find_spikes(
    values: Floats, finite: Bools, noise: Floats, low: int, high: int, last_onset: int
) -> tuple[list[Found], int, int]:
    """Spikes whose onset lies in [low, high). Points up to 32 after an onset belong to it.

    Returns the spikes, the position of the last onset and the number of spikes.
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
    flagged = flagged[(flagged >= low) & (flagged > last_onset + WINDOW)]
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
    return found, last_onset, len(found)


def _stands_out(values: Floats, finite: Bools, noise: Floats, points: Ints) -> tuple[Ints, Floats, Floats]:
    """Which points are more than six noise units above the median of the window before them; score, median."""
    base = local_medians(values, finite, points)
    unit = noise[points]
    unit = np.where(unit > 0, unit, np.abs(base) * _FLAT)
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
    return np.where(count >= _LEAST, middle + 0.0, np.nan)


def find_jumps(values: Floats, finite: Bools, noise: Floats, low: int, high: int) -> list[Found]:
    """Lasting shifts of the level whose place lies in [low, high) on the grid of eight points.

    The mean of 16 points is compared with the mean of the 16 before. The largest such difference around must exceed the
    noise and twice what was usual in the 64 points before (so a steep descent is no jump), and the level must stay.
    """
    groups = -(-len(values) // _GROUP)
    padded = np.zeros(groups * _GROUP)
    padded[: len(values)] = np.where(finite, values, 0.0)
    ok = np.zeros(groups * _GROUP, bool)
    ok[: len(values)] = finite
    grid = padded.reshape(-1, _GROUP) * (1.0 / _GROUP)
    total = (
        (grid[:, 0] + grid[:, 4]) + (grid[:, 1] + grid[:, 5]) + (grid[:, 2] + grid[:, 6]) + (grid[:, 3] + grid[:, 7])
    )
    count = ok.reshape(-1, _GROUP).sum(axis=1)
    mean = np.where(count >= _GROUP // 2, total * (_GROUP / np.maximum(count, 1)), np.nan)
    if groups < 14:
        return []
    pair = mean[1:] * 0.5 + mean[:-1] * 0.5
    size = np.full(groups, np.nan)
    size[2:-1] = np.abs(pair[2:] - pair[:-2])
    usual = np.full(groups, np.nan)  # the largest difference 3 to 10 groups before
    top = size
    for width in (1, 2, 4):
        top = np.fmax(top[width:], top[:-width])
    usual[10:] = top[: groups - 10]
    local = np.full(groups + 4, -np.inf)
    local[2:-2] = np.where(np.isnan(size), -np.inf, size)
    highest = (size > local[:-4]) & (size > local[1:-3]) & (size >= local[3:-1]) & (size >= local[4:])
    unit = noise[np.minimum(np.arange(groups) * _GROUP, len(values) - 1)]
    hit = highest & (size > JUMP_RATIO * usual) & (size > JUMP_SIGMAS * unit)
    hit[: low // _GROUP] = False
    hit[-(-high // _GROUP) :] = False
    found = [_jump(values, finite, float(unit[j]), int(j) * _GROUP, float(size[j])) for j in np.flatnonzero(hit)]
    return [f for f in found if f is not None]


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
    unit = unit if unit > 0 else abs(base) * _FLAT
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


def find_nonfinite(values: Floats, finite: Bools, low: int, high: int) -> list[Found]:
    """First points of non-finite stretches in [low, high)."""
    bad = ~finite
    start = bad.copy()
    start[1:] &= finite[:-1]
    if low > 0:
        start[low] = bad[low] and finite[low - 1]
    points = np.flatnonzero(start[low:high]) + low
    base = local_medians(values, finite, points)
    return [Found(int(p), int(p), math.inf, float(b), math.nan) for p, b in zip(points, base, strict=True)]
