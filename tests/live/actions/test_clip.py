"""Gradients are kept below a norm."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.live import Monitor
from lossdoctor.live.actions import ClipGradients
from tests.live.actions.watched import bits, watch


def model_of(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def train(model: nn.Module, monitor: Monitor | None, *, scales: list[float], own: float | None = None) -> list[float]:
    """Gradients' norms at the steps; the loss is multiplied by a scale at each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    if monitor is not None:
        watch(monitor, model, optimizer)
    generator, norms = torch.Generator().manual_seed(5), []
    for scale in scales:
        optimizer.zero_grad()
        (scale * model(torch.randn(16, 4, generator=generator)).square().mean()).backward()
        if own is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), own)
        optimizer.step()
        norms.append(math.hypot(*(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)))
    return norms


def test_a_fixed_limit_is_what_torch_does(tmp_path: Path) -> None:
    ours, theirs = model_of(), model_of()
    scales = [1.0, 50.0, 0.1, 300.0] * 10
    action = ClipGradients(0.5)
    monitor = Monitor(run_dir=tmp_path, actions=[action])
    norms = train(ours, monitor, scales=scales)
    train(theirs, None, scales=scales, own=0.5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-7)
    assert max(norms) == pytest.approx(0.5, rel=1e-4)
    assert action.steps == 40
    assert 20 <= action.clipped <= 40
    monitor.finish()
    told = [e for e in monitor.events if e.kind == "gradients_clipped"]
    assert len(told) == 2  # at the first one, and how many there were
    assert told[-1].details["clipped"] == action.clipped


def test_an_adaptive_limit_follows_the_run(tmp_path: Path) -> None:
    usual = train(model_of(), None, scales=[1.0] * 60)
    action = ClipGradients(quantile=0.9)
    model = model_of()
    norms = train(model, Monitor(run_dir=tmp_path, actions=[action]), scales=[1.0] * 50 + [1e6] + [1.0] * 9)
    assert norms[:20] == pytest.approx(usual[:20])
    assert norms[50] <= max(usual)  # the batch that was a million times too large
    assert action.clipped < 20


def test_what_is_below_the_limit_is_not_touched(tmp_path: Path) -> None:
    ours, theirs = model_of(), model_of()
    train(ours, Monitor(run_dir=tmp_path, actions=[ClipGradients(1e9)]), scales=[1.0] * 20)
    train(theirs, None, scales=[1.0] * 20)
    assert bits(ours) == bits(theirs)


def test_nan_stays_where_it_is_and_the_limit_does_not_learn_from_it(tmp_path: Path) -> None:
    action = ClipGradients(quantile=0.5)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch(Monitor(run_dir=tmp_path, actions=[action]), model, optimizer)
    for step in range(40):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        if step == 30:
            model[0].bias.grad.fill_(math.nan)
        optimizer.step()
        if step == 30:
            assert bool(model[2].weight.grad.isfinite().all())
            assert bool(model[0].bias.grad.isnan().all())
    assert action.steps == 40


def test_the_loss_scale_of_mixed_precision_is_no_part_of_the_norm(tmp_path: Path) -> None:
    """A fused optimizer gets its gradients still scaled."""
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    action = ClipGradients(0.5)
    watch(Monitor(run_dir=tmp_path, actions=[action]), model, optimizer, scaler=scaler)
    reference = model_of()
    plain = torch.optim.SGD(reference.parameters(), lr=0.01)
    for _ in range(20):
        x = torch.randn(16, 4)
        optimizer.zero_grad()
        scaler.scale(20.0 * model(x).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        plain.zero_grad()
        (20.0 * reference(x).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        plain.step()
    assert action.clipped > 5
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_sparse_gradients(tmp_path: Path) -> None:
    table = nn.Embedding(10, 3, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    watch(Monitor(run_dir=tmp_path, actions=[ClipGradients(0.1)]), table, optimizer)
    before = table.weight.detach().clone()
    (100.0 * table(torch.tensor([1, 1, 2])).sum()).backward()
    optimizer.step()
    assert float((table.weight.detach() - before).norm()) == pytest.approx(0.1, rel=1e-4)


def test_without_a_watch_it_says_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, logger="lossdoctor"),
        Monitor(run_dir=tmp_path, actions=[ClipGradients()]) as monitor,
    ):
        monitor.log(0, loss=1.0)
    assert any("ClipGradients has clipped nothing: it needs monitor.watch" in r.message for r in caplog.records)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0.0}, {"limit": math.inf}, {"quantile": 1.0}, {"window": 3}, {"factor": 0}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="ClipGradients"):
        ClipGradients(**wrong)  # type: ignore[arg-type]
