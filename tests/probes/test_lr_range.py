"""The learning-rate range test: rates it suggests are good, and it says so when there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from tests.torchkit.test_state import fingerprint, generators
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import LRRangeResult, lr_range_test
from lossdoctor.probes.learning_rate.range_reading import Sweep, head_of, read, smooth, suggested
from lossdoctor.probes.learning_rate.steps import Kept, group_shares, momentum_of, normalizes
from lossdoctor.torchkit.state import preserved

torch.set_num_threads(1)


@contextmanager
def untouched(*things: Any, loader: Any = None) -> Iterator[None]:
    """Fails unless the body leaves all as it was, bit for bit, and the loader's next batch as it would have been."""

    def now() -> Any:
        scalers = [t.state_dict() for t in things if isinstance(t, torch.amp.GradScaler)]
        rest = [fingerprint(t) for t in things if not isinstance(t, torch.amp.GradScaler)]
        return rest, scalers, generators()

    def upcoming() -> Any:
        if loader is None:
            return None
        with preserved(loader):
            return [t.numpy().tobytes() for t in next(iter(loader))]

    before, batch = now(), upcoming()
    try:
        yield
    finally:
        assert now() == before
        assert upcoming() == batch


def swept(name: str, optimizer: str = "adam", seed: int = 0, lr: float | None = None, **options: Any) -> LRRangeResult:
    task = tasks.make(name, seed)
    torch.manual_seed(seed)
    chosen = task.make_optimizer(optimizer, lr)
    return lr_range_test(task.model, task.loss_fn, task.train_loader, chosen, progress=False, **options)


def line(rows: int = 256, scale: float = 1.0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=generator)
    y = x.sum(1, keepdim=True) + 0.5 * torch.randn(rows, 1, generator=generator)
    return [(scale * x[i : i + 32], y[i : i + 32]) for i in range(0, rows, 32)]


# Within these the validation loss of a whole training is within 20 % of the grid's best: see benchmarks.lr_range.
GOOD = [
    ("digits_mlp", "adam", 3e-4, 0.05),
    ("digits_mlp", "sgd", 0.03, 1.0),
    ("digits_mlp", "momentum", 3e-3, 0.15),
    ("friedman", "sgd", 5e-3, 0.4),
    ("moons_flow", "adam", 1e-3, 0.1),
    ("moons_flow", "sgd", 1e-3, 0.046),
    ("counts_poisson", "momentum", 1e-4, 0.05),
]


@pytest.mark.parametrize(("name", "optimizer", "low", "high"), GOOD)
def test_suggestions_are_good(name: str, optimizer: str, low: float, high: float) -> None:
    result = swept(name, optimizer)
    assert result.suggestion is not None
    assert low <= result.suggestion <= high
    assert 0.5 <= result.confidence <= 1
    assert result.test in TESTS
    assert set(result.causes) <= set(CAUSES)
    assert result.valley is not None
    assert result.stable is not None
    assert result.suggestion <= result.stable
    assert result.valley <= result.stable
    if result.diverges is not None:
        assert result.stable <= result.diverges
        assert result.tenth == pytest.approx(result.diverges / 10)


def test_the_bound_of_gradient_descent_is_found() -> None:
    """On a linear regression the critical rate is 2/λmax."""
    batches = line()
    x = torch.cat([b[0] for b in batches])
    critical = 2 / float(torch.linalg.eigvalsh(2 * x.T @ x / len(x))[-1])
    model = nn.Linear(4, 1, bias=False)
    result = lr_range_test(model, F.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=0.1), progress=False)
    assert result.diverges is not None
    assert critical / 2 < result.diverges < critical * 4  # a sweep passes the bound before it shows
    assert result.suggestion is not None
    assert critical / 30 < result.suggestion < critical


def test_raw_scale_moves_everything_by_its_square() -> None:
    found = []
    for scale in (1.0, 100.0):
        torch.manual_seed(0)
        model = nn.Linear(4, 1, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        found.append(
            lr_range_test(model, F.mse_loss, line(scale=scale), optimizer, lowest=1e-9, progress=False).suggestion
        )
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] / found[1] == pytest.approx(1e4, rel=0.5)


def test_the_level_of_the_loss_does_not_matter() -> None:
    """A loss that ends near or below zero is read like one far above it."""

    def run(shift: float) -> LRRangeResult:
        task = tasks.make("friedman")
        torch.manual_seed(0)
        return lr_range_test(
            task.model,
            lambda out, y: F.mse_loss(out, y) + shift,
            task.train_loader,
            task.make_optimizer("sgd"),
            progress=False,
        )

    plain, below, above = run(0.0), run(-0.4), run(2.0)
    for other in (below, above):
        assert other.suggestion == pytest.approx(plain.suggestion, rel=0.25)
        assert other.stable == pytest.approx(plain.stable, rel=0.25)


@pytest.mark.parametrize(
    ("factor", "outcome", "cause"),
    [(1.0, "passed", None), (1 / 300, "failed", "learning-rate-too-low"), (300.0, "failed", "learning-rate-too-high")],
)
def test_the_present_rate_is_judged(factor: float, outcome: str, cause: str | None) -> None:
    good = swept("digits_mlp").suggestion
    assert good is not None
    result = swept("digits_mlp", lr=good * factor)
    assert result.outcome == outcome
    assert f"{good:.2g}" in result.verdict
    if cause:
        assert max(result.causes, key=result.causes.__getitem__) == cause
        assert result.causes[cause] > 1
    else:
        assert all(ratio < 1 for ratio in result.causes.values())


def test_no_suggestion_where_there_is_nothing_to_learn() -> None:
    """Labels without information, already at the best constant answer: a wide enough net may not hide the noise."""
    generator = torch.Generator().manual_seed(1)
    batches = [
        (torch.randn(64, 3, generator=generator), torch.randn(64, 1, generator=generator)) for _ in range(40)
    ]  # fmt: skip
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    result = lr_range_test(model, F.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=0.01), progress=False)
    assert result.suggestion is None
    assert (result.outcome, result.confidence, result.valley, result.range.keys()) == ("unknown", 0, None, {"tenth"})
    assert "No suggestion" in result.verdict
    assert result.causes == {}


def test_a_loss_that_does_not_depend_on_the_rate() -> None:
    model = nn.Linear(4, 1)
    result = lr_range_test(
        model,
        lambda out, y: 0 * out.sum() + 3.0,  # noqa: ARG005
        line(),
        torch.optim.SGD(model.parameters(), lr=0.1),
        progress=False,
    )
    assert result.suggestion is None
    assert "does not explode" in result.verdict
    assert "depends on the weights" in result.verdict


def test_a_range_that_begins_too_high() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    result = lr_range_test(model, F.mse_loss, line(scale=1e4), optimizer, lowest=1e-3, progress=False)
    assert result.suggestion is None
    assert "lowest=" in result.verdict
    assert result.steps < 20


def test_groups_keep_their_ratio_and_the_suggestion_is_the_largest() -> None:
    task = tasks.make("digits_mlp")
    layers = [list(m.parameters()) for m in task.model.modules() if isinstance(m, nn.Linear)]
    groups = [{"params": layers[0], "lr": 1e-4}, {"params": [p for layer in layers[1:] for p in layer]}]
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    seen: set[float] = set()
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.add(round(o.param_groups[1]["lr"] / o.param_groups[0]["lr"], 6))
    )
    result = lr_range_test(task.model, task.loss_fn, task.train_loader, optimizer, progress=False)
    assert seen == {10.0}
    assert result.present == 1e-3
    assert [g["lr"] for g in optimizer.param_groups] == [1e-4, 1e-3]
    assert group_shares(optimizer) == [pytest.approx(0.1), 1.0]


def test_a_warmup_that_stands_at_zero() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    result = lr_range_test(model, F.mse_loss, line(), optimizer, progress=False)
    assert (result.present, result.outcome) == (0.0, "noted")
    assert result.suggestion is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.01),
        lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-3),
    ],
)
def test_any_optimizer(make: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = make(model.parameters())
    with untouched(model, optimizer):
        result = lr_range_test(model, F.mse_loss, line(), optimizer, steps=90, progress=False)
    if not isinstance(optimizer, torch.optim.LBFGS):  # it is not made for batches that change
        assert result.suggestion is not None
        assert 1e-4 < result.suggestion < 10


def test_what_an_optimizer_is() -> None:
    weights = [nn.Parameter(torch.zeros(1))]
    assert (momentum_of(torch.optim.SGD(weights, lr=1.0)), normalizes(torch.optim.SGD(weights, lr=1.0))) == (0, False)
    assert momentum_of(torch.optim.SGD(weights, lr=1.0, momentum=0.8)) == 0.8
    assert normalizes(torch.optim.AdamW(weights))
    assert normalizes(torch.optim.RMSprop(weights))


def test_accumulation_averages_the_batches() -> None:
    """Four batches of 32 in one step are one batch of 128."""
    batches = line(rows=1280)
    large = [tuple(torch.cat([b[k] for b in batches[i : i + 4]]) for k in (0, 1)) for i in range(0, 40, 4)]
    results = []
    for loader, accumulate in ((batches, 4), (large, 1)):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        results.append(
            lr_range_test(model, F.mse_loss, loader, optimizer, accumulate=accumulate, steps=60, progress=False)
        )
    assert results[0].coarse_losses == pytest.approx(results[1].coarse_losses, rel=1e-3)
    assert results[0].suggestion == pytest.approx(results[1].suggestion, rel=0.05)


def test_mixed_precision_and_clipping() -> None:
    task = tasks.make("digits_mlp")
    optimizer = task.make_optimizer("sgd")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with untouched(task.model, optimizer, scaler):
        result = lr_range_test(
            task.model,
            task.loss_fn,
            task.train_loader,
            optimizer,
            scaler=scaler,
            autocast=torch.bfloat16,
            clip=1.0,
            steps=90,
            progress=False,
        )
    assert result.suggestion is not None
    assert 0.01 < result.suggestion < 2
    # A clipped gradient cannot explode so soon.
    unclipped = swept("friedman", "sgd", steps=90)
    clipped = swept("friedman", "sgd", steps=90, clip=0.01)
    assert clipped.diverges is None or clipped.diverges > 3 * (unclipped.diverges or 0)


def test_no_trace_bit_for_bit() -> None:
    task = tasks.make("digits_cnn")  # batch norm and dropout
    loader, optimizer = task.train_loader, task.make_optimizer("adam")
    x, y = next(iter(loader))
    task.loss_fn(task.model(x), y).backward()
    optimizer.step()
    task.model.eval()
    next(task.model.parameters()).requires_grad_(False)
    with untouched(task.model, optimizer, loader=loader):
        lr_range_test(task.model, task.loss_fn, loader, optimizer, steps=40, progress=False)


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [3, 25])
def test_no_trace_when_it_is_broken_off(error: BaseException, at: int) -> None:
    task = tasks.make("digits_mlp")
    optimizer, calls = task.make_optimizer("momentum"), 0

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > at:
            raise error
        return F.cross_entropy(output, target)

    raised = UserCodeError if isinstance(error, Exception) else KeyboardInterrupt
    loader = task.train_loader
    with untouched(task.model, optimizer, loader=loader), pytest.raises(raised) as caught:
        lr_range_test(task.model, loss_fn, loader, optimizer, steps=40, progress=False)
    if isinstance(error, Exception):
        assert f"on batch {at if at < 13 else at - 13} raised RuntimeError: mine" in str(caught.value)


def test_gradients_may_be_off_outside() -> None:
    with torch.no_grad():
        assert swept("friedman", "sgd", steps=150).suggestion is not None
        assert not torch.is_grad_enabled()


def test_losses_that_are_fetched_in_chunks_end_at_the_same_step() -> None:
    """What a GPU does: the sweep runs on for a few steps, which are thrown away."""
    one = Kept(torch.device("cpu"))
    ten = Kept(torch.device("cpu"))
    ten._every = 10
    for value in range(25):
        one.add(torch.tensor(float(value)))
        ten.add(torch.tensor(float(value)))
    assert len(one) == len(ten) == 25
    assert ten.values == one.values[:20]
    ten.fetch()
    assert ten.values == one.values


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    task = tasks.make("friedman")
    result = lr_range_test(
        task.model,
        task.loss_fn,
        task.train_loader,
        task.make_optimizer("adam"),
        steps=60,
        progress=lambda done, total: told.append((done, total)),
    )
    assert [t for _, t in told] == [60] * len(told)
    assert [d for d, _ in told] == sorted(d for d, _ in told)
    assert len(told) == result.steps <= 60
    assert len(result.rates) + len(result.coarse_rates) == result.steps


def test_what_is_shown() -> None:
    result = swept("digits_mlp", "sgd", steps=90)
    (chart,) = result.charts()
    assert chart.log_x
    assert [m.label for m in chart.marks] == ["suggestion", "steepest", "valley", "largest stable"]
    assert all(len(one.x) == len(one.y) for one in chart.lines)
    assert max(v for one in chart.lines for v in one.y if math.isfinite(v)) < 5 * result.start
    names = [name for name, _ in result.rows()]
    assert names[:2] == ["suggestion", "confidence"]
    assert {m.name for m in result.measurements} >= {"suggested_learning_rate", "largest_stable_rate"}
    told = str(result)
    assert told.startswith("Learning-rate range test: A rate of ")
    assert result.as_dict()["suggestion"] == result.suggestion


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lowest": 0}, "lowest is 0; expected a number above 0"),
        ({"lowest": 0.1, "highest": 1.0}, "from 0.1 to 1; give a range of at least a factor of 100"),
        ({"steps": 10}, "steps is 10; expected a whole number from 30"),
        ({"stop": 1.0}, "stop is 1.0; expected a factor above 1"),
        ({"accumulate": 0}, "accumulate is 0; expected a whole number from 1"),
        ({"clip": -1.0}, "clip is -1.0; expected a number above 0"),
        ({"autocast": True}, "autocast is True; expected a floating dtype"),
        ({"steps": 30.0}, "steps is 30.0; expected a whole number from 30"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], words: str) -> None:
    model = nn.Linear(4, 1)
    with pytest.raises(UsageError) as caught:
        lr_range_test(model, F.mse_loss, line(), torch.optim.SGD(model.parameters(), lr=0.1), **options)
    assert words in str(caught.value)


def test_wrong_optimizers_are_named() -> None:
    model = nn.Linear(4, 1)
    other = torch.optim.SGD(nn.Linear(4, 1).parameters(), lr=0.1)
    with pytest.raises(UsageError, match="the optimizer is missing"):
        lr_range_test(model, F.mse_loss, line(), None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="made for another model"):
        lr_range_test(model, F.mse_loss, line(), other)
    scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(UsageError, match="no gradient scaler"):
        lr_range_test(model, F.mse_loss, line(), torch.optim.LBFGS(model.parameters()), scaler=scaler)
    with pytest.raises(UsageError, match="does not depend on any trainable parameter"):
        lr_range_test(
            model, lambda out, y: F.mse_loss(out.detach(), y), line(), torch.optim.SGD(model.parameters(), lr=0.1)
        )


def naive_smooth(values: list[float], spacing: float, width: float) -> list[float]:
    means = []
    for i in range(len(values)):
        weights = [math.exp(-abs(i - j) * spacing / width) for j in range(len(values))]
        means.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return means


def test_smoothing_as_its_definition() -> None:
    values = np.random.default_rng(0).normal(size=40)
    smoothed, shrink = smooth(values, 0.02, 0.08)
    assert smoothed == pytest.approx(naive_smooth(values.tolist(), 0.02, 0.08))
    many = np.array([smooth(np.random.default_rng(k).normal(size=40), 0.02, 0.08)[0][20] for k in range(800)])
    assert many.std() == pytest.approx(shrink, rel=0.1)


def curve(depth: float = 1.0, noise: float = 0.02, seed: int = 0) -> tuple[Sweep, Sweep]:
    """A fall around 1e-2 that explodes at 1: (whole range, zoom)."""
    rng = np.random.default_rng(seed)

    def at(rates: np.ndarray[Any, Any]) -> Sweep:
        u = np.log10(rates)
        losses = (
            2 - depth / (1 + np.exp(-6 * (u + 2))) + np.where(u > -0.5, np.exp(np.minimum(9 * (u + 0.5), 50)) - 1, 0)
        )
        losses += rng.normal(0, noise, len(rates))
        return Sweep(rates, losses, len(rates))

    return at(np.geomspace(1e-7, 10, 60)), at(np.geomspace(1 / 300, 1.5, 120))


def test_the_places_of_a_known_curve() -> None:
    whole, zoom = curve()
    head = head_of(whole)
    assert head.level == pytest.approx(2.0, abs=0.02)
    assert head.noise == pytest.approx(0.02, rel=0.6)
    found = read(zoom, head)
    assert found.falls
    assert found.steepest == pytest.approx(0.01, rel=0.4)
    assert 0.02 < found.valley < 0.1
    assert 0.25 < found.stable < 0.5
    assert found.diverges is not None
    assert 0.3 < found.diverges < 0.6
    assert suggested(found, 0.9, normalized=True) == pytest.approx(0.5 * math.sqrt(0.1) * found.valley)
    both = math.sqrt(found.valley * found.stable)
    assert suggested(found, 0.0, normalized=False) == pytest.approx(0.5 * both)


def test_noise_is_no_fall() -> None:
    """Of 200 sweeps in which nothing falls, none is read as falling."""
    falls = 0
    for seed in range(200):
        whole, zoom = curve(depth=0.0, noise=0.1, seed=seed)
        falls += read(zoom, head_of(whole)).falls
    assert falls <= 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees() -> None:
    found = []
    for device in ("cpu", "cuda"):
        task = tasks.make("digits_mlp", dropout=0.0)
        task.model.to(device)
        found.append(
            lr_range_test(task.model, task.loss_fn, task.train_loader, task.make_optimizer("sgd"), progress=False)
        )
    assert found[0].coarse_losses[:40] == pytest.approx(found[1].coarse_losses[:40], rel=1e-3)
    assert found[0].suggestion == pytest.approx(found[1].suggestion, rel=0.3)
