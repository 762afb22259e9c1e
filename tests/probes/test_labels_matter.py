"""Do the labels matter: the true ones against shuffled ones, on unseen examples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmarks.clinic import tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import ShuffledLabelResult, shuffled_label_test
from lossdoctor.probes.relevance.labels import relabelled

torch.set_num_threads(1)


def ask(task: tasks.Task, **options: Any) -> ShuffledLabelResult:
    return shuffled_label_test(
        task.model, task.loss_fn, task.train_loader, task.make_optimizer(), progress=False, **options
    )


def mixed(task: tasks.Task) -> tasks.Task:
    x, y = task.splits.train
    task.splits.train = (x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))])
    return task


@pytest.mark.parametrize("name", ["digits_mlp", "friedman", "rings_deep", "cancer", "digits_rows"])
def test_the_labels_of_healthy_tasks_matter(name: str) -> None:
    result = ask(tasks.make(name))
    assert result.outcome == "passed"
    assert result.p < 0.01
    assert result.gain > 0
    assert result.causes["labels-uninformative"] < 0.1
    assert set(result.causes) <= set(CAUSES)
    assert result.test in TESTS
    assert result.steps == 500


@pytest.mark.parametrize("name", ["digits_mlp", "friedman", "rings_deep"])
def test_labels_that_were_mixed_up(name: str) -> None:
    result = ask(mixed(tasks.make(name)))
    assert result.outcome == "failed"
    assert max(result.causes, key=result.causes.__getitem__) == "labels-uninformative"
    assert "inputs and labels belong together" in result.verdict


def test_it_is_not_fooled_by_chance() -> None:
    said = []
    for seed in range(25):
        torch.manual_seed(seed)
        batches = [(torch.randn(16, 5), torch.randint(0, 2, (16,))) for _ in range(8)]
        model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
        adam = torch.optim.Adam(model.parameters(), 0.01)
        result = shuffled_label_test(model, F.cross_entropy, batches, adam, steps=20, seed=seed)
        said.append(result.outcome)
    assert said.count("passed") <= 1


def test_half_of_the_labels_wrong_still_matter() -> None:
    task = tasks.make("digits_mlp")
    x, y = task.splits.train
    wrong = torch.rand(len(y), generator=torch.Generator().manual_seed(0)) < 0.5
    task.splits.train = (x, torch.where(wrong, (y + 3) % 10, y))
    result = ask(task)
    assert result.outcome == "passed"
    assert result.causes["label-noise"] <= 1


def test_an_answer_among_the_inputs() -> None:
    torch.manual_seed(0)
    batches = []
    for _ in range(12):
        y = torch.randint(0, 3, (32,))
        batches.append((torch.cat([torch.randn(32, 4), 20 * F.one_hot(y, 3)], 1), y))
    model = nn.Linear(7, 3)
    adam = torch.optim.Adam(model.parameters(), 0.1)
    result = shuffled_label_test(model, F.cross_entropy, batches, adam)
    assert result.outcome == "noted"
    assert result.causes["data-leak"] > 1


def test_a_rate_at_which_nothing_is_learned() -> None:
    result = ask(tasks.make("digits_mlp"), lr=1e-9, steps=20)
    assert result.outcome != "passed"
    assert ask(tasks.make("digits_mlp"), lr=1e9, steps=10).outcome == "unknown"


def test_a_loss_without_labels() -> None:
    result = ask(tasks.make("moons_flow"))
    assert result.outcome == "unknown"
    assert "the same with any labels" in result.verdict
    assert result.charts()


def test_trained_weights_are_asked_afresh() -> None:
    task = tasks.make("digits_mlp")
    optimizer = task.make_optimizer()
    for x, y in list(task.train_loader) * 3:
        optimizer.zero_grad()
        task.loss_fn(task.model(x), y).backward()
        optimizer.step()
    result = ask(task, reset=True, steps=60)
    assert (result.outcome, result.weights) == ("passed", "drawn anew")
    assert result.true[0] == result.shuffled[0][0] > 2


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_shuffling_keeps_every_label_and_every_input(sizes: list[int], ragged: bool) -> None:
    width = [2 + i % 2 if ragged else 2 for i in range(len(sizes))]
    batches = [
        {"x": torch.full((n, 1), float(i)), "labels": torch.randint(0, 9, (n, w))}
        for i, (n, w) in enumerate(zip(sizes, width, strict=True))
    ]
    made = relabelled(batches, 1)
    for before, after in zip(batches, made, strict=True):
        assert torch.equal(before["x"], after["x"])
        assert before["labels"].shape == after["labels"].shape
    rows = [sorted(r for b in v for r in b["labels"].tolist()) for v in (batches, made)]
    assert rows[0] == rows[1]


def test_too_few_batches_and_options_out_of_range() -> None:
    few = [(torch.randn(6, 2), torch.randn(6, 1))]
    with pytest.raises(UsageError, match="the loader gave 1 batch of 6, too few to train on some and hold others out"):
        shuffled_label_test(nn.Linear(2, 1), F.mse_loss, few)
    with pytest.raises(UsageError, match="shuffles is 1; expected a whole number from 2 to 100"):
        shuffled_label_test(nn.Linear(2, 1), F.mse_loss, few, shuffles=1)
    with pytest.raises(UsageError, match=r"held_out is 0.9; expected a number from 0.05 to 0.5"):
        shuffled_label_test(nn.Linear(2, 1), F.mse_loss, few, held_out=0.9)


def test_the_result_shows_itself() -> None:
    result = ask(tasks.make("digits_mlp"), steps=20, shuffles=2)
    (chart,) = result.charts()
    assert [line.name for line in chart.lines] == ["shuffled labels", "shuffled labels, 2", "true labels"]
    assert chart.marks[0].label == "guessing"
    assert dict(result.rows())["shuffles"] == "2"


def test_a_rate_too_low_is_not_called_a_fault_of_the_labels() -> None:
    task = tasks.make("digits_mlp", seed=0)
    slow = torch.optim.SGD(task.model.parameters(), lr=3e-3)
    result = shuffled_label_test(task.model, task.loss_fn, task.train_loader, slow, steps=60, progress=False)
    assert result.outcome == "unknown"
    assert "at 10 times of it" in result.verdict
    assert result.causes["learning-rate-too-low"] > 1 > result.causes["labels-uninformative"]
    assert result.steps == 6 * 60
