"""gradient_noise_scale: against per-example gradients and a case that is known exactly; its advice; no trace."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.probes.traces import drawing, trace_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from lossdoctor import probes
from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes.noise_scale.advice import Setting
from lossdoctor.probes.noise_scale.check import NoiseScaleResult, gradient_noise_scale
from lossdoctor.probes.noise_scale.moments import moments
from lossdoctor.probes.noise_scale.passes import pieces
from lossdoctor.probes.noise_scale.sums import GradientSums

torch.set_num_threads(1)
WIDTH = 6


class Stream(IterableDataset[Any]):
    """Batches without a length: draws that never end."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def stream(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(Stream(batches), batch_size=None)


def regression(count: int, size: int, *, noise: float = 1.0, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """y = noise, x normal: with weights w the gradient of an example is 2 x (x·w - noise)."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, WIDTH, generator=g)
    return list(zip(x, noise * torch.randn(count, size, 1, generator=g), strict=True))


def line(distance: float) -> nn.Linear:
    """A linear model at that distance from the best one."""
    model = nn.Linear(WIDTH, 1, bias=False)
    nn.init.zeros_(model.weight)
    with torch.no_grad():
        model.weight[0, 0] = distance
    return model


def truth(distance: float, noise: float = 1.0) -> tuple[float, float]:
    """|G|² and tr Σ of :func:`regression`: G = 2w, E|g|² = 4 (|w|² (p + 2) + noise² p)."""
    signal = 4 * distance**2
    return signal, 4 * (distance**2 * (WIDTH + 2) + noise**2 * WIDTH) - signal


def measure(model: nn.Module, loader: Any, *args: Any, **options: Any) -> NoiseScaleResult:
    return gradient_noise_scale(model, options.pop("loss", F.mse_loss), loader, *args, progress=False, **options)


def per_example(model: nn.Module, batches: list[Any], loss: Any = F.mse_loss) -> Tensor:
    rows = []
    for x, y in batches:
        for i in range(len(x)):
            parts = torch.autograd.grad(loss(model(x[i : i + 1]), y[i : i + 1]), list(model.parameters()))
            rows.append(torch.cat([p.reshape(-1) for p in parts]).double())
    return torch.stack(rows)


# What is measured


@pytest.mark.parametrize("distance", [2.0, 0.3])
def test_known_signal_and_variance_are_within_the_interval(distance: float) -> None:
    signal, variance = truth(distance)
    found = [measure(line(distance), stream(regression(64, 32, seed=s))) for s in range(12)]
    assert np.mean([f.signal for f in found]) == pytest.approx(signal, rel=0.1)
    assert np.mean([f.variance for f in found]) == pytest.approx(variance, rel=0.05)
    assert sum(f.low <= variance / signal <= f.high for f in found) >= 10
    assert all(f.high / f.low < 4 for f in found)


def test_batches_of_one_give_the_covariance_of_the_examples_exactly() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))
    batches = regression(40, 1)
    g = per_example(model, batches)
    variance = float((g - g.mean(0)).square().sum() / 39)
    fresh = measure(model, stream(batches), batches=40)  # the stream may have more, so the mean itself is noisy
    assert fresh.variance == pytest.approx(variance, rel=1e-5)
    assert fresh.signal == pytest.approx(float(g.mean(0).square().sum()) - variance / 40, rel=1e-5)
    whole = measure(model, batches)  # a list is all there is, and its mean gradient is the truth
    assert whole.variance == pytest.approx(variance, rel=1e-5)
    assert whole.signal == pytest.approx(float(g.mean(0).square().sum()), rel=1e-5)
    assert whole.noise_scale == pytest.approx(whole.variance / whole.signal)


def test_a_trained_net_agrees_with_its_per_example_gradients() -> None:
    task = tasks.make("digits_mlp", seed=0, dropout=0.0)
    optimizer = task.make_optimizer("momentum")
    for _ in range(3):
        for x, y in task.train_loader:
            optimizer.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            optimizer.step()
    found = gradient_noise_scale(task.model, task.loss_fn, task.train_loader, optimizer, progress=False)
    g = per_example(task.model, list(tasks.make("digits_mlp", seed=0).train_loader)[:15], task.loss_fn)
    true = float((g - g.mean(0)).square().sum() / (len(g) - 1) / g.mean(0).square().sum())
    assert found.low <= true <= found.high
    assert found.noise_scale == pytest.approx(true, rel=0.3)


@given(st.lists(st.integers(2, 40), min_size=8, max_size=20), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_batches_that_differ_in_size_agree_with_single_examples(sizes: list[int], seed: int) -> None:
    # The sum over batches of B|g - mean|² lacks only what is within batches: averaged over orders it is the variance.
    rng = np.random.default_rng(seed)
    examples = rng.standard_normal((sum(sizes), 3)) + np.array([1.0, 0, 0])
    edges = np.cumsum([0, *sizes])
    found = []
    for _ in range(60):
        mixed = examples[rng.permutation(len(examples))]
        g = np.stack([mixed[a:b].mean(0) for a, b in pairwise(edges)])
        found.append(moments(sizes, g @ g.T, exhausted=1.0))
    variance = examples.var(axis=0, ddof=1).sum()
    spread = np.std([f.variance for f in found]) / math.sqrt(60)
    assert abs(np.mean([f.variance for f in found]) - variance) < 5 * spread + 1e-9
    assert found[0].signal == pytest.approx((examples.mean(0) ** 2).sum())


@pytest.mark.parametrize(("distance", "whole"), [(1.0, False), (0.2, False), (0.0, False), (0.2, True), (0.0, True)])
def test_the_interval_holds_the_truth_as_often_as_it_says(distance: float, whole: bool) -> None:
    rng = np.random.default_rng(1)
    w = np.zeros(WIDTH)
    w[0] = distance
    held, count, size = 0, 24, 16
    for _ in range(300):
        x = rng.standard_normal((count, size, WIDTH))
        g = 2 * (x @ w - rng.standard_normal((count, size)))[..., None] * x
        mean = g.mean((0, 1))
        signal, variance = truth(distance)
        true = variance / signal if signal else math.inf
        if whole:
            true = float(((g - mean) ** 2).sum() / (count * size - 1) / (mean @ mean))
        batches = g.mean(1)
        found = moments([size] * count, batches @ batches.T, exhausted=float(whole))
        held += found.low <= true <= found.high
    assert 0.91 <= held / 300 <= 1.0


def test_dropout_counts_as_noise_also_over_a_whole_pass() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(WIDTH, 1, bias=False))
    nn.init.ones_(model[1].weight)
    batches = [(torch.ones(16, WIDTH), torch.full((16, 1), float(WIDTH))) for _ in range(40)]
    # The data are one example again and again, and the output is right on average. What dropout does to a coordinate is
    # x = 0 or 2, independently, so the true gradient is 2 E x(Σx - p) = 2 Var x = 2 for each: |G|² = 4p.
    found = [measure(model, batches) for s in range(8) if torch.manual_seed(s)]
    signals = np.array([f.signal for f in found])
    assert abs(signals.mean() - 4 * WIDTH) < 4 * signals.std() / math.sqrt(len(signals))
    assert sum(f.low < f.variance / (4 * WIDTH) < f.high for f in found) >= 7
    still = measure(model, batches, mode="eval")
    assert "Every gradient is zero" in still.verdict  # without dropout there is nothing left to learn


def test_a_sum_over_the_batch_is_recognised() -> None:
    batches = regression(40, 16)
    mean = measure(line(1.0), batches)
    for loss in (nn.MSELoss(reduction="sum"), lambda a, b: (a - b).square().sum()):
        found = measure(line(1.0), batches, loss=loss)
        assert found.setting.summed
        assert found.noise_scale == pytest.approx(mean.noise_scale, rel=1e-4)
        assert found.variance == pytest.approx(mean.variance, rel=1e-4)
    assert not mean.setting.summed


def test_few_batches_are_cut_and_batches_of_any_form_pass() -> None:
    x, y = (torch.cat(part) for part in zip(*regression(16, 64), strict=True))
    one = measure(line(1.0), [(x, y)])
    assert one.gradients == 32
    assert one.setting.batch_size == 1024
    signal, variance = truth(1.0)
    assert one.low <= variance / signal <= one.high
    assert one.steps < 10

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(WIDTH, 1))

        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            return {"loss": F.mse_loss(x @ self.w, labels)}  # type: ignore[arg-type]

    mapped = [{"x": a, "labels": b} for a, b in regression(40, 16)]
    found = gradient_noise_scale(Own(), None, mapped, progress=False)
    pairs = gradient_noise_scale(
        Own(), None, [(a, b) for a, b in regression(40, 16)], progress=False, forward=lambda m, b: m(*b)["loss"]
    )
    assert found.noise_scale == pytest.approx(pairs.noise_scale)
    assert [len(p[0]) for p in pieces((torch.zeros(10, 2), torch.zeros(10)), 9)] == [5, 5]
    assert len(list(pieces((torch.zeros(10, 2), torch.zeros(3)), 2))) == 1


def test_a_sampler_with_replacement_never_exhausts_its_data() -> None:
    x, y = (torch.cat(part) for part in zip(*regression(40, 16), strict=True))
    data = TensorDataset(x, y)
    again = DataLoader(data, 16, sampler=RandomSampler(data, replacement=True))
    assert measure(line(1.0), again).setting.pass_examples is None
    assert measure(line(1.0), DataLoader(data, 16, shuffle=True)).setting.pass_examples == 640
    assert measure(line(1.0), DataLoader(data, 16, shuffle=True), batches=10).setting.pass_examples == 640


# The sums


def test_folded_gradients_keep_their_scalar_products() -> None:
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(12, 50_000, generator=g) + 0.3 * torch.randn(50_000, generator=g)
    parameters = [torch.zeros(300, 100), torch.zeros(20_000)]
    sums = GradientSums(parameters, 12, width=4096)
    for row in rows:
        sums.add([row[:30_000].view(300, 100), row[30_000:]], 3)
    exact = (rows.double() @ rows.double().T).numpy()
    lengths = np.sqrt(np.diag(exact))
    off = (sums.gram() - exact) / np.outer(lengths, lengths)
    assert np.abs(np.diag(off)).max() < 1e-6
    assert np.abs(off).max() < 5 * math.sqrt(2 / 4096)
    assert np.abs(off[np.triu_indices(12, 1)]).mean() > 1e-5  # it was folded
    assert sums.total() == pytest.approx(9 * float(rows.double().sum(0).square().sum()), rel=1e-5)


def test_memory_is_a_sum_the_signs_and_the_rows() -> None:
    sums = GradientSums([torch.zeros(100_000)], 16)
    held = [v for v in vars(sums).values() for v in (v if isinstance(v, list) else [v]) if isinstance(v, Tensor)]
    assert sum(t.numel() * t.element_size() for t in held) < 100_000 * (4 + 1) + 16 * 8192 * 4 + 1000


def test_half_precision_and_sparse_gradients() -> None:
    g = torch.Generator().manual_seed(0)
    codes = [(torch.randint(0, 30, (16, 5), generator=g), torch.randn(16, 1, generator=g)) for _ in range(40)]

    class Words(nn.Module):
        def __init__(self, sparse: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(30, 4, sparse=sparse), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x).mean(1))  # type: ignore[no-any-return]

    dense, sparse = measure(Words(False), codes), measure(Words(True), codes)
    assert sparse.noise_scale == pytest.approx(dense.noise_scale, rel=1e-5)
    half = measure(line(1.0).bfloat16(), [(x.bfloat16(), y.bfloat16()) for x, y in regression(40, 16)])
    assert half.noise_scale == pytest.approx(measure(line(1.0), regression(40, 16)).noise_scale, rel=0.1)


# What it says


def test_a_small_batch_is_noted_with_all_that_a_larger_one_asks_for() -> None:
    task = tasks.make("digits_mlp", seed=0, batch_size=4)
    optimizer = task.make_optimizer("momentum", lr=0.01)
    found = gradient_noise_scale(task.model, task.loss_fn, task.train_loader, optimizer, batches=200, progress=False)
    assert found.outcome == "noted"
    assert found.passed
    assert found.causes == {"batch-too-small": 1.5}
    better = found.advised
    assert better is not None
    assert found.noise_scale / 2 < better.batch_size <= found.noise_scale
    assert better.micro_batches == better.batch_size / 4
    assert better.lr == pytest.approx(0.01 * better.sgd_factor)
    assert better.steps_factor == pytest.approx(1 / better.sgd_factor)
    for part in ("A step is mostly noise", f"a batch of {better.batch_size}", "accumulate", "warm-up", "fewer steps"):
        assert part in found.verdict
    (chart,) = found.charts()
    curve, *points = chart.lines
    steps, examples = np.array(curve.y), np.array(curve.x)
    np.testing.assert_allclose((steps - 1) * (examples - 1), 1, rtol=1e-6)
    assert points[0].name == "your batch: 4"
    assert dict(found.rows())["present batch"] == "4 examples per step"
    assert found.measurements[0].name == "gradient_noise_scale"
    assert found.measurements[0].value == found.noise_scale


def test_a_gradient_lost_in_noise_is_unknown_with_a_lower_bound() -> None:
    found = measure(line(0.0), stream(regression(64, 16)))
    assert found.outcome == "unknown"
    assert found.high == math.inf
    assert 100 < found.low < math.inf
    assert "cannot be told from zero" in found.verdict
    assert found.causes == {"batch-too-small": 1.5}  # the bound alone says so much
    assert found.advised is None


def test_a_batch_that_is_right_passes_and_a_huge_one_is_noted() -> None:
    signal, variance = truth(1.0)
    right = measure(line(1.0), stream(regression(64, 16)))
    assert variance / signal < 16
    assert right.outcome == "passed"
    assert right.causes["batch-too-small"] < 1
    huge = measure(line(1.0), stream(regression(64, 16)), accumulation=100)
    assert huge.outcome == "noted"
    assert huge.setting.batch_size == 1600
    assert huge.advised is not None
    assert huge.advised.batch_size < 1600
    assert huge.causes["batch-too-small"] < 1


def test_what_cannot_be_measured_is_said() -> None:
    few = measure(line(1.0), stream(regression(5, 16)))
    assert few.outcome == "unknown"
    assert "gave 5 gradients" in few.verdict
    assert few.charts() == ()
    with pytest.raises(UsageError, match="no noise scale to advise by: The loader gave 5"):
        few.advice(64)
    batches = regression(40, 16)
    batches[7][0][0, 0] = math.nan
    assert "1 of 40 gradients hold a NaN or an infinity (number 7)" in measure(line(1.0), batches).verdict
    zero = measure(line(0.0), [(x, 0 * y) for x, y in regression(40, 16)])
    assert zero.outcome == "unknown"
    assert "Every gradient is zero" in zero.verdict
    same = measure(line(1.0), regression(1, 16) * 40)
    assert same.outcome == "passed"
    assert "There is no noise" in same.verdict


def test_words_are_those_of_the_vocabulary_and_the_package_exports() -> None:
    found = measure(line(1.0), regression(40, 16))
    assert found.test in TESTS
    assert set(found.causes) <= set(CAUSES)
    assert probes.gradient_noise_scale is gradient_noise_scale
    assert probes.NoiseScaleResult is NoiseScaleResult
    assert found.as_dict()["setting"]["batch_size"] == 16
    assert "Gradient noise" in str(found)


def test_advice_follows_the_papers() -> None:
    sgd = Setting(64, 64, "sgd", "SGD", 0.1, pass_examples=6400)
    double = sgd.advice(1e6, 128)  # far below the noise scale: linear
    assert double.lr == pytest.approx(0.2, rel=1e-3)
    assert double.steps_factor == pytest.approx(0.5, rel=1e-3)
    assert double.micro_batches == 2
    assert double.warmup_steps == 0  # it does not quite double
    assert sgd.advice(1e6, 256).warmup_steps == 5 * 25
    critical = sgd.advice(64, 64)
    assert (critical.steps_ratio, critical.examples_ratio) == (2, 2)
    assert sgd.advice(1.0, 6400).lr == pytest.approx(0.1 * (1 + 1 / 64), rel=1e-3)  # beyond: nothing gained
    adam = Setting(64, 32, "adam", "Adam", 1e-3, 0.999)
    assert adam.advice(1e6, 256).lr == pytest.approx(2e-3, rel=1e-3)
    assert adam.advice(1e6, 256).warmup_steps == 2000
    assert adam.advice(1e6, 256).micro_batches == 8
    assert adam.advice(1e6, 32).warmup_steps == 0
    summed = Setting(64, 64, "sgd", "SGD", 0.1, summed=True)
    assert summed.advice(1e6, 128).lr == pytest.approx(0.1, rel=1e-3)  # a sum doubles the step by itself
    assert Setting(64, 64).advice(1e6, 128).lr is None
    assert [sgd.target(v) for v in (10, 63, 64, 500, 1e9)] == [16, 64, 64, 256, 4096]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), "sgd"),
        (lambda p: torch.optim.AdamW(p, lr=0.1), "adam"),
        (lambda p: torch.optim.RMSprop(p, lr=0.1), "adam"),
        (lambda p: torch.optim.LBFGS(p, lr=0.1), ""),
    ],
)
def test_the_optimizer_sets_the_rule_of_the_rate(make: Any, kind: str) -> None:
    model = line(1.0)
    found = measure(model, regression(40, 16), make(model.parameters()))
    assert found.setting.kind == kind
    assert (found.advice(64).lr is None) == (kind == "")


def test_only_what_the_optimizer_trains_counts() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 1))
    head = measure(model, regression(40, 16), torch.optim.SGD(model[2].parameters(), lr=0.1))
    for p in model[0].parameters():
        p.requires_grad_(False)
    assert measure(model, regression(40, 16)).variance == pytest.approx(head.variance, rel=1e-6)


# Errors, and no trace


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 1}, "batches is 1; noise shows between batches"),
        ({"accumulation": 0}, "accumulation is 0; give the batches per optimizer step"),
        ({"memory_batch": 0}, "memory_batch is 0; give the examples"),
        ({"mode": "test"}, "mode is 'test'; expected 'train' or 'eval'"),
        ({"confidence": 95}, "confidence is 95; expected 0.5 to 0.999"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(line(1.0), regression(8, 8), **options)


def test_a_loss_without_gradient_and_strange_models_are_named() -> None:
    with pytest.raises(UsageError, match="loss of batch 0 has no gradient: it is cut off"):
        measure(line(1.0), regression(40, 8), loss=lambda a, b: F.mse_loss(a.detach(), b))
    frozen = line(1.0).requires_grad_(False)
    with pytest.raises(UsageError, match="all are frozen"):
        measure(frozen, regression(40, 8))
    with pytest.raises(UsageError, match="trains no parameter of this model"):
        measure(line(1.0), regression(40, 8), torch.optim.SGD(line(1.0).parameters(), lr=0.1))
    with pytest.raises(UserCodeError, match="the loss function, on batch 0 raised RuntimeError"):
        measure(line(1.0), [(x, y[:3]) for x, y in regression(40, 8)], loss=lambda a, b: (a - b).square().mean())


@pytest.mark.parametrize("failing", [None, RuntimeError, KeyboardInterrupt])
def test_no_trace(failing: type[BaseException] | None) -> None:
    task = tasks.make("digits_cnn", seed=0, dropout=0.2)
    loader, optimizer = task.train_loader, task.make_optimizer("adam")
    x, y = next(iter(loader))
    task.loss_fn(task.model(x), y).backward()
    optimizer.step()
    task.model[0].eval()
    next(iter(task.model.parameters())).requires_grad_(False)
    loss = drawing(F.cross_entropy, failing)
    before = trace_of(task.model, optimizer)
    if failing is None:
        gradient_noise_scale(task.model, loss, loader, optimizer, batches=6, progress=False)
    else:
        with pytest.raises(KeyboardInterrupt if failing is KeyboardInterrupt else UserCodeError):
            gradient_noise_scale(task.model, loss, loader, optimizer, batches=6, progress=False)
    assert trace_of(task.model, optimizer) == before
    again = tasks.make("digits_cnn", seed=0, dropout=0.2).train_loader
    next(iter(again))
    assert torch.equal(next(iter(loader))[0], next(iter(again))[0])


def test_progress_counts_batches() -> None:
    seen: list[tuple[int, int]] = []
    gradient_noise_scale(
        line(1.0), F.mse_loss, regression(40, 8), batches=5, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(i, 5) for i in range(1, 6)]


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    task = tasks.make("digits_mlp", seed=0, dropout=0.0)
    here = gradient_noise_scale(task.model, task.loss_fn, task.train_loader, progress=False)
    task = tasks.make("digits_mlp", seed=0, dropout=0.0)
    there = gradient_noise_scale(task.model.cuda(), task.loss_fn, task.train_loader, progress=False)
    assert there.noise_scale == pytest.approx(here.noise_scale, rel=1e-3)
    assert there.high == pytest.approx(here.high, rel=1e-2)
