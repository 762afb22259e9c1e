"""gradient_check: right and wrong backwards, kinks, noise, low precision; the numerics against known derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.numerical.check import gradient_check
from lossdoctor.probes.numerical.differences import derivative, noise_of
from lossdoctor.probes.numerical.result import GradientCheckResult

torch.set_num_threads(1)


class Cube(torch.autograd.Function):
    """x³, with a backward that is off by a factor."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @classmethod
    def backward(cls, ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return cls.factor * 3 * x**2 * grad


class HalfWrong(Cube):
    factor = 0.5


class SlightlyWrong(Cube):
    factor = 1.003


def check(function: Any, inputs: Any, **options: Any) -> GradientCheckResult:
    return gradient_check(function, inputs, progress=False, **options)


def test_a_right_backward_passes_and_a_wrong_one_is_named_with_its_place() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3)
    right = check(Cube.apply, x)
    assert right.outcome == "passed"
    assert right.worst is not None
    assert right.worst.beyond < 1e-7
    wrong = check(HalfWrong.apply, x)
    assert wrong.outcome == "failed"
    assert wrong.worst is not None
    assert wrong.worst.name == "input"
    assert wrong.worst.error == pytest.approx(0.5, rel=1e-3)
    assert "backward" in wrong.verdict
    slight = check(SlightlyWrong.apply, x)
    assert slight.outcome == "noted"
    assert slight.worst is not None
    assert slight.worst.error == pytest.approx(0.003, rel=0.02)


def test_a_single_wrong_coordinate_is_found() -> None:
    class OneWrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.square().sum()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            result = 2 * x * grad
            result[7, 11] += 5.0
            return result

    found = check(OneWrong.apply, torch.randn(40, 50, generator=torch.Generator().manual_seed(3)))
    assert found.outcome == "failed"
    assert found.worst is not None
    assert found.worst.name == "input"
    # A wrong coordinate that is not the largest is seen along the random direction all the same.
    small = check(lambda x: OneWrong.apply(x) + 100 * x[0, 0], torch.randn(40, 50))
    assert small.outcome == "failed"


def test_a_layer_in_a_model_is_named() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.linspace(0.5, 1.5, 6))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gain.detach().square() + 0 * self.gain

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), Layer(), nn.Tanh(), nn.Linear(6, 2))
    data = [(torch.randn(8, 4), torch.randint(0, 2, (8,)))]
    found = gradient_check(model, F.cross_entropy, data, progress=False)
    assert found.outcome == "failed"
    assert found.worst is not None
    assert found.worst.name == "1.gain"
    assert found.worst.analytic == 0
    assert found.causes["frozen-or-detached"] > 1
    assert [c.name for c in found.tensors if c.beyond > 1e-2] in (["1.gain"], ["1.gain", "all together"])


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn", "chars_gru", "digits_attention", "moons_flow"])
def test_healthy_tasks_pass(name: str) -> None:
    task = tasks.make(name, seed=0)
    found = gradient_check(task.model, task.loss_fn, task.train_loader, coordinates=24, progress=False)
    assert found.outcome == "passed", found.verdict
    assert found.judged > 0.6 * found.coordinates


def test_a_detached_loss() -> None:
    model = nn.Linear(3, 1)
    data = [(torch.randn(8, 3), torch.randn(8, 1))]
    found = gradient_check(model, lambda o, y: F.mse_loss(o.detach(), y), data, progress=False)
    assert found.outcome == "failed"
    assert "no graph" in found.verdict


def test_dropout_is_a_fixed_mask_and_statistics_stay() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    data = [(torch.randn(16, 4), torch.randint(0, 2, (16,)))]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    assert gradient_check(model, F.cross_entropy, data, progress=False).outcome == "passed"
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert {v.dtype for v in model.parameters()} == {torch.float32}
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_what_differs_at_each_call_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(UsageError, match="two evaluations at the same place differ"):
        check(lambda x: (x * torch.rand(3, generator=generator, dtype=x.dtype)).sum(), torch.ones(3))


def test_a_kink_excuses_any_derivative_between_left_and_right() -> None:
    at_zero = torch.zeros(5)
    found = check(lambda x: F.relu(x).sum(), at_zero)
    assert found.outcome == "passed"
    assert found.kinks > 0
    assert "kink" in found.verdict

    class Outside(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 -- torch's signature
            return F.relu(x)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
            return 2 * grad

    assert check(Outside.apply, at_zero).outcome == "failed"
    # A kink beside the point is stepped around.
    near = check(lambda x: F.relu(x).sum(), torch.full((5,), 1e-6))
    assert near.outcome == "passed"


def test_low_precision_inside_is_noticed() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 6)
    found = check(lambda x: torch.tanh(x.float() @ weight).double(), torch.randn(5, 6))
    assert found.noise > 1e3 * 2.2e-16 * abs(found.value)
    assert found.outcome in ("passed", "unknown"), found.verdict
    assert "float64" in found.verdict
    wrong = check(lambda x: HalfWrong.apply(x.float()).double().sum(), torch.randn(5, 6) + 3)
    assert wrong.outcome == "failed"


def test_something_fixed_to_float32_gets_a_hint() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(UsageError, match=r"the check runs in float64.*give the module itself"):
        check(lambda x: layer(x).square(), torch.randn(4, 3))
    assert check(layer.forward, torch.randn(4, 3)).outcome == "passed"
    assert check(layer, torch.randn(4, 3)).outcome == "passed"


def test_inputs_of_any_form() -> None:
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    assert check(lambda a, b: a * b, (x, y)).outcome == "passed"
    assert check(lambda a, b: {"sum": a + b, "both": (a * b).exp()}, {"a": x, "b": y}).outcome == "passed"
    assert check(lambda x, i: x[i], (x, torch.tensor([0, 2]))).outcome == "passed"
    named = [c.name for c in check(lambda a, b: a * b, (x, y.clone().requires_grad_())).tensors]
    assert named == ["input 1"]
    assert check(lambda a: a.mul_(2).square(), x.clone()).outcome == "passed"


def test_a_value_that_is_not_finite() -> None:
    assert check(lambda x: x.log().sum(), -torch.ones(3)).outcome == "unknown"
    # Next to the edge of the domain the step shrinks.
    assert check(lambda x: x.log().sum(), torch.full((3,), 1e-6)).outcome == "passed"


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="give a loss and a loader"):
        gradient_check(nn.Linear(2, 1), progress=False)
    with pytest.raises(UsageError, match="coordinates is 0"):
        check(torch.sin, torch.ones(2), coordinates=0)
    with pytest.raises(UsageError, match="nothing to differentiate"):
        check(lambda x: x.float(), torch.ones(2, dtype=torch.int64))
    with pytest.raises(UsageError, match="expected tensors of real numbers"):
        check(lambda x: "text", torch.ones(2))  # noqa: ARG005
    with pytest.raises(UserCodeError, match="the function raised ZeroDivisionError"):
        check(lambda x: x / (1 // 0), torch.ones(2))
    with pytest.raises(UsageError, match=r"with a loader the model is a torch\.nn\.Module"):
        gradient_check(torch.sin, F.mse_loss, [(torch.ones(2), torch.ones(2))], progress=False)


def test_a_loss_that_sees_the_model_and_an_interrupt() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    data = [(torch.randn(8, 3), torch.randn(8, 1))]
    decayed = lambda o, y: F.mse_loss(o, y) + 0.1 * model.weight.square().sum()  # noqa: E731
    assert gradient_check(model, decayed, data, progress=False).outcome == "passed"
    before, calls = model.weight.clone(), 0

    def stopping(o: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise KeyboardInterrupt
        return F.mse_loss(o, y)

    with pytest.raises(KeyboardInterrupt):
        gradient_check(model, stopping, data, progress=False)
    assert torch.equal(before, model.weight)
    assert model.weight.dtype is torch.float32


def test_the_result_shows_itself() -> None:
    found = check(HalfWrong.apply, torch.randn(4, 3))
    (chart,) = found.charts()
    assert chart.bars[0][0] == "input"
    assert found.as_dict()["worst"]["name"] == "input"
    assert "by autograd" in str(found)


SMOOTH = {
    "exp": (math.exp, math.exp),
    "sin": (math.sin, math.cos),
    "cube": (lambda t: t**3, lambda t: 3 * t * t),
    "logistic": (lambda t: 1 / (1 + math.exp(-t)), lambda t: math.exp(-t) / (1 + math.exp(-t)) ** 2),
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SMOOTH)), st.floats(-3, 3), st.floats(-6, 6))
def test_the_derivative_lies_within_its_error(name: str, x: float, magnitude: float) -> None:
    function, slope = SMOOTH[name]
    scale = 10.0**magnitude
    here = scale * function(x)
    found = derivative(lambda t: scale * function(x + t), here, 6e-6 * max(1, abs(x)), 4e-16 * scale * (1 + abs(here)))
    assert found is not None
    assert not found.kink
    assert found.beyond(scale * slope(x)) <= 1e-9 * scale * max(1, abs(slope(x)))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-2, 2))
def test_a_kink_is_told_at_every_size(jump: float, slope: float) -> None:
    found = derivative(lambda t: slope * t + jump * max(t, 0.0), 0.0, 6e-6, 1e-16)
    assert found is not None
    assert found.kink
    assert found.low == pytest.approx(slope, abs=1e-6)
    assert found.high == pytest.approx(slope + jump, rel=1e-6)


@pytest.mark.parametrize("noise", [1e-12, 1e-6, 1e-3])
def test_the_noise_is_estimated_from_a_few_values(noise: float) -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1e-4, 21)
    kinked = np.exp(t) + 5 * np.maximum(t - 3e-5, 0)
    for smooth in (np.exp(t), kinked):
        found = [noise_of((smooth + noise * rng.standard_normal(21)).tolist()) for _ in range(200)]
        assert np.median(found) == pytest.approx(noise, rel=0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    data = [(torch.randn(16, 4), torch.randint(0, 2, (16,)))]
    here = gradient_check(model, F.cross_entropy, data, progress=False)
    there = gradient_check(model.cuda(), F.cross_entropy, data, progress=False)
    assert here.outcome == there.outcome == "passed"
    assert here.value == pytest.approx(there.value, rel=1e-9)
    assert check(HalfWrong.apply, torch.randn(4, 3, device="cuda")).outcome == "failed"
