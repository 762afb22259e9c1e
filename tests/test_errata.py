"""The numbers of docs/errata.md, computed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lossdoctor import TrainingHistory

TEXT = (Path(__file__).parents[1] / "docs" / "errata.md").read_text("utf-8")


def says(*numbers: str) -> None:
    for number in numbers:
        assert number.replace("-", "−") in TEXT, number


def descend(rate: float, steps: int = 40) -> np.ndarray:
    """The distance to the minimum of (w − 3)² over gradient descent from 0."""
    w, out = 0.0, []
    for _ in range(steps):
        out.append(w - 3)
        w -= rate * 2 * (w - 3)
    return np.array(out)


def test_the_quartic() -> None:
    left, top, right = sorted(np.roots([4, 0, -16, 1]).real)

    def value(x: float) -> float:
        return float(x**4 - 8 * x**2 + x)

    assert value(left) < value(right) < value(top)
    says(
        f"f({left:.4f}) = {value(left):.3f}", f"f({right:.4f}) = {value(right):.3f}", f"f({top:.4f}) = {value(top):.3f}"
    )


def test_rates_on_the_parabola() -> None:
    slow, fast, swings, edge, out = (descend(r) for r in (0.45, 0.5, 0.95, 1.0, 1.05))
    assert np.all(np.diff(np.abs(slow)) <= 0)
    assert np.all(slow[slow != 0] < 0)  # never crosses
    assert abs(fast[1]) < 1e-12
    assert np.all(swings[:-1] * swings[1:] < 0)  # crosses every time
    assert np.all(np.diff(swings**2) < 0)  # and its loss falls all the same
    assert (swings[1] / swings[0]) ** 2 == pytest.approx(0.81)
    assert np.allclose(np.abs(edge), 3)
    assert (out[1] / out[0]) ** 2 == pytest.approx(1.21)
    says("0.81", "1.21", "1.05", "2/λmax = 1.0")


def test_the_labels_come_from_the_dynamics() -> None:
    """What lossdoctor says of these rates: two converge, one diverges."""
    for rate, alarm in ((0.45, False), (0.95, False), (1.05, True)):
        assert TrainingHistory(loss=list(descend(rate, 60) ** 2)).diagnose().alarm is alarm, rate


def test_himmelblau() -> None:
    def gradient(p: np.ndarray) -> np.ndarray:
        x, y = p
        a, b = x * x + y - 11, x + y * y - 7
        return np.array([4 * x * a + 2 * b, 2 * a + 4 * y * b])

    def hessian(p: np.ndarray) -> np.ndarray:
        x, y = p
        return np.array([[12 * x * x + 4 * y - 42, 4 * (x + y)], [4 * (x + y), 12 * y * y + 4 * x - 26]])

    found: list[np.ndarray] = []
    for x in np.linspace(-5, 5, 25):
        for y in np.linspace(-5, 5, 25):
            p = np.array([x, y])
            for _ in range(60):
                p = p - np.linalg.solve(hessian(p), gradient(p))
            if np.linalg.norm(gradient(p)) < 1e-9 and all(np.linalg.norm(p - q) > 1e-6 for q in found):
                found.append(p)
    signs = [int((np.linalg.eigvalsh(hessian(p)) > 0).sum()) for p in found]
    assert sorted(signs) == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    x, y = found[signs.index(0)]
    says(f"({x:.3f}, {y:.3f})", f"{(x * x + y - 11) ** 2 + (x + y * y - 7) ** 2:.1f}")


def test_linear_regression_is_solved_directly() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="pip install scikit-learn (it is in the extra dev)")
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(50, 3)), rng.normal(size=50)
    y = x @ [2.0, -1.5, 0.5] + noise
    fitted = linear.LinearRegression(fit_intercept=False).fit(x, y)
    assert fitted.coef_ == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0], abs=1e-12)
    assert not hasattr(fitted, "n_iter_")
    assert hasattr(linear.SGDRegressor().fit(x, y), "n_iter_")


def test_larger_batches_are_less_noisy() -> None:
    gradients = np.random.default_rng(1).normal(size=(4000, 64))
    ratio = gradients[:, 0].std() / gradients.mean(axis=1).std()
    assert ratio == pytest.approx(8, rel=0.05)


def test_the_first_outlier() -> None:
    history = TrainingHistory(loss=[100.0, *[1.0] * 20])
    says(f"{history.smooth(seeds=True).values[-1]:.1f}", f"{history.smooth().values[-1]:.2f}")


def test_one_nan_stays_one_nan() -> None:
    history = TrainingHistory(loss=[1.0, math.nan, 1.0, 1.0])
    assert np.isnan(history.smooth().values).tolist() == [False, True, False, False]


def test_a_minimum_that_was_chosen() -> None:
    draws = np.random.default_rng(2).normal(size=(4000, 100))
    assert -draws.min(axis=1).mean() == pytest.approx(2.5, abs=0.05)
    says("2.5σ")
