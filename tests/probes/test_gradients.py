"""check_gradients: sick and healthy nets, parameters that get nothing, and no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from tests.probes.traces import trace_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes.gradients.check import check_gradients
from lossdoctor.probes.gradients.result import GradientsResult

torch.set_num_threads(1)


def data(count: int = 4, size: int = 64, width: int = 8, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        x = torch.randn(size, width, generator=g)
        batches.append((x, (x[:, :1] > 0).float() + 0.1 * x[:, 1:2]))
    return batches


def check(model: nn.Module, optimizer: Any = None, batches: Any = None, **options: Any) -> GradientsResult:
    return check_gradients(model, F.mse_loss, batches or data(), optimizer, progress=False, **options)


def stack(depth: int, activation: Callable[[], nn.Module], width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(8, width), activation()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


HEALTHY = ["digits_mlp", "digits_cnn", "chars_transformer", "chars_gru", "moons_flow", "shells_residual", "digits_conv"]


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_tasks_pass(name: str) -> None:
    task = tasks.make(name, seed=1)
    found = check_gradients(task.model, task.loss_fn, task.train_loader, task.make_optimizer(), progress=False)
    assert found.outcome in ("passed", "noted"), found.verdict
    assert not found.detached
    assert not found.missing
    assert found.causes["frozen-or-detached"] < 1
    assert found.update_ratio is not None
    assert 1e-4 < found.update_ratio < 0.1


def test_norms_and_the_ratio_agree_with_a_plain_computation() -> None:
    model, batches = stack(3, nn.Tanh), data(3)
    expected: dict[str, list[float]] = {}
    for x, y in batches:
        model.zero_grad()
        F.mse_loss(model(x), y).backward()
        for name, p in model.named_parameters():
            assert p.grad is not None
            expected.setdefault(name, []).append(float(p.grad.double().norm()))
    model.zero_grad()
    found = check(model, batches=batches)
    middle = {n: float(np.median(v)) for n, v in expected.items()}
    weights = [n for n in expected if n.endswith("weight")]
    assert [layer.name for layer in found.layers] == weights
    assert [layer.grad_norm for layer in found.layers] == pytest.approx([middle[n] for n in weights], rel=1e-6)
    first, last = (float(np.median([middle[n] for n in part])) for part in (weights[:2], weights[-2:]))
    assert found.first_over_last == pytest.approx(first / last, rel=1e-6)
    ratio = next(m for m in found.measurements if m.name == "layer_grad_ratio")
    assert ratio.value == found.first_over_last


def test_the_order_is_that_of_the_forward_pass_and_not_of_the_registration() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 1), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.relu(self.first(x)))

    assert [layer.name for layer in check(Backwards()).layers] == ["first.weight", "last.weight"]


def test_a_deep_stack_of_sigmoids_vanishes() -> None:
    found = check(stack(12, nn.Sigmoid))
    assert found.outcome == "failed"
    assert found.first_over_last is not None
    assert found.first_over_last < 1e-3
    assert found.causes["gradients-vanish"] > 5
    assert "initialisation" in found.verdict


def test_a_deep_stack_of_batch_normalisations_explodes() -> None:
    # Gradients grow by about 1.2 per layer (Yang et al. 2019, A mean field theory of batch normalization).
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(8, 16)]
    for _ in range(40):
        layers += [nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16)]
    model = nn.Sequential(*layers, nn.Linear(16, 1))
    exploded = check(model)
    assert exploded.first_over_last is not None
    assert exploded.first_over_last > 70
    assert exploded.outcome == "failed"
    assert exploded.causes["gradients-explode"] > 5


def test_a_model_that_has_learned_may_have_small_gradients_in_its_first_layers() -> None:
    torch.manual_seed(0)

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = stack(12, nn.Sigmoid)
            self.short = nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return 0.01 * self.deep(x) + self.short(x)

    model = Skip()
    batches = [(x, x @ torch.linspace(-1, 1, 8)[:, None]) for x, _ in data()]
    optimizer = torch.optim.Adam(model.short.parameters(), lr=0.05)
    for x, y in batches * 40:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    found = check(model, batches=batches)
    assert found.first_over_last is not None
    assert found.first_over_last < 1e-3
    assert found.outcome == "noted"
    assert "learned all the same" in found.verdict


@pytest.mark.parametrize("functional", [False, True])
def test_dead_rectifiers(functional: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b, self.c = nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 20), nn.Linear(20, 1)

        def forward(self, x: Tensor) -> Tensor:
            rectified = F.relu if functional else self.act
            return self.c(rectified(self.b(rectified(self.a(x)))))

    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.b.bias[:16] = -50.0
    found = check(model)
    assert found.outcome == "failed"
    assert found.worst_layer == "b"
    assert found.worst_dead_fraction == pytest.approx(16 / 20, abs=0.11)
    one = next(m for m in found.measurements if m.name == "dead_fraction")
    assert one.detail["layer"] == "b"
    assert one.value == found.worst_dead_fraction
    assert found.causes["dead-units"] > 5


def test_of_a_frozen_layer_its_output_tells_whether_units_are_dead() -> None:
    model = stack(1, nn.ReLU)
    with torch.no_grad():
        model[0].bias[:12] = -50.0
    model[0].requires_grad_(False)
    found = check(model)
    assert found.worst_layer == "0"
    assert found.worst_dead_fraction is not None
    assert found.worst_dead_fraction >= 12 / 16


def test_a_branch_whose_last_weight_begins_at_zero_is_not_dead() -> None:
    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.down, self.up = nn.Linear(8, 1), nn.Linear(8, 16, bias=False), nn.Linear(16, 1, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.up(self.down(x))

    found = check(Adapter())
    assert found.asleep == ("down.weight",)
    assert found.dead_fraction == 0
    assert found.outcome == "passed"


def test_saturated_units_are_told_and_the_output_may_saturate() -> None:
    model = stack(1, nn.Tanh)
    model.append(nn.Sigmoid())
    with torch.no_grad():
        model[0].weight.mul_(100)
        model[-2].weight.mul_(1000)
    found = check(model)
    assert found.saturated[0][0] == "1 (tanh)"
    assert found.saturated[0][1] > 0.8
    assert not any("sigmoid" in name for name, _ in found.saturated)
    assert "saturated" in found.verdict


class Cut(nn.Module):
    """A net with a part behind a detach, a part that is never used and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late, self.spare = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(3, 3)
        self.frozen, self.head = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.frozen(self.late(self.early(x).detach())))


def test_parameters_without_a_gradient_are_told_apart() -> None:
    model = Cut()
    optimizer = torch.optim.SGD([*model.early.parameters(), *model.late.parameters(), model.head.weight], lr=0.1)
    found = check(model, optimizer)
    assert found.frozen == ("frozen.weight", "frozen.bias")
    assert found.detached == ("early.weight", "early.bias")
    assert found.unused == ("spare.weight", "spare.bias")
    assert found.missing == ("head.bias",)
    assert found.outcome == "failed"
    assert found.causes["frozen-or-detached"] >= 10
    assert "detach" in found.verdict


def test_a_side_output_that_the_loss_does_not_use_is_only_noted() -> None:
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.side, self.head = nn.Linear(8, 64), nn.Linear(64, 1), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            self.side(h)
            return self.head(h)

    found = check(Side())
    assert found.detached == ("side.weight", "side.bias")
    assert found.outcome == "noted"


def test_a_loss_without_a_graph() -> None:
    model = stack(1, nn.ReLU)
    rounded = check_gradients(model, lambda o, y: (o.detach() - y).square().mean(), data(), progress=False)
    assert rounded.outcome == "failed"
    assert "argmax" in rounded.verdict
    for p in model.parameters():
        p.requires_grad_(False)
    frozen = check(model)
    assert "frozen" in frozen.verdict
    assert frozen.frozen_fraction == 1
    assert frozen.causes["frozen-or-detached"] > 10


def test_an_optimizer_of_another_model_and_one_of_the_head_only() -> None:
    model = stack(3, nn.ReLU)
    stranger = check(model, torch.optim.Adam(copy.deepcopy(model).parameters()))
    assert stranger.outcome == "failed"
    assert "another model" in stranger.verdict
    head = check(model, torch.optim.Adam(model[-1].parameters()))
    assert head.outcome == "noted"
    assert len(head.missing) == len(list(model.parameters())) - 2


def test_update_ratios_are_those_of_the_step() -> None:
    model = stack(1, nn.Tanh)
    found = check(model, torch.optim.SGD(model.parameters(), lr=1e-6))
    expected = [1e-6 * layer.grad_norm / layer.weight_norm for layer in found.layers]
    assert [layer.update_ratio for layer in found.layers] == pytest.approx(expected, rel=0.3)
    assert found.outcome == "noted"
    assert found.causes["learning-rate-too-low"] > 1
    high = check(model, torch.optim.Adam(model.parameters(), lr=1.0))
    assert high.causes["learning-rate-too-high"] > 1
    still = check(model, torch.optim.SGD(model.parameters(), lr=0.0))
    assert "learning rate is 0" in still.verdict


def test_a_step_that_is_lost_in_rounding() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).bfloat16()
    batches = [(x.bfloat16(), y.bfloat16()) for x, y in data()]
    found = check(model, torch.optim.SGD(model.parameters(), lr=1e-7), batches)
    assert "0.weight" in found.unmoved
    assert "rounding" in found.verdict


def test_non_finite_gradients() -> None:
    model, batches = stack(1, nn.ReLU), data()
    batches[2] = (batches[2][0].clone(), batches[2][1])
    batches[2][0][3, 3] = float("nan")
    found = check(model, torch.optim.SGD(model.parameters(), lr=0.1), batches)
    assert found.outcome == "failed"
    assert found.nonfinite_batches == 1
    assert "1 of 4 batches" in found.verdict
    assert found.causes["bad-batch"] > 3

    # The root of a sum of squares has no derivative at zero: the loss is finite, the gradient is not.
    norm = check_gradients(model, lambda o, y: (o - o).square().sum().sqrt() + F.mse_loss(o, y), data(), progress=False)
    assert "gradients are not" in norm.verdict
    assert norm.nonfinite
    with torch.no_grad():
        model[0].weight[0, 0] = float("inf")
    assert "checkpoint" in check(model).verdict


def test_a_scaler_whose_scale_overflows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).half()
    batches = [(x.half(), 10 * y.half()) for x, y in data()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    wide = lambda o, y: F.mse_loss(o.float(), y.float())  # noqa: E731
    found = check_gradients(model, wide, batches, scaler=scaler, progress=False)
    assert found.outcome == "failed"
    assert found.causes["precision-overflow"] > 3
    small = torch.amp.GradScaler("cpu", init_scale=16.0)
    fine = check_gradients(model, wide, batches, scaler=small, progress=False)
    assert fine.outcome == "passed"


def test_a_loss_of_exactly_zero_says_nothing() -> None:
    model = stack(1, nn.ReLU)
    found = check_gradients(model, lambda o, y: F.relu(o.sum() * 0 - 1) + 0 * y.sum(), data(), progress=False)
    assert found.outcome == "unknown"
    flat = check_gradients(model, lambda o, y: 1 + 0 * o.sum() + 0 * y.sum(), data(), progress=False)
    assert flat.outcome == "failed"


@pytest.mark.parametrize("failing", [None, ValueError, KeyboardInterrupt])
def test_no_trace(failing: type[BaseException] | None) -> None:
    task = tasks.make("digits_cnn", seed=0, dropout=0.3)
    optimizer, loader = task.make_optimizer(), task.train_loader
    for x, y in loader:
        task.loss_fn(task.model(x), y).backward()
        optimizer.step()
    before = trace_of(task.model, optimizer)
    generator = loader.sampler.sampler.generator.get_state()  # type: ignore[union-attr]
    calls = 0

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if failing is not None and calls > 8:
            raise failing("enough")
        return task.loss_fn(output, target)

    if failing is None:
        check_gradients(task.model, loss_fn, loader, optimizer, progress=False)
    else:
        with pytest.raises(UserCodeError if failing is ValueError else failing):
            check_gradients(task.model, loss_fn, loader, optimizer, progress=False)
    assert trace_of(task.model, optimizer) == before
    assert torch.equal(generator, loader.sampler.sampler.generator.get_state())  # type: ignore[union-attr]


def test_bad_input_is_named() -> None:
    model = stack(1, nn.ReLU)
    with pytest.raises(UsageError, match="batches is 0"):
        check_gradients(model, F.mse_loss, data(), batches=0, progress=False)
    with pytest.raises(UsageError, match="function"):
        check_gradients(lambda x: x, F.mse_loss, data(), progress=False)  # type: ignore[arg-type]

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 -- torch's signature
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
            raise RuntimeError("boom")

    with pytest.raises(UserCodeError, match="the backward pass, on batch 0 raised RuntimeError: boom"):
        check_gradients(model, lambda o, y: F.mse_loss(Wrong.apply(o), y), data(), progress=False)


def test_dicts_tied_weights_and_closures() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body, self.out = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(torch.tanh(self.body(self.embed(tokens))))

    torch.manual_seed(0)
    model = Tied()
    tokens = torch.randint(0, 11, (32, 5))
    batches = [{"tokens": tokens, "labels": tokens.roll(1, 1)}]
    loss = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())  # noqa: E731
    found = check_gradients(model, loss, batches, torch.optim.LBFGS(model.parameters(), lr=0.1), progress=False)
    assert found.passed
    assert found.first_over_last is None
    assert len(found.charts()) == 2
    assert found.as_dict()["layers"][0]["name"] == "embed.weight"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree() -> None:
    model = stack(4, nn.ReLU)
    here = check(model, torch.optim.SGD(model.parameters(), lr=0.01))
    model.cuda()
    there = check(model, torch.optim.SGD(model.parameters(), lr=0.01))
    assert here.outcome == there.outcome
    assert here.dead_fraction == there.dead_fraction
    assert [a.grad_norm for a in here.layers] == pytest.approx([a.grad_norm for a in there.layers], rel=1e-3)
    assert here.update_ratio == pytest.approx(there.update_ratio, rel=1e-3)
