"""The state of a descent: from its dynamics alone, on cases whose dynamics are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import descend, surface
from lossdoctor.lab.convergence import STATES
from lossdoctor.lab.critical import critical_lr, critical_points
from lossdoctor.lab.surfaces import from_function


@pytest.mark.parametrize("steps", [20, 31, 100])
@pytest.mark.parametrize(
    ("lr", "state"),
    [
        (0.45, "monotone"),
        (0.5, "monotone"),
        (0.55, "damped oscillation"),
        (0.95, "damped oscillation"),
        (0.999, "damped oscillation"),
        (1.0, "limit cycle"),
        (1.001, "diverged"),
        (1.1, "diverged"),
        (1.5, "diverged"),
    ],
)
def test_rates_on_the_quadratic(lr: float, state: str, steps: int) -> None:
    run = descend("quadratic", "sgd", lr=lr, starts=[[0.0]], steps=steps)
    assert run.state() == state, run.verdict()
    assert run.critical_lr == pytest.approx(1.0)


@given(st.floats(0.02, 1.98), st.floats(0.1, 50.0), st.floats(0.5, 4.0))
@settings(max_examples=60, deadline=None)
def test_the_critical_rate_parts_what_stays_from_what_goes(share: float, curvature: float, start: float) -> None:
    """On any parabola the state depends on lr over 2/λ alone; near its borders either side may be seen."""
    bowl = from_function(lambda w: 0.5 * curvature * w**2, dim=1, domain=(-5.0, 5.0), minima=[0.0])
    limit = critical_lr(bowl, [0.0])
    assert limit == pytest.approx(2.0 / curvature)
    state = descend(bowl, "sgd", lr=share * limit / 2.0, starts=[[start]], steps=200).state()
    factor = 1.0 - share
    if abs(factor) > 0.96 or abs(factor) < 0.03:
        return
    assert state == ("monotone" if factor > 0.0 else "damped oscillation")


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_the_critical_rate_of_each_kind_of_momentum(optimizer: str) -> None:
    ravine = surface("ravine", condition=100.0)
    limit = descend(ravine, optimizer, lr=1e-3, starts=1, steps=1).critical_lr
    assert limit is not None
    want = {"sgd": 0.02, "momentum": 0.038, "nesterov": 0.02 * 1.9 / 2.8}[optimizer]
    assert limit == pytest.approx(want)
    below = descend(ravine, optimizer, lr=0.99 * limit, starts=[[-8.0, 3.0]], steps=3000)
    beyond = descend(ravine, optimizer, lr=1.01 * limit, starts=[[-8.0, 3.0]], steps=3000)
    assert np.linalg.norm(below.ends) < 1e-6
    assert below.verdict().converged
    assert beyond.state() == "diverged"


def test_divergence_is_seen_while_the_path_is_still_near() -> None:
    run = descend(surface("ravine", condition=100.0), "sgd", lr=0.02 * 1.002, starts=[[-8.0, 3.0]], steps=60)
    assert np.abs(run.path).max() < 10.0
    assert run.state() == "diverged"


def test_stalled_at_a_saddle_by_the_hessian() -> None:
    for name in ("saddle", "saddle_between_wells"):
        run = descend(name, "sgd", lr=0.05, starts=[[1.0, 0.0], [1.0, 1e-3]], steps=200)
        assert run.state(0) == "stalled at a saddle"
        assert "curvatures there -2, 2" in run.verdict(0).detail
        assert not run.verdict(0).converged
        assert run.minimum(0) is None
    assert run.state(1) == "monotone", "a thousandth aside it falls to the well"
    assert run.minimum(1) == 1


def test_a_degenerate_saddle_is_told_by_its_neighbours() -> None:
    run = descend("monkey_saddle", "sgd", lr=0.05, starts=[[0.0, 0.0], [1e-4, 0.0]], steps=100)
    assert run.states == ["stalled at a saddle"] * 2
    assert np.abs(run.critical.curvatures[0]).max() == 0.0
    flat = from_function(lambda x: (x**4).sum(dim=1), dim=2)
    assert critical_points(flat, [[0.0, 0.0]]).kinds == ("minimum",)
    assert critical_points(from_function(lambda x: -(x**4).sum(dim=1), dim=2), [[0.0, 0.0]]).kinds == ("maximum",)
    assert critical_points(from_function(lambda w: w**3, dim=1), [[0.0]]).kinds == ("saddle",)


def test_stalled_at_a_maximum() -> None:
    top = surface("himmelblau").maxima
    run = descend("himmelblau", "sgd", lr=1e-3, starts=top, steps=20)
    assert run.state() == "stalled at a maximum"


def test_still_moving() -> None:
    run = descend("plateau", "sgd", lr=0.1, starts=[[4.0, 3.0]], steps=300)
    assert run.state() == "still moving"
    crawl = descend("quadratic", "sgd", lr=0.001, starts=[[0.0]], steps=30)
    assert crawl.state() == "still moving"
    assert "falling" in crawl.verdict().detail
    short = descend(
        "quadratic", "sgd", lr=0.1, starts=[[0.0]], steps=400, schedule="exponential", schedule_options={"gamma": 0.9}
    )
    assert short.state() == "still moving"
    assert "shrank" in short.verdict().detail


def test_limit_cycles_with_their_period() -> None:
    two = descend("double_well", "sgd", lr=0.07, starts=[[-3.0]], steps=400)
    assert two.state() == "limit cycle"
    assert two.verdict().period == 2
    chaos = descend("double_well", "sgd", lr=0.1, starts=[[-2.0]], steps=400)
    assert chaos.state() == "limit cycle"
    assert chaos.verdict().period is None
    assert two.critical_lr is not None
    assert two.critical_lr < 0.07
    signs = descend("himmelblau", "lion", lr=0.01, starts=[[0.0, 0.0]], steps=3000)
    assert signs.state() == "limit cycle", "a step of one size never settles"


def test_a_swing_whose_growth_dies_away_is_no_divergence() -> None:
    run = descend("himmelblau", "adadelta", lr=1.0, starts=[[-3.0, 3.0]], steps=1000)
    verdict = run.verdict()
    assert verdict.state == "limit cycle"
    assert verdict.growth is not None
    assert verdict.growth > 1.0
    assert "ever less so" in verdict.detail


def test_chance_hovers_about_a_minimum_and_is_not_a_limit_cycle() -> None:
    run = descend("himmelblau", "sgd", lr=0.002, starts=40, steps=1500, noise=20.0)
    states = run.states
    assert states.count("hovering") >= 36
    reached = [run.minimum(i) for i in range(40) if states[i] == "hovering"]
    nearest = [
        int(np.linalg.norm(run.surface.minima - run.path[-300:, i].mean(axis=0), axis=1).argmin())
        for i in range(40)
        if states[i] == "hovering"
    ]
    assert reached == nearest
    drift = descend("plateau", "sgd", lr=0.01, starts=[[3.0, 0.0]], steps=60, noise=1e-4)
    assert drift.state() in ("still moving", "hovering")
    slide = descend(lambda x: x[:, 0] * 1.0 + 0.0 * x[:, 1], "sgd", lr=0.01, starts=[[0.0, 0.0]], steps=200, noise=0.1)
    assert slide.state() == "still moving"


def test_four_starts_four_minima() -> None:
    run = descend("himmelblau", "sgd", lr=0.01, starts=[[1.0, 1.0], [-1.0, 4.0], [-4.0, -4.0], [4.0, -4.0]], steps=500)
    assert [run.minimum(i) for i in range(4)] == [0, 1, 2, 3]
    sharpest = max(np.linalg.eigvalsh(h).max() for h in run.surface.hessian(run.surface.minima))
    assert run.critical_lr == pytest.approx(2.0 / sharpest)
    assert run.critical_lr_at([3.0, 2.0]) == pytest.approx(2.0 / 82.2842712474619)


def test_very_short_descents_have_a_state_too() -> None:
    for steps in (1, 2, 3, 5):
        for noise in (0.0, 1.0):
            run = descend("quadratic", "sgd", lr=0.3, starts=[[0.0], [3.0]], steps=steps, noise=noise)
            assert set(run.states) <= set(STATES)


def test_critical_points_out_of_reach_are_none() -> None:
    found = critical_points(surface("himmelblau"), [[1.0, 1.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert found.kinds == ("none", "none", "none")
    assert not found.near.any()
    # A wall that Newton's iteration climbs by the same small step for ever is no critical point.
    wall = from_function(lambda w: (1e4 * w).exp(), dim=1, domain=(-1e-2, 1e-2))
    assert critical_points(wall, [[0.0]]).kinds == ("none",)
    # Nor is a kink, which has a slope on either side.
    assert critical_points(from_function(lambda w: (w - 0.3).abs(), dim=1), [[0.2999]]).kinds == ("none",)


def test_critical_lr_of_what_does_not_curve_upwards() -> None:
    assert critical_lr(surface("himmelblau"), surface("himmelblau").maxima[0]) == math.inf
    with pytest.raises(UsageError, match="momentum is 1"):
        critical_lr(surface("quadratic"), [3.0], momentum=1.0)
    assert descend("saddle", "sgd", lr=0.1, starts=[[1.0, 1.0]], steps=5).critical_lr is None
