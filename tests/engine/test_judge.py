"""Judging: the seeds' API, statuses, crashing rules, segments, what is told once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from tests.rules import shapes

import lossdoctor
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Abstention, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.engine import judge
from lossdoctor.engine.ranking import order
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.loss_divergence import LossDivergence
from lossdoctor.rules.stability.loss_nonfinite import LossNonfinite

NAN = float("nan")


def _decay(n: int = 120, floor: float = 0.1) -> list[float]:
    rng = np.random.default_rng(0)
    return [float(2.0 * 0.95**i + floor + rng.normal(0, 0.01)) for i in range(n)]


def test_seeds_api_with_its_exact_keys() -> None:
    h = TrainingHistory()
    for loss in (2.0, 1.5, 1.2, 1.0, NAN):
        h.record(loss, 1.0, loss + 0.1)
    result = h.diagnose()
    assert list(result.keys()) == ["status", "issues", "recommendations"]
    assert result["status"] == "critical"
    assert result["issues"] == ["LOSS_EXPLOSION"]
    assert any("learning rate" in r for r in result["recommendations"])
    with pytest.raises(KeyError, match="'status', 'issues' and 'recommendations'"):
        result["findings"]


def test_seeds_plateau_and_overfitting_names() -> None:
    level = TrainingHistory(loss=[0.7] * 120)
    assert level.diagnose()["issues"] == ["LOSS_PLATEAU"]
    over = shapes.history(shapes.overfitted(np.random.default_rng(5))).diagnose()
    assert over["status"] == "warning"
    assert over["issues"] == ["OVERFITTING"]
    healthy = TrainingHistory(loss=_decay()).diagnose()
    assert (healthy["status"], healthy["issues"], healthy["recommendations"]) == ("healthy", [], [])


def test_too_little_data_is_never_healthy() -> None:
    assert TrainingHistory(loss=[1.0, 0.9, 0.8]).diagnose().status == "insufficient_data"
    empty = TrainingHistory().diagnose()
    assert empty.status == "insufficient_data"
    assert empty.basis == "no loss was found in this log"


def test_healthy_says_what_it_rests_on() -> None:
    train = _decay()
    result = TrainingHistory(loss=train, val_loss=[v + 0.02 for v in train]).diagnose()
    assert result.status == "healthy"
    assert result.basis.startswith("training and validation loss fall together, gap ")
    assert "best validation" in result.basis


def test_a_crashing_rule_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Rule, __: Case) -> Iterable[Finding | Abstention]:
        raise ZeroDivisionError("boom")

    monkeypatch.delenv("LOSSDOCTOR_RAISE", raising=False)
    monkeypatch.setattr(LossDivergence, "judge", crash)
    result = TrainingHistory(loss=[*_decay(), NAN]).diagnose()
    assert result.findings[0].code == "LD101"
    internal = [f for f in result.findings if f.code == "LD000"]
    assert [f.name for f in internal] == ["internal-error"]
    assert "LD102 loss-divergence failed (ZeroDivisionError)" in internal[0].summary
    assert any("please report it" in n for n in result.notes)
    monkeypatch.setenv("LOSSDOCTOR_RAISE", "1")
    with pytest.raises(ZeroDivisionError):
        TrainingHistory(loss=_decay()).diagnose()


def test_one_cause_is_told_once() -> None:
    curves = shapes.diverging(np.random.default_rng(1))
    result = shapes.history(curves).diagnose()
    assert result.findings[0].code == "LD102"
    assert [f.code for f in result.findings if f.severity != "info"] == ["LD102"]


def test_the_term_that_went_nan_is_named() -> None:
    steps = np.arange(1, 121)
    bad = np.array(_decay())
    bad[80:] = NAN
    total = np.array(_decay())
    total[90:] = NAN
    h = TrainingHistory(
        {"total_loss": (steps, total), "loss_cls": (steps, np.array(_decay())), "loss_box": (steps, bad)}
    )
    first = h.diagnose().findings[0]
    assert (first.code, first.metric, first.onset_step) == ("LD101", "loss_box", 81)
    assert first.summary.endswith("so did total_loss")


def test_segments_are_judged_apart_and_superseded_points_left_out() -> None:
    """The first attempt explodes at step 90 and is resumed from step 60: what it logged after 60 is left out."""
    first = np.arange(1, 101)
    second = np.arange(60, 300)
    loss = np.concatenate([2 * np.exp(-first / 60), 2 * np.exp(-second / 60)])
    loss[90:100] = NAN
    h = TrainingHistory({"loss": (np.concatenate([first, second]), loss)})
    result = h.diagnose()
    assert [s.as_dict() for s in h.segments] == [
        {"first_step": 1, "last_step": 59, "superseded": 41},
        {"first_step": 60, "last_step": 299},
    ]
    assert result.status == "healthy"
    assert "LD402" in [f.code for f in result.findings]
    assert len(h["loss"]) == 340  # nothing is thrown away


def test_onset_is_in_global_steps_of_a_later_segment() -> None:
    first, second = np.arange(1, 101), np.arange(81, 300)
    loss = np.concatenate([2 * np.exp(-first / 60), 2 * np.exp(-second / 60)])
    loss[-40:] = NAN
    result = TrainingHistory({"loss": (np.concatenate([first, second]), loss)}).diagnose()
    found = result.findings[0]
    assert (found.code, found.onset_step, found.segment) == ("LD101", 260, 1)


def test_only_validation_logged_is_judged() -> None:
    h = TrainingHistory(val_loss=[*_decay(60), NAN])
    assert h.diagnose().findings[0].code == "LD101"


def test_settings_select_ignore_and_options() -> None:
    h = TrainingHistory(loss=[*_decay(), NAN])
    assert judge.diagnose(h, settings=Settings(ignore=("LD1",))).status == "healthy"
    assert judge.diagnose(h, settings=Settings(select=("loss-nonfinite",))).status == "critical"
    with pytest.raises(UsageError, match="unknown code or name 'LD999'"):
        judge.diagnose(h, settings=Settings(select=("LD999",)))
    with pytest.raises(UsageError, match="LD102 has no option 'zed'"):
        judge.diagnose(h, settings=Settings(rules={"LD102": {"zed": 1}}))
    with pytest.raises(UsageError, match=r"LD102\.z must be a number from 2 to 20 \(sigma\), got 99"):
        judge.diagnose(h, settings=Settings(rules={"LD102": {"z": 99}}))


def test_context_given_goes_over_the_logs() -> None:
    rng = np.random.default_rng(1)
    h = TrainingHistory(loss=[float(v) for v in 2.3026 + rng.normal(0, 0.003, 60)], context=RunContext(classes=2))
    codes = [f.code for f in h.diagnose(context=RunContext(classes=10)).findings]
    assert codes[0] == "LD202"
    assert "LD202" not in [f.code for f in h.diagnose().findings]


def test_abstentions_say_what_to_log() -> None:
    result = TrainingHistory(loss=_decay()).diagnose()
    needs = {a.code: a.needs for a in result.abstained}
    assert needs["LD301"] == "a validation loss with at least 5 evaluations"
    assert "number of classes" in needs["LD202"]


def test_assert_healthy() -> None:
    assert lossdoctor.assert_healthy(TrainingHistory(loss=_decay())).status == "healthy"
    with pytest.raises(AssertionError, match="LD101"):
        lossdoctor.assert_healthy(TrainingHistory(loss=[*_decay(), NAN]))
    with pytest.raises(AssertionError, match="not healthy"):
        lossdoctor.assert_healthy(TrainingHistory(loss=[1.0, 0.9]))
    lossdoctor.assert_healthy(TrainingHistory(loss=[1.0, 0.9]), allow_insufficient=True)


def test_json_entry_has_the_contracts_keys() -> None:
    entry = TrainingHistory(loss=_decay(), path="runs/a.csv", format="csv").diagnose().as_dict()
    keys = (
        "run format metrics points first_step last_step step_unit segments status basis findings abstained events notes"
    )
    assert list(entry) == keys.split()
    assert entry["metrics"] == {"train_loss": ["loss"]}


def test_judging_changes_nothing() -> None:
    h = TrainingHistory(loss=[*_decay(), NAN], val_loss=_decay(60))
    before = {n: (c.steps.copy(), c.values.copy()) for n, c in h.curves.items()}
    first = h.diagnose().as_dict()
    assert h.diagnose().as_dict() == first or str(h.diagnose().as_dict()) == str(first)
    for name, (steps, values) in before.items():
        assert np.array_equal(h[name].steps, steps)
        assert np.array_equal(h[name].values, values, equal_nan=True)


def test_the_rules_say_what_they_need() -> None:
    assert LossNonfinite.needs == "a loss"


def _finding(code: str, severity: str, confidence: float, explains: tuple[str, ...]) -> Finding:
    return Finding(code, code.lower(), severity, confidence, "loss", "", explains=explains)


def test_findings_that_explain_one_another_in_a_ring_leave_the_first() -> None:
    ring = [
        _finding("LD201", "warning", 0.9, ("LD210",)),
        _finding("LD210", "warning", 0.8, ("LD106",)),
        _finding("LD106", "warning", 0.7, ("LD201",)),
    ]
    assert order(ring)[0].code == "LD201"
    pair = [_finding("LD102", "critical", 0.99, ("LD301",)), _finding("LD101", "critical", 0.98, ("LD102",))]
    assert [f.code for f in order(pair)] == ["LD101"]
    worse = [_finding("LD204", "info", 0.9, ("LD102",)), _finding("LD102", "critical", 0.9, ())]
    assert [f.code for f in order(worse)] == ["LD102", "LD204"]
