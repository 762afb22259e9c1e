from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lossdoctor.lab.experiments.trained.smoothing_augmentation import _confidence, smoothed_entropy
from tests.lab.experiments.trained.conftest import Runner
from tests.lab.experiments.trained.test_patterns import codes


def remedies(outcome: Runner, seed: int) -> None:
    result = outcome("overfitting_remedies", seed=seed)
    n = result.numbers
    none = n["no remedy: validation loss handed over"]
    for remedy in ("early stopping", "dropout", "weight decay"):
        assert n[f"{remedy}: validation loss handed over"] < 0.9 * none, remedy
    for remedy in ("dropout", "weight decay"):
        assert n[f"{remedy}: gap at the end"] < n["no remedy: gap at the end"], remedy
    assert n["early stopping: share of the steps taken"] < 0.8
    assert codes(result.runs["no remedy"])[0] == "LD301"
    assert result.runs["dropout"].diagnose().status == "healthy"
    assert "LD301" not in codes(result.runs["weight decay"])


def test_overfitting_and_its_remedies(outcome: Runner) -> None:
    remedies(outcome, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_remedies_work_from_other_seeds(outcome: Runner, seed: int) -> None:
    remedies(outcome, seed)


def test_smoothing_tempers_and_augmentation_teaches(outcome: Runner) -> None:
    result = outcome("smoothing_augmentation")
    n = result.numbers
    floor = n["entropy of smoothed labels"]
    assert result.runs["label smoothing"]["loss"].values.min() >= floor - 1e-5
    assert n["label smoothing: final training loss"] == pytest.approx(floor, abs=0.02)
    assert n["plain: final training loss"] < 0.01
    assert n["label smoothing: final validation loss"] < 0.8 * n["plain: final validation loss"]
    assert n["label smoothing: calibration error"] < n["plain: calibration error"]
    assert n["augmentation: accuracy"] > n["plain: accuracy"] + 0.2
    assert n["augmentation: final validation loss"] < 0.3 * n["plain: final validation loss"]
    assert codes(result.runs["plain"])[0] == "LD301"
    assert result.runs["augmentation"].diagnose().status == "healthy"


def test_the_entropy_of_smoothed_labels() -> None:
    spread = np.array([0.9 + 0.01, *[0.01] * 9])
    assert smoothed_entropy(0.1, 10) == pytest.approx(-(spread * np.log(spread)).sum())
    assert smoothed_entropy(0.9, 2) == pytest.approx(-0.55 * math.log(0.55) - 0.45 * math.log(0.45))


def test_the_calibration_error_of_known_confidences() -> None:
    # Four answers at confidence 0.75, three of them right: calibrated; all right: off by 0.25.
    logits = torch.log(torch.tensor([[0.75, 0.25]] * 4))
    assert _confidence(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx((0.75, 0.0), abs=1e-6)
    assert _confidence(logits, torch.tensor([0, 0, 0, 0])) == pytest.approx((0.75, 0.25), abs=1e-6)


def disagreement(outcome: Runner, seed: int) -> None:
    result = outcome("loss_vs_metric", seed=seed)
    n = result.numbers
    assert n["final validation loss"] > 1.15 * n["lowest validation loss"]
    assert n["accuracy at the end (mean of the last tenth)"] > n["accuracy at the lowest validation loss"] + 0.01
    assert n["step of the highest accuracy"] > n["step of the lowest validation loss"]
    before = n["confidence of wrong answers at the lowest validation loss"]
    assert n["confidence of wrong answers at the end"] > before + 0.1
    assert n["loss of wrong answers at the end"] > n["loss of wrong answers at the lowest validation loss"] + 1
    assert set(codes(result.runs["the run"])) & {"LD301", "LD307"}


def test_the_loss_rises_while_the_accuracy_does(outcome: Runner) -> None:
    disagreement(outcome, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_loss_rises_while_the_accuracy_does_from_other_seeds(outcome: Runner, seed: int) -> None:
    disagreement(outcome, seed)
