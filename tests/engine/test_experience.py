"""What was learned orders causes and advice, says how sure it is, and leaves alone what it cannot know."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.rules import shapes

from lossdoctor.core.context import RunContext
from lossdoctor.core.finding import Action, Cause, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import ACTIONS, CAUSES, severity_rank
from lossdoctor.engine import experience as learned
from lossdoctor.engine.details import _DETAILS, detail
from lossdoctor.engine.experience import experience, refine
from lossdoctor.engine.judge import examine

AGAINST_NAN = {"restore_checkpoint", "reduce_learning_rate", "clip_gradients", "clean_data"}  # all that LD101 proposes


def _overfitted(seed: int = 5) -> TrainingHistory:
    return shapes.history(shapes.overfitted(np.random.default_rng(seed)))


def test_the_finding_to_act_on_is_advised_with_the_chance_that_it_helps() -> None:
    case, findings = examine(_overfitted())
    refined = refine(findings, case)
    assert [f.code for f in refined] == [f.code for f in findings]
    first = refined[0]
    assert 1 <= len(first.actions) <= learned.MOST_ACTIONS
    assert all(a.helps is not None and 0.0 <= a.helps <= 1.0 for a in first.actions)
    assert sum(c.likelihood for c in first.causes) == pytest.approx(1.0)
    assert all(c.name in CAUSES and (c.test is not None or c.name == "normal") for c in first.causes)
    assert [c.likelihood for c in first.causes] == sorted((c.likelihood for c in first.causes), reverse=True)
    assert first.calibrated


def test_later_findings_keep_what_their_rules_say() -> None:
    case, findings = examine(_overfitted())
    other = Finding("LD305", "validation-noisy", "info", 0.6, "val_loss", "it is noisy", actions=(Action("none"),))
    refined = refine((findings[0], other), case)
    assert refined[1] == other


def test_a_run_too_short_to_be_like_any_other_keeps_the_rules_order() -> None:
    history = TrainingHistory(loss=[1.0, 0.9, 0.8, 0.7, math.nan])
    case, findings = examine(history)
    refined = refine(findings, case)
    assert [a.action for a in refined[0].actions] == [a.action for a in findings[0].actions]
    assert all(a.helps is None for a in refined[0].actions)
    assert refine((), case) == ()


def test_confidence_grows_with_the_rules_and_only_alarms_are_calibrated() -> None:
    known = experience()
    assert all(slope >= 0.0 for slope, _ in known.confidence.values())
    case, findings = examine(_overfitted())
    sure = [refine((learned.replace(findings[0], confidence=c),), case)[0].confidence for c in (0.5, 0.8, 0.99)]
    assert sure == sorted(sure)
    assert sure[0] > 0.0
    assert sure[-1] < 1.0
    remark = learned.replace(findings[0], severity="info")
    assert not learned._calibrated(remark, known).calibrated


def _remark(code: str) -> Finding:
    return Finding(code, "plateau", "info", 0.7, "loss", "it is level", causes=(Cause("normal", 1.0),))


def test_a_remark_becomes_a_warning_only_where_all_of_the_run_looks_sick() -> None:
    known = experience()
    inputs = {"train_lost": 0.02}
    raised = learned._raised(_remark("LD204"), known.alarm + 0.01, inputs, known)
    assert raised.severity == "warning"
    assert "vital signs" in raised.summary
    assert raised.evidence["sick"] == pytest.approx(known.alarm + 0.01, abs=1e-3)
    assert learned._raised(_remark("LD204"), known.alarm - 0.01, inputs, known) == _remark("LD204")
    assert learned._raised(_remark("LD403"), 1.0, inputs, known) == _remark("LD403")  # the log's state, not the run's


def test_what_is_normal_stays_a_cause_of_a_remark_and_of_no_alarm() -> None:
    shares = {"capacity-too-small": 0.6, "learning-rate-too-low": 0.4}
    calm = learned._causes(_remark("LD204"), shares, 0.1)
    assert calm[0].name == "normal"
    alarmed = learned._causes(learned.replace(_remark("LD204"), severity="warning", causes=()), shares, 0.9)
    assert [c.name for c in alarmed] == ["capacity-too-small", "learning-rate-too-low"]


def test_a_check_comes_after_a_change_that_helps_as_often_and_harm_counts() -> None:
    case, _ = examine(_overfitted())
    finding = learned.replace(_remark("LD204"), severity="warning")
    chances = {
        "right check_data": 0.6,
        "right stop_early": 0.6,
        "right clip_gradients": 0.7,
        "harm clip_gradients": 0.5,
    }
    told = learned._actions(finding, case, chances)
    assert [a.action for a in told] == ["stop_early", "check_data", "clip_gradients"]
    assert told[0].detail.startswith("keep the weights of")


def test_every_action_but_none_says_what_it_means_on_the_run() -> None:
    assert set(_DETAILS) == set(ACTIONS) - {"none"}
    case, _ = examine(_overfitted())
    for action in _DETAILS:
        assert detail(action, case), action
    steps = np.arange(1, 41)
    curves = {"loss": (steps, 1.0 / steps), "lr": (steps, 0.02 * np.ones(40)), "grad_norm": (steps, steps / 10.0)}
    case, _ = examine(TrainingHistory(curves))
    assert detail("increase_learning_rate", case) == "multiply by 10: 0.02 to 0.2"
    assert detail("clip_gradients", case) == "at a norm of 3.61, the 90th percentile of what was logged"
    assert detail("train_longer", case) == "three times as long: 40 to 120 steps"


def test_nobody_is_sent_back_to_where_the_run_began() -> None:
    rising, _ = examine(TrainingHistory(loss=[float(i) for i in range(1, 41)]))
    finding = learned.replace(_remark("LD204"), severity="warning")
    chances = {"right stop_early": 0.9, "right restore_checkpoint": 0.9, "right reduce_learning_rate": 0.4}
    assert [a.action for a in learned._actions(finding, rising, chances)] == ["reduce_learning_rate"]


def test_the_best_checkpoint_is_advised_once() -> None:
    case, _ = examine(_overfitted())
    finding = learned.replace(_remark("LD204"), severity="warning")
    chances = {"right stop_early": 0.8, "right restore_checkpoint": 0.7, "right add_regularization": 0.6}
    told = [a.action for a in learned._actions(finding, case, chances)]
    assert told == ["stop_early", "add_regularization"]
    both = learned.replace(finding, actions=(Action("restore_checkpoint", "step 3"),))  # the rule has its reasons
    assert "restore_checkpoint" in [a.action for a in learned._actions(both, case, chances)]


def test_the_diagnosis_is_the_rules_and_then_what_was_learned() -> None:
    history = _overfitted()
    case, findings = examine(history)
    told = history.diagnose()
    assert told.findings == refine(findings, case)
    assert told.alarm == any(severity_rank(f.severity) >= 1 for f in told.findings)


@pytest.mark.parametrize("lost", [1, 2, 5, 20])
def test_a_run_just_lost_is_not_to_go_on(lost: int) -> None:
    rng = np.random.default_rng(4)
    history = TrainingHistory(context=RunContext(planned_steps=300))
    for i in range(151 + lost):
        loss = 0.3 + 2.0 * np.exp(-i / 60.0) + 0.03 * rng.normal() if i < 151 else np.nan
        val = loss + 0.05 if i % 20 == 0 else None
        history.record(loss, 1.0 + 0.1 * rng.normal(), val, step=i, learning_rate=3e-4)
    found = history.diagnose()
    assert found.findings[0].code == "LD101"
    assert found.advice is not None
    assert {a.action for a in found.findings[0].actions} == AGAINST_NAN


def test_one_bad_batch_that_the_run_got_over_is_looked_for_in_the_data() -> None:
    rng = np.random.default_rng(3)
    loss = 0.3 + 2.0 * np.exp(-np.arange(400) / 60.0) + 0.05 * rng.normal(size=400)
    loss[120] = np.nan
    first = TrainingHistory(loss=[float(v) for v in loss]).diagnose().findings[0]
    assert (first.code, first.severity) == ("LD101", "warning")
    assert {a.action for a in first.actions} == AGAINST_NAN
