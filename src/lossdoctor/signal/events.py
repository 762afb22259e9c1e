"""Spikes, jumps and non-finite stretches: found block by block, kept in bounded lists with raw points around them.

An event depends on at most 96 points before it and 64 after it, and on the noise of the blocks before. A block is
settled when a full block follows it; what is not settled yet is judged anew at every summary from the points there
are. A stream and one vectorised pass therefore give the same events for the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lossdoctor.signal.blocks import BLOCK, DIFF_TO_SIGMA, FLOAT, INT, Floats, Ints, Rows
from lossdoctor.signal.jumps import find_jumps
from lossdoctor.signal.spikes import LEAST, WINDOW, Found, find_spikes, nonfinite_found, nonfinite_starts

CONTEXT = 32  # raw points kept on either side of an event
MAX_SPIKES, MAX_JUMPS, MAX_NONFINITE = 192, 32, 16  # non-finite stretches: the first 16 and the last 16
_AHEAD = 1  # full blocks that must follow before a block is settled: events look 64 points ahead
_BEHIND = 2  # blocks kept before it: events look 96 points back


@dataclass(frozen=True, eq=False, slots=True)
class Event:
    """Something that happened at one place of a curve.

    Attributes:
        kind: ``"spike"`` (a sudden rise; a jump close by says that it stays), ``"jump"`` (the level shifts and stays,
            up or down), ``"nonfinite"`` (a stretch begins).
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
        stop = self._origin + len(self._sigma) - _AHEAD
        if stop > self._settled:
            self._onset_carry = self._settle(
                self._kept, self._steps, self._values, self._sigma, stop, self._onset_carry
            )
            self._settled = stop
            drop = max(self._settled - _BEHIND - self._origin, 0)
            self._steps, self._values = self._steps[drop * BLOCK :].copy(), self._values[drop * BLOCK :].copy()
            self._sigma = self._sigma[drop:].copy()
            self._origin += drop

    def result(self, steps: Ints, values: Floats, row: Rows | None) -> Kept:
        """Everything found, when these points of a partial block come last."""
        kept, sigma = self._kept.copy(), self._sigma
        if row is not None:
            more = _last_noise(row, self._noise_carry)
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
        spikes, onset = find_spikes(values, finite, noise, low, high, onset - start)
        jumps = find_jumps(values, finite, noise, low, high)
        broken = nonfinite_starts(finite, low, high)

        def build(kind: str, found: Found) -> Event:
            return _event(kind, found, steps, values, start)

        kept.n_spikes += len(spikes)
        kept.n_jumps += len(jumps)
        kept.n_nonfinite_runs += len(broken)
        kept.spikes = _largest(kept.spikes, spikes, MAX_SPIKES, lambda f: build("spike", f))
        kept.jumps = _largest(kept.jumps, jumps, MAX_JUMPS, lambda f: build("jump", f))
        room = MAX_NONFINITE - len(kept.first_nonfinite)
        first, last = broken[:room], broken[max(room, len(broken) - MAX_NONFINITE) :]
        kept.first_nonfinite += [build("nonfinite", f) for f in nonfinite_found(values, finite, first)]
        more = [build("nonfinite", f) for f in nonfinite_found(values, finite, last)]
        kept.last_nonfinite = (kept.last_nonfinite + more)[-MAX_NONFINITE:]
        return onset + start


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


def _last_noise(row: Rows, carry: tuple[float, float]) -> Floats:
    """:func:`_block_noise` of one block after which none comes."""
    own = row.floats.item(_DIFF_MEDIAN, 0) * DIFF_TO_SIGMA if row.ints.item(_N_DIFF, 0) >= LEAST else math.nan
    known = [x for x in (own, carry[0], carry[1] if math.isfinite(carry[1]) else 0.0) if not math.isnan(x)]
    return np.array([max(known)])


_DIFF_MEDIAN, _N_DIFF = FLOAT["diff_median"], INT["n_diff"]


def _block_noise(
    values: Floats, rows: Rows, carry: tuple[float, float], last: float
) -> tuple[Floats, tuple[float, float]]:
    """The noise of each base block: the larger of its own and the last one before it, but no less than the smallest
    difference seen before (a log with few digits has blocks that never move)."""
    own = np.where(rows.int_field("n_diff") >= LEAST, rows.float_field("diff_median") * DIFF_TO_SIGMA, np.nan)
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
