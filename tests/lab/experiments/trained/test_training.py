from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.experiments.trained.data import Data, spirals, teacher
from lossdoctor.lab.experiments.trained.models import Transformer, mlp
from lossdoctor.lab.experiments.trained.training import Recipe, batches, cross_entropy, train


def small() -> nn.Module:
    return mlp([2, 8, 3])


DATA = spirals(60, 40)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    recipe = Recipe(steps=30)
    first, second, other = (train(small, DATA, recipe, seed=s).history.loss for s in (3, 3, 4))
    assert first == list(second)
    assert first != list(other)


def test_the_order_of_examples_has_its_own_seed() -> None:
    recipe = Recipe(steps=30, batch_size=8)
    same, other = (train(small, DATA, recipe, seed=3, order_seed=s).history for s in (3, 5))
    assert train(small, DATA, recipe, seed=3).history.loss == list(same.loss)
    assert same.loss != list(other.loss)


def test_global_state_is_left_alone() -> None:
    torch.manual_seed(11)
    np.random.seed(11)
    before, threads, numbers = torch.get_rng_state(), torch.get_num_threads(), np.random.get_state()[1].copy()
    train(lambda: mlp([2, 8, 3], dropout=0.5), DATA, Recipe(steps=20))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert (np.random.get_state()[1] == numbers).all()


def test_one_step_of_sgd_is_what_it_says() -> None:
    x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]])

    def start() -> nn.Module:
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 1.0)
        return model

    run = train(start, Data(x, y, x, y), Recipe(steps=1, lr=0.1, optimizer="sgd", batch_size=0, log_every=1))
    # Loss: ((1 - 1)^2 + (2 - 0)^2) / 2 = 2; gradient: (2 * 0 * 1 + 2 * 2 * 2) / 2 = 4.
    assert run.history.loss[0] == pytest.approx(2.0)
    assert run.history.grad_norm[0] == pytest.approx(4.0)
    assert run.model.weight.item() == pytest.approx(1.0 - 0.1 * 4.0)


def test_clipping_limits_the_step_and_logs_the_norm_before() -> None:
    recipe = Recipe(steps=1, lr=1.0, optimizer="sgd", batch_size=0, log_every=1, clip=1e-3)
    start = train(small, DATA, replace(recipe, lr=1e-30)).model
    moved = train(small, DATA, recipe)
    pairs = zip(moved.model.parameters(), start.parameters(), strict=True)
    distance = math.sqrt(sum(float(((a - b).detach() ** 2).sum()) for a, b in pairs))
    assert distance == pytest.approx(1e-3, rel=1e-3)
    assert moved.history.grad_norm[0] > 1e-2


def test_early_stopping_hands_over_the_best_weights() -> None:
    scarce = spirals(40, 200, noise=0.2)
    recipe = Recipe(steps=600, lr=0.01, patience=4, val_every=10)
    run = train(lambda: mlp([2, 64, 64, 3]), scarce, recipe)
    last = run.history["val_loss"].steps[-1]
    assert last < 600
    assert last == run.best_step + 4 * 10
    assert run.val_loss == pytest.approx(run.best_val_loss)
    assert run.val_loss < run.history.val_loss[-1]


def test_a_divergence_is_a_result_and_ends_the_run() -> None:
    run = train(lambda: mlp([8, 8, 1]), teacher(64, 32), Recipe(steps=2000, lr=1e4, optimizer="sgd"))
    assert not math.isfinite(run.history.loss[-1])
    assert run.history["loss"].steps[-1] < 200


def test_a_schedule_a_growing_batch_and_a_watch_are_used() -> None:
    seen: list[int] = []
    recipe = Recipe(
        steps=40,
        lr=0.1,
        schedule=lambda k: 0.5 if k >= 20 else 1.0,
        batch_at=lambda k: 2 if k < 20 else 60,
        log_every=1,
    )
    run = train(small, DATA, recipe, watch=lambda step, _model: seen.append(step))
    assert run.history["learning_rate"].values[[19, 20]].tolist() == [0.1, 0.05]
    assert set(run.history["accuracy"].values[:20]) <= {0.0, 0.5, 1.0}  # two examples
    assert seen == [0, 20, 40]


def test_an_unknown_optimizer_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match=r"unknown optimizer 'adamm'.*did you mean 'adam'"):
        train(small, DATA, Recipe(optimizer="adamm"))


def test_every_example_comes_once_per_pass() -> None:
    take = batches(10, seed=0)
    drawn = torch.cat([take(4) for _ in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_smoothed_loss_of_the_right_distribution_is_its_entropy() -> None:
    target = torch.tensor([0])
    smoothed = torch.tensor([[0.9 + 0.1 / 4, *[0.1 / 4] * 3]])
    entropy = -float((smoothed * smoothed.log()).sum())
    assert float(cross_entropy(smoothed.log(), target, smoothing=0.1)) == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_transformer_sees_only_the_past(norm_first: bool) -> None:
    torch.manual_seed(0)
    model = Transformer(7, 6, width=8, heads=2, depth=2, norm_first=norm_first)
    a = torch.tensor([[1, 2, 3, 4, 5, 6]])
    b = torch.tensor([[1, 2, 3, 0, 0, 0]])
    assert torch.allclose(model(a)[:, :3], model(b)[:, :3], atol=1e-6)
    assert not torch.allclose(model(a)[:, 3:], model(b)[:, 3:], atol=1e-3)
