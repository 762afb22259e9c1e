"""shuffle_test: sorted, blocked, fixed and shuffled orders; the statistics by themselves; and no trace."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.shuffle.check import shuffle_test
from lossdoctor.probes.shuffle.order import Digest, grouping, picked, pooled, same_batches
from lossdoctor.probes.shuffle.result import ShuffleResult, Trial

torch.set_num_threads(1)


def sorted_task() -> tuple[tasks.Task, Any]:
    """A task, and its training data sorted by class."""
    task = tasks.make("digits_mlp", seed=0)
    x, y = task.splits.train
    by_class = y.argsort(stable=True)
    return task, DataLoader(TensorDataset(x[by_class], y[by_class]), task.batch_size)


def check(task: tasks.Task, loader: Any, **options: Any) -> ShuffleResult:
    return shuffle_test(task.model, task.loss_fn, loader, task.make_optimizer(), progress=False, **options)


@pytest.mark.parametrize("name", ["digits_mlp", "friedman", "chars_gru", "digits_inpaint", "moons_flow"])
def test_a_shuffled_loader_passes_without_training(name: str) -> None:
    task = tasks.make(name, seed=1)
    found = check(task, task.train_loader, steps=30)
    assert found.outcome == "passed", found.verdict
    assert found.same_order is False
    assert found.steps == 0
    assert found.causes["data-unshuffled"] < 0.1


def test_data_sorted_by_class_hurts() -> None:
    task, loader = sorted_task()
    found = check(task, loader, steps=60)
    assert found.outcome == "failed"
    assert found.same_order
    assert found.label_share is not None
    assert found.label_share > 0.5
    assert found.trial is not None
    assert found.ordered_loss is not None
    assert found.shuffled_loss is not None
    assert found.ordered_loss > 1.5 * found.shuffled_loss
    assert found.causes["data-unshuffled"] > 10
    assert "shuffle=True" in found.verdict
    assert len(found.charts()[0].lines) == 4


def test_a_fixed_but_mixed_order_is_noted_as_harmless() -> None:
    task = tasks.make("digits_mlp", seed=0)
    task.shuffle = False
    found = check(task, task.train_loader, steps=40)
    assert found.outcome == "noted"
    assert found.same_order
    assert "no harm" in found.verdict
    assert found.label_share is not None
    assert found.label_share < 0.05
    assert found.causes["data-unshuffled"] <= 2


def test_without_an_optimizer_the_order_alone_is_judged() -> None:
    task, loader = sorted_task()
    found = shuffle_test(task.model, task.loss_fn, loader, progress=False)
    assert found.outcome == "failed"
    assert found.trial is None
    assert "optimizer" in found.verdict


def test_a_drift_of_the_inputs_is_seen() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(16, 4) + 0.2 * i, torch.randint(0, 2, (16,))) for i in range(20)]
    found = shuffle_test(nn.Linear(4, 2), F.cross_entropy, data, progress=False)
    assert found.input_share is not None
    assert found.input_share > 0.2
    assert found.label_share is not None
    assert found.label_share < 0.05
    assert "inputs" in found.verdict


def test_augmented_inputs_do_not_hide_a_fixed_order() -> None:
    class Noisy(Dataset[Any]):
        def __len__(self) -> int:
            return 128

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            return torch.randn(4), (i * 7919) % 11 % 3

    model = nn.Linear(4, 3)
    assert shuffle_test(model, F.cross_entropy, DataLoader(Noisy(), 16), progress=False).same_order
    found = shuffle_test(model, F.cross_entropy, DataLoader(Noisy(), 16, shuffle=True), progress=False)
    assert found.same_order is False


def test_few_batches() -> None:
    model, x, y = nn.Linear(2, 1), torch.randn(16, 2), torch.randn(16, 1)
    assert shuffle_test(model, F.mse_loss, [(x, y)], progress=False).outcome == "passed"
    two = DataLoader(TensorDataset(x, y), 8, shuffle=True)
    assert shuffle_test(model, F.mse_loss, two, progress=False).outcome == "unknown"


def test_inputs_of_different_lengths_are_read_but_not_mixed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 2))

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, tokens: Tensor) -> Tensor:
            return self.inner(tokens).mean(1)

    data = [(torch.randint(5 * (i // 3), 5 * (i // 3) + 5, (16, 3 + i % 4)), torch.zeros(16).long()) for i in range(12)]
    task = Mean()
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    found = shuffle_test(task, F.cross_entropy, data, optimizer, progress=False)
    assert found.trial is None
    assert "cannot be mixed" in found.verdict
    assert found.input_share is not None
    assert found.input_share > 0.1


def test_batches_of_one_are_judged_in_blocks() -> None:
    data = [(torch.randn(1, 3), torch.tensor([i // 32])) for i in range(96)]
    found = shuffle_test(nn.Linear(3, 3), F.cross_entropy, data, steps=96, progress=False)
    assert found.label_share is not None
    assert found.label_share > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_the_permutation_test_keeps_its_level(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = []
    for run in range(40):
        digest = Digest(run)
        for _ in range(12):
            x = torch.randn(16, 6, generator=generator)
            digest.add((x, torch.randint(0, 10, (16,), generator=generator)))
        scores += [g.z for g in (grouping(digest.targets, run), grouping(digest.inputs, run)) if g is not None]
    assert len(scores) == 80
    assert abs(np.mean(scores)) < 0.4
    assert 0.7 < np.std(scores) < 1.4
    assert max(scores) < 6


def test_the_share_is_one_for_blocks_and_the_variance_between_them_otherwise() -> None:
    blocks = [torch.full((10, 1), float(i)) for i in range(8)]
    found = grouping(blocks, 0)
    assert found is not None
    assert found.share == pytest.approx(1)
    torch.manual_seed(0)
    half = [torch.randn(1) + torch.randn(100, 1) for _ in range(60)]
    mixed = grouping(half, 0)
    assert mixed is not None
    assert mixed.share == pytest.approx(0.5, abs=0.12)
    assert grouping([torch.ones(10, 1)] * 8, 0) is None


def test_pools_keep_the_form_and_the_pairs() -> None:
    batches = [{"a": torch.arange(4) + 4 * i, "labels": torch.arange(4) + 4 * i} for i in range(3)]
    pool = pooled(batches)
    assert pool is not None
    part = picked(pool, torch.tensor([11, 0]))
    assert part["a"].tolist() == part["labels"].tolist() == [11, 0]
    assert pooled([(torch.zeros(2, 3), torch.zeros(2)), (torch.zeros(2, 4), torch.zeros(2))]) is None
    assert same_batches([(torch.ones(2), torch.zeros(2))], [(torch.ones(2), torch.zeros(2))])
    # A target that never varies does not tell an order.
    assert not same_batches([(torch.ones(2), torch.zeros(2))] * 3, [(torch.zeros(2), torch.zeros(2))] * 3)


def test_a_trial_compares_with_its_own_noise() -> None:
    at = (10, 20, 30, 40)
    flat = lambda level: (1.0, 1.0, level, level)  # noqa: E731
    assert Trial(at, flat(2.0), (flat(1.0), flat(1.01), flat(0.99))).harm is True
    assert Trial(at, flat(2.0), (flat(1.0), flat(2.5), flat(0.5))).harm is False
    assert Trial(at, flat(1.02), (flat(1.0), flat(1.001), flat(0.999))).harm is False
    assert Trial(at, flat(float("nan")), (flat(1.0), flat(1.1), flat(0.9))).harm is True
    assert Trial(at, flat(1.0), (flat(float("nan")), flat(1.1), flat(0.9))).harm is None


@pytest.mark.parametrize("failing", [None, ValueError, KeyboardInterrupt])
def test_no_trace(failing: type[BaseException] | None) -> None:
    task = tasks.make("digits_cnn", seed=0, dropout=0.2)
    x, y = task.splits.train
    by_class = y.argsort(stable=True)
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(x[by_class], y[by_class]), 64, generator=generator)
    optimizer = task.make_optimizer("momentum")
    for a, b in list(loader)[:2]:
        task.loss_fn(task.model(a), b).backward()
        optimizer.step()
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    grads = [p.grad.clone() for p in task.model.parameters() if p.grad is not None]
    held, states = copy.deepcopy(optimizer.state_dict()), (torch.get_rng_state(), generator.get_state())
    calls = 0

    def loss_fn(o: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if failing is not None and calls > 20:
            raise failing("enough")
        return task.loss_fn(o, t)

    run = lambda: shuffle_test(task.model, loss_fn, loader, optimizer, steps=16, progress=False)  # noqa: E731
    if failing is None:
        run()
    else:
        with pytest.raises(UserCodeError if failing is ValueError else failing):
            run()
    assert all(torch.equal(v, before[k]) for k, v in task.model.state_dict().items())
    assert all(map(torch.equal, grads, [p.grad for p in task.model.parameters() if p.grad is not None]))
    assert all(map(torch.equal, states, (torch.get_rng_state(), generator.get_state())))
    now = optimizer.state_dict()
    assert now["param_groups"] == held["param_groups"]
    assert all(torch.equal(now["state"][k]["momentum_buffer"], v["momentum_buffer"]) for k, v in held["state"].items())
    assert all(m.training for m in task.model.modules())


def test_bad_input_is_named() -> None:
    model, data = nn.Linear(2, 1), [(torch.randn(4, 2), torch.randn(4, 1))] * 8
    with pytest.raises(UsageError, match="steps is 2; expected a whole number from 8"):
        shuffle_test(model, F.mse_loss, data, steps=2, progress=False)
    with pytest.raises(UsageError, match="loader gave no batch"):
        shuffle_test(model, F.mse_loss, [], progress=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree() -> None:
    task, loader = sorted_task()
    here = check(task, loader, steps=40)
    task.model.cuda()
    there = check(task, loader, steps=40)
    assert here.outcome == there.outcome == "failed"
    assert here.label_share == pytest.approx(there.label_share, rel=1e-4)
    assert here.shuffled_loss == pytest.approx(there.shuffled_loss, rel=0.02)
