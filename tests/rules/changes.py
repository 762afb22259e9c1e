"""Changes of a log that change nothing of the run behind it, or do so in a known way. Each returns a new history."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.signal.smoothing import ema

Floats = NDArray[np.float64]
Change = Callable[[TrainingHistory], TrainingHistory]


def rebuilt(history: TrainingHistory, curves: Mapping[str, Curve]) -> TrainingHistory:
    """The same run with other curves."""
    return TrainingHistory(
        curves,
        name=history.name,
        step_unit=history.step_unit,
        context=history.context,
        notes=history.notes,
        events=history.events,
        metrics={r: n for r, n in history._overrides.items() if n in curves},
    )


def is_loss(name: str) -> bool:
    """Whether a metric is a loss (or a term of one) by its name."""
    return parse(name).kind == "loss"


def losses_changed(history: TrainingHistory, change: Callable[[Floats], Floats]) -> TrainingHistory:
    """The run with another value for every loss."""
    return rebuilt(
        history,
        {n: Curve(c.steps, change(c.values), c.times) if is_loss(n) else c for n, c in history.curves.items()},
    )


def every(k: int, *, first: bool = False) -> Change:
    """Every k-th row of each curve that has so many, from the k-th on (a logger's) or from the first."""
    start = 0 if first else k - 1
    return lambda h: rebuilt(h, {n: c.take(slice(start, None, k)) if len(c) >= k else c for n, c in h.curves.items()})


def means(k: int) -> Change:
    """Each row of a curve that is logged per step is the mean of k; what is evaluated (validation) keeps its rows."""

    def mean(curve: Curve) -> Curve:
        whole = len(curve) // k * k
        with np.errstate(all="ignore"):
            values = curve.values[:whole].reshape(-1, k).mean(axis=1)
        return Curve(curve.steps[k - 1 : whole : k], values)

    return lambda h: rebuilt(
        h, {n: c if parse(n).split in ("val", "test") or len(c) < k else mean(c) for n, c in h.curves.items()}
    )


def smoothed(factor: float) -> Change:
    """Training losses as a dashboard smooths them: an exponential moving average without start-up bias."""
    return lambda h: rebuilt(
        h,
        {
            n: Curve(c.steps, ema(c.values, factor)) if is_loss(n) and parse(n).split not in ("val", "test") else c
            for n, c in h.curves.items()
        },
    )


def cut(first: float, last: float = 1.0) -> Change:
    """The rows whose steps lie in a part of the run, both ends as shares of its length."""

    def between(history: TrainingHistory) -> TrainingHistory:
        if not len(history):
            return history
        low, high = span(history)
        a, b = low + first * (high - low), low + last * (high - low)
        return rebuilt(history, {n: c.take((c.steps >= a) & (c.steps <= b)) for n, c in history.curves.items()})

    return between


def span(history: TrainingHistory) -> tuple[int, int]:
    """First and last step of any curve."""
    filled = [c for c in history.curves.values() if len(c)]
    return min(int(c.steps.min()) for c in filled), max(int(c.steps.max()) for c in filled)


def replaced(name: str, index: int, value: float) -> Change:
    """One value of one curve becomes another."""

    def put(history: TrainingHistory) -> TrainingHistory:
        curve = history[name]
        values = curve.values.copy()
        values[index] = value
        return rebuilt(history, {**history.curves, name: Curve(curve.steps, values, curve.times)})

    return put


def doubled(history: TrainingHistory) -> TrainingHistory:
    """Every row is written twice, as by two ranks of one job."""
    return rebuilt(history, {n: c.take(np.repeat(np.arange(len(c)), 2)) for n, c in history.curves.items()})


def jostled(rng: np.random.Generator, share: float) -> Change:
    """Rows swap places with their neighbours, as when several writers share one file; the last one stays.

    A last row alone that goes back is a summary of the run, and no part of the curve.
    """

    def swap(history: TrainingHistory) -> TrainingHistory:
        out = {}
        for name, curve in history.curves.items():
            order = np.arange(len(curve))
            for i in np.flatnonzero(rng.random(max(len(curve) - 2, 0)) < share):
                order[i], order[i + 1] = order[i + 1], order[i]
            out[name] = curve.take(order)
        return rebuilt(history, out)

    return swap


def shuffled(rng: np.random.Generator) -> Change:
    """All rows in any order."""
    return lambda h: rebuilt(h, {n: c.take(rng.permutation(len(c))) for n, c in h.curves.items()})


def reordered(rng: np.random.Generator) -> Change:
    """The columns in any order."""

    def permute(history: TrainingHistory) -> TrainingHistory:
        names = list(history.curves)
        return rebuilt(history, {names[i]: history[names[i]] for i in rng.permutation(len(names))})

    return permute


def continued(rng: np.random.Generator, share: float = 0.25) -> Change:
    """The run goes on at the level it ended with, with stretches of the noise of its last quarter."""

    def more(history: TrainingHistory) -> TrainingHistory:
        if not len(history):
            return history
        low, high = span(history)
        grow = share * (high - low)
        return rebuilt(history, {n: _extended(c, n, grow, rng) for n, c in history.curves.items()})

    return more


def _extended(curve: Curve, name: str, steps: float, rng: np.random.Generator) -> Curve:
    n = len(curve)
    if n < 8:
        return curve
    gap = max(1, round((int(curve.steps[-1]) - int(curve.steps[0])) / (n - 1)))
    tail = curve.values[-max(n // 4, 4) :]
    count = round(steps / gap)
    added = _noise_like(tail, count, rng) if is_loss(name) else np.full(count, tail[-1])
    later = curve.steps[-1] + gap * np.arange(1, len(added) + 1)
    return Curve(np.concatenate([curve.steps, later]), np.concatenate([curve.values, added]))


def _noise_like(tail: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Values about the level that a tail ends with; of positive ones ratios are drawn, so that all stay positive."""
    positive = bool((tail > 0).all())
    y = np.log(tail) if positive else tail
    at = np.arange(len(y))
    trend = np.polyval(np.polyfit(at, y, 1), at)
    wide = max(1, len(y) // 4)
    starts = rng.integers(0, len(y) - wide + 1, size=count // wide + 1)
    drawn = trend[-1] + np.concatenate([(y - trend)[s : s + wide] for s in starts])[:count]
    return np.exp(drawn) if positive else drawn
