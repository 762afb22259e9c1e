"""Scores, their intervals, the tree ensemble, and the report that is made of them. Needs torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks.clinic import faults, live, report, scoring
from benchmarks.clinic.interventions import Outcomes
from benchmarks.clinic.judged import Judged
from benchmarks.clinic.scoring import OURS, Case, clustered
from benchmarks.peers.base import Opinion
from benchmarks.peers.trees import Example, Trees, curve_features, features

from lossdoctor.core.history import TrainingHistory

TASKS = ("a", "b", "c", "d")


def history(sick: bool, seed: int) -> TrainingHistory:
    rng = np.random.default_rng(seed)
    steps = np.arange(1, 201)
    fall = 2.0 * np.exp(-steps / 50) if not sick else 2.0 + 0 * steps
    return TrainingHistory({"loss": (steps, fall + 0.3 + 0.05 * rng.standard_normal(200))})


def case(task: str, fault: str, alarm: bool, advice: tuple[str, ...], seed: int = 0) -> Case:
    made = history(fault != "healthy", seed)
    truth = {"task": task, "fault": fault, "verified": True, "visible": True, "expected": ["LD201"], "outcome": "worse"}
    found = Case(Judged({**truth, "onset_step": None}, made.diagnose(), made.points, 1, 200))
    if fault != "healthy":
        final = {"increase_learning_rate": 0.5, "clip_gradients": 1.5}
        found.outcomes = Outcomes(fault, 1.0, final, 0.2, 1.0)
    found.opinions[OURS] = Opinion(alarm, advice, score=float(alarm))
    return found


def test_an_interval_clustered_by_task_is_wide_where_tasks_differ() -> None:
    alike = [case(t, "healthy", i % 2 == 0, ()) for t in TASKS for i in range(10)]
    differing = [case(t, "healthy", t in "ab", ()) for t in TASKS for _ in range(10)]
    near, far = (clustered(cases, lambda c: c.opinions[OURS].alarm) for cases in (alike, differing))
    assert (near.hits, far.hits) == (20, 20)
    assert (near.low, near.high) == (0.5, 0.5)
    assert (far.low, far.high) == (0.0, 1.0)
    assert str(near) == "50 % (50–50)"
    assert str(clustered([], lambda _: True)) == "–"


def test_scores_count_advice_on_treatable_runs_and_alarms_on_healthy_ones() -> None:
    cases = [
        case("a", "healthy", True, ("clip_gradients",)),
        case("b", "healthy", False, ()),
        case("a", "lr_low", True, ("increase_learning_rate",)),
        case("b", "lr_low", False, ("clip_gradients", "increase_learning_rate")),
        case("c", "label_noise", True, ("check_data",)),
        case("d", "lr_low", True, ()),
    ]
    got = scoring.scores(cases, OURS)
    assert (got.detected.hits, got.detected.total) == (3, 4)
    assert (got.detected_showing.hits, got.detected_showing.total) == (2, 3)
    assert (got.false_alarms.hits, got.false_alarms.total) == (1, 2)
    assert (got.first.hits, got.three.hits, got.harm.hits, got.checks) == (2, 3, 1, (1, 1))
    assert got.auc == pytest.approx(0.625)


def test_faults_that_show_are_faults() -> None:
    assert set(faults.names()) > scoring.SHOW


def test_features_bear_anything_and_forget_the_scale() -> None:
    values = list(np.exp(-np.arange(100) / 20) + 0.1)
    scaled = [1024.0 * v for v in values]
    assert curve_features(values) == pytest.approx(curve_features(scaled), rel=1e-6)
    for short in ([], [1.0], [float("nan")] * 9, [0.0] * 50, [1e300, -1e300] * 20):
        made = TrainingHistory({"loss": (np.arange(len(short)), np.array(short))}) if short else TrainingHistory()
        assert np.isfinite(features(made)).all()


def test_trees_learn_what_is_plain_and_never_from_the_task_that_they_judge() -> None:
    right = ("increase_learning_rate", "check_training_loop")
    examples = [
        Example(history(sick, 100 * j + i), task, sick, right if sick else None)
        for j, task in enumerate(TASKS)
        for i in range(10)
        for sick in (False, True)
    ]
    trees = Trees(examples)
    flat, falling = trees.ask(history(True, 991), "a"), trees.ask(history(False, 992), "a")
    assert flat is not None
    assert falling is not None
    assert flat.alarm
    assert not falling.alarm
    assert set(flat.advice) == set(right)
    assert Trees([e for e in examples if e.task == "a"]).ask(history(True, 1), "a") is None


def test_the_report_says_where_the_bars_are_missed() -> None:
    cases = [case(t, "healthy", False, (), i) for i, t in enumerate(TASKS)]
    cases += [case(t, "lr_low", True, ("increase_learning_rate",), 10 + i) for i, t in enumerate(TASKS)]
    cases += [case("a", "lr_low", False, ("clip_gradients",), 20)]
    text = "\n".join(report.sections("Runs", cases))
    assert "4 healthy runs; 5 treatable runs of 4 tasks, 5 of them with a fault that shows in a log." in text
    assert re.search(r"- alarms on treatable runs: 80 % \(\d+–100\), wanted at least 80 %: met\.", text)
    assert re.search(r"- first advice right: 80 % \(\d+–100\), wanted at least 90 %: \*\*missed\*\*\.", text)
    assert "| lr_low | 4 of 5 (38–96 %) | 4 of 5 (38–96 %) | increase_learning_rate ×4, clip_gradients ×1 |" in text
    cases[0].outcomes = None
    assert any(line.startswith("Not measured yet") for line in report.sections("None", cases[:4]))


def test_a_prefix_is_what_the_log_held_then_and_the_delay_is_counted_from_the_onset() -> None:
    steps = np.arange(1, 201)
    values = np.where(steps >= 101, np.nan, 1.0 + 1.0 / steps)
    made = TrainingHistory({"loss": (steps, values), "lr": (steps, 0.1 + 0 * values)})
    assert [len(c) for c in live.prefix(made, 30).curves.values()] == [30, 30]
    assert list(live.losses_only(made).curves) == ["loss"]
    truth = {"fault": "nan_in_data", "onset_step": 101, "expected": ["LD101"]}
    late = live.delay(Judged(truth, made.diagnose(), made.points, 1, 200))
    assert late is not None
    assert 0.0 <= late <= 1.0 / live.LOOKS
    assert live.delay(Judged({**truth, "onset_step": None}, made.diagnose(), made.points, 1, 200)) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_small_clinic_is_trained_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.clinic import corpus

    from benchmarks import quality

    monkeypatch.setattr(corpus, "CACHE", tmp_path)
    log = tmp_path / "log.tsv"
    assert quality.main(["--part", "small", "--output", str(tmp_path / "small.md"), "--log", str(log)]) == 0
    text = (tmp_path / "small.md").read_text()
    assert "12 healthy runs" in text
    assert "| **lossdoctor** |" in text
    assert "| Lightning EarlyStopping |" in text
    assert not log.exists()  # nothing held out was looked at
