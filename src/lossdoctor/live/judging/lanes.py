"""Curves that are summarised as they grow: what a verdict asks of them costs the new points, not all of them.

What of a curve survives (restarts, mixed-up rows, copies) is decided by :mod:`lossdoctor.engine.surviving` on all of
its points. As long as its steps only go on, a new point can change nothing of what was decided before, and is added to
the summaries. Where a new point could, all is decided anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lossdoctor.core.curve import Curve
from lossdoctor.core.segments import Segment, breaks, segments_of
from lossdoctor.core.terms import total
from lossdoctor.engine.cases import within
from lossdoctor.engine.surviving import equal, surviving, too_many
from lossdoctor.live.judging.packed import Floats, Ints, Packed
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.summary import SummaryBuilder

# Share of steps that go back above which a curve is not taken for one in order with a few restarts. Well below the
# share from which `breaks` no longer looks for restarts, so that more points cannot change what it says of the first.
_ORDERLY = 0.1


class Source(Protocol):
    """Where points come from, in the order of arrival; ``settled`` of the first ones never change."""

    settled: int

    def __len__(self) -> int: ...

    def since(self, start: int, stop: int | None = None) -> tuple[Ints, Floats]: ...


class Raw:
    """The points of one metric."""

    settled = 0

    def __init__(self, points: Packed) -> None:
        self._points = points

    def __len__(self) -> int:
        return self._points.n

    def since(self, start: int, stop: int | None = None) -> tuple[Ints, Floats]:
        return self._points.since(start, stop)


class Sum:
    """The sum of the terms of a loss, on the steps that all of them have."""

    settled = 2  # NumPy adds the terms of one single point in another order than those of several

    def __init__(self, terms: Sequence[Packed]) -> None:
        self._terms = tuple(terms)

    def __len__(self) -> int:
        return min(len(t) for t in self._terms)

    def since(self, start: int, stop: int | None = None) -> tuple[Ints, Floats]:
        stop = len(self) if stop is None else stop
        first = max(min(start, stop - self.settled), 0)
        added = total([Curve(*t.since(first, stop)) for t in self._terms])
        return added.steps[start - first :], added.values[start - first :]


class Order:
    """The segments of one curve, and whether more points can only lengthen the last of them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self._final = False  # whether what was found cannot change while steps go on
        self._last = 0
        self._segments: list[Segment] = []

    def segments(self) -> list[Segment]:
        """As :func:`lossdoctor.core.segments.segments_of` finds them among all points."""
        steps, _ = self._source.since(self._at)
        if len(steps) == 0:
            return self._segments
        if not self._final or steps[0] < self._last or (np.diff(steps) < 0).any():
            every, values = self._source.since(0)
            self._segments = segments_of({"": Curve(every, values)}, "")
            self._final = settled(every)
        else:
            old = self._segments[-1]
            self._segments = [
                *self._segments[:-1],
                Segment(old.first_step, max(old.last_step, int(steps[-1])), old.superseded),
            ]
        self._at += len(steps)
        self._last = int(steps[-1])
        return self._segments


def settled(steps: Ints) -> bool:
    """Whether later steps that do not go back leave it as it is where :func:`breaks` cuts."""
    drops = np.flatnonzero(np.diff(steps) < 0) + 1
    return len(drops) == 0 or (int(drops[-1]) < len(steps) - 1 and len(drops) <= _ORDERLY * len(steps))


class Lane:
    """One judged curve with the summaries of what survives of it: as a whole, and by segment where there are several.

    Attributes:
        rebuilt: how often all was decided anew.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.rebuilt = 0
        self._starts: tuple[int, ...] = ()
        self._twin: tuple[tuple[int, int, int], int, bool] = ((0, 0, 0), 0, True)
        self._reset()

    def _reset(self) -> None:
        self._at = 0  # points of the source that were looked at
        self._final = False
        self._plain = True  # no step ever went back
        self._whole, self._parts = _Kept(), list[_Kept]()
        self._last: tuple[int, float] = (0, np.nan)  # the last point of the last piece, in order
        self._gaps = self._same = 0  # of the last piece: pairs of neighbours, and how many of them are copies
        self._without = False  # copies are left out
        self._distinct = 0

    @property
    def n(self) -> int:
        """Number of surviving points."""
        return self._whole.n

    @property
    def distinct(self) -> int:
        """Number of different steps among them."""
        return self._distinct if self._plain else len(np.unique(self._steps(0)))

    def catch_up(self, segments: Sequence[Segment]) -> None:
        """Take what is new; ``segments`` are those of the run."""
        starts = tuple(s.first_step for s in segments) if len(segments) > 1 else ()
        steps, values = self._source.since(self._at)
        if starts != self._starts or 0 < self._at < self._source.settled:
            self._starts = starts
            self._anew(segments)
        elif len(steps) and not (self._final and self._go_on(steps, values, segments)):
            self._anew(segments)

    def readings(self) -> tuple[Reading | None, list[Reading | None]]:
        """The reading of the whole curve and of each part; None where there is no point."""
        return self._whole.reading(), [p.reading() for p in self._parts]

    def same_steps(self, other: Lane) -> bool:
        """Whether both have the same steps; what was compared before is not compared again."""
        if self.n != other.n:
            return False
        key = (id(other), self.rebuilt, other.rebuilt)
        known, upto, same = self._twin
        if known != key:
            upto, same = 0, True
        if same and upto < self.n:
            same = np.array_equal(self._steps(upto), other._steps(upto))
        self._twin = (key, self.n, same)
        return same

    def _steps(self, start: int) -> Ints:
        """Steps of the surviving points from one on."""
        if self._plain and self.n == self._at:
            return self._source.since(start, self._at)[0]
        return surviving(Curve(*self._source.since(0, self._at))).steps[start:]

    def _anew(self, segments: Sequence[Segment]) -> None:
        """Decide on all points."""
        self._reset()
        self.rebuilt += 1
        steps, values = self._source.since(0)
        curve = Curve(steps, values)
        kept = surviving(curve)
        self._parts = [_Kept() for _ in self._starts]
        self._add(kept.steps, kept.values, segments)
        self._at, self._final = len(curve), settled(steps)
        gaps = np.diff(steps)
        self._plain = not (gaps < 0).any()
        self._distinct = int((gaps > 0).sum()) + min(1, len(steps))
        if not len(curve):
            return
        cuts = breaks(steps)
        last = curve.take(slice(int(cuts[-1]) if len(cuts) else 0, None))
        if (np.diff(last.steps) < 0).any():
            last = last.take(np.argsort(last.steps, kind="stable"))
        same = (np.diff(last.steps) == 0) & equal(last.values[1:], last.values[:-1])
        self._gaps, self._same = len(same), int(same.sum())
        self._without = self._same > 0 and not too_many(self._same, self._gaps)
        self._last = (int(last.steps[-1]), float(last.values[-1]))

    def _go_on(self, steps: Ints, values: Floats, segments: Sequence[Segment]) -> bool:
        """Add points; False where they could change what was decided before, and nothing was added."""
        gaps = np.empty_like(steps)
        gaps[0] = steps[0] - self._last[0]
        np.subtract(steps[1:], steps[:-1], out=gaps[1:])
        least = gaps.min()
        if least < 0:
            return False
        same = np.zeros(len(steps), bool)
        if least == 0:
            same = (gaps == 0) & equal(values, np.concatenate(([self._last[1]], values[:-1])))
        count, pairs = self._same + int(same.sum()), self._gaps + len(same)
        without = count > 0 and not too_many(count, pairs)
        if self._same and without != self._without:
            return False
        self._at += len(steps)
        self._last = (int(steps[-1]), float(values[-1]))
        self._gaps, self._same, self._without = pairs, count, without
        self._distinct += len(gaps) if least > 0 else int((gaps > 0).sum())
        if without:
            steps, values = steps[~same], values[~same]
        self._add(steps, values, segments)
        return True

    def _add(self, steps: Ints, values: Floats, segments: Sequence[Segment]) -> None:
        self._whole.add(steps, values)
        for i, part in enumerate(self._parts):
            keep = within(steps, segments, i)
            if keep.any():
                part.add(steps[keep], values[keep])


class _Kept:
    """A summary that grows, and the last reading of it."""

    def __init__(self) -> None:
        self._builder = SummaryBuilder()
        self._reading: tuple[int, Reading | None] = (0, None)
        self.n = 0

    def add(self, steps: Ints, values: Floats) -> None:
        self._builder.extend(steps, values)
        self.n += len(values)

    def reading(self) -> Reading | None:
        if self._reading[0] != self.n:
            self._reading = (self.n, Reading(self._builder.summary()))
        return self._reading[1]
