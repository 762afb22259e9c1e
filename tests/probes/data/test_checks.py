"""Every check of the data: a sick set that it finds, with rows and numbers, and sound ones that it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import datasets
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.probes.data.front import check_data
from lossdoctor.probes.data.order import equal_neighbours
from lossdoctor.probes.data.outliers import far_out
from lossdoctor.probes.data.result import DataResult
from lossdoctor.probes.data.sentinel import spike

torch.set_num_threads(1)

Values = NDArray[np.float64]


def sound(seed: int, n: int = 400, d: int = 50) -> Values:
    """Columns as tables have them: normal, uniform, skewed, heavy-tailed, counts, switches, rounded, many zeros."""
    r = np.random.default_rng(seed)
    makers: list[Callable[[], Values]] = [
        lambda: r.normal(size=n),
        lambda: r.uniform(-1, 1, n),
        lambda: r.exponential(size=n),
        lambda: r.lognormal(0, 0.7, n),
        lambda: r.standard_t(3, n),
        lambda: r.poisson(3, n) * 1.0,
        lambda: (r.random(n) < 0.3) * 1.0,
        lambda: np.round(r.normal(size=n), 2),
        lambda: r.exponential(size=n) * (r.random(n) < 0.2),
        lambda: r.gamma(2, size=n),
    ]
    return np.column_stack([makers[j % len(makers)]() for j in range(d)])


def found(result: DataResult, check: str) -> DataResult:
    assert result.found(check), f"{check} not among {[f.check for f in result.findings]}"
    return result


def checked(x: object, y: object = None, **options: object) -> DataResult:
    return check_data(x, y, progress=False, **options)  # type: ignore[arg-type]


def test_fifty_sound_features_raise_no_alarm() -> None:
    alarms = []
    for seed in range(60):
        r = np.random.default_rng(1000 + seed)
        x = sound(seed)
        y = (r.normal(size=400), x[:, 0] + r.normal(size=400), r.integers(0, 3, 400))[seed % 3]
        alarms += [f.summary for f in checked((x, y), val=sound(seed + 5000, n=100)).findings if f.check != "baseline"]
    assert alarms == []  # 3,000 features; at the 1 % level 0.6 sets of 60 are expected at most


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_outliers_and_sentinels_do_not_depend_on_the_unit(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=1000)
    x[[3, 700]] = 80.0
    assert far_out(x[:, None], 1e-4) is not None
    assert np.array_equal(far_out(x[:, None] * scale + 5 * scale, 1e-4), [3, 700])


def test_missing_values_come_with_rows_and_a_pipeline_that_fills_them() -> None:
    x = np.random.default_rng(0).normal(size=(300, 3))
    x[[5, 77], 1] = np.nan
    finding = found(checked(x), "missing").findings[0]
    assert (finding.severity, finding.feature, finding.rows, finding.count) == ("critical", "feature 1", (5, 77), 2)
    assert finding.remedy is not None
    fixed = finding.remedy.fix(x).transform(x)
    assert fixed.shape == (300, 4)  # with an indicator of where something was missing
    assert np.isfinite(fixed).all()
    assert np.flatnonzero(fixed[:, 3] > 1).tolist() == [5, 77]
    for name in ("SimpleImputer", "add_indicator=True", "fit_transform(x_train)", "transform(x_val)"):
        assert name in finding.remedy.code


def test_lines_of_a_remedy_run() -> None:
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * 100 + 7
    x[5, 1] = float("nan")
    remedy = checked(x).findings[0].remedy
    assert remedy is not None
    names = {"torch": torch, "x": x, "x_train": x, "x_val": x[:10]}
    exec(remedy.in_torch, names)
    assert names["x"].shape == (300, 6)
    assert bool(torch.isfinite(names["x"]).all())
    assert names["x"][:, 0].std().item() == pytest.approx(1, rel=0.01)
    names = {"x_train": x.numpy(), "x_val": x[:10].numpy()}
    exec(remedy.code, names)
    assert names["x_val"].shape == (10, 4)


def test_missing_that_depends_on_the_target_is_told() -> None:
    r = np.random.default_rng(0)
    x, y = r.normal(size=(600, 2)), r.normal(size=600)
    x[(y > 0.5) & (r.random(600) < 0.5), 0] = np.nan
    assert "goes with the target" in checked(x, y).findings[0].summary
    x[:, 0] = np.where(r.random(600) < 0.2, np.nan, 0) + r.normal(size=600)
    assert "goes with the target" not in checked(x, y).findings[0].summary


def test_an_infinity_and_a_target_without_value() -> None:
    x, y = np.random.default_rng(0).normal(size=(200, 2)), np.arange(200.0)
    x[9, 0], y[4] = np.inf, np.nan
    result = checked(x, y)
    assert found(result, "infinite").found("infinite")[0].rows == (9,)
    assert "target" in found(result, "missing").found("missing")[0].summary
    assert result.causes["bad-data"] >= 8


@pytest.mark.parametrize("code", [-999.0, 999.0, 0.0, -1.0])
def test_a_code_for_missing_is_found(code: float) -> None:
    r = np.random.default_rng(0)
    age = np.round(r.normal(45, 9, size=1000).clip(18, 90))
    age[r.random(1000) < 0.03] = code
    hit = spike(age)
    assert hit is not None
    assert hit[0] == code
    remedy = found(checked(age[:, None]), "sentinel").found("sentinel")[0].remedy
    assert remedy is not None
    fixed = remedy.fix(age[:, None]).transform(age[:, None])
    assert fixed[age == code, 0] == pytest.approx(fixed[age == code, 0][0])
    assert abs(fixed[age == code, 0][0]) < 0.3  # the median of the true ages


def test_ordinary_zeros_and_minus_ones_are_no_codes() -> None:
    r = np.random.default_rng(0)
    for values in (
        r.exponential(size=1000) * (r.random(1000) < 0.3),  # rain
        r.poisson(4, 1000) * 1.0,
        r.integers(-5, 6, 1000) * 1.0,
        r.integers(0, 17, 1000) * 1.0,
        np.round(r.normal(size=1000), 1),
    ):
        assert spike(values) is None


def test_the_critical_rate_is_where_gradient_descent_turns_unstable() -> None:
    r = np.random.default_rng(0)
    x = (r.normal(size=(300, 4)) * [1, 30, 2, 5] + [0, 10, 0, 0]).astype(np.float64)
    y = x @ np.array([1.0, -0.1, 2.0, 0.5])
    result = checked(x, y)
    for factor, explodes in ((0.98, False), (1.02, True)):
        w, b = np.zeros(4), 0.0
        for _ in range(3000):
            error = x @ w + b - y
            w -= factor * result.critical_rate * 2 * x.T @ error / 300
            b -= factor * result.critical_rate * 2 * error.mean()
            if not np.isfinite(w).all() or np.abs(w).max() > 1e12:
                break
        assert (np.abs(w).max() > 1e6) == explodes
    standard = (x - x.mean(0)) / x.std(0)
    assert result.critical_rate_standardized == pytest.approx(checked(standard, y).critical_rate, rel=1e-6)


def test_wide_inputs_agree_with_the_dense_eigenvalue() -> None:
    x = np.random.default_rng(0).normal(size=(200, 700)) + 0.3
    a = np.column_stack([x, np.ones(200)])
    exact = float(np.linalg.eigvalsh(a @ a.T / 200)[-1])
    assert 1 / checked(x, np.arange(200.0) / 200).critical_rate == pytest.approx(exact, rel=2e-3)


def test_a_raw_scale_is_held_to_the_learning_rate() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(500, 3)) * [1, 1, 1000]
    y = x[:, 0]
    finding = found(checked(x, y, lr=0.01), "scale").findings[0]
    assert (finding.severity, finding.feature) == ("critical", "feature 2")
    assert "the learning rate is 0.01" in finding.summary
    assert not checked(r.normal(size=(500, 3)), y, lr=0.01).found("scale")
    assert checked(x, y).causes["inputs-unscaled"] > 1
    assert checked(r.normal(size=(500, 3)), y).causes["inputs-unscaled"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails_and_clusters_are_no_outliers(seed: int) -> None:
    r = np.random.default_rng(seed)
    for values in (
        r.standard_cauchy(2000),
        r.lognormal(0, 2, 2000),
        r.pareto(1, 2000),
        r.zipf(2.5, 2000) * 1.0,
        np.where(r.random(2000) < 0.1, r.normal(30, 1, 2000), r.normal(size=2000)),
        r.poisson(0.1, 2000) * 1.0,
        np.round(r.lognormal(0, 1.5, 2000)),
    ):
        assert far_out(values[:, None], 1e-4) is None


def test_outliers_that_hold_the_variance_are_a_warning_and_one_batch_is_named() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2))
    x[[640, 641], 1] = [500, -700]
    loader = [(torch.tensor(x[k : k + 20]), torch.tensor(x[k : k + 20, :1])) for k in range(0, 1000, 20)]
    result = found(checked(loader), "outliers")
    finding = result.found("outliers")[0]
    assert (finding.severity, finding.rows, finding.feature) == ("warning", (640, 641), "feature 1")
    assert finding.numbers["variance_share"] > 0.9
    assert result.causes["outliers"] > 3
    assert result.causes["bad-batch"] > 3


def test_constant_duplicated_and_proportional_features() -> None:
    x = np.random.default_rng(0).normal(size=(200, 5))
    x[:, 1], x[:, 3], x[:, 4] = 7.0, x[:, 0], -2 * x[:, 2] + 1
    result = checked(x)
    assert found(result, "constant").found("constant")[0].feature == "feature 1"
    summary = found(result, "duplicated-features").found("duplicated-features")[0].summary
    assert "'feature 3' equals 'feature 0'" in summary
    assert "'feature 4' is the negative of 'feature 2'" in summary
    assert result.outcome == "noted"


def test_a_feature_that_is_the_target_is_told() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    assert found(checked(x, 3 * x[:, 1] - 1), "target-leak").found("target-leak")[0].feature == "feature 1"
    y = np.random.default_rng(1).integers(0, 2, 200)
    x[:, 2] = 10 - 4 * y
    assert found(checked(x, y), "target-leak").found("target-leak")[0].feature == "feature 2"
    assert not checked(x[:, :2], y).found("target-leak")


def test_copies_within_and_across_are_counted_and_named() -> None:
    r = np.random.default_rng(0)
    x, y = r.normal(size=(300, 3)), r.integers(0, 2, 300)
    x[250:280] = x[:30]
    val = r.normal(size=(100, 3))
    val[10:20] = x[100:110]
    result = checked((x, y), val=(val.astype(np.float32), np.zeros(100)))  # stored in another precision
    assert found(result, "duplicates").found("duplicates")[0].count == 30
    leak = found(result, "leak").found("leak")[0]
    assert (leak.severity, leak.count, leak.rows) == ("critical", 10, tuple(range(10, 20)))
    assert "validation row 10 is training row 100" in leak.summary
    assert result.causes["data-leak"] > 3


def test_ties_of_few_values_are_no_copies() -> None:
    r = np.random.default_rng(0)
    x = r.integers(0, 3, (500, 4)) * 1.0
    result = checked((x, r.integers(0, 2, 500)), val=x[:100] * 1.0)
    assert not result.found("duplicates")
    assert not result.found("leak")
    assert all(f.severity == "info" for f in result.found("contradictions"))


def test_contradicting_labels_limit_the_accuracy() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(200, 3))
    x, y = np.concatenate([x, x[:40]]), r.integers(0, 2, 240)
    y[200:] = 1 - y[:40]
    finding = found(checked(x, y), "contradictions").found("contradictions")[0]
    assert finding.severity == "warning"
    assert finding.value == pytest.approx(40 / 240)
    assert finding.count == 80
    y[200:] = y[:40]
    assert not checked(x, y).found("contradictions")


def test_classes_missing_rare_single_and_unseen() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(400, 2))
    single = found(checked(x, np.full(400, 3)), "balance")
    assert (single.findings[0].severity, single.outcome) == ("critical", "failed")
    assert checked(x, np.zeros(400, dtype=int)).outcome == "noted"  # may be a placeholder
    assert "count from 1 to 3" in found(checked(x, r.integers(1, 4, 400)), "labels").found("labels")[0].summary
    y = np.where(r.random(400) < 0.01, 1, 0)
    result = found(found(checked(x, y), "imbalance"), "few-examples")
    assert result.balance == {"0": int((y == 0).sum()), "1": int((y == 1).sum())}
    unseen = checked((x, r.integers(0, 2, 400)), val=(x[:50] + 1, np.arange(50) % 5))
    assert "not in the training part ('2', '3', '4'" in found(unseen, "labels").found("labels")[0].summary


def batches(x: Values, y: NDArray[np.int64], shuffle: bool = False) -> DataLoader[tuple[torch.Tensor, ...]]:
    set_ = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    return DataLoader(set_, 20, shuffle=shuffle, generator=torch.Generator().manual_seed(0))


def test_sorted_labels_in_a_loader_are_a_fault_and_in_storage_a_note() -> None:
    r = np.random.default_rng(0)
    x, y = r.normal(size=(400, 3)), np.sort(r.integers(0, 4, 400))
    bad = checked(batches(x, y))
    assert found(bad, "order").found("order")[0].severity == "critical"
    assert bad.causes["data-unshuffled"] >= 10
    good = checked(batches(x, y, shuffle=True))
    assert not good.found("order")
    assert good.causes["data-unshuffled"] < 0.2
    assert found(checked(x, y), "order").found("order")[0].severity == "info"
    assert "sorted" in found(checked(x, np.sort(r.normal(size=400))), "order").found("order")[0].summary


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 10**6))
def test_equal_neighbours_have_the_mean_and_spread_of_shuffled_orders(counts: list[int], seed: int) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    if len(codes) < 10:
        return
    r = np.random.default_rng(seed)
    z = np.array([equal_neighbours(r.permutation(codes))[0] for _ in range(300)])
    if z.std() == 0:
        return
    assert abs(z.mean()) < 0.3
    assert 0.8 < z.std() < 1.2


def test_images_and_token_ids_are_understood() -> None:
    digits = datasets.load_digits()
    pixels = torch.tensor(digits.images[:, None] * 15.9375, dtype=torch.float32).round()
    y = torch.tensor(digits.target)
    raw = found(checked((pixels, y)), "pixels")
    assert "0 to 255" in raw.found("pixels")[0].summary
    assert not raw.found("outliers")
    assert not raw.found("constant")  # channels, not pixels, are the features
    remedy = raw.findings[0].remedy
    assert remedy is not None
    names = {"torch": torch, "x": pixels}
    exec(remedy.code, names)
    assert abs(names["x"].mean().item()) < 0.01
    assert names["x"].std().item() == pytest.approx(1, abs=0.01)
    assert checked((pixels / 255, y)).outcome == "passed"
    assert found(checked((pixels / 255 / 255, y)), "pixels").found("pixels")[0].severity == "critical"
    ids = torch.randint(0, 5000, (200, 16), generator=torch.Generator().manual_seed(0))
    text = checked([{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": y[:200]}])
    assert not [f for f in text.findings if f.check in ("scale", "outliers", "constant", "pixels")]
    assert text.features == 0


def test_few_examples_are_told() -> None:
    r = np.random.default_rng(0)
    result = found(checked(r.normal(size=(60, 3)), r.normal(size=60)), "size")
    assert result.causes["too-little-data"] > 2
    assert not checked(r.normal(size=(200, 3)), r.normal(size=200)).found("size")
