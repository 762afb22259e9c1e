"""Short runs at other rates: which way the loss is better, beyond noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.clinic import tasks
from tests.probes.test_lr_range import line, untouched
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import LRTrialResult, lr_trial
from lossdoctor.probes.learning_rate.trial_numbers import Start, compared, diverged, fall, mean_of

torch.set_num_threads(1)


def tried(name: str, optimizer: str, factor: float, before: int = 0, **options: Any) -> LRTrialResult:
    """From the state that so many steps at ``factor`` times the tuned rate lead to."""
    task = tasks.make(name)
    torch.manual_seed(0)
    chosen = task.make_optimizer(optimizer)
    for group in chosen.param_groups:
        group["lr"] *= factor
    done, loader = 0, task.train_loader
    while done < before:
        for x, y in loader:
            chosen.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            chosen.step()
            done += 1
            if done == before:
                break
    return lr_trial(task.model, task.loss_fn, loader, chosen, progress=False, **options)


@pytest.mark.parametrize("before", [0, 200])
@pytest.mark.parametrize(
    ("name", "optimizer"), [("digits_mlp", "adam"), ("clusters_mlp", "sgd"), ("friedman", "momentum")]
)
def test_a_rate_far_too_low(name: str, optimizer: str, before: int) -> None:
    result = tried(name, optimizer, 1 / 30, before)
    assert (result.better, result.outcome) == ("higher", "failed")
    assert result.best == 10
    assert max(result.causes, key=result.causes.__getitem__) == "learning-rate-too-low"
    assert result.causes["learning-rate-too-high"] < 1
    assert "Higher is better" in result.verdict
    assert f"{10 * result.present:.2g}" in result.verdict


@pytest.mark.parametrize(
    ("name", "optimizer"), [("digits_mlp", "momentum"), ("clusters_mlp", "sgd"), ("friedman", "sgd")]
)
def test_a_rate_too_high_from_the_start(name: str, optimizer: str) -> None:
    result = tried(name, optimizer, 10)
    assert result.better == "lower"
    assert result.best < 1
    assert max(result.causes, key=result.causes.__getitem__) == "learning-rate-too-high"
    assert result.causes["no-warmup"] > 1


def test_the_noise_of_a_high_rate_asks_for_decay() -> None:
    result = tried("friedman", "adam", 10, 450)
    assert (result.better, result.outcome) == ("lower", "failed")
    assert result.causes["no-decay"] > 1
    assert "Decay the rate" in result.verdict


def test_where_the_present_rate_diverges() -> None:
    result = tried("clusters_mlp", "sgd", 100)
    assert (result.better, result.outcome) == ("lower", "failed")
    assert "diverges within" in result.verdict
    assert next(t for t in result.trials if t.factor == 1).diverged
    hopeless = tried("counts_poisson", "sgd", 3000)
    assert (hopeless.better, hopeless.outcome) == ("unclear", "failed")
    assert "not the rate alone" in hopeless.verdict
    assert hopeless.steps < 30
    (chart,) = hopeless.charts()
    assert all(math.isfinite(v) for one in chart.lines for v in one.y)
    assert {told for _, told in hopeless.rows()} == {"diverged"}


@pytest.mark.parametrize(
    ("name", "optimizer"), [("digits_mlp", "adam"), ("clusters_mlp", "sgd"), ("friedman", "momentum")]
)
def test_a_good_rate_is_not_accused(name: str, optimizer: str) -> None:
    for before in (0, 400):
        result = tried(name, optimizer, 1, before)
        assert result.outcome in ("passed", "noted")
        assert result.causes["learning-rate-too-high"] < 1
        assert result.causes["learning-rate-too-low"] <= 1.5


def test_a_loss_that_stands_still() -> None:
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(64, 3, generator=generator), torch.randn(64, 1, generator=generator)) for _ in range(40)]
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    result = lr_trial(model, F.mse_loss, batches, optimizer, progress=False)
    assert (result.better, result.outcome) == ("same", "noted")
    assert result.causes["saddle-or-plateau"] > 1
    assert "the loss falls at none" in result.verdict


def test_all_runs_see_the_same_batches_and_dropout() -> None:
    task = tasks.make("digits_mlp")  # with dropout, shuffled by a generator of its own
    seen: list[list[float]] = [[]]

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        if len(seen[-1]) == 20:
            seen.append([])
        seen[-1].append(float(target.double().mul(torch.arange(len(target)).add(1).double()).sum()))
        return F.cross_entropy(output, target)

    result = lr_trial(task.model, loss_fn, task.train_loader, task.make_optimizer(), steps=20, progress=False)
    assert len(seen) == 5
    assert all(s == seen[0] for s in seen)
    assert len(set(seen[0])) > 10
    assert len({t.losses[0] for t in result.trials}) == 1
    base = next(t for t in result.trials if t.factor == 1)
    for trial in result.trials:
        expected = np.array(trial.losses[10:]) - np.array(base.losses[10:])
        assert trial.difference == pytest.approx(expected.mean())
        assert trial.last == pytest.approx(np.mean(trial.losses[10:]))


def test_validation_decides_where_it_is_given() -> None:
    """Labels of noise: training gains by a higher rate, validation does not."""
    generator = torch.Generator().manual_seed(0)

    def noise(count: int) -> list[tuple[Tensor, Tensor]]:
        return [
            (torch.randn(16, 40, generator=generator), torch.randn(16, 1, generator=generator)) for _ in range(count)
        ]

    train, val = noise(4), noise(30)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003)
    by_train = lr_trial(model, F.mse_loss, train, optimizer, progress=False)
    by_val = lr_trial(model, F.mse_loss, train, optimizer, val_loader=val, progress=False)
    assert (by_train.better, by_train.decided_by) == ("higher", "train")
    assert by_val.decided_by == "validation"
    assert by_val.better != "higher"
    assert by_val.steps == by_train.steps + 5 * 30
    assert all(t.validation is not None for t in by_val.trials)
    few = lr_trial(model, F.mse_loss, train, optimizer, val_loader=val, val_batches=3, progress=False)
    assert few.decided_by == "train"


def test_groups_accumulation_and_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    groups = [{"params": model[0].parameters(), "lr": 1e-4}, {"params": model[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=1e-3)
    rates: list[tuple[float, float]] = []
    optimizer.register_step_pre_hook(lambda o, *_: rates.append(tuple(g["lr"] for g in o.param_groups)))  # type: ignore[arg-type]
    result = lr_trial(
        model, F.mse_loss, line(), optimizer, factors=(10,), steps=20, accumulate=3, autocast=torch.bfloat16,
        progress=False,
    )  # fmt: skip
    assert [t.rate for t in result.trials] == [1e-3, 1e-2]
    assert len(rates) == 40
    assert rates[0] == pytest.approx((1e-4, 1e-3))
    assert rates[-1] == pytest.approx((1e-3, 1e-2))


@pytest.mark.parametrize("how", [None, RuntimeError("mine"), KeyboardInterrupt()])
def test_no_trace_bit_for_bit(how: BaseException | None) -> None:
    task = tasks.make("digits_cnn")
    loader, optimizer, calls = task.train_loader, task.make_optimizer("adam"), 0
    x, y = next(iter(loader))
    task.loss_fn(task.model(x), y).backward()
    optimizer.step()
    task.model.eval()

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if how is not None and calls > 27:
            raise how
        return F.cross_entropy(output, target)

    def run() -> None:
        lr_trial(
            task.model, loss_fn, loader, optimizer, factors=(0.1, 1), steps=20, val_loader=task.val_loader,
            progress=False,
        )  # fmt: skip

    with untouched(task.model, optimizer, loader=loader):
        if how is None:
            run()
        else:
            with pytest.raises(UserCodeError if isinstance(how, Exception) else KeyboardInterrupt):
                run()


def test_what_is_shown() -> None:
    told: list[tuple[int, int]] = []
    task = tasks.make("friedman")
    result = lr_trial(
        task.model, task.loss_fn, task.train_loader, task.make_optimizer(), steps=30, val_loader=task.val_loader,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (150, 150)
    (chart,) = result.charts()
    assert [len(one.x) for one in chart.lines] == [30] * 5
    assert result.rows()[0][0].startswith("rate 0.0001")
    assert "validation" in result.rows()[0][1]
    assert "nan" not in str(result)
    assert result.test in TESTS
    assert set(result.causes) <= set(CAUSES)
    assert result.measurements[0].value == pytest.approx(result.present * result.best)
    assert "Learning-rate trial" in str(result)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 5}, "steps is 5; expected a whole number from 20"),
        ({"factors": (0.0, 2)}, "each of factors is 0.0; expected a number above 0"),
        ({"factors": (1.0,)}, "give at least one other than 1"),
        ({"val_batches": 0}, "val_batches is 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], words: str) -> None:
    model = nn.Linear(4, 1)
    with pytest.raises(UsageError) as caught:
        lr_trial(model, F.mse_loss, line(), torch.optim.SGD(model.parameters(), lr=0.1), **options)
    assert words in str(caught.value)


def test_a_rate_of_zero_is_named() -> None:
    model = nn.Linear(4, 1)
    with pytest.raises(UsageError, match="learning rate is 0"):
        lr_trial(model, F.mse_loss, line(), torch.optim.SGD(model.parameters(), lr=0.0))


def test_the_error_of_a_mean_holds_under_memory() -> None:
    """Of 400 runs of noise that remembers (AR(1), 0.7) about 5 % are called different, at least not many more."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(400):
        noise = rng.normal(size=140)
        for k in range(1, 140):
            noise[k] += 0.7 * noise[k - 1]
        called += mean_of(noise[100:]).p < 0.05
    assert called < 60


def test_differences_of_runs_that_broke() -> None:
    fine, broken = np.ones(8), np.array([1.0] * 7 + [math.inf])
    assert compared(broken, fine).mean == math.inf
    assert compared(fine, broken).mean == -math.inf
    assert math.isnan(compared(broken, broken).mean)
    assert compared(fine, fine).p == 1
    assert compared(fine - 0.5, fine).p == 0
    assert mean_of(np.array([1.0, 2.0])).p == 1


def test_falls_and_divergence() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 80)
    start = Start(1.0, 0.1)
    assert fall(np.linspace(1, 0.5, 80) + noise) == pytest.approx(0.5, abs=0.1)
    assert fall(1 + noise) == 0
    assert not diverged(1 + noise, start)
    assert diverged(1 + noise + np.linspace(0, 2, 80), start)
    assert diverged(np.array([1.0, math.nan]), start)
    one_bad = 1 + noise
    one_bad[-3] = 40
    assert not diverged(one_bad, start)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees() -> None:
    found = []
    for device in ("cpu", "cuda"):
        task = tasks.make("digits_mlp", dropout=0.0)
        task.model.to(device)
        optimizer = task.make_optimizer(lr=1e-4)
        found.append(lr_trial(task.model, task.loss_fn, task.train_loader, optimizer, progress=False))
    assert found[0].better == found[1].better
    for one, other in zip(found[0].trials, found[1].trials, strict=True):
        assert one.last == pytest.approx(other.last, rel=0.02)
