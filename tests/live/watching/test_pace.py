"""How often is measured: as often as the share allows, never less often than every 50 steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from lossdoctor.live.watching import pace as watch_pace
from lossdoctor.live.watching.pace import LEAST_OFTEN, SHARE, Pace
from lossdoctor.live.watching.watch import Watch
from tests.live.watching.watched_models import Notes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(monkeypatch: pytest.MonkeyPatch, step: float, cost: float, steps: int = 3000) -> tuple[list[int], float]:
    """Steps that were measured, and the share of the time that it took."""
    clock = Clock()
    monkeypatch.setattr(watch_pace, "perf_counter", clock)
    pace = Pace()
    measured, spent = [], 0.0
    for i in range(steps):
        if pace.due():
            measured.append(i)
            spent += cost
            clock.now += cost
            pace.paid(cost)
        clock.now += step * (40 if i % 500 == 499 else 1)  # now and then a validation
    return measured, spent / clock.now


def test_cheap_measurements_are_made_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, share = run(monkeypatch, step=1.0, cost=0.7 * SHARE)
    assert measured[-500:] == list(range(2500, 3000))
    assert share <= SHARE


@pytest.mark.parametrize("times", [1.4, 6.7, 20.0, 46.7])
def test_what_may_be_spent_is_spent(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    measured, share = run(monkeypatch, step=1.0, cost=times * SHARE)
    gaps = [b - a for a, b in pairwise(measured)]
    assert 0.5 * SHARE <= share <= 1.1 * SHARE
    assert len(set(gaps[5:])) == 1  # evenly
    assert max(gaps) <= LEAST_OFTEN


def test_however_dear_every_fifty_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, _ = run(monkeypatch, step=1e-3, cost=1.0)
    assert [b - a for a, b in pairwise(measured)][-10:] == [LEAST_OFTEN] * 10


def test_a_gpu_that_takes_longer_than_the_calls_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(watch_pace, "perf_counter", clock)
    pace = Pace()
    for _ in range(400):
        if pace.due():
            pace.paid(0.001)
            pace.on_device(10 * SHARE)
        clock.now += 1.0
    assert pace.interval == 10


def test_the_first_step_is_measured_and_some_soon_after(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, _ = run(monkeypatch, step=1e-3, cost=1.0, steps=40)
    assert measured[:2] == [0, 5]


@pytest.mark.parametrize("every", [1, 7])
def test_as_asked(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    clock = Clock()
    monkeypatch.setattr(watch_pace, "perf_counter", clock)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, every=every)
    model(torch.ones(1, 2)).sum().backward()
    seen = []
    for i in range(22):
        optimizer.step()
        if "grad_norm" in watch.collect():
            seen.append(i)
    assert seen == list(range(0, 22, every))


def test_two_optimizers_share_the_time() -> None:
    model = nn.Linear(2, 2)
    two = [torch.optim.SGD([p], lr=0.1) for p in model.parameters()]
    watch = Watch(Notes(), model, two)
    assert sum(w.pace._share for w in watch.optimizers) == pytest.approx(SHARE)
