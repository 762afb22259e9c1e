"""Does the input matter: the own inputs against those of others, and against noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmarks.clinic import tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import RandomInputResult, random_input_test
from lossdoctor.probes.relevance.inputs import noisy, swapped

torch.set_num_threads(1)


def ask(task: tasks.Task, **options: Any) -> RandomInputResult:
    return random_input_test(
        task.model, task.loss_fn, task.train_loader, task.make_optimizer(), progress=False, **options
    )


@pytest.mark.parametrize("name", ["digits_mlp", "friedman", "rings_deep", "wine_layernorm", "digits_rows"])
def test_healthy_tasks_use_their_input(name: str) -> None:
    result = ask(tasks.make(name))
    assert result.outcome == "passed"
    assert result.used
    assert result.causes["labels-uninformative"] < 1
    assert set(result.causes) <= set(CAUSES)
    assert result.test in TESTS


def test_a_language_model_uses_its_input() -> None:
    result = ask(tasks.make("chars_transformer"), steps=40)
    assert result.used


def trained(name: str, steps: int = 100) -> tasks.Task:
    task = tasks.make(name)
    optimizer = task.make_optimizer()
    batches = list(task.train_loader)
    for i in range(steps):
        x, y = batches[i % len(batches)]
        optimizer.zero_grad()
        task.loss_fn(task.model(x), y).backward()
        optimizer.step()
    return task


def test_a_trained_model_needs_no_training() -> None:
    result = ask(trained("digits_mlp"))
    assert result.outcome == "passed"
    assert result.steps_at == ()
    assert result.swapped > 3 * result.real
    assert result.noise > result.real
    assert result.p < 1e-4
    assert len(result.charts()) == 1
    assert ask(trained("digits_mlp"), reset=True).steps_at


def test_a_model_that_is_deaf() -> None:
    task = tasks.make("digits_mlp")
    with torch.no_grad():
        for m in task.model.modules():
            if isinstance(m, nn.Linear):
                m.bias.fill_(-20.0)
    result = ask(task, steps=40)
    assert (result.outcome, result.used, result.response) == ("failed", False, 0.0)
    assert "the outputs are the same whatever goes in" in result.verdict
    assert max(result.causes, key=result.causes.__getitem__) == "dead-units"
    assert ask(task, steps=0).outcome == "failed"


def test_a_last_layer_of_zeros_is_not_deaf() -> None:
    task = tasks.make("digits_mlp")
    last = [m for m in task.model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    result = ask(task)
    assert result.response == 0
    assert result.used


@pytest.mark.parametrize("name", ["digits_mlp", "friedman"])
def test_inputs_that_say_nothing(name: str) -> None:
    task = tasks.make(name)
    x, y = task.splits.train
    task.splits.train = (torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), y)
    result = ask(task)
    assert result.outcome != "passed"
    assert result.used is not True
    if name == "digits_mlp":
        assert result.outcome == "failed"
        assert result.causes["labels-uninformative"] > 1


def test_it_is_not_fooled_by_chance() -> None:
    """Random labels: in twenty runs it must not say that the input is used."""
    said = []
    for seed in range(20):
        torch.manual_seed(seed)
        batches = [(torch.randn(16, 5), torch.randint(0, 2, (16,))) for _ in range(8)]
        model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
        adam = torch.optim.Adam(model.parameters(), 0.01)
        said.append(random_input_test(model, F.cross_entropy, batches, adam, steps=20, seed=seed).used)
    assert said.count(True) <= 1


@given(st.integers(2, 30))
@settings(max_examples=20, deadline=None)
def test_nobody_keeps_the_own_input(size: int) -> None:
    x = torch.arange(size)
    batch = {"input_ids": x, "attention_mask": x.clone(), "labels": x.clone()}
    made = swapped(batch, torch.Generator().manual_seed(size))
    assert not (made["input_ids"] == x).any()
    assert sorted(made["input_ids"].tolist()) == x.tolist()
    assert torch.equal(made["input_ids"], made["attention_mask"])
    assert torch.equal(made["labels"], x)


def test_noise_has_the_inputs_mean_and_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randn(4000) * 3 + 5, torch.full((4000,), 2.0)], dim=1)
    made = noisy((x, torch.zeros(4000)), generator)[0]
    assert made.mean(0).tolist() == pytest.approx([5, 2], abs=0.2)
    assert made.std(0).tolist() == pytest.approx([3, 0], abs=0.2)
    ids = torch.randint(3, 9, (50, 8))
    batch = {"input_ids": ids, "attention_mask": torch.ones(50, 8), "position_ids": torch.arange(8), "labels": ids}
    made = noisy(batch, generator)
    assert not torch.equal(made["input_ids"], ids)
    assert set(made["input_ids"].unique().tolist()) <= set(range(3, 9))
    assert torch.equal(made["attention_mask"], batch["attention_mask"])
    assert torch.equal(made["labels"], ids)


def test_few_batches_are_cut() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    batch = (x, x.sum(1, keepdim=True))
    model = nn.Linear(3, 1)
    result = random_input_test(model, F.mse_loss, [batch], torch.optim.Adam(model.parameters(), 0.05))
    assert result.used
    assert result.parts == 8


def test_what_cannot_be_asked() -> None:
    one = [(torch.ones(1, 2), torch.ones(1, 1))] * 8
    with pytest.raises(UsageError, match="its examples cannot be told apart, or it has only one"):
        random_input_test(nn.Linear(2, 1), F.mse_loss, one)
    with pytest.raises(UsageError, match="steps is -1; expected a whole number from 0"):
        random_input_test(nn.Linear(2, 1), F.mse_loss, one, steps=-1)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001 -- as it is called
        raise ValueError("bad shape")

    with pytest.raises(UserCodeError, match="the loss function, on batch 0 raised ValueError: bad shape"):
        random_input_test(nn.Linear(2, 1), loss_fn, [(torch.ones(8, 2), torch.ones(8, 1))])


def test_the_result_shows_itself() -> None:
    result = ask(tasks.make("digits_mlp"))
    sides, course = result.charts()
    assert [name for name, _ in sides.bars] == ["own inputs", "inputs of other examples", "noise"]
    assert [line.name for line in course.lines] == ["own inputs", "random inputs"]
    assert len(course.lines[0].x) == len(course.lines[0].y) == 6
    assert dict(result.rows())["loss of guessing"]
