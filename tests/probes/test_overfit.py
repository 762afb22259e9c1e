"""Learning a few examples by heart: healthy tasks do, sick ones do not, and the verdict says which sickness."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from benchmarks.clinic import tasks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import OverfitResult, overfit_one_batch, overfit_subset

torch.set_num_threads(1)


def one(task: tasks.Task, **options: Any) -> OverfitResult:
    factor = options.pop("factor", 1.0)
    optimizer = task.make_optimizer(options.pop("name", None), lr=None if factor == 1 else factor * task.lr)
    return overfit_one_batch(task.model, task.loss_fn, task.train_loader, optimizer, progress=False, **options)


@pytest.mark.parametrize(
    "name", ["digits_mlp", "digits_cnn", "friedman", "rings_deep", "wine_layernorm", "digits_rows"]
)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_healthy_tasks_learn(name: str, optimizer: str) -> None:
    result = one(tasks.make(name), name=optimizer)
    assert result.outcome == "passed"
    assert result.learns
    assert result.best <= result.goal < result.start
    assert result.needed == len(result.attempts[0].losses) - 1 < 300
    assert len(result.attempts) == 1
    assert result.causes["training-loop-bug"] > 1
    assert "the bug is in your loop" in result.verdict
    assert result.test in TESTS


def test_a_language_model_learns_down_to_what_its_tokens_allow() -> None:
    result = one(tasks.make("chars_transformer"))
    assert result.outcome == "passed"
    assert result.lowest > 0.01  # different letters follow the first one


def test_a_loss_of_unknown_depth() -> None:
    result = one(tasks.make("moons_flow"), steps=60)
    assert (result.outcome, result.goal) == ("noted", None)
    assert "target_loss" in result.verdict
    assert one(tasks.make("moons_flow"), target_loss=1.0).outcome == "passed"
    # A constant answer can be fitted to counts, a density under it cannot.
    assert one(tasks.make("counts_poisson")).outcome == "passed"


@pytest.mark.parametrize(
    ("factor", "cause", "word"),
    [(1 / 1000, "learning-rate-too-low", "far too low"), (1 / 30, "learning-rate-too-low", "ten times")],
)
def test_rates_that_are_too_low(factor: float, cause: str, word: str) -> None:
    result = one(tasks.make("friedman", seed=1), factor=factor)
    assert result.outcome == "failed"
    assert max(result.causes, key=result.causes.__getitem__) == cause
    assert word in result.verdict
    assert [a.factor for a in result.attempts[:2]] == [1.0, 10.0]
    assert result.attempts[1].rate == pytest.approx(10 * result.attempts[0].rate)


def test_a_rate_that_is_too_high() -> None:
    result = one(tasks.make("digits_mlp", seed=1), factor=300)
    assert result.outcome == "failed"
    assert result.learns
    assert max(result.causes, key=result.causes.__getitem__) == "learning-rate-too-high"
    assert "a tenth of your learning rate" in result.verdict


def test_a_rate_under_which_all_diverges() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    x = 100 * torch.randn(32, 3)
    result = overfit_one_batch(
        model, F.mse_loss, [(x, x.sum(1, keepdim=True))], torch.optim.SGD(model.parameters(), 10.0)
    )
    assert result.outcome == "failed"
    assert all(a.broken for a in result.attempts)
    assert result.causes["gradients-explode"] > 1


def dead(task: tasks.Task) -> None:
    with torch.no_grad():
        for m in task.model.modules():
            if isinstance(m, nn.Linear):
                m.bias.fill_(-20.0)


def frozen(task: tasks.Task) -> None:
    for p in list(task.model.parameters())[:-1]:
        p.requires_grad_(False)


def test_dead_units_and_frozen_weights() -> None:
    for spoil, cause in ((dead, "dead-units"), (frozen, "frozen-or-detached")):
        task = tasks.make("digits_mlp", seed=1)
        spoil(task)
        result = one(task, steps=100)
        assert result.outcome == "failed"
        assert result.learns is False
        assert result.causes[cause] >= 4
        assert result.causes["training-loop-bug"] < 1
        assert "the inputs do not come through" in result.verdict
        if spoil is dead:
            assert result.without_gradient
            assert "get no gradient (0.weight" in result.verdict
        else:
            assert result.frozen_share > 0.9


def test_a_loss_that_depends_on_nothing() -> None:
    model = nn.Linear(4, 3)
    batch = torch.randn(8, 4), torch.arange(8) % 3
    result = overfit_one_batch(model, lambda o, y: F.cross_entropy(o.detach(), y), [batch])
    assert result.outcome == "failed"
    assert "does not depend on any trainable parameter" in result.verdict
    assert result.causes["frozen-or-detached"] > 10
    model.requires_grad_(False)
    assert (
        "does not depend"
        in overfit_one_batch(model, F.cross_entropy, [batch], torch.optim.SGD(model.parameters(), 1)).verdict
    )
    with pytest.raises(UsageError, match="all parameters are frozen"):
        overfit_one_batch(model, F.cross_entropy, [batch])


def test_too_small_a_model() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 10)
    y = x[:, :1] + 1.5 * x[:, 1:2] * x[:, 2:3]  # a linear map cannot have the second part
    for function in (overfit_one_batch, overfit_subset):
        model = nn.Linear(10, 1)
        batches = [(x, y)] if function is overfit_one_batch else list(zip(x.split(20), y.split(20), strict=True))
        result = function(model, F.mse_loss, batches, torch.optim.Adam(model.parameters(), 0.05))
        assert result.outcome == "failed"
        assert max(result.causes, key=result.causes.__getitem__) == "capacity-too-small"
        least = torch.linalg.lstsq(torch.cat([x, torch.ones(60, 1)], 1), y).solution
        residual = float((torch.cat([x, torch.ones(60, 1)], 1) @ least - y).square().mean())
        assert result.best == pytest.approx(residual, rel=0.05 if function is overfit_one_batch else 0.2)


def test_a_misused_loss() -> None:
    task = tasks.make("digits_mlp")
    task.model = nn.Sequential(task.model, nn.Softmax(-1))
    result = one(task, steps=50)
    assert result.outcome == "failed"
    assert "applies another softmax: it cannot fall below 1.461" in result.verdict
    assert math.log(1 + 9 / math.e) == pytest.approx(1.461, abs=1e-3)
    assert result.causes["loss-misused"] > 10
    assert len(result.attempts) == 1


def test_labels_that_are_smooth_or_contradict() -> None:
    task = tasks.make("digits_mlp")
    for loss_fn, low in (
        (nn.CrossEntropyLoss(label_smoothing=0.2), 0.0),  # switched off
        (lambda o, y: F.cross_entropy(o, y, label_smoothing=0.2), 0.5),  # cannot be, and is reckoned with
    ):
        task.loss_fn = loss_fn
        result = one(task)
        assert result.outcome == "passed"
        assert result.lowest >= low
        if low == 0:
            assert result.lowest < 1e-3
            assert loss_fn.label_smoothing == 0.2
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    y = torch.arange(16) % 3
    model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 3))
    result = overfit_one_batch(model, F.cross_entropy, [(x, y)], torch.optim.Adam(model.parameters(), 0.02))
    assert result.outcome == "passed"
    assert result.lowest == pytest.approx(math.log(2), abs=1e-3)


def test_targets_that_are_all_alike() -> None:
    x = torch.randn(8, 4)
    same = (x, torch.ones(8).long())
    model = nn.Linear(4, 3)
    result = overfit_one_batch(model, F.cross_entropy, [same, same])
    assert (result.outcome, result.attempts) == ("unknown", ())
    assert "alike" in result.verdict
    # One that differs is looked for.
    mixed = (x, torch.arange(8) % 3)
    found = overfit_one_batch(model, F.cross_entropy, [same, mixed], torch.optim.Adam(model.parameters(), 0.1))
    assert found.attempts
    masked = (x, torch.full((8,), -100))
    result = overfit_one_batch(model, lambda o, y: F.cross_entropy(o, y, reduction="sum"), [masked])
    assert result.outcome == "failed"
    assert "every label is -100" in result.verdict


def test_a_loss_that_is_not_finite_at_the_start() -> None:
    x = torch.randn(8, 4)
    x[3, 1] = math.nan
    result = overfit_one_batch(nn.Linear(4, 1), F.mse_loss, [(x, torch.randn(8, 1))])
    assert (result.outcome, result.attempts) == ("failed", ())
    assert result.causes["bad-data"] > 1


def test_weights_that_fit_already_and_a_reset() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 2)
    batch = x, x @ torch.tensor([[1.0], [2.0]])
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.zero_()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    result = overfit_one_batch(model, F.mse_loss, [batch], optimizer)
    assert (result.outcome, result.needed) == ("noted", 0)
    assert "reset=True" in result.verdict
    again = overfit_one_batch(model, F.mse_loss, [batch], optimizer, reset=True)
    assert again.outcome == "passed"
    assert again.needed > 0


def test_parameters_that_the_optimizer_lacks() -> None:
    task = tasks.make("digits_mlp")
    last = [m for m in task.model.modules() if isinstance(m, nn.Linear)][-1]
    others = [p for p in task.model.parameters() if p is not last.bias]
    result = overfit_one_batch(task.model, task.loss_fn, task.train_loader, torch.optim.Adam(others, task.lr))
    assert result.outcome == "noted"
    assert result.not_in_optimizer == ("6.bias",)
    assert "the optimizer does not have 6.bias" in result.verdict
    assert result.causes["frozen-or-detached"] > 1


def test_a_subset_is_learned_whole() -> None:
    task = tasks.make("digits_mlp")
    sizes: list[int] = []

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        sizes.append(len(target))
        return F.cross_entropy(output, target)

    result = overfit_subset(task.model, loss_fn, task.train_loader, task.make_optimizer(), n=100, progress=False)
    assert (result.outcome, result.examples, result.test) == ("passed", 100, "overfit_subset")
    assert set(sizes) >= {64, 36}
    assert result.attempts[0].every == 2
    assert result.attempts[0].losses[-1] <= result.goal < min(result.attempts[0].losses[:-1])
    assert overfit_subset(task.model, F.cross_entropy, task.train_loader, n=65, steps=5).examples == 64
    few = [(torch.randn(4, 2), torch.randn(4, 1))] * 3
    assert overfit_subset(nn.Linear(2, 1), F.mse_loss, few, steps=5).examples == 12


def test_batches_of_other_forms() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randn(16, 1)
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(batch["in"]["x"]), batch["in"]["y"])

    batch = {"in": {"x": x, "y": y}}
    adam = torch.optim.Adam(model.parameters(), 0.02)
    result = overfit_one_batch(model, None, [batch], adam, forward=forward)
    assert (result.outcome, result.task) == ("noted", "a task of unknown kind")
    assert overfit_one_batch(model, None, [batch], adam, forward=forward, target_loss=0.05).outcome == "passed"
    assert overfit_subset(model, None, [batch], adam, forward=forward, n=10, target_loss=0.05).examples == 10


def test_the_result_shows_itself() -> None:
    result = one(tasks.make("friedman", seed=1), factor=1 / 30)
    (chart,) = result.charts()
    assert len(chart.lines) == 2
    assert chart.log_y
    assert [m.label for m in chart.marks] == ["goal", "guessing"]
    assert dict(result.rows())["goal"]
    assert set(result.causes) <= set(CAUSES)
    assert result.steps >= sum(len(a.losses) for a in result.attempts)
    assert result.measurements[0].name == "overfit_loss"
    assert result.as_dict()["attempts"][0]["factor"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0; expected a whole number from 1 to 100000; 300 are enough"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({"tolerance": 2}, "tolerance is 2; expected a number from 0 to 1"),
        ({"lr": -1.0}, "lr is -1.0; expected a number"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        overfit_one_batch(nn.Linear(1, 1), F.mse_loss, [(torch.ones(2, 1), torch.ones(2, 1))], **options)
    with pytest.raises(UsageError, match="n is 1; expected a whole number from 2 upwards"):
        overfit_subset(nn.Linear(1, 1), F.mse_loss, [(torch.ones(2, 1), torch.ones(2, 1))], n=1)


def test_the_same_again() -> None:
    first, second = (one(tasks.make("digits_cnn"), steps=20) for _ in range(2))
    assert first.attempts == second.attempts
