"""Schedules: their rates against closed forms, and that a descent takes the rates they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import descend, schedules, surface
from lossdoctor.lab.schedules import SCHEDULES, rates, schedule

STEPS = 60
T = np.arange(STEPS)
FORMS = {
    "constant": np.ones(STEPS),
    "step": 0.1 ** (T // 20),
    "multistep": np.where(T < 30, 1.0, np.where(T < 45, 0.1, 0.01)),
    "exponential": 0.01 ** (T / STEPS),
    "linear": 1.0 - T / STEPS,
    "polynomial": (1.0 - T / STEPS) ** 2,
    "cosine": 0.5 * (1.0 + np.cos(math.pi * T / STEPS)),
    "warmup": np.minimum(1.0, (T + 1) / 6),
    "warmup_cosine": np.where(T < 6, (T + 1) / 6, 0.5 * (1.0 + np.cos(math.pi * (T - 6) / 54))),
    "warmup_linear": np.where(T < 6, (T + 1) / 6, 1.0 - (T - 6) / 54),
    "inverse_time": 1.0 / (1.0 + T / 6),
    "inverse_sqrt": np.minimum((T + 1) / 6, np.sqrt(6 / (T + 1))),
}


@pytest.mark.parametrize("name", FORMS)
def test_rates_against_their_closed_forms(name: str) -> None:
    np.testing.assert_allclose(rates(name, 0.2, STEPS), 0.2 * FORMS[name], rtol=1e-9, atol=1e-15)


def test_warm_restarts_come_at_one_three_and_seven_periods() -> None:
    found = rates("sgdr", 0.2, 70)
    assert np.flatnonzero(found == 0.2).tolist() == [0, 10, 30]
    assert found[9] < 0.01
    assert found[29] < 0.01


def test_one_cycle_rises_to_the_rate_and_ends_far_below_its_beginning() -> None:
    found = rates("one_cycle", 0.2, 100)
    assert found[0] == pytest.approx(0.2 / 25)
    assert found.max() == pytest.approx(0.2, rel=1e-2)
    assert 28 <= int(found.argmax()) <= 32
    assert found[-1] < found[0] / 10


def test_triangles_stay_between_their_ends() -> None:
    found = rates("cyclic", 0.2, 100, low=0.5, period=20)
    assert found.min() == pytest.approx(0.1)
    assert found.max() == pytest.approx(0.2)
    assert np.flatnonzero(np.isclose(found, 0.2)).tolist() == [10, 30, 50, 70, 90]


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n != "plateau"])
def test_a_descent_takes_the_rates_of_its_schedule(name: str) -> None:
    run = descend("quadratic", "sgd", lr=0.2, starts=[[0.0], [5.0]], steps=STEPS, schedule=name)
    want = rates(name, 0.2, STEPS)
    np.testing.assert_array_equal(run.learning_rates, want)
    # The product of (1 − 2 lr) over the steps: every rate was really used, in its turn.
    np.testing.assert_allclose(
        run.ends[:, 0] - 3.0, np.array([-3.0, 2.0]) * np.prod(1.0 - 2.0 * want), rtol=1e-9, atol=1e-14
    )


def test_optimizers_of_single_starts_all_follow_the_schedule() -> None:
    run = descend("quadratic", "prodigy", starts=[[0.0], [5.0]], steps=40, schedule="cosine")
    alone = descend("quadratic", "prodigy", starts=[[5.0]], steps=40, schedule="cosine")
    np.testing.assert_allclose(run.path[:, 1], alone.path[:, 0])


def test_a_schedule_may_be_a_function() -> None:
    run = descend("quadratic", "sgd", lr=0.2, starts=[[0.0]], steps=4, schedule=lambda step: 1.0 / (1 + step))
    np.testing.assert_allclose(run.learning_rates, [0.2, 0.1, 0.2 / 3, 0.05])


def test_reduce_on_plateau_looks_at_the_loss() -> None:
    # At a rate of 1.0 the loss of the quadratic never falls: the schedule is what ends the swing.
    run = descend("quadratic", "sgd", lr=1.0, starts=[[0.0]], steps=60, schedule="plateau")
    assert run.learning_rates[0] == 1.0
    assert run.learning_rates[-1] < 0.2
    assert run.state() in ("monotone", "damped oscillation")
    with pytest.raises(UsageError, match="one start at a time"):
        descend("quadratic", "sgd", starts=3, schedule="plateau")
    with pytest.raises(UsageError, match="follows the loss"):
        rates("plateau", 0.1, 10)


def test_weight_averaging_is_that_of_torch() -> None:
    run = descend("rosenbrock", "sgd", lr=1e-3, starts=[[-1.0, 1.0]], steps=80, noise=5.0, schedule="swa")
    averaged = run.averaged()
    model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    kept = torch.optim.swa_utils.AveragedModel(model)
    for step in range(61, 81):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(run.path[step]))
        kept.update_parameters(model)
        np.testing.assert_allclose(averaged[step], kept.module.weight.detach().numpy(), rtol=1e-12)
    np.testing.assert_array_equal(averaged[:61], run.path[:61])
    with pytest.raises(UsageError, match="a share from 0 up to 1"):
        run.averaged(1.0)


def test_averaging_calms_the_noise() -> None:
    run = descend(surface("ravine", condition=4.0), "sgd", lr=0.05, starts=64, steps=600, noise=5.0, seed=5)
    distance = np.linalg.norm(run.averaged(0.5)[-1], axis=1)
    assert np.median(distance) < 0.6 * np.median(np.linalg.norm(run.ends, axis=1))


def test_unknown_names_and_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no schedule is called 'cosin'; did you mean 'cosine'"):
        schedule("cosin")
    with pytest.raises(UsageError, match="schedules: constant, step"):
        schedule("qqqqqq")
    with pytest.raises(UsageError, match="'warmup_cosine' has no option 'warmups'; did you mean 'warmup'"):
        descend("quadratic", schedule="warmup_cosine", schedule_options={"warmups": 3})
    with pytest.raises(UsageError, match="'constant' has no option 'gamma'; it has none"):
        rates("constant", 0.1, 3, gamma=2.0)
    with pytest.raises(UsageError, match="cannot be made with"):
        rates("one_cycle", 0.1, 3, warmup_share=2.0)
    assert schedule("warmup+cosine") is schedule("warmup_cosine")
    assert schedule(None) is schedule("constant")


def test_every_schedule_is_described() -> None:
    for name in schedules.names():
        assert SCHEDULES[name].title
        assert SCHEDULES[name].make.__doc__
