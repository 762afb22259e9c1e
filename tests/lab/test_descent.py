"""Descents: the paths against plain loops, what a run would have logged, and every way to ask wrongly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import descend, surface

HALF = torch.tensor(0.5, dtype=torch.float64)


def test_the_blind_hiker_by_the_plain_loop() -> None:
    run = descend("blind_hiker", "sgd", lr=0.1, starts=[[0.0]], steps=20)
    x = 0.0
    for step in range(21):
        assert run.path[step, 0, 0] == pytest.approx(x, abs=1e-12)
        assert run.values[step, 0] == pytest.approx(x * x - 4.0 * x + 5.0, abs=1e-12)
        x -= 0.1 * (2.0 * x - 4.0)
    assert run.ends[0, 0] == pytest.approx(1.9769, abs=5e-5)


@given(st.floats(0.01, 1.2), st.floats(-4.0, 10.0), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_the_quadratic_by_its_closed_form(lr: float, start: float, steps: int) -> None:
    run = descend("quadratic", "sgd", lr=lr, starts=[[start]], steps=steps)
    want = 3.0 + (start - 3.0) * (1.0 - 2.0 * lr) ** np.arange(steps + 1)
    np.testing.assert_allclose(run.path[:, 0, 0], want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(run.grad_norms[:, 0], np.abs(2.0 * (want - 3.0)), rtol=1e-6, atol=1e-8)


def test_shapes_and_names() -> None:
    run = descend("himmelblau", "adam", lr=0.1, starts=7, steps=30)
    assert run.path.shape == (31, 7, 2)
    assert run.values.shape == run.grad_norms.shape == (31, 7)
    assert run.learning_rates.shape == (30,)
    assert (run.n, run.steps) == (7, 30)
    assert run.path.dtype == run.values.dtype == np.float64
    np.testing.assert_allclose(run.values, surface("himmelblau")(run.path.reshape(-1, 2)).reshape(31, 7))
    assert repr(run) == "<Descent on 'himmelblau': 7 starts, 30 steps of adam, lr 0.1>"


def test_a_maximised_surface_climbs_and_is_shown_as_itself() -> None:
    run = descend("revenue", "sgd", lr=0.1, starts=[[0.0, 0.0]], steps=100)
    assert run.values[0, 0] == 0.0
    assert run.values[-1, 0] == pytest.approx(3125.0)
    np.testing.assert_array_equal(run.losses, -run.values)
    assert run.history().curve("train_loss").values[-1] == pytest.approx(-3125.0)  # type: ignore[union-attr]
    assert run.steps_to(1.0) == int(np.argmax(run.values[:, 0] >= 3124.0))
    assert run.minimum(0) == 0


# chance


def global_state() -> tuple[Any, ...]:
    return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads()  # type: ignore[index]


def test_chance_is_seeded_and_leaves_everything_global_alone() -> None:
    before = global_state()
    options: dict[str, Any] = {"lr": 0.01, "starts": 5, "steps": 50, "noise": 3.0, "langevin": 0.5}
    first = descend("himmelblau", "sgd", seed=1, **options)
    second = descend("himmelblau", "sgd", seed=1, **options)
    other = descend("himmelblau", "sgd", seed=2, **options)
    np.testing.assert_array_equal(first.path, second.path)
    assert not np.array_equal(first.path, other.path)
    assert before == global_state()
    assert torch.get_default_dtype() == torch.float32


def test_noise_has_the_spread_it_is_given_and_is_clipped_with_the_gradient() -> None:
    run = descend("plateau", "sgd", lr=1.0, starts=np.full((4000, 2), 4.9), steps=1, noise=0.3)
    moves = run.path[1] - run.path[0]
    assert moves.std() == pytest.approx(0.3, rel=0.03)
    assert abs(moves.mean()) < 0.02
    clipped = descend("plateau", "sgd", lr=1.0, starts=np.full((4000, 2), 4.9), steps=1, noise=0.3, clip=0.1)
    assert np.linalg.norm(clipped.path[1] - clipped.path[0], axis=1).max() <= 0.1
    assert clipped.grad_norms[0].max() > 0.3, "the norm is that before clipping"
    noisy = descend("noisy_plateau", "sgd", lr=1.0, starts=np.full((4000, 2), 4.9), steps=1)
    assert (noisy.path[1] - noisy.path[0]).std() == pytest.approx(1.0, rel=0.03)
    quiet = descend("noisy_plateau", "sgd", lr=1.0, starts=[[4.9, 4.9]], steps=1, noise=0.0)
    assert not quiet.noisy


def test_langevin_dynamics_settles_at_the_temperature_it_is_given() -> None:
    """On ½λx² the coordinate's variance tends to T/λ, but for the step's own share lr·λ/2."""
    run = descend("ravine", "sgd", lr=0.01, starts=2000, steps=800, langevin=0.5, surface_options={"condition": 4.0})
    variance = run.path[-100:].reshape(-1, 2).var(axis=0)
    np.testing.assert_allclose(variance, [0.5 / (1 - 0.005), 0.5 / 4.0 / (1 - 0.02)], rtol=0.06)


def test_restarts_keep_the_best_end() -> None:
    run = descend("rastrigin", "sgd", lr=0.001, starts=40, steps=300, seed=3)
    last = run.losses[-1]
    assert run.best == int(last.argmin())
    assert run.best_so_far[-1] == last.min()
    assert (np.diff(run.best_so_far) <= 0.0).all()
    assert run.best_so_far[4] == last[:5].min()
    lost = descend("saddle", "sgd", lr=40.0, starts=[[1.0, 1.0], [1.0, 0.0]], steps=400)
    assert not np.isfinite(lost.losses[-1, 0])
    assert lost.best_so_far[0] == math.inf or lost.losses[-1, 0] == -math.inf


# what a training run would have logged


def test_history_has_what_the_rules_read() -> None:
    run = descend("himmelblau", "momentum", lr=0.002, starts=3, steps=200, clip=10.0, schedule="cosine")
    history = run.history(1)
    for role, want in (("train_loss", run.losses[:, 1]), ("grad_norm", run.grad_norms[:, 1])):
        curve = history.curve(role)
        assert curve is not None
        np.testing.assert_array_equal(curve.values, want)
        np.testing.assert_array_equal(curve.steps, np.arange(201))
    rate = history.curve("learning_rate")
    assert rate is not None
    np.testing.assert_array_equal(rate.values, run.learning_rates)
    assert history.context.clip_norm == 10.0
    assert history.context.planned_steps == 200
    assert "momentum" in history.name
    assert len(run.histories) == 3


def test_diagnosis_follows_from_the_history() -> None:
    assert descend("quadratic", "sgd", lr=0.1, starts=[[0.0]], steps=200).history().diagnose().status == "healthy"
    lost = descend("quadratic", "sgd", lr=1.3, starts=[[0.0]], steps=2000).history().diagnose()
    assert lost.status == "critical"
    assert "LD101" in [finding.code for finding in lost.findings]


# divergence is a result


def test_divergence_is_a_result_and_goes_on_in_floating_point() -> None:
    run = descend("quadratic", "sgd", lr=1.3, starts=[[0.0], [3.0]], steps=2000)
    values = run.values[:, 0]
    assert values[100] == pytest.approx(9.0 * 1.6**200, rel=1e-9)
    assert np.isinf(values).any()
    assert np.isnan(run.path[-1, 0, 0])
    assert run.values[-1, 1] == 0.0, "the start beside it stays where it is"
    assert run.states == ["diverged", "monotone"]


@pytest.mark.parametrize("name", ["lars", "lamb", "lbfgs", "prodigy", "muon", "adam"])
def test_a_start_that_is_lost_does_not_pull_the_others_along(name: str) -> None:
    def edge(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, 0] > 1.0, x.exp().exp().exp().sum(dim=1), (x**2).sum(dim=1))

    lr = {"lbfgs": 0.5, "prodigy": 1.0}.get(name, 0.01)
    run = descend(edge, name, lr=lr, starts=[[1.4, 1.4], [0.5, 0.5]], steps=50, clip=None, domain=(-2.0, 2.0))
    alone = descend(edge, name, lr=lr, starts=[[0.5, 0.5]], steps=50, domain=(-2.0, 2.0))
    np.testing.assert_allclose(run.path[:, 1], alone.path[:, 0], rtol=1e-10)


# every way to ask wrongly


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "a whole number of steps, 1 or more"),
        ({"steps": -3}, "1 or more"),
        ({"steps": 2.5}, "a whole number of steps"),
        ({"steps": True}, "a whole number of steps"),
        ({"lr": -0.1}, "lr is -0.1; a learning rate is a number above 0"),
        ({"lr": 0.0}, "a number above 0"),
        ({"lr": math.nan}, "a number above 0"),
        ({"lr": math.inf}, "a number above 0"),
        ({"noise": -1.0}, "noise is -1.0; give 0 or more"),
        ({"langevin": -1.0}, "langevin is -1.0; give 0 or more"),
        ({"clip": 0.0}, "largest norm of a gradient, above 0"),
        ({"starts": 0}, "how many to draw, 1 or more"),
        ({"starts": []}, r"starts have shape \(0,\)"),
        ({"starts": [[1.0, 2.0, 3.0]]}, r"starts have shape \(1, 3\); 'himmelblau' takes \(n, 2\)"),
        ({"starts": [[[1.0, 2.0]]]}, r"shape \(1, 1, 2\)"),
        ({"starts": "here"}, "starts must be numbers"),
        ({"starts": [[0.0, 0.0], [7.0, 0.0]]}, r"start 1, \[7.0, 0.0\], lies outside the domain \[-6, 6\] × \[-6, 6\]"),
        ({"starts": [[math.nan, 0.0]]}, "outside the domain"),
        ({"dim": 2}, "dim and domain go with a function"),
        ({"surface_options": {"k": 1}}, "no parameter 'k'; it has none"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"schedule": "linea"}, "did you mean 'linear'"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_right(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        descend("himmelblau", **options)


def test_starts_may_be_written_in_several_ways() -> None:
    assert descend("quadratic", starts=2.0, steps=1).path[0].tolist() == [[2.0]]
    assert descend("quadratic", starts=[1.0, 2.0], steps=1).path[0].tolist() == [[1.0], [2.0]]
    assert descend("himmelblau", starts=[1.0, 2.0], steps=1).path[0].tolist() == [[1.0, 2.0]]
    assert descend("himmelblau", starts=3, steps=1, seed=9).path[0].tolist() == (
        surface("himmelblau").random_starts(3, 9).tolist()
    )


def test_a_function_is_descended_and_its_minimum_found() -> None:
    run = descend(lambda x, y: (x - 1.0) ** 2 + (y + 2.0) ** 4 + y**2, "adam", lr=0.1, starts=6, steps=800)
    assert run.path.shape == (801, 6, 2)
    assert {run.minimum(i) for i in range(6)} == {0}
    assert run.minima.shape == (1, 2)
    assert run.minima[0, 0] == pytest.approx(1.0)
    # starts beyond the usual domain of a function widen it
    far = descend(lambda x: (x**2).sum(dim=1), "sgd", lr=0.1, starts=[[20.0, 0.0]], steps=5)
    assert far.surface.domain == ((-5.0, 20.0), (-5.0, 20.0))
    with pytest.raises(UsageError, match="outside the domain"):
        descend(lambda x: (x**2).sum(dim=1), starts=[[20.0, 0.0]], domain=(-5.0, 5.0))


def test_nan_inside_the_domain_is_the_surface_s_own_and_is_said() -> None:
    with pytest.raises(UsageError, match=r"'log' is nan at start 0, \[-1.0\]"):
        descend(torch.log, starts=[[-1.0]], dim=1, domain=(-2.0, 5.0))
    with pytest.raises(UsageError, match=r"is NaN at \[-.*\] \(step \d+ of start 0\), inside its domain"):
        descend(torch.log, "sgd", lr=0.3, starts=[[0.5]], dim=1, domain=(-20.0, 5.0))
    with pytest.raises(UsageError, match="has a gradient of NaN"):
        # √(w²) at 0: the value is 0, the derivative 0/0
        descend(lambda w: torch.sqrt(w**2), "sgd", lr=0.5, starts=[[0.5]], dim=1)
    # outside it is where divergence leads
    lost = descend(torch.log, "sgd", lr=0.3, starts=[[0.5]], dim=1, domain=(0.1, 5.0), steps=5)
    assert lost.state() == "diverged"


def test_there_is_no_start_beyond_the_last() -> None:
    run = descend("quadratic", starts=2, steps=5)
    for ask in (run.state, run.minimum, run.history):
        with pytest.raises(UsageError, match="there is no start 2; this descent has 2"):
            ask(2)
    assert run.state(-1) == run.state(1)
    with pytest.raises(UsageError, match="the tolerance is 0"):
        run.steps_to(0.0)


def test_steps_to_a_tolerance() -> None:
    run = descend("quadratic", "sgd", lr=0.1, starts=[[0.0], [3.0]], steps=50)
    assert run.steps_to(0.01) == int(np.argmax(9.0 * 0.64 ** np.arange(51) <= 0.01))
    assert run.steps_to(0.01, 1) == 0
    assert run.steps_to(1e-12) is None
    wells = descend("double_well", "sgd", lr=0.01, starts=[[3.0], [-3.0]], steps=200)
    assert wells.steps_to(0.01, 0) is None, "the right well is not the lowest"
    assert wells.steps_to(0.01, 1) is not None
    assert wells.steps_to(0.01, 0, above=float(wells.losses[-1, 0])) is not None
    assert [wells.minimum(i) for i in range(2)] == [1, 0]


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    descend("quadratic", steps=7, progress=lambda *at: told.append(at))
    assert told == [(k, 7) for k in range(1, 8)]
