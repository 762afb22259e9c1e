"""Which of several runs is better at its end, beyond the noise of their curves, and since when.

A run's level is the median of its last tenth; how sure it is allows for noise that remembers, and for how little a
short curve tells of it (``engine/levels.py``, with a table of false and missed winners). Two runs that share steps are
compared step by step, which cancels what they share (the same batches, the same schedule).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.core.report import Comparison, ComparisonRow
from lossdoctor.core.roles import ROLES
from lossdoctor.core.segments import curve_pieces
from lossdoctor.engine.levels import LEAST_POINTS, Level, end_level

ALPHA = 0.05
_NORMAL = 1.4826  # MAD of a normal distribution to its standard deviation
_BLOCKS = 64
SEEDS_NOTE = "the noise is that within each curve; it does not include the spread between random seeds"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run's curve of the metric, restarts resolved, steps rising, with its level at the end."""

    name: str
    curve: Curve
    end: Level

    @property
    def level(self) -> float:
        return self.end.value

    @property
    def finite(self) -> bool:
        return math.isfinite(self.end.value)


def compare(histories: Sequence[TrainingHistory], metric: str | None = None) -> Comparison:
    """Compare runs on one metric.

    Args:
        histories: two runs or more.
        metric: a role (``"val_loss"``) or a metric's name; by default validation loss where every run has it, else
            training loss.

    Returns:
        The comparison. When the runs cannot be compared (no common loss, losses of different names, too few points)
        ``winner`` and ``p_value`` are None and ``sentence`` says why.

    Raises:
        UsageError: fewer than two runs, or a run has no such metric.

    >>> slow = TrainingHistory(loss=[2 * 0.99**i for i in range(200)], name="slow")
    >>> fast = TrainingHistory(loss=[2 * 0.97**i for i in range(200)], name="fast")
    >>> compare([slow, fast]).winner
    'fast'
    """
    if len(histories) < 2:
        raise UsageError(f"a comparison needs at least two runs, got {len(histories)}")
    labels = _labels(histories)
    chosen = metric or _common_loss(histories)
    if chosen is None:
        return _abstain("loss", labels, "the runs share neither a validation nor a training loss")
    names = [_name_of(h, chosen) for h in histories]
    lower = _lower_is_better(histories[0], names[0])
    if metric is None and len({tuple(sorted(parse(n).bare)) for n in names}) > 1:
        told = ", ".join(f"{label} logs {name!r}" for label, name in zip(labels, names, strict=True))
        return _abstain(chosen, labels, f"their losses may not be the same quantity ({told}); name one with --metric")
    runs = [_run(label, h[name]) for label, h, name in zip(labels, histories, names, strict=True)]
    few = [r.name for r in runs if len(r.curve) < LEAST_POINTS]
    if few:
        return _abstain(
            chosen, labels, f"too few points of {chosen} in {', '.join(few)} (at least {LEAST_POINTS} are needed)"
        )
    units = {h.step_unit for h in histories}
    return _judge(runs, chosen, lower, next(iter(units)) if len(units) == 1 else "", _length_notes(runs, units))


def _judge(runs: list[_Run], metric: str, lower: bool, unit: str, notes: list[str]) -> Comparison:
    """Rank by final level, test the first against every other, and look for the step from which it leads."""
    rows = [_row(r, lower) for r in runs]
    sign = 1.0 if lower else -1.0
    order = sorted(runs, key=lambda r: (not r.finite, sign * r.level if r.finite else 0.0))
    first, second = order[0], order[1]
    if not first.finite:
        sentence = f"no run is better: every {metric} ends non-finite"
        return Comparison(metric, rows, None, math.nan, None, False, None, sentence, unit or "step", lower, notes)
    if not second.finite:
        return _lone_survivor(first, order, rows, metric, lower, unit, notes)
    tests = [_difference(first, r, paired=bool(unit)) for r in order[1:] if r.finite]
    # The first must beat every other: the weakest of its victories counts.
    p_value = max(t.p_value() for t in tests)
    margin = sign * tests[0].value
    beyond = p_value < ALPHA and margin > 0
    leads = [_since(first, r, sign) for r in order[1:] if r.finite] if unit else [None]
    since = max((s for s in leads if s is not None), default=None) if beyond and None not in leads else None
    least = tests[0].least_visible(ALPHA)
    sentence = _sentence(first, second, metric, margin, p_value, beyond, since, unit, least)
    return Comparison(
        metric=metric,
        rows=rows,
        winner=first.name if beyond else None,
        margin=abs(margin),
        p_value=p_value,
        beyond_noise=beyond,
        since_step=since,
        sentence=sentence,
        step_unit=unit or "step",
        lower_is_better=lower,
        notes=[*notes, SEEDS_NOTE],
    )


def _lone_survivor(
    first: _Run, order: list[_Run], rows: list[ComparisonRow], metric: str, lower: bool, unit: str, notes: list[str]
) -> Comparison:
    broken = order[1]
    bad = broken.curve.steps[~np.isfinite(broken.curve.values)]
    since = int(bad[0]) if len(bad) and unit else None
    when = f" from {unit} {since:,} on" if since is not None else ""
    sentence = f"{first.name} is better: its {metric} ends at {first.level:.4g}, that of {broken.name} non-finite{when}"
    return Comparison(metric, rows, first.name, math.inf, None, True, since, sentence, unit or "step", lower, notes)


def _sentence(
    first: _Run,
    second: _Run,
    metric: str,
    margin: float,
    p: float,
    beyond: bool,
    since: int | None,
    unit: str,
    least: float,
) -> str:
    levels = f"{metric} {first.level:.4g} against {second.level:.4g} of {second.name} at the end"
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    if not beyond:
        seen = f"; only a margin above {least:.2g} would show" if least > 0 else ""
        return f"no difference beyond noise: {first.name} has {levels} (margin {abs(margin):.2g}, {chance}){seen}"
    lead = f", ahead since {unit} {since:,}" if since is not None else ""
    return f"{first.name} is better: {levels} (margin {margin:.2g}, {chance}){lead}"


# one run


def _run(label: str, curve: Curve) -> _Run:
    survivors = [piece for piece, _ in curve_pieces(curve)]
    steps = np.concatenate([c.steps for c in survivors]) if survivors else curve.steps
    values = np.concatenate([c.values for c in survivors]) if survivors else curve.values
    # One value per step: the last that was logged. (np.unique finds the first of the reversed.)
    unique, index = np.unique(steps[::-1], return_index=True)
    clean = Curve(unique, values[::-1][index])
    return _Run(label, clean, end_level(clean.values))


def _row(run: _Run, lower: bool) -> ComparisonRow:
    values = run.curve.values
    good = np.flatnonzero(np.isfinite(values))
    if len(good) == 0:
        return ComparisonRow(run.name, math.nan, math.nan, math.nan, None)
    at = good[np.argmin(values[good]) if lower else np.argmax(values[good])]
    return ComparisonRow(run.name, run.level, run.end.se, float(values[at]), int(run.curve.steps[at]))


# two runs


def _difference(a: _Run, b: _Run, *, paired: bool) -> Level:
    """How far ``b`` lies above ``a`` at the end."""
    if paired and a.curve.steps[-1] == b.curve.steps[-1]:
        _, ia, ib = np.intersect1d(a.curve.steps, b.curve.steps, assume_unique=True, return_indices=True)
        if len(ia) >= max(8, 0.8 * min(len(a.curve), len(b.curve))):
            gap = end_level(b.curve.values[ib] - a.curve.values[ia], of_pairs=True)
            if math.isfinite(gap.value):
                return gap
    return b.end.less(a.end)


def _since(first: _Run, rival: _Run, sign: float) -> int | None:
    """The step from which ``first`` stays ahead: the change point of their difference, in blocks.

    None when the curves do not overlap, or when the lead does not hold to the end of the overlap.
    """
    low = max(first.curve.steps[0], rival.curve.steps[0])
    high = min(first.curve.steps[-1], rival.curve.steps[-1])
    a, b = _finite(first.curve), _finite(rival.curve)
    sparse = a if len(a) <= len(b) else b
    grid = sparse.steps[(sparse.steps >= low) & (sparse.steps <= high)]
    if len(grid) < LEAST_POINTS:
        return None
    lead = sign * (np.interp(grid, b.steps, b.values) - np.interp(grid, a.steps, a.values))
    parts = np.array_split(np.arange(len(grid)), min(_BLOCKS, len(grid)))
    level = np.array([np.median(lead[p]) for p in parts])
    final = float(np.median(level[-max(1, len(level) // 10) :]))
    if final <= 0:
        return None
    # Ahead means by more than the blocks' own scatter, or by half the final margin where that is less.
    scatter = _NORMAL * float(np.median(np.abs(np.diff(level)))) / math.sqrt(2) if len(level) > 2 else 0.0
    walk = np.concatenate([[0.0], np.cumsum(level - min(scatter, final / 2))])
    return int(grid[parts[min(int(np.argmin(walk)), len(parts) - 1)][0]])


def _finite(curve: Curve) -> Curve:
    return curve.take(np.isfinite(curve.values))


# what is compared


def _common_loss(histories: Sequence[TrainingHistory]) -> str | None:
    for role in ("val_loss", "train_loss"):
        if all(h.roles.primary(role) is not None for h in histories):
            return role
    return None


def _name_of(history: TrainingHistory, metric: str) -> str:
    if metric in history:
        return metric
    found = history.roles.label(metric) if metric in ROLES else None
    if found is None:
        have = ", ".join(list(history.curves)[:12]) or "none"
        raise UsageError(f"{_label(history)} has no metric {metric!r} to compare; it has {have}")
    return found


def _lower_is_better(history: TrainingHistory, name: str) -> bool:
    given = history.context.directions.get(name)
    return given == "min" if given else parse(name).kind not in ("accuracy", "score")


def _label(history: TrainingHistory) -> str:
    return history.name or history.path or "run"


def _labels(histories: Sequence[TrainingHistory]) -> list[str]:
    """Short names where they tell the runs apart, else paths, else numbers."""
    for labels in ([_label(h) for h in histories], [h.path or _label(h) for h in histories]):
        if len(set(labels)) == len(labels):
            return labels
    return [f"{_label(h)} ({i})" for i, h in enumerate(histories, 1)]


def _length_notes(runs: Sequence[_Run], units: set[Any]) -> list[str]:
    if len(units) > 1:
        return [f"the runs count in different units ({', '.join(sorted(units))}): only their ends are compared"]
    lasts = [int(r.curve.steps[-1]) for r in runs]
    if max(lasts) > 1.05 * max(1, min(lasts)):
        told = ", ".join(f"{x:,}" for x in lasts)
        return [f"the runs end at different steps ({told}): each is judged at its own end"]
    return []


def _abstain(metric: str, labels: Sequence[str], reason: str) -> Comparison:
    rows = [ComparisonRow(label, math.nan, math.nan, math.nan, None) for label in labels]
    return Comparison(metric, rows, None, math.nan, None, False, None, f"not comparable: {reason}")
