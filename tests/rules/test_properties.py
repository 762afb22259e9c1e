"""What holds exactly, for every rule and every run: the unit of a loss, the order of rows and columns, how it came in.

On trainings of the clinic, public logs, and drawn families. What can only hold nearly always, because it changes what
is known of the run, is measured in :mod:`tests.rules.test_properties_rates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.finding import Abstention, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.engine.cases import build_cases
from lossdoctor.rules import all_rules
from lossdoctor.signal.reading import Reading
from tests.rules import changes, runs

Told = list[tuple[object, ...]]


def of_rules(history: TrainingHistory) -> list[Finding]:
    """What every rule finds on its own, before findings that explain one another are merged."""
    with np.errstate(all="ignore"):
        whole, segments = build_cases(history, history.context, (), {})
        return [
            found
            for rule in all_rules()
            for case in (segments if rule.per_segment else [whole])
            for found in rule.judge(case)
            if not isinstance(found, Abstention)
        ]


def told(history: TrainingHistory, *, without: str = "") -> Told:
    """All of it that does not carry the unit of the loss, to the last bit."""
    return [
        (f.code, f.severity, f.onset_step, f.confidence, f.metric, f.causes, tuple(a.action for a in f.actions))
        for f in of_rules(history)
        if f.code not in without
    ]


@cache
def some() -> tuple[tuple[str, TrainingHistory], ...]:
    """Some of everything: trained runs of every task and fault, the public logs, one of each drawn family."""
    trained = [(r.name, r.history) for r in (*runs.healthy()[::12], *runs.sick()[::3])]
    public = [(name, h) for name, h in runs.real() if "#" not in name and h.points >= 10]
    return (*trained, *public, *runs.drawn(1))


def differing(change: Callable[[TrainingHistory], TrainingHistory], *, without: str = "") -> list[str]:
    """The runs of which anything else is told after a change."""
    return [name for name, h in some() if told(h, without=without) != told(change(h), without=without)]


# the unit of the loss


def in_other_unit(history: TrainingHistory, factor: float) -> TrainingHistory:
    """Losses times a factor, and with them what is the derivative of one: gradient norms and their limit."""
    curves = {}
    for name, curve in history.curves.items():
        scales = changes.is_loss(name) or parse(name).kind in ("grad_norm", "layer_grad_norm")
        curves[name] = Curve(curve.steps, curve.values * factor, curve.times) if scales else curve
    limit = history.context.clip_norm
    context = replace(history.context, clip_norm=limit and limit * factor)
    return TrainingHistory(curves, name=history.name, step_unit=history.step_unit, context=context)


def of_unknown_unit(history: TrainingHistory) -> TrainingHistory:
    """Without what says that the loss is a cross-entropy of known classes, which has a unit of its own."""
    curves = {n.replace("CrossEntropy", "").replace("nll", "loss"): c for n, c in history.curves.items()}
    kept = {n: c for n, c in curves.items() if "erplexity" not in n}
    context = replace(history.context, classes=None)
    return TrainingHistory(kept, name=history.name, step_unit=history.step_unit, context=context)


@cache
def unitless() -> tuple[tuple[str, TrainingHistory, Told, list[Finding]], ...]:
    plain = [(name, of_unknown_unit(h)) for name, h in some()]
    return tuple((name, h, told(h), of_rules(h)) for name, h in plain)


@pytest.mark.parametrize("exponent", [10, -60])
def test_powers_of_two_change_no_bit(exponent: int) -> None:
    factor = 2.0**exponent
    for name, history, before, findings in unitless():
        scaled = in_other_unit(history, factor)
        assert told(scaled) == before, name
        for a, b in zip(findings, of_rules(scaled), strict=True):
            for key in a.evidence:
                assert _same_number(a.evidence[key], b.evidence[key], factor), f"{name}: {a.code} {key}"


def _same_number(a: object, b: object, factor: float) -> bool:
    """Whether evidence stayed as it was, or is in the unit of the loss."""
    if not isinstance(a, float) or not isinstance(b, float):
        return a == b
    return a == b or b == a * factor or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e30, 1e-30, 1e100, 1e-100])
def test_powers_of_ten_change_no_code(factor: float) -> None:
    for name, history, before, _ in unitless():
        after = [row[:3] for row in told(in_other_unit(history, factor))]
        assert after == [row[:3] for row in before], name


# where zero is


def _dyadic(history: TrainingHistory) -> TrainingHistory:
    """Losses on a grid of 2^-20, so that adding a whole number to them rounds nothing."""
    return changes.losses_changed(history, lambda v: np.round(v * 2**20) / 2**20)


@pytest.mark.parametrize("shift", [-1000.0, -3.0, 1.0])
def test_a_loss_that_can_be_negative_has_no_zero(shift: float) -> None:
    """A constant added to a log-density is a change of its unit: nothing else is told while it stays negative.

    A loss that is never negative has a zero, and relative falls mean something: there nothing of the kind holds.
    """
    judged = 0
    for name, history in some_densities():
        moved = changes.losses_changed(history, lambda v: v + shift)
        if not any(_reading(h).positive for h in (history, moved)):
            judged += 1
            assert [r[:3] for r in told(moved, without="LD405")] == [r[:3] for r in told(history, without="LD405")], (
                name
            )
    assert judged >= 12


@cache
def some_densities() -> tuple[tuple[str, TrainingHistory], ...]:
    trained = [(r.name, r.history) for r in runs.trained() if r.task == "moons_flow"]
    drawn = [(n, h) for n, h in runs.drawn(6) if n.startswith("log_density")]
    return tuple((name, _dyadic(h)) for name, h in (*trained, *drawn))


def _reading(history: TrainingHistory) -> Reading:
    primary = build_cases(history, history.context, (), {})[0].primary
    assert primary is not None
    return primary[1]


# rows and columns


def test_the_order_of_columns_says_nothing() -> None:
    """But of layers: which of them is the first is told by their order, where their names do not say it."""
    rng = np.random.default_rng(5)
    assert differing(changes.reordered(rng), without="LD106") == []


def test_rows_written_twice_count_once() -> None:
    # With 10 rows for 5, the loss of the evaluations is long enough to be taken for the training loss.
    assert set(differing(changes.doubled, without="LD402")) <= {"algoperf_csv/07"}


def straight() -> Iterator[tuple[str, TrainingHistory]]:
    """The runs with one row per step: of others, the order says which came later."""
    for name, history in some():
        if all((np.diff(c.steps) > 0).all() for c in history.curves.values()):
            yield name, history


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_rows_out_of_order_are_put_in_order(share: float) -> None:
    rng = np.random.default_rng(6)
    change = changes.shuffled(rng) if share == 1.0 else changes.jostled(rng, share)
    judged = list(straight())
    assert len(judged) > 70
    assert [n for n, h in judged if told(h, without="LD402") != told(change(h), without="LD402")] == []


# one row after the other


def _streamed(history: TrainingHistory) -> Iterator[tuple[int, TrainingHistory]]:
    """The run as it grows, row by row in the order of the steps; the same object each time."""
    growing = TrainingHistory(step_unit=history.step_unit, context=history.context)
    rows = [(int(c.steps[i]), n, float(c.values[i])) for n, c in history.curves.items() for i in range(len(c))]
    rows.sort(key=lambda row: row[0])
    for count, (step, name, value) in enumerate(rows, start=1):
        growing.add(name, step, value)
        yield count, growing


def _at_once(grown: TrainingHistory) -> TrainingHistory:
    arrays = {n: Curve(c.steps.copy(), c.values.copy()) for n, c in grown.curves.items()}
    return TrainingHistory(arrays, step_unit=grown.step_unit, context=grown.context)


@pytest.mark.parametrize("index", range(0, 80, 8))
def test_a_verdict_is_the_same_streamed_and_read(index: int) -> None:
    """At a dozen prefixes: the whole diagnosis, down to the words."""
    history = runs.sick()[index].history
    total = sum(len(c) for c in history.curves.values())
    looks = set(np.unique(np.geomspace(4, total, 12).astype(int)).tolist())
    for count, grown in _streamed(history):
        if count in looks:
            assert str(grown.diagnose().as_dict()) == str(_at_once(grown).diagnose().as_dict()), f"after {count} values"


def test_appending_to_a_view_and_recording_rows_are_one() -> None:
    losses = [2.0 * 0.97**i + 0.3 + 0.05 * math.sin(i * i) for i in range(120)]
    recorded, appended = TrainingHistory(), TrainingHistory()
    for i, loss in enumerate(losses):
        recorded.record(loss=loss)
        appended.loss.append(loss)
        if i % 13 == 0:
            assert str(recorded.diagnose().as_dict()) == str(appended.diagnose().as_dict())
    assert told(recorded) == told(TrainingHistory(loss=losses))


# values that are no numbers


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_gaps_anywhere_break_nothing(seed: int, share: float, value: float) -> None:
    rng = np.random.default_rng(seed)
    _, history = some()[int(rng.integers(len(some())))]
    curves = {
        n: Curve(c.steps, np.where(rng.random(len(c)) < share, value, c.values)) for n, c in history.curves.items()
    }
    result = changes.rebuilt(history, curves).diagnose()
    assert not result.internal_errors
    assert result.basis
