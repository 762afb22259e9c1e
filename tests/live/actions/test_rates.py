"""A factor on the learning rate that lasts, whoever else sets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedules

from lossdoctor.live.actions.rates import RateFactor

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda o: None,  # noqa: ARG005
    "step": lambda o: schedules.StepLR(o, 7, 0.5),
    "exponential": lambda o: schedules.ExponentialLR(o, 0.9),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 30, 1e-3),
    "lambda": lambda o: schedules.LambdaLR(o, lambda e: 1 - e / 60),
    "onecycle": lambda o: schedules.OneCycleLR(o, 0.5, total_steps=50),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 10),
    "cyclic": lambda o: schedules.CyclicLR(o, 0.01, 0.1, step_size_up=5, cycle_momentum=False),
    "polynomial": lambda o: schedules.PolynomialLR(o, 60),
    "sequential": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, 1, 8), schedules.CosineAnnealingLR(o, 60)], [8]
    ),
    "chained": lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)]),
}
CHANGE = 12


def rates_used(scheduler: str, *, factor: float = 1.0, known: bool = True, by_hand: bool = False) -> list[list[float]]:
    """The rates of both groups at each step; ``factor`` is put on after step 12."""
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.02}], momentum=0.9)
    schedule = SCHEDULERS[scheduler](optimizer)
    rates = RateFactor(optimizer, schedule if known else None)
    used = []
    for step in range(38):
        if by_hand:
            for group, rate in zip(optimizer.param_groups, (0.1, 0.02), strict=True):
                group["lr"] = rate * 0.99**step
        rates.enter()
        used.append([group["lr"] for group in optimizer.param_groups])
        a.grad, b.grad = torch.zeros(1), torch.zeros(1)
        optimizer.step()
        rates.leave()
        if schedule is not None:
            schedule.step()
        if step == CHANGE:
            rates.multiply(factor)
    return used


def ratios(plain: list[list[float]], changed: list[list[float]]) -> list[float]:
    return [c / p for old, new in zip(plain, changed, strict=True) for p, c in zip(old, new, strict=True)]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_is_left_of_the_schedule_is_multiplied(scheduler: str) -> None:
    found = ratios(rates_used(scheduler), rates_used(scheduler, factor=0.3))
    assert found[: 2 * (CHANGE + 1)] == [1.0] * 2 * (CHANGE + 1)
    assert found[2 * (CHANGE + 1) :] == pytest.approx([0.3] * (len(found) - 2 * (CHANGE + 1)))


@pytest.mark.parametrize("scheduler", ["lambda", "restarts"])
def test_a_scheduler_that_is_not_known_is_noticed(scheduler: str) -> None:
    found = ratios(rates_used(scheduler), rates_used(scheduler, factor=0.3, known=False))
    assert found[2 * (CHANGE + 1) :] == pytest.approx([0.3] * (len(found) - 2 * (CHANGE + 1)))


def test_rates_that_are_set_by_hand_are_left_as_they_were_found() -> None:
    found = ratios(rates_used("none", by_hand=True), rates_used("none", by_hand=True, factor=0.3))
    assert found[2 * (CHANGE + 1) :] == pytest.approx([0.3] * (len(found) - 2 * (CHANGE + 1)))


def test_the_rate_of_a_group_may_be_a_tensor() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([parameter], lr=rate, foreach=False)
    factor = RateFactor(optimizer)
    factor.multiply(0.5)
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.05)
    assert factor.planned() == pytest.approx(0.1)


def test_going_back_to_an_earlier_moment_keeps_the_factor() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedule = schedules.ExponentialLR(optimizer, 0.9)
    factor = RateFactor(optimizer, schedule)
    kept = optimizer.state_dict(), schedule.state_dict()
    factor.multiply(0.5)
    optimizer.load_state_dict(kept[0])
    schedule.load_state_dict(kept[1])
    factor.put_back(1.0)
    assert factor.value == 0.5
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
