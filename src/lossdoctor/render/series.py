"""Curves made ready for drawing: cut at restarts, non-finite points set apart, long ones reduced, best and onset found.

Reduction keeps the minimum and maximum of every bucket (so extremes survive) and, for the smoothed line, its mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve, Steps, Values
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.segments import curve_pieces

LIMIT = 2_000
_MOST_BAD = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One curve as it is drawn. A NaN in ``values`` or ``means`` is a gap between segments, nothing else.

    Attributes:
        steps, values: the raw points, at most about the limit, in the order of the steps.
        mean_steps, means: what the smoothed line is made of: the points themselves or the means of their buckets.
        bad_steps, bad: where the curve was not finite, and what it was (``"NaN"``, ``"Inf"``, ``"-Inf"``).
        old_steps, old: points that a resumed run logged again.
        points: how many points the log holds.
    """

    name: str
    role: str
    steps: Steps
    values: Values
    mean_steps: Steps
    means: Values
    bad_steps: Steps
    bad: tuple[str, ...]
    bad_count: int
    old_steps: Steps
    old: Values
    points: int

    @property
    def reduced(self) -> bool:
        """Whether fewer points are drawn than the log holds."""
        return len(self.means) < len(self.values)

    def finite(self) -> Values:
        """The drawn values without gaps."""
        return self.values[np.isfinite(self.values)]

    def smoothed(self, factor: float) -> Values:
        """The exponential moving average of ``means``, with bias correction; it starts anew after a gap."""
        return _ema(self.means, np.full(len(self.means), 1 - factor))

    def centred(self, factor: float) -> Values:
        """A moving average for pictures: forwards and backwards, so that it does not lag behind the curve.

        Its window grows from the beginning of each segment, where losses fall fastest, up to what ``factor`` says.
        """
        gaps = np.isnan(self.means)
        place = np.arange(len(gaps)) - np.maximum.accumulate(np.where(gaps, np.arange(len(gaps)) + 1, 0))
        weights = np.maximum(1 - factor, 1 / (1 + np.maximum(place, 0) / 4))
        return _ema(self.means, weights) / 2 + _ema(self.means[::-1], weights[::-1])[::-1] / 2

    def factor(self) -> float:
        """How strongly to smooth by default: about a fortieth of the line, not at all when it is short."""
        n = int(np.isfinite(self.means).sum())
        return 0.0 if n < 60 else min(0.97, 1 - 40 / n) if n > 80 else 0.4


def _ema(values: Values, weights: Values) -> Values:
    """The moving average in which each new value has the given weight; a NaN starts it anew."""
    out = np.full(len(values), np.nan)
    total = known = 0.0
    for i, (value, weight) in enumerate(zip(values.tolist(), weights.tolist(), strict=True)):
        if math.isnan(value):
            total = known = 0.0
            continue
        total = (1 - weight) * total + weight * value
        known = (1 - weight) * known + weight
        out[i] = total / known
    # An average lies within its values; near the largest double, rounding alone would carry it beyond.
    fine = values[~np.isnan(values)]
    return np.clip(out, fine.min(), fine.max()) if len(fine) else out


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding's place on the step axis; ``start`` is None when it concerns the whole run."""

    finding: Finding
    start: int | None
    end: int


@dataclass(frozen=True)
class Chart:
    """Everything that a picture of one run shows."""

    train: Line | None
    val: Line | None
    others: tuple[Line, ...]
    panels: tuple[Line, ...]
    comparable: bool
    unit: str
    best: tuple[int, float, str] | None
    marks: tuple[Mark, ...]
    first: int
    last: int
    restarts: tuple[int, ...] = field(default=())

    @property
    def main(self) -> list[Line]:
        """The lines of the main panel: training and validation loss."""
        return [line for line in (self.train, self.val) if line is not None]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.points for line in (*self.main, *self.others, *self.panels))


def make_chart(
    history: TrainingHistory, diagnosis: Diagnosis | None = None, *, limit: int = LIMIT, others: int = 0
) -> Chart:
    """Prepare a run for drawing.

    Args:
        limit: most points per line.
        others: how many auxiliary losses and scores to take along.
    """
    roles = history.roles
    train = _role_line(history, "train_loss", limit)
    val = _role_line(history, "val_loss", limit)
    more = [n for n in (*roles.auxiliary, *roles.adversarial) if len(history[n])][:others]
    if train is None and val is None and not more:  # no loss was recognised: show what there is
        taken = {n for names in roles.names.values() for n in names}
        more = [n for n in history.curves if n not in taken and len(history[n])][: max(others, 1)]
    extra = tuple(line_of(history[n], n, "other", limit) for n in more)
    panels = tuple(p for p in (_role_line(history, r, limit) for r in ("learning_rate", "grad_norm")) if p is not None)
    drawn = [line for line in (train, val, *extra, *panels) if line is not None]
    every = [s for line in drawn for s in (line.steps, line.bad_steps) if len(s)]
    first, last = (int(min(s.min() for s in every)), int(max(s.max() for s in every))) if every else (0, 0)
    marks = () if diagnosis is None else tuple(_marks(diagnosis, last))
    restarts = tuple(s.first_step for s in history.segments[1:])
    best = _best(history, val, train)
    return Chart(train, val, extra, panels, roles.comparable, history.step_unit, best, marks, first, last, restarts)


def _marks(diagnosis: Diagnosis, last: int) -> list[Mark]:
    segments = diagnosis.history.segments
    marks = []
    for f in diagnosis.findings:
        inside = segments[f.segment].last_step if len(segments) > 1 and f.segment < len(segments) else last
        marks.append(Mark(f, f.onset_step, max(inside, f.onset_step or inside)))
    return marks


def _role_line(history: TrainingHistory, role: str, limit: int) -> Line | None:
    name, curve = history.roles.label(role), history.curve(role)
    if name is None or curve is None or len(curve) == 0:
        return None
    return line_of(curve, name, role, limit)


def line_of(curve: Curve, name: str, role: str = "other", limit: int = LIMIT) -> Line:
    """One curve made ready for drawing, with at most about ``limit`` points."""
    pieces = [p for p, _ in curve_pieces(curve)]
    total = sum(len(p) for p in pieces)
    raw: list[tuple[Steps, Values]] = []
    mean: list[tuple[Steps, Values]] = []
    bad_steps: list[Steps] = []
    bad_values: list[Values] = []
    for piece in pieces:
        order = np.argsort(piece.steps, kind="stable")
        steps, values = piece.steps[order], piece.values[order]
        fine = np.isfinite(values)
        bad_steps.append(steps[~fine])
        bad_values.append(values[~fine])
        share = max(8, limit * len(piece) // max(total, 1))
        kept, means = _reduced(steps[fine], values[fine], share)
        raw.append(kept)
        mean.append(means)
    old_steps, old = _superseded(curve, pieces, limit)
    steps, values = _with_gaps(raw)
    mean_steps, means_ = _with_gaps(mean)
    bad_at, bad_as = np.concatenate([*bad_steps, _NO_STEPS]), np.concatenate([*bad_values, _NO_VALUES])
    pick = _spread(len(bad_at), _MOST_BAD)
    kinds = tuple("NaN" if np.isnan(v) else ("Inf" if v > 0 else "-Inf") for v in bad_as[pick])
    return Line(
        *(name, role, steps, values, mean_steps, means_, bad_at[pick], kinds, len(bad_at), old_steps, old),
        points=len(curve),
    )


_NO_STEPS = np.zeros(0, dtype=np.int64)
_NO_VALUES = np.zeros(0, dtype=np.float64)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` indices out of n, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.zeros(0, dtype=np.int64)


def minmax(values: Values, limit: int) -> NDArray[np.int64]:
    """Indices of at most ``limit`` points that keep both extremes of every bucket, and the first and last point.

    >>> minmax(np.array([0.0, 9.0, 1.0, 2.0, -5.0, 3.0]), 4).tolist()
    [0, 1, 4, 5]
    """
    n = len(values)
    if n <= limit:
        return np.arange(n)
    size = _bucket(n, limit)
    whole = n // size * size
    table = values[:whole].reshape(-1, size)
    base = np.arange(0, whole, size)
    found = [np.array([0, n - 1]), base + table.argmin(axis=1), base + table.argmax(axis=1)]
    if whole < n:
        found.append(whole + np.array([int(values[whole:].argmin()), int(values[whole:].argmax())]))
    return np.unique(np.concatenate(found)).astype(np.int64)


def _bucket(n: int, limit: int) -> int:
    """Points per bucket, so that two points of each and both ends stay within the limit."""
    return math.ceil(n / max(1, (limit - 2) // 2))


def _reduced(steps: Steps, values: Values, limit: int) -> tuple[tuple[Steps, Values], tuple[Steps, Values]]:
    """The extremes, and the means of the buckets at their middle steps."""
    n = len(values)
    if n <= limit:
        return (steps, values), (steps, values)
    index = minmax(values, limit)
    size = _bucket(n, limit)
    whole = n // size * size
    # Divided before summing: the sum of two values near the largest double would overflow.
    means = (values[:whole].reshape(-1, size) / size).sum(axis=1)
    middles = steps[np.arange(0, whole, size) + size // 2]
    if whole < n:
        means = np.append(means, (values[whole:] / (n - whole)).sum())
        middles = np.append(middles, steps[whole + (n - whole) // 2])
    return (steps[index], values[index]), (middles, means)


def _with_gaps(parts: Sequence[tuple[Steps, Values]]) -> tuple[Steps, Values]:
    """The pieces in a row, with a NaN between two, so that no line is drawn across a restart."""
    full = [(s, v) for s, v in parts if len(s)]
    if not full:
        return _NO_STEPS, _NO_VALUES
    steps, values = [full[0][0]], [full[0][1]]
    for s, v in full[1:]:
        steps += [s[:1], s]
        values += [np.array([np.nan]), v]
    return np.concatenate(steps), np.concatenate(values)


def _superseded(curve: Curve, kept: Sequence[Curve], limit: int) -> tuple[Steps, Values]:
    """The points of earlier segments that a later one logged again."""
    if len(kept) < 2 and sum(len(p) for p in kept) == len(curve):
        return _NO_STEPS, _NO_VALUES
    left: list[tuple[Steps, Values]] = []
    start = 0
    for piece in kept:
        at = _find(curve, piece, start)
        if at > start:
            left.append((curve.steps[start:at], curve.values[start:at]))
        start = at + len(piece)
    if start < len(curve):
        left.append((curve.steps[start:], curve.values[start:]))
    steps, values = _with_gaps(left)
    values = np.where(np.isinf(values), np.nan, values)
    index = _spread(len(values), limit)
    return steps[index], values[index]


def _find(curve: Curve, piece: Curve, start: int) -> int:
    """Where a piece lies in the curve: pieces keep the order of arrival, so one scan finds it."""
    hits = np.flatnonzero(curve.steps[start:] == piece.steps[0])
    for hit in hits:
        at = start + int(hit)
        if np.array_equal(curve.steps[at : at + len(piece)], piece.steps):
            return at
    return start


def _best(history: TrainingHistory, val: Line | None, train: Line | None) -> tuple[int, float, str] | None:
    """Step, value and metric of the best evaluation; without validation, of the best smoothed training loss."""
    line = val if val is not None and len(val.finite()) else train
    if line is None or len(line.finite()) < 2:
        return None
    steps, values = (line.steps, line.values) if line is val else (line.mean_steps, line.centred(line.factor()))
    best = np.nanargmax(values) if history.context.directions.get(line.name) == "max" else np.nanargmin(values)
    return int(steps[best]), float(values[best]), line.name


def scale(values: Sequence[Values]) -> tuple[str, float]:
    """Which axis shows these values: ``"log"`` beyond two decades, or where a few points would flatten all others.

    Returns the scale and, for ``"symlog"`` (some values are not positive), the half-width of its linear middle.

    >>> scale([np.array([1.0, 2.0])])[0], scale([np.array([0.001, 2.0])])[0], scale([np.array([-1.0, 0.5, 1e9])])[0]
    ('linear', 'log', 'symlog')
    """
    together = np.concatenate([*values, _NO_VALUES])
    together = np.sort(together[np.isfinite(together)])
    if len(together) == 0:
        return "linear", 0.0
    low, high = float(together[0]), float(together[-1])
    if low > 0:
        # A loss falls steeply at first: on a linear axis the long rest, where the news is, would be one flat line.
        middle = float(together[int(0.92 * (len(together) - 1))] - together[int(0.04 * (len(together) - 1))])
        squeezed = len(together) >= 40 and high / low > 5 and middle < 0.2 * (high - low)
        return ("log", 0.0) if high / low > 100 or squeezed else ("linear", 0.0)
    size = np.sort(np.abs(together[together != 0]))
    middle = float(size[len(size) // 2]) if len(size) else 0.0  # no median: its mean of two may overflow
    return ("symlog", middle) if middle and float(size[-1]) / middle > 100 else ("linear", 0.0)
