"""The loss of untrained weights against that of guessing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from scipy import stats
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import InitialLossResult, check_initial_loss

torch.set_num_threads(1)


def check(task: tasks.Task, **options: Any) -> InitialLossResult:
    return check_initial_loss(task.model, task.loss_fn, task.train_loader, progress=False, **options)


KNOWN = [
    n for n in tasks.names() if tasks.SPECS[n].kind in ("classification", "regression", "language", "autoencoding")
]


@pytest.mark.parametrize("name", KNOWN)
def test_healthy_tasks_start_where_guessing_is(name: str) -> None:
    task = tasks.make(name)
    result = check(task, batches=4)
    assert result.passed, result.verdict
    assert result.expected is not None
    assert 0.5 < result.initial / result.expected < 1.6
    if task.classes:
        assert result.uniform == pytest.approx(math.log(task.classes), rel=1e-4)
        assert result.classes == task.classes
    assert set(result.causes) <= set(CAUSES)
    assert result.test in TESTS


def test_the_levels_are_those_of_the_labels() -> None:
    task = tasks.make("digits_mlp")
    batches = [b for b, _ in zip(task.train_loader, range(5), strict=False)]
    labels = torch.cat([y for _, y in batches])
    result = check_initial_loss(task.model, F.cross_entropy, batches)
    assert result.constant == pytest.approx(stats.entropy(np.bincount(labels.numpy())), abs=2e-3)
    losses = [float(F.cross_entropy(task.model.eval()(x), y)) for x, y in batches]
    assert result.losses == pytest.approx(losses, rel=1e-5)
    assert result.initial == pytest.approx(np.mean(losses), rel=1e-6)
    assert result.error == pytest.approx(stats.sem(losses), rel=1e-4)


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn", "friedman", "rings_deep", "chars_transformer"])
def test_large_weights_are_told(name: str) -> None:
    task = tasks.make(name)
    with torch.no_grad():
        for p in task.model.parameters():
            p.mul_(10)
    result = check(task, batches=4)
    assert result.outcome == "failed"
    assert result.causes["bad-initialization"] > 4
    # Drawn anew they are as they should be.
    assert check(task, batches=4, reset=True).passed


def test_the_rule_reads_the_measurement() -> None:
    history = TrainingHistory()
    for i in range(200):
        history.record(12.0 * 0.97**i + 0.3, 1.0, None)
    task = tasks.make("digits_mlp")
    with torch.no_grad():
        for p in task.model.parameters():
            p.mul_(10)
    sick = check(task)
    (measured,) = sick.measurements
    assert (measured.name, measured.detail["expected"]) == ("initial_loss", sick.expected)
    codes = [f.code for f in history.diagnose(measurements=sick.measurements).findings]
    assert "LD207" in codes
    healthy = check(task, reset=True)
    assert "LD207" not in [f.code for f in history.diagnose(measurements=healthy.measurements).findings]


def test_trained_weights_are_told_from_new_ones() -> None:
    task = tasks.make("digits_mlp")
    optimizer = task.make_optimizer()
    for x, y in list(task.train_loader) * 3:
        optimizer.zero_grad()
        F.cross_entropy(task.model(x), y).backward()
        optimizer.step()
    result = check(task)
    assert (result.outcome, result.weights, result.measurements) == ("noted", "given", ())
    assert "The weights are trained; reset=True" in result.verdict
    again = check(task, reset=True)
    assert (again.outcome, again.weights) == ("passed", "drawn anew")


def test_what_a_loss_is_summed_over() -> None:
    task = tasks.make("digits_mlp")
    for loss_fn in (nn.CrossEntropyLoss(reduction="sum"), lambda o, y: F.cross_entropy(o, y, reduction="sum")):
        task.loss_fn = loss_fn
        result = check(task)
        assert (result.outcome, result.reduction) == ("noted", "sum")
        assert result.multiple == pytest.approx(64, rel=1e-3)
        assert result.expected == pytest.approx(64 * math.log(10), rel=1e-3)
        assert "a sum over the examples" in result.verdict
    task = tasks.make("chars_transformer")
    task.loss_fn = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), reduction="sum") / len(y)
    result = check(task, batches=2)
    assert result.outcome == "noted"
    assert "32 times that of one decision" in result.verdict
    task = tasks.make("friedman")
    task.loss_fn = nn.MSELoss(reduction="sum")
    assert check(task).reduction == "sum"


def test_misused_losses() -> None:
    task = tasks.make("digits_mlp")
    task.model = nn.Sequential(task.model, nn.Softmax(-1))
    result = check(task)
    assert result.outcome == "failed"
    assert result.causes["loss-misused"] > 10
    assert "another softmax: it cannot fall below 1.461" in result.verdict
    assert result.misuse
    assert not result.measurements


@pytest.mark.parametrize(
    "loss_fn", [F.cross_entropy, lambda o, y: F.cross_entropy(o, y, reduction="sum"), nn.CrossEntropyLoss()]
)
def test_labels_that_are_all_masked(loss_fn: Any) -> None:
    result = check_initial_loss(nn.Linear(3, 4), loss_fn, [(torch.randn(8, 3), torch.full((8,), -100))])
    assert result.outcome == "failed"
    assert "every label is -100" in result.verdict


def test_a_loss_of_exactly_zero() -> None:
    result = check_initial_loss(nn.Linear(3, 4), lambda o, y: (o * 0).sum(), [(torch.randn(8, 3), torch.randn(8))])  # noqa: ARG005
    assert result.outcome == "failed"
    assert "exactly 0" in result.verdict


def test_targets_far_from_zero() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    for offset, outcome in ((0.0, "passed"), (2.0, "noted"), (50.0, "failed")):
        result = check_initial_loss(nn.Linear(3, 1), F.mse_loss, [(x, offset + torch.randn(64, 1))])
        assert result.outcome == outcome
        if offset:
            assert "far from zero" in result.verdict
            assert result.causes["inputs-unscaled"] > 1


def test_values_that_are_not_finite() -> None:
    x = torch.randn(8, 3)
    x[0] = math.inf
    result = check_initial_loss(nn.Linear(3, 1), F.mse_loss, [(x, torch.randn(8, 1))] * 2)
    assert result.outcome == "failed"
    assert "in 2 of 2 batches" in result.verdict
    assert result.causes["bad-data"] > 1


def test_what_cannot_be_told() -> None:
    task = tasks.make("moons_flow")
    result = check(task)
    assert (result.outcome, result.expected) == ("unknown", None)
    assert "expected=" in result.verdict
    assert check(task, expected=2.6).outcome == "passed"
    assert check(task, expected=0.5).outcome == "failed"


def test_large_vocabularies_are_not_made_up() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(300, 8), nn.Linear(8, 40_000))
    batches = [(torch.randint(0, 300, (4, 80)), torch.randint(0, 40_000, (4, 80))) for _ in range(2)]
    result = check_initial_loss(model, lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()), batches)
    assert (result.outcome, result.classes) == ("passed", 40_000)


def test_the_result_shows_itself() -> None:
    result = check(tasks.make("digits_mlp"))
    (chart,) = result.charts()
    assert [name for name, _ in chart.bars] == [
        "measured",
        "equal shares of 10 classes",
        "best constant answer",
        "outputs of zero",
    ]
    assert "±" in dict(result.rows())["loss"]
    with pytest.raises(UsageError, match="batches is 0; expected a whole number from 1 to 10000"):
        check(tasks.make("digits_mlp"), batches=0)
