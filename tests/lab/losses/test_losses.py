"""Loss functions: against their formulas, against finite differences, and fitted against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import losses
from lossdoctor.lab.losses import LOSSES, loss, outlier_study, suggest

# Away from the kinks (0, ±1) by more than the step of a finite difference.
AT = np.array([-30.0, -4.3, -1.7, -0.6, -0.05, 0.05, 0.4, 1.6, 5.2, 30.0])


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


FORMULAS = {
    "mse": lambda e: e**2,
    "mae": np.abs,
    "huber": lambda e: np.where(np.abs(e) <= 1.0, 0.5 * e**2, np.abs(e) - 0.5),
    "log_cosh": lambda e: np.log(np.cosh(e)),
    "quantile": lambda e: np.where(e < 0.0, -0.9 * e, 0.1 * e),
    "bce": lambda z: np.log1p(np.exp(-z)),
    "cross_entropy": lambda z: np.log1p(9.0 * np.exp(-z)),
    "hinge": lambda z: np.maximum(0.0, 1.0 - z),
    "focal": lambda z: -((1.0 - sigmoid(z)) ** 2) * np.log(sigmoid(z)),
}


@pytest.mark.parametrize("name", losses.names())
def test_value_gradient_and_curvature(name: str) -> None:
    curves = loss(name).curves(AT)
    formula = FORMULAS[name]
    np.testing.assert_allclose(curves.value, formula(AT), rtol=1e-9, atol=1e-9)
    h = 1e-4
    np.testing.assert_allclose(curves.gradient, (formula(AT + h) - formula(AT - h)) / (2 * h), rtol=1e-5, atol=1e-6)
    curvature = (loss(name).curves(AT + h).gradient - loss(name).curves(AT - h).gradient) / (2 * h)
    np.testing.assert_allclose(curves.curvature, curvature, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loss(name)(AT), curves.value)


@pytest.mark.parametrize("name", losses.names())
def test_losses_are_finite_far_out_and_described(name: str) -> None:
    one = loss(name)
    curves = one.curves([-1e4, -700.0, 0.0, 700.0, 1e4])
    for part in (curves.value, curves.gradient, curves.curvature):
        assert np.isfinite(part).all()
    assert one.title
    assert one.formula
    assert one.pulls
    assert one.suits
    assert LOSSES[name].__doc__


def test_what_a_person_should_know_of_them() -> None:
    assert loss("mse").curves([10.0]).gradient[0] == 20.0
    assert loss("mae").curves([10.0]).gradient[0] == 1.0
    assert loss("huber", delta=2.5).curves([10.0]).gradient[0] == 2.5
    assert loss("cross_entropy", classes=7)([0.0])[0] == pytest.approx(math.log(7))
    assert loss("focal", gamma=0.0)([0.7])[0] == pytest.approx(loss("bce")([0.7])[0])
    assert loss("quantile", q=0.5)([-3.0])[0] == 1.5


def test_panels_of_value_gradient_and_curvature() -> None:
    value, gradient, curvature = losses.panels()
    assert [line.label for line in value.lines][:3] == ["Squared error (MSE)", "Absolute error (MAE)", "Huber, δ = 1"]
    np.testing.assert_allclose(value.lines[0].y, value.lines[0].x ** 2)
    np.testing.assert_allclose(gradient.lines[0].y, 2.0 * value.lines[0].x)
    np.testing.assert_allclose(curvature.lines[0].y, 2.0)
    for panel in losses.panels(["bce", "hinge"], errors=[-1.0, 2.0]):
        assert panel.x_label.startswith("margin")
        assert len(panel.lines) == 2
    with pytest.raises(UsageError, match="of one task"):
        losses.panels(["mse", "bce"])
    with pytest.raises(UsageError, match="of one task"):
        losses.panels([])


# really fitted


def test_constants_are_the_mean_the_median_and_the_quantile() -> None:
    study = outlier_study("location", ["mse", "mae", "quantile", "huber"], positions=[0.0, 5.0, 20.0])
    for k, position in enumerate((0.0, 5.0, 20.0)):
        y = study.y.copy()
        y[-1] += position
        found = study.parameters[:, k, 0]
        assert found[0] == pytest.approx(y.mean(), abs=1e-6)
        assert found[1] == pytest.approx(np.median(y), abs=1e-4)
        assert found[2] == pytest.approx(np.quantile(y, 0.9, method="inverted_cdf"), abs=1e-4)
        huber = minimize(
            lambda c, y=y: loss("huber")(c - y).mean(), [0.0], method="Nelder-Mead", options={"xatol": 1e-9}
        )
        assert found[3] == pytest.approx(huber.x[0], abs=1e-5)
    assert study.shift[0, -1] == pytest.approx(20.0 / 21.0, abs=1e-6), "the mean moves without bound"
    assert abs(study.shift[1, -1]) < 0.2, "the median moves by a rank at most"
    assert study.shift[3, -1] == pytest.approx(study.shift[3, 1], abs=1e-5), "Huber's pull is bounded"


def test_lines_are_the_least_ones() -> None:
    study = outlier_study("line", ["mse", "mae"], positions=[0.0, 15.0])
    for k, position in enumerate((0.0, 15.0)):
        y = study.y.copy()
        y[-1] += position
        slope, intercept = np.polyfit(study.x, y, 1)
        np.testing.assert_allclose(study.parameters[0, k], [intercept, slope], atol=1e-5)
        # least absolute deviations as a linear program: minimise Σt with −t ≤ y − a − bx ≤ t
        n = len(y)
        design = np.column_stack([np.ones(n), study.x])
        least = linprog(
            np.concatenate([[0.0, 0.0], np.ones(n)]),
            A_ub=np.block([[design, -np.eye(n)], [-design, -np.eye(n)]]),
            b_ub=np.concatenate([y, -y]),
            bounds=[(None, None)] * 2 + [(0.0, None)] * n,
        )
        cost = np.abs(y - design @ study.parameters[1, k]).sum()
        assert cost == pytest.approx(least.fun, rel=1e-4)
    assert study.shift[0, 1] > 10 * abs(study.shift[1, 1])
    fits = study.fits()
    assert [line.label for line in fits.lines] == ["data", "outlier", "Squared error (MSE)", "Absolute error (MAE)"]
    assert fits.lines[1].y[0] == study.y[-1] + 15.0


def test_boundaries_are_those_of_the_least_loss() -> None:
    study = outlier_study("boundary", positions=[0.0, 10.0])
    for one, parameters in zip(study.losses, study.parameters, strict=True):
        for k, position in enumerate((0.0, 10.0)):
            x = study.x.copy()
            x[-1] += position

            def mean(p: np.ndarray, one: losses.LossFunction = one, x: np.ndarray = x) -> float:
                return float(one((p[0] + p[1] * x) * study.y).mean())

            least = minimize(mean, parameters[k], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
            assert mean(parameters[k]) == pytest.approx(least.fun, abs=1e-6)
    bce, hinge, focal = study.shift[:, 1]
    assert focal > bce > hinge, "focal holds on to a wrong label, the hinge lets the border stay"
    panel = study.panel()
    assert len(panel.lines) == 3
    assert "focal" in panel.note
    with pytest.raises(UsageError, match="only the study of a line"):
        study.fits()


def test_studies_are_seeded_and_checked() -> None:
    first, second = (outlier_study("location", ["mse"], positions=[1.0], seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    with pytest.raises(UsageError, match="did you mean 'location'"):
        outlier_study("locaton")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fitted by losses of a regression, 1 or more; got bce"):
        outlier_study("location", ["bce"])
    with pytest.raises(UsageError, match="positions must be finite"):
        outlier_study("location", ["mse"], positions=[math.inf])
    with pytest.raises(UsageError, match="give 3 or more"):
        outlier_study("location", points=2)


# advice


def test_advice_by_the_residuals() -> None:
    rng = np.random.default_rng(11)
    wrong = sum(suggest(rng.normal(size=400)).loss != "mse" for _ in range(100))
    assert wrong <= 2, "Gaussian residuals keep the squared error"
    assert suggest(rng.uniform(size=400)).loss == "mse"
    assert suggest(rng.standard_t(2, size=400)).loss == "huber"
    spoilt = np.concatenate([rng.normal(size=380), 20.0 * rng.normal(size=20)])
    advice = suggest(spoilt)
    assert advice.loss == "huber"
    assert advice.delta == pytest.approx(1.345, rel=0.35)
    assert advice.variances["huber"] < 0.3
    peaked = np.concatenate([0.05 * rng.normal(size=200), 3.0 * rng.normal(size=200)])
    assert suggest(peaked).loss == "mae"
    skewed = suggest(rng.exponential(size=400))
    assert skewed.skew > 3.0
    assert "skewed" in skewed.why


def test_delta_follows_the_scale_and_ignores_the_outliers() -> None:
    rng = np.random.default_rng(5)
    r = rng.normal(size=500)
    assert suggest(50.0 * r).delta == pytest.approx(50.0 * suggest(r).delta)
    assert suggest(np.append(r, 1e9)).delta == pytest.approx(suggest(r).delta, rel=0.02)


def test_the_variances_are_those_that_repetition_shows() -> None:
    """On many samples the median and Huber's centre really waver as the estimates say."""
    rng = np.random.default_rng(3)
    samples = rng.standard_t(3, size=(600, 200))
    estimates = np.mean([[suggest(r).variances[k] for k in ("huber", "mae")] for r in samples[:60]], axis=0)
    spread = samples.mean(axis=1).var()
    assert np.median(samples, axis=1).var() / spread == pytest.approx(estimates[1], rel=0.35)
    centres = np.array(
        [minimize(lambda c, r=r: loss("huber", delta=1.345 * 1.1)(c - r).mean(), [0.0]).x[0] for r in samples[:200]]
    )
    assert centres.var() / spread == pytest.approx(estimates[0], rel=0.35)


@pytest.mark.parametrize(
    ("residuals", "says"),
    [
        ([1.0] * 5, "5 residuals tell too little"),
        ([math.nan] + [1.0] * 20, "1 of 21 residuals are NaN or Inf"),
        ([0.0] * 20 + [1.0], "more than half of the residuals are equal"),
    ],
)
def test_advice_is_refused_where_there_is_none(residuals: list[float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        suggest(residuals)


def test_unknown_names_and_wrong_parameters() -> None:
    with pytest.raises(UsageError, match="no loss function is called 'hubber'; did you mean 'huber'"):
        loss("hubber")
    with pytest.raises(UsageError, match="has no parameter 'detla'; did you mean 'delta'"):
        loss("huber", detla=1.0)
    for name, parameters in (("huber", {"delta": 0.0}), ("quantile", {"q": 1.0}), ("cross_entropy", {"classes": 1})):
        with pytest.raises(UsageError):
            loss(name, **parameters)
    with pytest.raises(UsageError, match="0 or more"):
        loss("focal", gamma=-1.0)
    assert loss("L1").name == "mae"
    assert loss(loss("mse")).name == "mse"
