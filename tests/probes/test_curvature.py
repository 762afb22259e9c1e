"""curvature: against whole Hessians, against optimizers that really diverge, on trained nets and at saddles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from tests.probes.traces import drawing, trace_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor import probes
from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes.hessian import check as curvature_probe
from lossdoctor.probes.hessian.check import CurvatureResult, curvature
from lossdoctor.probes.hessian.guard import graph_bytes
from lossdoctor.probes.subject import Subject

torch.set_num_threads(1)
Batches = list[tuple[Tensor, Tensor]]


def data(count: int = 4, size: int = 32, width: int = 6, *, double: bool = True, seed: int = 0) -> Batches:
    g = torch.Generator().manual_seed(seed)
    kind = torch.float64 if double else torch.float32
    x = torch.randn(count, size, width, generator=g, dtype=kind)
    return [(b, torch.sin(b.sum(1, keepdim=True)) + 0.1 * b[:, :1] ** 2) for b in x]


def net(width: int = 6, hidden: int = 12, *, double: bool = True, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    return model.double() if double else model


def measure(model: nn.Module, loader: Any, *args: Any, **options: Any) -> CurvatureResult:
    return curvature(model, options.pop("loss", F.mse_loss), loader, *args, progress=False, **options)


def whole_hessian(model: nn.Module, x: Tensor, y: Tensor, loss: Any = F.mse_loss) -> tuple[Tensor, Tensor]:
    """Hessian and gradient, by torch's own functional transform."""
    names = [n for n, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def value(v: Tensor) -> Tensor:
        parts = torch.split(v, [s.numel() for s in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(model, weights, (x,)), y)  # type: ignore[no-any-return]

    return torch.autograd.functional.hessian(value, flat), torch.autograd.functional.jacobian(value, flat)


# The numbers


def test_all_numbers_agree_with_the_whole_hessian() -> None:
    model, batches = net(), data()
    found = measure(model, batches, batches=4, smallest=True, trace_probes=40)
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    hessian, gradient = whole_hessian(model, x, y)
    values = torch.linalg.eigvalsh(hessian)
    assert found.sharpness.value == pytest.approx(float(values[-1]), rel=1e-3)
    assert found.sharpness.converged
    assert found.smallest is not None
    assert found.smallest.value == pytest.approx(float(values[0]), rel=0.02)
    assert found.gradient_curvature == pytest.approx(float(gradient @ hessian @ gradient / (gradient @ gradient)))
    assert found.gradient_norm == pytest.approx(float(gradient.norm()))
    assert abs(found.trace - float(hessian.trace())) < 3 * found.trace_error
    assert found.trace_error < 0.3 * abs(found.trace)
    assert found.loss == pytest.approx(F.mse_loss(model(x), y).item())
    assert found.whole
    assert found.sharpness.low == found.sharpness.high == pytest.approx(found.sharpness.value, rel=1e-2)
    assert np.mean(found.sharpness.per_batch) == pytest.approx(found.sharpness.value, rel=1e-2)
    assert found.critical_rate() == pytest.approx(2 / float(values[-1]), rel=1e-3)
    assert found.critical_rate(0.9) == pytest.approx(3.8 / float(values[-1]), rel=1e-3)
    assert found.critical_rate(0.5, nesterov=True) == pytest.approx(1.5 / float(values[-1]), rel=1e-3)
    with pytest.raises(UsageError, match="momentum is 1; expected 0 up to below 1"):
        found.critical_rate(1)


def test_batches_that_differ_in_size_and_sums() -> None:
    model = net()
    ((x, y),) = data(1, 40)
    parts = [(x[:24], y[:24]), (x[24:], y[24:])]
    assert measure(model, parts, batches=2).sharpness.value == pytest.approx(
        measure(model, [(x, y)], batches=1).sharpness.value, rel=2e-3
    )
    # A sum over the batch: what a step sees is the sum, and every batch is one step.
    summed = measure(model, parts, batches=2, loss=nn.MSELoss(reduction="sum")).sharpness.value
    assert summed == pytest.approx(20 * measure(model, [(x, y)], batches=1).sharpness.value, rel=2e-3)


def test_the_gradients_noise_is_its_standard_error() -> None:
    model, batches = net(), data(6)
    found = measure(model, batches, batches=6, trace_probes=0)
    rows = []
    for x, y in batches:
        grads = torch.autograd.grad(F.mse_loss(model(x), y), list(model.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    g = torch.stack(rows)
    assert found.gradient_noise == pytest.approx(float(((g - g.mean(0)).square().sum() / 5 / 6).sqrt()))
    assert math.isnan(found.trace)


def test_the_interval_of_a_sample_holds_the_curvature_of_all_data() -> None:
    held = 0
    for seed in range(6):
        model, batches = net(double=False, seed=seed), data(40, 16, double=False, seed=seed)
        everything = [tuple(torch.cat(part) for part in zip(*batches, strict=True))]
        sample = measure(model, batches, batches=4, trace_probes=0)
        full = measure(model, everything, trace_probes=0)
        assert (sample.held_out, sample.whole) == (4, False)
        assert not math.isnan(sample.sharpness.held_out)
        held += sample.sharpness.low <= full.sharpness.value <= sample.sharpness.high
    assert held >= 5


def test_graphs_that_are_kept_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = net(), data()
    kept = measure(model, batches, batches=2, smallest=True)
    monkeypatch.setattr(curvature_probe, "KEPT", 0)
    again = measure(model, batches, batches=2, smallest=True)
    for name in ("sharpness", "smallest", "trace", "gradient_noise", "gradient_curvature", "steps"):
        assert getattr(again, name) == getattr(kept, name)


def test_the_size_of_a_graph_is_estimated() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(6, 500), nn.Tanh(), nn.Linear(500, 1))
    ((x, y),) = data(1, 100, double=False)
    found = graph_bytes(Subject(wide, F.mse_loss), (x, y), list(wide.parameters()))
    hidden = 4 * 100 * 500  # bytes of one layer's outputs
    assert hidden <= found <= 10 * hidden


# Which rates are stable: held against optimizers that run

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "plain": lambda p: torch.optim.SGD(p, lr=1.0),
    "momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9),
    "dampened": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.7, dampening=0.4),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.8, nesterov=True),
    "decay": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.5, weight_decay=0.8),
    "adam": lambda p: torch.optim.Adam(p, lr=1.0, betas=(0.9, 1 - 1e-9)),
    "adam_low_beta": lambda p: torch.optim.Adam(p, lr=1.0, betas=(0.5, 1 - 1e-9), weight_decay=0.3),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1.0, betas=(0.9, 1 - 1e-9), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1.0, betas=(0.9, 1 - 1e-9), weight_decay=0.0),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1.0, alpha=1 - 1e-12),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, lr=1.0, alpha=1 - 1e-12, momentum=0.6),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=1.0, alpha=1 - 1e-12, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1.0, lr_decay=1e-14),
}


def settled(optimizer: torch.optim.Optimizer, rate: float = 1.0, size: float = 1.0) -> None:
    """A state as after many steps, in which the preconditioner no longer moves; and the rate."""
    g = torch.Generator().manual_seed(5)
    for group in optimizer.param_groups:
        group["lr"] *= rate
        for p in group["params"]:
            squares = torch.rand(p.shape, generator=g, dtype=p.dtype) * 3 + 0.2
            state: dict[str, Any] = {"step": torch.tensor(1e7)}
            if isinstance(optimizer, torch.optim.Adam):
                squares *= 0.01 * size  # beta2**step is 0.99: torch corrects for it
                state |= {"exp_avg": torch.zeros_like(p), "exp_avg_sq": squares}
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = squares.clone()
            elif isinstance(optimizer, torch.optim.RMSprop):
                state |= {"square_avg": squares, "momentum_buffer": torch.zeros_like(p)}
                if group["centered"]:
                    state["grad_avg"] = torch.full_like(p, 0.2)
            elif isinstance(optimizer, torch.optim.Adagrad):
                state["sum"] = squares * 1e16  # what a few steps add to it does not count
            else:
                continue
            optimizer.state[p] = state


def bowl() -> tuple[nn.Linear, Batches]:
    """A linear model with squared errors that can be fitted: a quadratic whose minimum is zero."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(30, 5, generator=g, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.5, 2.0, 1.0])
    return nn.Linear(5, 2, bias=False).double(), [(x, torch.zeros(30, 2, dtype=torch.float64))]


def grows(name: str, rate: float) -> bool:
    """Whether the weights grow when the optimizer runs at that rate."""
    model, ((x, y),) = bowl()
    torch.manual_seed(0)
    nn.init.normal_(model.weight, std=1e-3)
    optimizer = OPTIMIZERS[name](model.parameters())
    settled(optimizer, rate)
    sizes = []
    for _ in range(600):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        sizes.append(float(model.weight.detach().norm()))
        if not 1e-6 < sizes[-1] < 1e3:
            break
    return max(sizes) > 100 * sizes[0]  # beyond that Adam calms down: its second moment grows with the gradient


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_critical_rate_is_where_the_optimizer_begins_to_diverge(name: str) -> None:
    model, batches = bowl()
    optimizer = OPTIMIZERS[name](model.parameters())
    settled(optimizer)
    found = measure(model, batches, optimizer)
    assert found.preconditioned is not None, found.missing
    rate = found.critical_lr
    assert not grows(name, 0.97 * rate)
    assert grows(name, 1.03 * rate)
    assert found.ratio == pytest.approx(1.0 / rate)


def test_groups_are_scaled_each_by_its_rate() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 4, dtype=torch.float64)
    batches = [(x, torch.zeros(40, 1, dtype=torch.float64))]
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 1, bias=False)).double()
    groups = [{"params": [model[0].weight], "lr": 0.05}, {"params": [model[1].weight], "lr": 0.2, "weight_decay": 0.1}]
    found = measure(model, batches, torch.optim.SGD(groups, lr=1.0))
    hessian, _ = whole_hessian(model, *batches[0])
    rates = torch.cat([torch.full((12,), 0.05), torch.full((3,), 0.2)]).double()
    decay = torch.cat([torch.zeros(12), torch.full((3,), 0.1)]).double()
    scaled = rates.sqrt()[:, None] * (hessian + decay.diag()) * rates.sqrt()
    assert found.several_rates
    assert found.lr == 0.2
    assert found.ratio == pytest.approx(float(torch.linalg.eigvalsh(scaled)[-1]) / 2, rel=1e-3)


def test_full_batch_training_comes_to_the_edge_and_is_found_there() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 6)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.12)
    start = measure(model, [(x, y)], optimizer, trace_probes=0)
    assert start.stability == "below"
    assert start.outcome == "passed"
    for _ in range(2500):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    found = measure(model, [(x, y)], optimizer, trace_probes=0)
    assert found.stability == "at", found.verdict
    assert found.outcome == "noted"
    assert "at the edge of stability" in found.verdict


def test_a_rate_far_beyond_fails_and_really_diverges() -> None:
    model, batches = bowl()
    rate = 3 * measure(model, batches).critical_lr
    found = measure(model, batches, torch.optim.SGD(model.parameters(), lr=rate))
    assert found.stability == "beyond"
    assert found.outcome == "failed"
    assert found.causes["learning-rate-too-high"] > 1 > found.causes["learning-rate-too-low"]
    assert f"Lower the rate below {found.critical_lr:.2g}" in found.verdict
    assert grows("plain", rate)
    little = measure(model, batches, torch.optim.SGD(model.parameters(), lr=rate / 2))
    assert little.outcome == "noted"
    assert little.causes["learning-rate-too-high"] == 1.5
    (chart,) = found.charts()
    assert chart.marks[0].at == 2.0
    assert dict(chart.bars)["largest"] == pytest.approx(6.0, rel=1e-3)


def test_an_optimizer_whose_step_is_not_known_is_said() -> None:
    model, batches = bowl()
    fresh = measure(model, batches, torch.optim.Adam(model.parameters(), lr=0.01))
    assert fresh.outcome == "unknown"
    assert "Adam has taken no step" in fresh.verdict
    assert fresh.critical_lr == fresh.critical_rate()
    assert "taken no step" in measure(model, batches, torch.optim.Adagrad(model.parameters())).missing
    assert "limit of LBFGS is not known" in measure(model, batches, torch.optim.LBFGS(model.parameters())).missing
    up = torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)
    assert "maximizes" in measure(model, batches, up).missing
    idle = measure(model, batches, torch.optim.SGD(model.parameters(), lr=0.0))
    assert idle.outcome == "unknown"
    assert "has a rate of 0 now" in idle.verdict
    assert idle.critical_lr == pytest.approx(idle.critical_rate())


def test_a_trained_task_stands_below_the_edge() -> None:
    task = tasks.make("digits_cnn", seed=0)
    optimizer = task.make_optimizer("adam")
    for _ in range(3):
        for x, y in task.train_loader:
            optimizer.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            optimizer.step()
    found = curvature(task.model, task.loss_fn, task.train_loader, optimizer, batches=3, progress=False)
    # Biases before batch norm, which have no gradient, must not count: their second moment is zero.
    assert found.stability == "below", found.verdict
    assert 1e-3 < found.ratio < 0.5
    assert found.sharpness.products <= 16
    assert found.steps > 3 * found.products


# Saddles, flats and planes


def test_a_saddle_is_told_from_a_minimum_and_from_a_slope() -> None:
    batches = [(x, y + 1) for x, y in data(6)]
    saddle = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Linear(8, 1, bias=False)).double()
    for p in saddle.parameters():
        nn.init.zeros_(p)
    found = measure(saddle, batches, smallest=True)
    assert found.saddle is True
    assert found.outcome == "noted"
    assert found.causes["saddle-or-plateau"] == 4.0
    assert "This is a saddle" in found.verdict
    assert found.smallest is not None
    assert found.smallest.value < 0

    model, rows = bowl()
    minimum = measure(model, rows, smallest=True)
    assert minimum.saddle is False
    assert minimum.causes["saddle-or-plateau"] == 0.3
    assert "No direction curves downwards" in minimum.verdict

    slope = measure(net(), data(), smallest=True)  # at the start: curved both ways, but with a gradient
    assert slope.saddle is False
    assert measure(net(), data()).saddle is None


@pytest.mark.parametrize("name", ["digits_mlp", "diabetes"])
def test_a_trained_net_is_no_saddle(name: str) -> None:
    task = tasks.make(name, seed=1)
    optimizer = task.make_optimizer("momentum")
    for _ in range(12):
        for x, y in task.train_loader:
            optimizer.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            optimizer.step()
    found = curvature(
        task.model, task.loss_fn, task.train_loader, optimizer, batches=4, smallest=True, trace_probes=0, progress=False
    )
    assert found.saddle is False, found.verdict


def test_a_dead_net_is_flat_and_an_absolute_error_has_no_curvature() -> None:
    dead = nn.Sequential(nn.Linear(6, 1), nn.ReLU())
    nn.init.constant_(dead[0].bias, -100.0)
    flat = measure(dead, [(x.float(), y.float()) for x, y in data()])
    assert flat.outcome == "failed"
    assert "The loss is flat" in flat.verdict
    assert flat.causes["dead-units"] > 1
    plane = measure(nn.Linear(6, 1).double(), data(), loss=F.l1_loss)
    assert plane.outcome == "unknown"
    assert "has a slope" in plane.verdict
    assert plane.critical_rate() == math.inf or plane.critical_rate() > 1e6
    assert plane.charts()


def test_relu_is_fine_and_an_operation_without_second_derivative_is_named() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(self.inner(x))  # type: ignore[no-any-return]

    with pytest.raises(UsageError, match=r"cannot be differentiated twice.*once_differentiable"):
        measure(Odd(), data())
    relu = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    assert measure(relu, data()).sharpness.value > 0


# Modes, forms, precision


def test_dropout_is_off_and_batch_norm_goes_by_the_mode() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)]
    model = nn.Sequential(*layers).double()
    batches = data()
    train = measure(model, batches, trace_probes=0)
    assert not train.random
    layers[3].p = 0.0  # type: ignore[assignment]
    assert measure(model, batches, trace_probes=0).sharpness.value == train.sharpness.value
    eval_ = measure(model, batches, mode="eval", trace_probes=0)
    assert eval_.mode == "eval"
    assert eval_.sharpness.value != pytest.approx(train.sharpness.value, rel=0.01)
    model.eval()  # the mode that the model comes in does not matter
    assert measure(model, batches, trace_probes=0).sharpness.value == train.sharpness.value


def test_recurrent_attention_and_tied_models_pass() -> None:
    for name in ("chars_transformer", "seasons_lstm"):
        task = tasks.make(name, seed=0, batch_size=8)
        found = curvature(
            task.model, task.loss_fn, task.train_loader, batches=1, trace_probes=0, max_products=8, progress=False
        )
        assert found.sharpness.value > 0

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4, bias=False)
            self.two = nn.Linear(4, 4, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))  # type: ignore[no-any-return]

    assert measure(Tied(), [(torch.randn(8, 4), torch.randn(8, 4))]).size == 16


def test_a_random_loss_is_measured_at_one_draw() -> None:
    model, batches = net(), data()
    found = measure(model, batches, loss=lambda a, b: F.mse_loss(a * (1 + 0.1 * torch.randn_like(a)), b))
    assert found.random
    assert found.sharpness.converged
    assert "one random draw" in str(found)


def test_what_changes_by_itself_is_refused() -> None:
    calls = [0]

    def drifting(a: Tensor, b: Tensor) -> Tensor:
        calls[0] += 1
        return F.mse_loss(a, b) * (1 + 0.01 * calls[0])

    with pytest.raises(UsageError, match="with the same parameters and the same random state: something"):
        measure(net(), data(), loss=drifting)


def test_half_precision_nan_and_others_are_refused() -> None:
    with pytest.raises(UsageError, match=r"parameters in float16, whose rounding.*deepcopy\(model\).float"):
        measure(net().half(), data())
    with pytest.raises(UsageError, match="loss of the first batch is nan at these parameters"):
        measure(net(), data(), loss=lambda a, b: F.mse_loss(a, b) * math.nan)
    with pytest.raises(UsageError, match="trains no parameter of this model"):
        measure(net(), data(), torch.optim.SGD(net().parameters(), lr=0.1))
    with pytest.raises(UserCodeError, match="the loss function, on batch 0 raised ZeroDivisionError"):
        measure(net(), data(), loss=lambda *_: 1 / 0)


def test_autocast_around_the_call_changes_nothing() -> None:
    model, batches = net(double=False), data(double=False)
    plain = measure(model, batches, trace_probes=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measure(model, batches, trace_probes=0).sharpness.value == plain.sharpness.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 0}, "batches is 0; give at least 1"),
        ({"mode": "test"}, "mode is 'test'; expected 'eval' or 'train'"),
        ({"trace_probes": -1}, "trace_probes is -1; give 0"),
        ({"tolerance": 1.0}, "tolerance is 1.0; expected a relative error"),
        ({"max_products": 0}, "max_products is 0; give at least 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(net(), data(), **options)


def test_a_search_that_is_cut_short_says_so() -> None:
    found = measure(net(hidden=40), data(), max_products=2, trace_probes=0)
    assert not found.sharpness.converged
    assert "at least" in found.verdict


def test_words_rows_and_exports() -> None:
    model, batches = net(), data()
    found = measure(model, batches, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), batches=2)
    assert found.test in TESTS
    assert set(found.causes) <= set(CAUSES)
    assert probes.curvature is curvature
    assert probes.CurvatureResult is CurvatureResult
    named = {m.name: m.value for m in found.measurements}
    assert named == {"sharpness": found.sharpness.value, "stability_ratio": found.ratio}
    rows = dict(found.rows())
    assert rows["stable rate, SGD with momentum 0.9"].startswith(f"{found.critical_rate(0.9):.4g}")
    assert "held against 2 more" in rows["sample"]
    assert found.as_dict()["sharpness"]["value"] == found.sharpness.value


# No trace


@pytest.mark.parametrize("failing", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["digits_cnn", "seasons_lstm"])
def test_no_trace(name: str, failing: type[BaseException] | None) -> None:
    task = tasks.make(name, seed=0, dropout=0.2, batch_size=8)
    loader, optimizer = task.train_loader, task.make_optimizer("adam")
    x, y = next(iter(loader))
    task.loss_fn(task.model(x), y).backward()
    optimizer.step()
    next(task.model.children()).eval()
    next(iter(task.model.parameters())).requires_grad_(False)
    loss = drawing(task.loss_fn, failing)
    before = trace_of(task.model, optimizer)
    options: dict[str, Any] = {"batches": 2, "max_products": 6, "trace_probes": 1, "progress": False}
    if failing is None:
        curvature(task.model, loss, loader, optimizer, **options)
    else:
        with pytest.raises(KeyboardInterrupt if failing is KeyboardInterrupt else UserCodeError):
            curvature(task.model, loss, loader, optimizer, **options)
    assert trace_of(task.model, optimizer) == before
    again = tasks.make(name, seed=0, dropout=0.2, batch_size=8).train_loader
    next(iter(again))
    assert torch.equal(next(iter(loader))[0], next(iter(again))[0])


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    task = tasks.make("digits_mlp", seed=0)
    here = curvature(task.model, task.loss_fn, task.train_loader, batches=2, progress=False)
    task = tasks.make("digits_mlp", seed=0)
    there = curvature(task.model.cuda(), task.loss_fn, task.train_loader, batches=2, progress=False)
    assert there.sharpness.value == pytest.approx(here.sharpness.value, rel=2e-3)
    assert there.trace == pytest.approx(here.trace, rel=1e-3)
