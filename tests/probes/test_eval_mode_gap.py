"""eval_mode_gap: dropout, stale statistics, tiny batches, frozen parts; and no trace."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from benchmarks.clinic import tasks
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.modes.check import eval_mode_gap
from lossdoctor.probes.modes.verdict import EvalModeResult

torch.set_num_threads(1)


def data(count: int = 16, size: int = 64, seed: int = 0, shift: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        x = torch.randn(size, 8, generator=g)
        batches.append((x + shift, (x[:, :1] * 2 + x[:, 1:2]).tanh() + 0.1 * torch.randn(size, 1, generator=g)))
    return batches


def net(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(8, 32)]
    if norm:
        layers.append(nn.BatchNorm1d(32))
    layers.append(nn.ReLU())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(32, 1))


def train(model: nn.Module, batches: list[tuple[Tensor, Tensor]], epochs: int = 12) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for x, y in batches * epochs:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def gap_of(model: nn.Module, loader: Any = None, **options: Any) -> EvalModeResult:
    return eval_mode_gap(model, F.mse_loss, loader or data(), progress=False, **options)


def test_a_model_without_modes_is_the_same_in_both() -> None:
    found = gap_of(net())
    assert found.outcome == "passed"
    assert found.gap == 0
    assert found.kinds == ()
    assert found.causes["eval-mode-mismatch"] < 1


def test_the_gap_is_the_mean_over_batches_in_each_mode() -> None:
    model, batches = net(norm=True), data()
    train(model, batches)
    found = gap_of(model, batches)
    again = copy.deepcopy(model)
    with torch.no_grad():
        evaluation = [float(F.mse_loss(again.eval()(x), y)) for x, y in batches]
        training = [float(F.mse_loss(again.train()(x), y)) for x, y in batches]
    differences = torch.tensor(evaluation).double() - torch.tensor(training).double()
    assert found.gap == pytest.approx(float(differences.mean()), abs=1e-7)
    assert found.standard_error == pytest.approx(float(differences.std()) / 4, rel=1e-4)
    measured = next(m for m in found.measurements if m.name == "eval_mode_gap")
    assert measured.value == found.gap == pytest.approx(measured.detail["eval_mode"] - measured.detail["train_mode"])


def test_dropout_overstates_the_training_loss() -> None:
    model, batches = net(dropout=0.5), data()
    train(model, batches)
    found = gap_of(model, batches)
    assert found.outcome == "noted"
    assert found.gap < 0
    assert found.dropout == pytest.approx(-found.gap, rel=0.3)
    assert found.causes["over-regularized"] > 1
    assert found.causes["eval-mode-mismatch"] < 1
    assert "dropout" in found.verdict


def test_settled_statistics_pass_and_stale_ones_fail() -> None:
    model, batches = net(norm=True), data()
    train(model, batches)
    healthy = gap_of(model, batches)
    assert healthy.outcome == "passed", healthy.verdict
    with torch.no_grad():
        model[1].running_mean += 2.0
        model[1].running_var *= 6.0
    stale = gap_of(model, batches)
    assert stale.outcome == "failed"
    assert "stale" in stale.verdict
    assert stale.norm == pytest.approx(stale.gap, rel=1e-3)
    assert stale.recomputed is not None
    assert stale.recomputed == pytest.approx(stale.train_mode, rel=0.2)
    assert stale.causes["eval-mode-mismatch"] > 5


def test_normalising_over_two_examples_makes_training_mode_worse() -> None:
    model, batches = net(norm=True), data(count=400, size=2)
    train(model, batches, epochs=3)
    found = gap_of(model, batches, batches=100)
    assert found.outcome == "noted"
    assert found.gap < 0
    assert found.causes["batch-too-small"] >= 4
    assert "normalising over 2 examples" in found.verdict


def test_batches_that_differ_leave_a_gap_that_new_statistics_do_not_close() -> None:
    batches = [(x + (5 if i % 2 else -5), y) for i, (x, y) in enumerate(data(16))]
    model = net(norm=True)
    train(model, batches, epochs=6)
    found = gap_of(model, batches)
    assert found.outcome == "failed"
    assert "do not close the gap" in found.verdict
    assert found.causes["data-unshuffled"] > 1


def test_statistics_that_stay_initial_for_all_of_a_run_are_a_fault() -> None:
    model = net(norm=True)
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.momentum = 1e-4  # of 640 batches they take over 6 %
    train(model, data(shift=3.0), epochs=40)
    found = gap_of(model, data(shift=3.0))
    assert found.outcome == "failed"
    assert "stale" in found.verdict
    assert found.causes["eval-mode-mismatch"] >= 8


def test_fresh_statistics_are_not_judged() -> None:
    model = net(norm=True)
    with torch.no_grad():
        model[0].bias += 5
        model[-1].weight *= 5
    found = gap_of(model, data())
    assert found.outcome == "unknown"
    assert "initial values" in found.verdict
    assert not found.measurements


def test_dropout_and_statistics_are_told_apart() -> None:
    model, batches = net(dropout=0.3, norm=True), data()
    train(model, batches)
    with torch.no_grad():
        model[1].running_var *= 9.0
    found = gap_of(model, batches, passes=8)
    assert found.kinds == ("dropout", "norm")
    assert found.norm is not None
    assert found.dropout is not None
    assert found.norm > 0.01
    assert found.dropout > 0.001
    only = copy.deepcopy(model)
    only[3].p = 0.0
    assert gap_of(only, batches).gap == pytest.approx(found.norm, rel=1e-4)


def test_functional_dropout_counts_in_the_whole() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.dropout(F.relu(self.a(x)), 0.5, self.training))

    torch.manual_seed(0)
    model, batches = Net(), data()
    train(model, batches)
    found = gap_of(model, batches)
    assert found.gap < 0
    assert found.outcome == "noted"
    assert found.dropout is None


def test_frozen_statistics_stay_frozen() -> None:
    model, batches = net(norm=True), data()
    train(model, batches)
    with torch.no_grad():
        model[1].running_var *= 9.0
    model[1].eval()
    assert gap_of(model, batches).gap == 0
    model.eval()  # then training mode is what train() makes of it
    assert gap_of(model, batches).gap > 0


def test_validation_in_the_same_mode() -> None:
    model, batches = net(dropout=0.5), data()
    train(model, batches)
    same = gap_of(model, batches, val_loader=data(seed=5))
    assert same.val_loss is not None
    assert same.val_loss < same.train_mode
    assert same.causes["validation-differs"] < 1
    shifted = gap_of(model, batches, val_loader=data(seed=5, shift=3.0))
    assert shifted.causes["validation-differs"] > 1
    assert "in the same mode" in shifted.verdict


def test_one_batch_and_noise_do_not_tell() -> None:
    model = net(dropout=0.5)
    assert gap_of(model, data(count=1)).outcome == "unknown"
    found = gap_of(model, data(count=2, size=2), passes=1)
    assert found.outcome in ("unknown", "passed", "noted")
    assert gap_of(model, [(x * math.nan, y) for x, y in data(4)]).outcome == "unknown"


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp", "marks_batchnorm", "digits_attention"])
def test_healthy_tasks(name: str) -> None:
    task = tasks.make(name, seed=0)
    optimizer = task.make_optimizer()
    loader = task.train_loader
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            optimizer.step()
    found = eval_mode_gap(task.model, task.loss_fn, loader, val_loader=task.val_loader, progress=False)
    assert found.outcome in ("passed", "noted"), found.verdict
    assert "eval-mode-mismatch" not in found.causes or found.causes["eval-mode-mismatch"] <= 2


@pytest.mark.parametrize("failing", [None, ValueError, KeyboardInterrupt])
def test_no_trace(failing: type[BaseException] | None) -> None:
    model, batches = net(dropout=0.3, norm=True), data()
    train(model, batches, 1)
    model[1].eval()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*map(torch.cat, zip(*batches, strict=True))), 64, shuffle=True
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    calls = 0

    def loss_fn(o: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if failing is not None and calls > 30:
            raise failing("enough")
        return F.mse_loss(o, y)

    if failing is None:
        eval_mode_gap(model, loss_fn, loader, progress=False)
    else:
        with pytest.raises(UserCodeError if failing is ValueError else failing):
            eval_mode_gap(model, loss_fn, loader, progress=False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, grads, [p.grad for p in model.parameters() if p.grad is not None]))
    assert model[1].momentum == 0.1


def test_bad_input_is_named_and_the_result_shows_itself() -> None:
    with pytest.raises(UsageError, match="passes is 0"):
        gap_of(net(), passes=0)
    with pytest.raises(UsageError, match="read only once"):
        eval_mode_gap(net(), F.mse_loss, iter(data()), progress=False)
    found = gap_of(net(dropout=0.5), val_loader=data(4))
    assert len(found.charts()[0].bars) == 3
    assert "dropout alone adds" in str(found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree() -> None:
    model, batches = net(norm=True), data()
    train(model, batches)
    here = gap_of(model, batches)
    there = gap_of(model.cuda(), batches)
    assert there.outcome == here.outcome
    assert there.eval_mode == pytest.approx(here.eval_mode, rel=1e-3)
