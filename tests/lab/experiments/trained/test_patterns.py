from __future__ import annotations

import math

import pytest

from lossdoctor.core.history import TrainingHistory
from tests.lab.experiments.trained.conftest import Runner


def codes(run: TrainingHistory) -> list[str]:
    return [f.code for f in run.diagnose().findings]


def four(outcome: Runner, seed: int) -> None:
    result = outcome("four_patterns", seed=seed)
    n, runs = result.numbers, result.runs
    assert n["healthy: final validation loss"] < 0.3
    assert n["healthy: final validation loss"] - n["healthy: final training loss"] < 0.12
    assert n["overfitting: final validation loss"] > 1.2 * n["overfitting: lowest validation loss"]
    assert n["overfitting: final training loss"] < 0.5
    assert min(n["underfitting: final training loss"], n["underfitting: final validation loss"]) > 0.85
    assert n["too high: final validation loss"] > 1.8 * n["healthy: final validation loss"]
    assert runs["healthy"].diagnose().status == "healthy"
    assert "LD301" in codes(runs["overfitting"])
    assert "LD302" in codes(runs["underfitting"])
    assert codes(runs["learning rate too high"])[0] in ("LD104", "LD102")


def test_four_patterns(outcome: Runner) -> None:
    four(outcome, 0)
    assert "LD104" in codes(outcome("four_patterns", seed=0).runs["learning rate too high"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_patterns_from_other_seeds(outcome: Runner, seed: int) -> None:
    four(outcome, seed)


def test_explosion_flat_line_and_slow_descent(outcome: Runner) -> None:
    result = outcome("more_patterns")
    n, runs = result.numbers, result.runs
    assert not math.isfinite(n["explosion: final training loss"])
    assert n["flat line: gradient norm"] > 0.5
    weights_never_moved = runs["flat line"]["val_loss"].values
    assert weights_never_moved.max() - weights_never_moved.min() < 1e-6
    assert n["healthy: final training loss"] < 0.15
    slow = runs["slow descent"]["val_loss"].values
    assert slow[-1] > 2 * n["healthy: final training loss"]
    assert slow[-1] < 0.8 * slow[0]
    assert runs["healthy"].diagnose().status == "healthy"
    assert codes(runs["explosion"])[0] == "LD101"
    assert codes(runs["flat line"])[0] == "LD201"
    assert set(codes(runs["slow descent"])) & {"LD203", "LD205"}
