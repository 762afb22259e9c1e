"""The numbers of the experiments on linear regression, against listings written out in full here."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from lossdoctor.lab import experiments
from lossdoctor.lab.experiments import missing_values, regression
from lossdoctor.lab.result import Experiment

SIZES = np.array([1000, 1500, 2000, 2500, 3000])
PRICES = np.array([200, 280, 350, 400, 480])


@cache
def ran(name: str) -> Experiment:
    return experiments.run(name)


# the tools


def test_gradient_and_hessian_are_those_of_the_loss() -> None:
    rng = np.random.RandomState(1)
    x, y = regression.rows(50, (1.0, -2.0, 0.5), 0.1, rng)
    w, h = np.array([0.3, 0.2, -0.1]), 1e-6
    for i, unit in enumerate(np.eye(3)):
        slope = (regression.mse(w + h * unit, x, y) - regression.mse(w - h * unit, x, y)) / (2 * h)
        assert regression.gradient(w, x, y)[i] == pytest.approx(slope, rel=1e-6)
        bend = (regression.gradient(w + unit, x, y) - regression.gradient(w, x, y)) / 1.0
        assert regression.hessian(x)[i] == pytest.approx(bend)


def test_the_critical_rate_is_where_full_batches_diverge() -> None:
    x, y = regression.rows(200, (1.0, 2.0), 0.1, np.random.RandomState(0))
    edge = regression.critical_rate(x)
    for factor, grows in ((0.98, False), (1.02, True)):
        fit = regression.fit(x, y, lr=factor * edge, batch_size=200, epochs=300, rng=np.random.RandomState(0))
        assert bool(fit.losses(x, y)[-1] > fit.losses(x, y)[0]) is grows


def test_means_by_batch_and_by_row() -> None:
    x, y = regression.rows(10, (1.0,), 0.5, np.random.RandomState(0))
    fit = regression.fit(x, y, lr=1e-9, batch_size=4, epochs=2, rng=np.random.RandomState(0))
    assert fit.batch_sizes.tolist() == [4, 4, 2, 4, 4, 2]
    assert fit.rows_seen.tolist() == [10, 20]
    # With weights that do not move, the mean by row is the loss itself; by batch the last two rows count double.
    assert fit.mean_of_rows() == pytest.approx(fit.losses(x, y)[1:], rel=1e-6)
    assert abs(fit.mean_of_batches()[0] / fit.mean_of_rows()[0] - 1) > 1e-3


# house prices


def test_house_prices() -> None:
    numbers, table = ran("house_prices").numbers, ran("house_prices").tables[0]
    w, b, printed = 0.1, 50.0, {}
    for step in range(1001):
        error = w * SIZES + b - PRICES
        printed[step] = (w, b, np.mean(error**2))
        w, b = w - 1e-7 * 2 * np.mean(error * SIZES), b - 1e-7 * 2 * np.mean(error)
    for step, *row in table.rows:
        assert row == pytest.approx(printed[int(step)], rel=1e-9)
    assert [row[0] for row in table.rows] == [0, 200, 400, 600, 800, 1000]
    assert (numbers["w after the last step"], numbers["b after the last step"]) == (pytest.approx(w), pytest.approx(b))
    assert (f"{w:.4f}", f"{b:.2f}") == ("0.1449", "50.00")


def test_house_prices_stop_short_of_least_squares() -> None:
    numbers = ran("house_prices").numbers
    slope, offset = np.polyfit(SIZES, PRICES, 1)
    assert (numbers["least squares w"], numbers["least squares b"]) == (
        pytest.approx(slope), pytest.approx(offset),
    )  # fmt: skip
    assert numbers["loss after the last step"] > 1.9 * numbers["least squares loss"]
    assert numbers["scaled: loss after the last step"] == pytest.approx(numbers["least squares loss"])
    assert numbers["scaled: steps to within 1 % of the least loss"] < 50
    assert 1e-7 < numbers["critical rate, raw"] < 3e-7
    assert numbers["critical rate, scaled"] == pytest.approx(1)


def test_scikit_learn_finds_the_line_directly() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="pip install scikit-learn (it is in the extra dev)")
    fitted = linear.LinearRegression().fit(SIZES[:, None], PRICES)
    numbers = ran("house_prices").numbers
    assert fitted.coef_[0] == pytest.approx(numbers["least squares w"], rel=1e-9)
    assert fitted.intercept_ == pytest.approx(numbers["least squares b"], rel=1e-9)
    assert not hasattr(fitted, "n_iter_")


# missing values


def test_imputation_is_scikit_learns() -> None:
    impute = pytest.importorskip("sklearn.impute", reason="pip install scikit-learn (it is in the extra dev)")
    rng = np.random.default_rng(0)
    x = np.where(rng.random((60, 3)) < 0.1, np.nan, rng.normal(size=(60, 3)) + 2)
    assert missing_values.mean_imputed(x) == pytest.approx(impute.SimpleImputer(strategy="mean").fit_transform(x))
    wide = missing_values.with_indicator(x)
    assert wide.shape == (60, 6)
    assert np.array_equal(wide[:, 3:], np.isnan(x))
    assert np.isfinite(wide).all()


def test_missing_values() -> None:
    numbers = ran("missing_values").numbers
    assert np.isnan(numbers["loss, left as NaN"])
    assert numbers["loss, NaN to 0"] > numbers["loss, mean imputed"] > numbers["loss, nothing missing"]
    assert numbers["loss, 0 and an indicator"] <= numbers["loss, mean imputed"]
    first = ran("missing_values").runs["left as NaN"].loss
    assert np.isnan(first[0])


# batches


def tutorial_variants() -> tuple[float, float, float]:
    """Batch, stochastic and mini-batch descent as they are usually written out, on the global generator's draws."""
    draw = np.random.RandomState(42)
    x = draw.randn(500, 3)
    y = x @ np.array([2.0, -1.0, 0.5]) + draw.randn(500) * 0.1
    w, ends = draw.randn(3) * 0.01, []
    for _ in range(50):
        error = x @ w - y
        loss = np.mean(error**2)
        w = w - 0.01 * (2 / 500) * (x.T @ error)
    ends.append(loss)
    w = draw.randn(3) * 0.01
    for _ in range(50):
        total = 0.0
        for i in draw.permutation(500):
            miss = x[i] @ w - y[i]
            total += miss**2
            w = w - 0.001 * 2 * x[i] * miss
    ends.append(total / 500)
    w = draw.randn(3) * 0.01
    for _ in range(50):
        order, losses = draw.permutation(500), []
        for start in range(0, 500, 32):
            rows = order[start : start + 32]
            error = x[rows] @ w - y[rows]
            losses.append(np.mean(error**2))
            w = w - 0.01 * (2 / len(rows)) * (x[rows].T @ error)
    ends.append(np.mean(losses))
    return ends[0], ends[1], ends[2]


def test_batch_variants() -> None:
    numbers = ran("batch_variants").numbers
    batch, single, mini = tutorial_variants()
    assert numbers["as printed: batch"] == pytest.approx(batch, rel=1e-9)
    assert numbers["as printed: stochastic"] == pytest.approx(single, rel=1e-9)
    assert numbers["as printed: mini-batch"] == pytest.approx(mini, rel=1e-9)
    assert (round(batch, 4), round(single, 5), round(mini, 5)) == (0.7759, 0.00966, 0.00964)
    assert numbers["as printed: mini-batch, averaged by row"] != pytest.approx(mini, rel=1e-6)


def test_noise_memory_and_floor_by_batch() -> None:
    result = ran("batch_variants")
    whole, mini, single = result.tables[0].rows
    noise, memory, floor = (result.tables[0].columns.index(c) for c in (
        "noise of a step", "bytes a step", "last loss above the least"))  # fmt: skip
    assert whole[noise] < 1e-12 < mini[noise] < single[noise]
    # √32 less noise, up to the draws; a share of the rows' memory.
    assert single[noise] / mini[noise] == pytest.approx(np.sqrt(32), rel=0.25)
    assert whole[memory] > 5 * mini[memory] > 5 * single[memory] > 0
    assert mini[floor] < single[floor]


def test_mini_batch() -> None:
    numbers = ran("mini_batch").numbers
    draw = np.random.RandomState(42)
    x = draw.randn(1000, 3)
    y = x @ np.array([2.0, -1.5, 0.5]) + draw.randn(1000) * 0.5
    full, mini = np.zeros(3), np.zeros(3)
    losses: dict[str, list[float]] = {"full batch": [], "mini-batch": []}
    for _ in range(100):
        full = full - 0.01 * 2 * x.T @ (x @ full - y) / 1000
        losses["full batch"].append(float(np.mean((x @ full - y) ** 2)))
    for _ in range(100):
        order = draw.permutation(1000)
        xs, ys = x[order], y[order]
        for i in range(0, 1000, 32):
            a, b = xs[i : i + 32], ys[i : i + 32]
            mini = mini - 0.01 * 2 * a.T @ (a @ mini - b) / len(b)
        losses["mini-batch"].append(float(np.mean((x @ mini - y) ** 2)))
    for name, values in losses.items():
        assert numbers[f"loss, {name}"] == pytest.approx(values[-1], rel=1e-9)
        assert numbers[f"epochs, {name}"] == next(i + 1 for i, v in enumerate(values) if v < 1.0)
    assert (numbers["epochs, mini-batch"], numbers["epochs, full batch"]) == (2, 55)
    # The full batch at a rate that suits it is there at once: it was the rate, not the batch.
    assert numbers["epochs, full batch at its own rate"] == 1
    assert numbers["loss, full batch at its own rate"] == pytest.approx(numbers["least squares loss"])


def test_gradient_noise() -> None:
    numbers = ran("gradient_noise").numbers
    assert numbers["exponent"] == pytest.approx(-1, abs=0.05)
    assert numbers["largest deviation from the law"] < 0.2
    assert numbers["noise ratio sharp to flat"] == pytest.approx(numbers["curvature ratio sharp to flat"], rel=0.15)
    # Isotropic noise of equal strength: Σ = lr·s²/(2λ) along the flat direction against lr·σ² of the rows' noise.
    assert numbers["flat spread, isotropic to mini-batch"] > 2


def test_linear_scaling() -> None:
    numbers = ran("linear_scaling").numbers
    assert max(numbers[f"gap at k = {k}, linear"] for k in (8, 64)) < 0.01
    assert numbers["gap at k = 8, same rate"] > 0.05
    assert numbers["gap at k = 64, square root"] > 0.2
    assert numbers["largest k that linear scaling keeps"] == 128
    # It breaks where the rate passes the critical one: 0.004 k = 2/λmax.
    assert 128 * 0.004 < numbers["critical rate"] < numbers["first k that diverges"] * 0.004
    assert numbers["accumulation error"] < 1e-12


def test_range_test() -> None:
    numbers = ran("lr_range_test").numbers
    assert numbers["steepest descent"] < numbers["minimum of the loss"] < numbers["where it explodes"]
    assert numbers["minimum of the loss"] == pytest.approx(numbers["critical rate"], rel=0.3)
    assert numbers["where it explodes"] > numbers["critical rate"]
    # 1e-7 times 1.1 to the power of the batches before.
    assert numbers["where it explodes"] == pytest.approx(1e-7 * 1.1 ** (numbers["batches"] - 1), rel=1e-9)
    assert numbers["largest drop between neighbours"] < 1e-5  # the noise of the first batches
