"""Vital signs say what they say they do, of any run, in any unit, at any logging interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rules import shapes

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from lossdoctor.engine.cases import build_cases
from lossdoctor.engine.inputs import CODES, inputs_of
from lossdoctor.engine.inputs import names as input_names
from lossdoctor.engine.vitals import CURVE_SIGNS, RUN_SIGNS, names, vitals
from lossdoctor.rules import all_rules


def signs(history: TrainingHistory) -> dict[str, float]:
    with np.errstate(all="ignore"):
        return vitals(build_cases(history, history.context, (), {})[0])


def _run(scale: float = 1.0, n: int = 400, seed: int = 0) -> TrainingHistory:
    rng = np.random.default_rng(seed)
    steps = np.arange(1, n + 1)
    loss = scale * (0.2 + 1.8 * np.exp(-steps / (0.1 * n)) + 0.02 * rng.standard_normal(n))
    at = steps[:: n // 40]
    val = scale * (0.3 + 1.8 * np.exp(-at / (0.1 * n)) + 0.01 * rng.standard_normal(len(at)))
    norm = scale * (0.5 + np.exp(-steps / (0.1 * n)))
    rate = np.where(steps < 0.6 * n, 0.01, 0.0005)
    curves = {"loss": (steps, loss), "val_loss": (at, val), "grad_norm": (steps, norm), "lr": (steps, rate)}
    return TrainingHistory(curves, context=RunContext(classes=10))


def test_they_measure_what_they_are_named_for() -> None:
    found = signs(_run())
    assert found["train_lost"] == pytest.approx(0.9, abs=0.02)
    assert found["gap"] == pytest.approx(1 / 3, abs=0.05)
    assert found["val_follows"] == pytest.approx(1.0, abs=0.1)
    assert found["lr"] == pytest.approx(-2.0)
    assert found["lr_end"] == pytest.approx(math.log10(0.05))
    assert found["lr_half_at"] == found["lr_tenth_at"] == pytest.approx(0.6, abs=0.02)
    assert found["lr_after"] == pytest.approx(0.0, abs=0.02)
    assert found["chance_end"] == pytest.approx(0.2 / math.log(10), abs=0.02)
    assert found["grad_grown"] == pytest.approx(math.log10(0.5 / 1.2), abs=0.1)
    assert found["train_left_10"] == pytest.approx(math.exp(-1), abs=0.08)
    assert found["train_gaps"] == 0.0
    assert math.isnan(found["accuracy"])


def test_overfitting_shows_in_the_validation_signs() -> None:
    found = signs(shapes.history(shapes.overfitted(np.random.default_rng(5))))
    assert found["val_risen"] > 0.05
    assert found["val_best_at"] < 0.8
    assert found["train_risen"] < 0.05


@pytest.mark.parametrize("k", [-9, 3, 12])
def test_the_unit_of_the_loss_changes_no_bit(k: int) -> None:
    plain, scaled = signs(_run()), signs(_run(2.0**k))
    level = {"chance_start", "chance_end"}  # these compare with ln K, as a cross-entropy may be
    assert {n: v for n, v in plain.items() if n not in level and not math.isnan(v)} == {
        n: v for n, v in scaled.items() if n not in level and not math.isnan(v)
    }


def test_logging_less_often_moves_them_little() -> None:
    dense, thin = _run(n=4000), _run(n=4000)
    thin = TrainingHistory(
        {n: (c.steps[::8], c.values[::8]) if len(c) > 100 else (c.steps, c.values) for n, c in thin.curves.items()},
        context=RunContext(classes=10),
    )
    a, b = signs(dense), signs(thin)
    for name in ("train_lost", "train_left_25", "train_late", "gap", "lr_half_at", "grad_grown"):
        assert a[name] == pytest.approx(b[name], abs=0.06), name
    assert a["train_noise_level"] == pytest.approx(b["train_noise_level"], abs=0.3)  # MADs of few points are low


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(width=32), max_size=60), st.lists(st.floats(width=32), max_size=30))
def test_any_curve_has_signs(loss: list[float], val: list[float]) -> None:
    found = signs(TrainingHistory(loss=loss, val_loss=val))
    assert set(found) == set(names())
    assert all(math.isnan(v) or abs(v) <= 20.0 for v in found.values())


def test_every_sign_is_described_and_every_rule_is_an_input() -> None:
    assert all(CURVE_SIGNS.values())
    assert all(RUN_SIGNS.values())
    assert {r.code for r in all_rules()} <= set(CODES)
    assert len(set(input_names())) == len(input_names())


def test_findings_are_inputs_by_their_severity() -> None:
    history = shapes.history(shapes.overfitted(np.random.default_rng(5)))
    case = build_cases(history, history.context, (), {})[0]
    findings = history.diagnose().findings
    inputs = inputs_of(case, findings)
    assert inputs["LD301"] == 2.0
    assert inputs["LD101"] == 0.0
