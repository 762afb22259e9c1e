"""Optimizers: many starts at once do what each would do alone, and what torch does to an ordinary parameter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossdoctor.core.errors import LossdoctorError, UsageError
from lossdoctor.lab import descend, optimizers, surface
from lossdoctor.lab.optimizers import OPTIMIZERS, OptimizerSpec, optimizer

GRID_SURFACES = ("himmelblau", "rosenbrock", "ravine", "quadratic", "revenue")
# Rates at which none of them leaves the domain, so that equal means equal and not equally lost.
RATES = {"lbfgs": 0.5, "adadelta": 1.0, "prodigy": 1.0, "sgd": 1e-4, "momentum": 1e-4, "nesterov": 1e-4, "asgd": 1e-4}


def rate(name: str) -> float:
    return RATES.get(name, 0.01)


@pytest.mark.parametrize("name", optimizers.names())
@pytest.mark.parametrize("where", GRID_SURFACES)
def test_a_batch_is_its_starts_one_by_one(name: str, where: str) -> None:
    starts = surface(where).random_starts(4, seed=7)
    clip = 5.0
    together = descend(where, name, lr=rate(name), starts=starts, steps=25, clip=clip)
    for i, start in enumerate(starts):
        alone = descend(where, name, lr=rate(name), starts=start[None], steps=25, clip=clip)
        np.testing.assert_allclose(alone.path[:, 0], together.path[:, i], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(alone.values[:, 0], together.values[:, i], rtol=1e-9, atol=1e-12)
    assert np.isfinite(together.path).all()
    assert (together.path[-1] != together.path[0]).any()


@pytest.mark.parametrize("name", optimizers.names())
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_start_does_what_torch_does_to_a_parameter(name: str, clip: float | None) -> None:
    """The loop that everybody writes: one parameter, zero_grad, backward, clip_grad_norm_, step."""
    spec = optimizer(name)
    start = [[-1.2, 1.0]]
    parameter = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    plain = spec.make([parameter], rate(name), {})

    def closure() -> torch.Tensor:
        plain.zero_grad()
        x, y = parameter[0]
        loss = (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        return loss

    path = [parameter.detach().numpy().copy()]
    for _ in range(30):
        if spec.closure:
            plain.step(closure)  # type: ignore[arg-type]
        else:
            closure()
            plain.step()
        path.append(parameter.detach().numpy().copy())
    # A second start beside it, so that it is the batch that is compared.
    found = descend("rosenbrock", name, lr=rate(name), starts=[*start, [0.5, 2.0]], steps=30, clip=clip)
    np.testing.assert_allclose(found.path[:, :1], path, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_goes_downhill(name: str) -> None:
    # RAdam's first steps are not rectified yet: they are plain momentum, and need its rate.
    lr = {"lars": 1.0, "sgd": 1e-2, "momentum": 1e-2, "nesterov": 5e-3, "asgd": 1e-2, "radam": 0.01}.get(name, 0.05)
    lr = rate(name) if name in ("lbfgs", "adadelta", "prodigy") else lr
    found = descend("ravine", name, lr=lr, starts=[[-8.0, 3.0], [5.0, -2.0]], steps=400)
    assert (found.losses[-1] < 0.5 * found.losses[0]).all()


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_is_described_and_has_a_rate(name: str) -> None:
    spec = OPTIMIZERS[name]
    assert spec.title
    assert spec.source
    assert spec.lr > 0.0
    assert descend("quadratic", name, steps=3).settings.rate == spec.lr


def test_lars_and_lamb_scale_by_the_norm_of_each_start() -> None:
    """Twice as far from the origin, twice as long a step: what makes them couple the coordinates of a start."""
    # The gradient of Lamb's first step is divided by itself, so that only its own norm is left.
    for name, lr in (("lamb", 0.01), ("lars", 1.0)):
        near, far = descend("ravine", name, lr=lr, starts=[[1.0, 1.0], [2.0, 2.0]], steps=1).path.transpose(1, 0, 2)
        moved = [np.linalg.norm(path[1] - path[0]) for path in (near, far)]
        assert moved[1] / moved[0] == pytest.approx(2.0, rel=1e-3), name


def test_unknown_names_and_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no optimizer is called 'addam'; did you mean 'adam'"):
        optimizer("addam")
    with pytest.raises(UsageError, match="optimizers: sgd, momentum"):
        optimizer("zzzzzz")
    with pytest.raises(UsageError, match="'sgd' has no option 'momentun'; did you mean 'momentum'"):
        descend("quadratic", "sgd", momentun=0.9)
    with pytest.raises(UsageError, match=r"'adam' refuses .*beta"):
        descend("quadratic", "adam", betas=(1.5, 0.9))
    assert optimizer("SGD momentum") is optimizer("momentum")


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    absent = OptimizerSpec("gone", "Gone", "Gone", 0.1, "nowhere", package="lossdoctor_no_such_package")
    with pytest.raises(LossdoctorError, match=r"pip install 'lossdoctor\[lab\]'"):
        absent.load()
    with pytest.raises(LossdoctorError, match="has no NoSuchOptimizer"):
        OptimizerSpec("gone", "Gone", "NoSuchOptimizer", 0.1, "nowhere").load()


def test_noise_does_not_go_with_an_optimizer_that_compares_points() -> None:
    with pytest.raises(UsageError, match="which noise makes meaningless"):
        descend("quadratic", "lbfgs", noise=0.1)
    with pytest.raises(UsageError, match="which noise makes meaningless"):
        descend("noisy_quadratic", "lbfgs")
