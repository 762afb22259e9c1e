"""compare_splits: alike, shifted, overlapping; its level, its power, the size of the validation part, no trace."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from benchmarks.clinic import tasks
from numpy.typing import NDArray
from scipy import stats
from tests.probes.traces import trace_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import compare_splits
from lossdoctor.probes.data.statistics import holm, two_sample
from lossdoctor.probes.splits.check import SplitsResult

torch.set_num_threads(1)

Values = NDArray[np.float64]


def mixed(r: np.random.Generator, n: int, d: int = 50) -> Values:
    makers = (
        lambda: r.normal(size=n),
        lambda: r.lognormal(0, 1, n),
        lambda: r.standard_t(3, n),
        lambda: r.poisson(2, n) * 1.0,
        lambda: (r.random(n) < 0.2) * 1.0,
        lambda: np.round(r.exponential(size=n), 1),
    )
    return np.column_stack([makers[j % len(makers)]() for j in range(d)])


def compared(train: Any, val: Any, **options: Any) -> SplitsResult:
    return compare_splits(train, val, progress=False, **options)


def test_fifty_like_features_raise_no_alarm() -> None:
    relations = []
    for seed in range(60):
        r = np.random.default_rng(seed)
        one, two = ((mixed(r, n), r.integers(0, 3, n)) for n in (400, 200))
        relations.append(compared(one, two, classifier="none").relation)
    assert relations.count("same") >= 59


def test_the_classifier_keeps_its_level() -> None:
    p = []
    for seed in range(60):
        r = np.random.default_rng(seed)
        told = compared(r.normal(size=(250, 5)), r.normal(size=(120, 5)), classifier="logistic").classifier
        assert told is not None
        p.append(told.p)
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert min(p) > 0.0025


@pytest.mark.parametrize("sizes", [(300, 200), (80, 900)])
def test_two_samples_are_compared_as_scipy_does(sizes: tuple[int, int]) -> None:
    r = np.random.default_rng(0)
    for move in (0.0, 0.15, 0.4):
        a, b = r.normal(size=sizes[0]), r.normal(move, 1, sizes[1])
        ours, theirs = two_sample(a, b), stats.ks_2samp(a, b, method="exact")
        assert ours.statistic == pytest.approx(theirs.statistic)
        assert ours.p == pytest.approx(theirs.pvalue, rel=0.25, abs=0.02)
        c, d = (
            r.integers(0, 4, sizes[0]) * 1.0,
            r.choice(4, sizes[1], p=[0.25 + move / 2, 0.25 - move / 2, 0.25, 0.25]) * 1.0,
        )
        table = np.stack([np.bincount(v.astype(int), minlength=4) for v in (c, d)])
        exact = stats.chi2_contingency(table)
        if exact.expected_freq.min() >= 5:
            assert two_sample(c, d).p == pytest.approx(exact.pvalue, rel=1e-6)
        else:  # kinds are pooled
            assert exact.pvalue < 1e-3
            assert two_sample(c, d).p < 0.05


def test_holm_is_a_step_down_bonferroni() -> None:
    p = np.random.default_rng(0).random(20) ** 3
    corrected = holm(p.tolist())
    order = np.argsort(p)
    expected = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(20, 0, -1)))
    assert np.array(corrected)[order] == pytest.approx(expected)


def test_the_shifted_features_are_named_with_how_far_they_moved() -> None:
    r = np.random.default_rng(0)
    train, val = mixed(r, 1000), mixed(r, 500)
    val[:, 6] += 1.0
    val[:, 4] = r.random(500) < 0.6
    result = compared(train, val)
    assert (result.relation, result.outcome) == ("shifted", "failed")
    assert {s.name for s in result.shifted} == {"feature 6", "feature 4"}
    moved = next(s for s in result.shifted if s.name == "feature 6")
    assert moved.move == pytest.approx(1.0, abs=0.15)
    assert result.classifier is not None
    assert result.classifier.auc > 0.65
    assert result.causes["validation-differs"] > 3
    assert "'feature 6'" in result.verdict
    assert result.charts()[0].bars[0][0] in ("feature 6", "feature 4")


def test_scales_do_not_matter() -> None:
    r = np.random.default_rng(0)
    train, val = mixed(r, 600, 6), mixed(r, 300, 6) + np.array([0, 0, 0.4, 0, 0, 0])
    scale = np.array([1e-9, 1e9, 1e5, 1, 1, 1e-3])
    plain, scaled = compared(train, val), compared(train * scale, val * scale)
    assert [s.name for s in plain.compared] == [s.name for s in scaled.compared]
    assert [s.p for s in plain.compared] == pytest.approx([s.p for s in scaled.compared], rel=1e-6)


def test_a_shift_of_features_together_is_found_by_the_classifier_alone() -> None:
    r = np.random.default_rng(0)
    train = r.normal(size=(1500, 4))
    val = r.multivariate_normal([0] * 4, np.where(np.eye(4, dtype=bool), 1, 0.8), 1500)
    result = compared(train, val)
    assert result.shifted == ()
    assert result.classifier is not None
    assert result.classifier.classifier == "boosting"
    assert (result.relation, result.outcome) == ("shifted", "failed")


def test_a_slight_shift_in_much_data_is_noted_only() -> None:
    r = np.random.default_rng(0)
    result = compared(r.normal(size=(20000, 3)), r.normal(size=(20000, 3)) + np.array([0.08, 0, 0]))
    assert (result.relation, result.outcome) == ("shifted", "noted")
    assert "slightly" in result.verdict


def test_labels_that_differ() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(1000, 3))
    even, odd = r.choice(["cat", "dog"], 700), r.choice(["cat", "dog", "eel"], 300, p=[0.2, 0.2, 0.6])
    result = compared((x[:700], even), (x[700:], odd), classifier="none")
    assert result.relation == "shifted"
    assert result.target[0].distance == pytest.approx(0.6, abs=0.08)
    numbers = compared((x[:700], x[:700, 0]), (x[700:], x[700:, 0] * 3), classifier="none")
    assert numbers.relation == "shifted"
    assert not numbers.shifted


def test_overlap() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(500, 3))
    result = compared(x, np.concatenate([x[:20], r.normal(size=(180, 3))]))
    assert (result.relation, result.outcome) == ("overlap", "failed")
    assert result.leak is not None
    assert result.leak.count == 20
    assert result.causes["data-leak"] > 10
    assert compared(x, r.normal(size=(200, 3))).causes["data-leak"] < 1


def test_categories_missing_values_images_and_texts() -> None:
    r = np.random.default_rng(0)
    frames = [
        pl.DataFrame(
            {"city": r.choice(["b", "a", "c"], 400, p=p), "age": [None if v < q else 30.0 for v in r.random(400)]},
            strict=False,
        )
        for p, q in (((0.4, 0.3, 0.3), 0.1), ((0.1, 0.1, 0.8), 0.5))
    ]
    shifted = {s.name for s in compared(*frames, classifier="none").shifted}
    assert shifted == {"the frame: age missing", "the categories: city"}
    assert compared(frames[0], frames[0][::-1], classifier="none").shifted == ()
    images = [torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    images[1][:, 2] *= 0.9
    assert {s.name for s in compared(*images, classifier="none").shifted} == {
        "mean of channel 2",
        "contrast of channel 2",
    }
    texts = [torch.randint(0, 40, (300, 12), generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    assert compared(*texts).relation == "same"
    texts[1][:, 3] = torch.where(torch.rand(300) < 0.7, 7, texts[1][:, 3])
    result = compared(*texts)
    assert [s.name for s in result.shifted] == ["the input with code 7"]


def linear() -> nn.Linear:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
        model.bias.zero_()
    return model


def test_the_standard_error_of_the_validation_loss_is_that_of_its_examples() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 3, generator=g)
    y = x[:, :1] + torch.randn(600, 1, generator=g)
    model = nn.Sequential(nn.Dropout(0.5), linear()).train()
    losses = ((linear()(x) - y) ** 2).detach().flatten()
    for data in ((x, y), DataLoader(TensorDataset(x, y), 64), [(x[:300], y[:300]), (x[300:], y[300:])]):
        sure = compared((x + 0.01, y), data, model=model, loss_fn=F.mse_loss, classifier="none").validation
        assert sure is not None
        assert sure.loss == pytest.approx(losses.mean().item(), rel=1e-5)
        assert sure.loss_error == pytest.approx(losses.std().item() / math.sqrt(600), rel=1e-4)
        assert sure.measured_on == 600
    own = compared(
        (x, y), [(x, y)], model=model, forward=lambda m, b: F.mse_loss(m(b[0]), b[1]), classifier="none"
    ).validation
    assert own is not None
    assert own.loss == pytest.approx(losses.mean().item(), rel=1e-5)


@pytest.mark.parametrize(("count", "grade"), [(30, "tiny"), (80, "small"), (200, "coarse"), (1000, "fine")])
def test_a_small_validation_part_is_graded(count: int, grade: str) -> None:
    r = np.random.default_rng(0)
    result = compared(
        (r.normal(size=(500, 2)), r.integers(0, 2, 500)),
        (r.normal(size=(count, 2)), r.integers(0, 2, count)),
        classifier="none",
    )
    assert result.validation is not None
    assert result.validation.grade == grade
    assert result.validation.accuracy_error == pytest.approx(0.5 / math.sqrt(count))
    assert (result.causes["validation-too-small"] > 1) == (grade != "fine")
    assert (grade in result.verdict) == (grade != "fine")


def test_healthy_tasks_are_alike() -> None:
    for name in ("digits_cnn", "friedman"):
        task = tasks.make(name, seed=0)
        result = compared(task.train_loader, task.val_loader, model=task.model, loss_fn=task.loss_fn)
        assert (result.relation, result.passed) == ("same", True)
        assert result.causes["validation-differs"] < 1
        assert set(result.causes) <= set(CAUSES)
        assert result.test in TESTS


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_is_changed(error: type[BaseException] | None) -> None:
    x, y = torch.randn(400, 3), torch.randn(400, 1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    loaders = [
        DataLoader(TensorDataset(x + k, y), 50, shuffle=True, generator=torch.Generator().manual_seed(k))
        for k in (0, 1)
    ]
    calls = 0

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        torch.rand(1)
        if error is not None and calls == 30:
            raise error("no more")
        return F.mse_loss(output, target)

    before = trace_of(model, None, *(k.generator for k in loaders))
    if error is None:
        compared(loaders[0], loaders[1], model=model, loss_fn=loss_fn)
    else:
        with pytest.raises(UserCodeError if error is ValueError else error):
            compared(loaders[0], loaders[1], model=model, loss_fn=loss_fn)
    assert trace_of(model, None, *(k.generator for k in loaders)) == before
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.gpu
def test_cpu_and_cuda_agree() -> None:
    x, y = torch.randn(300, 3), torch.randn(300, 1)
    model = linear()
    here = compared((x, y), (x + 1, y), model=model, loss_fn=F.mse_loss).validation
    there = compared((x.cuda(), y.cuda()), (x.cuda() + 1, y.cuda()), model=model.cuda(), loss_fn=F.mse_loss).validation
    assert here is not None
    assert there is not None
    assert there.loss == pytest.approx(here.loss, rel=1e-5)


@pytest.mark.parametrize(
    ("val", "options", "words"),
    [
        (np.zeros((50, 4)), {}, "the training inputs are table of 1 × 3, the validation inputs table of 1 × 4"),
        (iter([]), {}, "val is a list_iterator, which can be read only once"),
        (np.zeros((50, 3)), {"classifier": "logistik"}, "did you mean 'logistic'?"),
        (np.zeros((50, 3)), {"loss_fn": F.mse_loss}, "a loss was given without a model"),
    ],
)
def test_errors_name_what_is_wrong(val: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compared(np.random.default_rng(0).normal(size=(60, 3)), val, **options)
    assert words in str(caught.value)


def test_without_scikit_learn_the_features_are_still_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossdoctor.probes.splits.classifier.available", lambda: False)
    monkeypatch.setattr("lossdoctor.probes.splits.check.available", lambda: False)
    r = np.random.default_rng(0)
    train, val = r.normal(size=(300, 3)), r.normal(size=(200, 3)) + 1
    result = compared(train, val)
    assert (result.relation, result.classifier) == ("shifted", None)
    assert any("lossdoctor[sklearn]" in n for n in result.notes)
    with pytest.raises(UsageError, match="needs scikit-learn"):
        compared(train, val, classifier="boosting")


def test_too_few_to_say() -> None:
    r = np.random.default_rng(0)
    result = compared(r.normal(size=(20, 3)), r.normal(size=(20, 3)))
    assert (result.relation, result.outcome) == ("unknown", "unknown")
    assert "too few examples" in result.verdict
    assert "sklearn" in sys.modules  # nothing above depended on its absence
