"""The descents' printed numbers, against listings written out in full here."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import experiments
from lossdoctor.lab.result import Experiment, Table


@cache
def ran(name: str) -> Experiment:
    return experiments.run(name)


def column(table: Table, name: str) -> list[Any]:
    return [row[table.columns.index(name)] for row in table.rows]


# the blind hiker


def test_the_hiker() -> None:
    x, trail = 0.0, [(0.0, 5.0)]
    for _ in range(20):
        x -= 0.1 * (2 * x - 4)
        trail.append((x, x**2 - 4 * x + 5))
    table = ran("blind_hiker").tables[0]
    assert np.allclose(list(zip(column(table, "x"), column(table, "height"), strict=True)), trail)
    assert f"{x:.4f}" == "1.9769"
    assert f"{trail[-1][1]:.4f}" == "1.0005"
    assert [f"{v:.4f}" for v in column(table, "x")[1:3]] == ["0.4000", "0.7200"]
    assert [f"{v:.4f}" for v in column(table, "height")[1:3]] == ["3.5600", "2.6384"]
    assert ran("blind_hiker").numbers["x at the end"] == pytest.approx(x)


# (w − 3)²


@pytest.mark.parametrize(("at", "lr"), [(0, 0.1), (1, 0.9), (2, 0.01)])
def test_step_table(at: int, lr: float) -> None:
    w, rows = 0.0, []
    for step in range(15):
        gradient = 2 * (w - 3)
        rows.append((step, w, (w - 3) ** 2, gradient, -lr * gradient))
        w -= lr * gradient
    assert np.allclose(np.array(ran("step_table").tables[at].rows, dtype=float), rows)


def test_mirrored_rates_have_one_loss_curve() -> None:
    result = ran("step_table")
    assert result.numbers["largest relative difference of the mirrored losses"] < 1e-12
    assert result.numbers["state, lr 0.1"] == "still moving"
    assert result.numbers["state, lr 0.9"] == "damped oscillation"


def test_learning_rates() -> None:
    result = ran("learning_rates")
    for lr in (0.001, 0.1, 0.45, 0.95):
        w, losses = 0.0, []
        for _ in range(30):
            losses.append((w - 3) ** 2)
            w -= lr * 2 * (w - 3)
        assert result.numbers[f"loss before the last step, lr {lr:g}"] == pytest.approx(losses[-1], rel=1e-9, abs=1e-25)
    states = [result.numbers[f"state, lr {lr}"] for lr in ("0.001", "0.1", "0.45", "0.95")]
    assert states == ["still moving", "monotone", "monotone", "damped oscillation"]
    assert result.numbers["critical rate"] == pytest.approx(1.0)


def test_states_follow_the_path_not_the_rate() -> None:
    """The same rates with more steps: what was still moving has arrived."""
    long = experiments.run("learning_rates", rates=(0.1, 0.95, 1.0, 1.05), steps=400)
    assert [row[4] for row in long.tables[0].rows] == ["monotone", "damped oscillation", "limit cycle", "diverged"]


def test_critical_rate() -> None:
    result = ran("critical_rate")
    expected = {0.01: 0.6648, 0.1: 1.9769, 0.5: 2.0, 0.9: 1.9769, 1.0: 0.0, 1.1: -74.6752, 1.5: -2097150.0}
    for lr, x in expected.items():
        assert result.numbers[f"x at the end, lr {lr:g}"] == pytest.approx(x, abs=5e-5)
    table = result.tables[0]
    assert column(table, "state") == [
        "still moving", "still moving", "monotone", "damped oscillation", "limit cycle", "diverged", "diverged",
    ]  # fmt: skip
    assert column(table, "by fixed thresholds") == [
        "still converging", "oscillating", "converged", "oscillating", "still converging", "still converging",
        "diverged",
    ]  # fmt: skip
    assert result.numbers["critical rate, by bisection"] == pytest.approx(1.0, abs=1e-6)
    assert result.numbers["critical rate, 2/λmax"] == pytest.approx(1.0)
    assert result.tables[1].rows[4][1].startswith("0.00 → 4.00 → 0.00 → 4.00")


def test_overflow() -> None:
    numbers = ran("overflow").numbers
    for name, step in (("float16", 7), ("float32", 63), ("float64", 511)):
        assert numbers[f"first Inf, {name}"] == numbers[f"predicted, {name}"] == step
    assert numbers["largest, float16"] == 65504
    assert numbers["first NaN, float32"] > numbers["first Inf, float32"]
    with np.errstate(all="ignore"):
        w, step = np.float32(0), 0
        while np.isfinite(np.float32((w - np.float32(3)) ** 2)):
            w, step = np.float32(w - np.float32(1.5) * np.float32(2) * (w - np.float32(3))), step + 1
    assert step == 63


def test_no_overflow_below_the_critical_rate() -> None:
    result = experiments.run("overflow", lr=0.4, steps=50)
    assert all(math.isinf(v) for k, v in result.numbers.items() if "first" in k and isinstance(v, float))
    assert "stays finite" in result.text


# two weights


def test_revenue() -> None:
    numbers = ran("revenue").numbers
    assert (numbers["x1 at the end"], numbers["x2 at the end"]) == (
        pytest.approx(50, abs=1e-3), pytest.approx(25, abs=1e-3),
    )  # fmt: skip
    assert numbers["largest revenue"] == 3125
    assert numbers["revenue at the end"] == pytest.approx(3125, abs=1e-5)
    x = np.zeros(2)
    for _ in range(50):
        x -= 0.1 * (np.array([100, 50]) - 2 * x)  # the sign forgotten
    assert np.linalg.norm(x - [50, 25]) == pytest.approx(numbers["distance with the sign forgotten"])


def slope(x: float) -> float:
    return 4 * x**3 - 16 * x + 1


def test_double_well() -> None:
    numbers = ran("double_well").numbers
    for start in (-3, -1, 0, 1, 3):
        x = heavy = float(start)
        velocity = 0.0
        for _ in range(200):
            x -= 0.01 * slope(x)
            velocity = 0.9 * velocity + 0.01 * slope(heavy)
            heavy -= velocity
        assert numbers[f"plain from {start}"] == pytest.approx(x, abs=1e-9)
        assert numbers[f"momentum from {start}"] == pytest.approx(heavy, abs=1e-9)
    assert numbers["global minimum"] == pytest.approx(-2.0305, abs=1e-4)
    assert numbers["f at the global minimum"] < numbers["f at the local minimum"]
    # From 3 momentum crosses the ridge into the deeper well; from 1 it does not.
    assert numbers["plain from 3"] > 0 > numbers["momentum from 3"]
    assert numbers["momentum from 1"] > 0
    assert numbers["best of the restarts"] == pytest.approx(numbers["global minimum"], abs=1e-6)


def test_himmelblau() -> None:
    result = ran("himmelblau")
    for i, start in enumerate([(-4, -4), (4, -4), (-1, 4), (1, 1)]):
        x, y = map(float, start)
        for _ in range(500):
            a, b = x * x + y - 11, x + y * y - 7
            x, y = x - 0.001 * (4 * x * a + 2 * b), y - 0.001 * (2 * a + 4 * y * b)
        assert result.descents["sgd"].ends[i] == pytest.approx([x, y], abs=1e-9)
    assert result.numbers["minima reached"] == 4
    kinds = column(result.tables[1], "kind")
    assert [kinds.count(k) for k in ("minimum", "saddle", "maximum")] == [4, 4, 1]
    signs = {"minimum": (1, 1), "saddle": (-1, 1), "maximum": (-1, -1)}
    for kind, _, _, small, large in result.tables[1].rows:
        assert (np.sign(small), np.sign(large)) == signs[str(kind)]


def test_himmelblau_takes_pairs() -> None:
    with pytest.raises(UsageError, match="pairs"):
        experiments.run("himmelblau", starts=(1.0, 2.0, 3.0))


def test_saddle() -> None:
    numbers = ran("saddle").numbers
    for name in ("plain", "momentum", "Adam"):
        assert numbers[f"steps to leave, {name} on ridge"] == np.inf
        assert numbers[f"state, {name} on ridge"] == "stalled at a saddle"
    assert numbers["steps to leave, plain with noise"] < 200
    plain, heavy, adam = (numbers[f"steps to leave, {n} beside it"] for n in ("plain", "momentum", "Adam"))
    assert plain == pytest.approx(numbers["predicted steps to leave, plain beside it"], abs=3)
    assert adam < heavy < plain


def test_plateau() -> None:
    numbers = ran("plateau_crossing").numbers
    r, steps = 3.5, 0
    while 1 - math.exp(-r * r / 2) > 0.01:
        r, steps = r - 0.1 * r * math.exp(-r * r / 2), steps + 1
    assert numbers["steps to 0.01, plain"] == steps
    assert numbers["steps to 0.01, Adam"] < steps / 10
    assert numbers["first step, Adam"] == pytest.approx(0.1, rel=1e-3)
    assert numbers["first step, RMSProp"] == pytest.approx(1.0, rel=1e-2)


def test_ravine() -> None:
    numbers = experiments.run("ravine", conditions=(10.0, 100.0)).numbers
    for k in (10, 100):
        assert numbers[f"steps, plain, κ = {k}"] == pytest.approx(numbers[f"law, plain, κ = {k}"], abs=1)
        law = numbers[f"law, momentum, κ = {k}"]
        assert law < numbers[f"steps, momentum, κ = {k}"] < 2 * law
    assert numbers["steps, plain, κ = 100"] / numbers["steps, plain, κ = 10"] == pytest.approx(10, rel=0.05)


# optimizers


def test_momentum() -> None:
    numbers = ran("momentum").numbers
    assert numbers["velocity under a steady gradient"] == pytest.approx(10, abs=1e-3)
    assert numbers["critical rate, measured"] == pytest.approx(1.9, abs=1e-3)
    assert numbers["difference of the forms, constant rate"] < 1e-12
    assert numbers["difference of the forms, after a drop"] > 0.5


def listing() -> dict[str, list[float]]:
    """The four optimizers as they are usually written out; losses before each step."""
    out: dict[str, list[float]] = {"SGD": [], "SGD+Momentum": [], "RMSProp": [], "Adam": []}
    w = 0.0
    for _ in range(50):
        out["SGD"].append((w - 3) ** 2)
        w -= 0.1 * 2 * (w - 3)
    w = v = 0.0
    for _ in range(50):
        out["SGD+Momentum"].append((w - 3) ** 2)
        v = 0.9 * v - 0.05 * 2 * (w - 3)
        w += v
    w = c = 0.0
    for _ in range(50):
        out["RMSProp"].append((w - 3) ** 2)
        g = 2 * (w - 3)
        c = 0.9 * c + 0.1 * g**2
        w -= 0.1 * g / (math.sqrt(c) + 1e-8)
    w = m = v = 0.0
    for t in range(1, 51):
        out["Adam"].append((w - 3) ** 2)
        g = 2 * (w - 3)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w -= 0.5 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return out


def test_optimizers() -> None:
    result = ran("optimizers")
    printed = {"SGD": (0.0, 16), "SGD+Momentum": (0.051366, 5), "RMSProp": (0.000014, 37), "Adam": (0.001286, 21)}
    for name, losses in listing().items():
        assert result.numbers[f"final loss, {name}"] == pytest.approx(losses[-1], rel=1e-4)
        first = next(i for i, loss in enumerate(losses) if loss < 0.01)
        assert (round(losses[-1], 6), first) == printed[name]
        assert result.numbers[f"steps to 0.01, {name}"] == first
    assert result.numbers["steps to stay below, SGD+Momentum"] == np.inf
    assert result.numbers["steps to stay below, Adam"] == 47
    assert result.numbers["steps uphill, SGD"] == 0 < result.numbers["steps uphill, Adam"]
    assert result.numbers["best steps to stay below, SGD"] == 1


def test_adam_as_torch_has_it() -> None:
    """The update formula of the experiment is that of the optimizer people train with."""
    import torch

    from lossdoctor.lab.experiments.adam_first_steps import updates

    gradients = np.random.default_rng(3).normal(size=(20, 4))
    w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=1.0)
    for step, gradient in enumerate(gradients):
        before = w.detach().clone()
        w.grad = torch.from_numpy(gradient)
        adam.step()
        assert updates(gradients, 0.9, 0.999, True)[step] == pytest.approx((w.detach() - before).numpy(), rel=1e-9)


def test_bias_correction_shrinks_the_first_update() -> None:
    numbers = ran("adam_first_steps").numbers
    assert numbers["first update, corrected"] == pytest.approx(1)
    assert numbers["first update, uncorrected"] == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-6)
    assert numbers["first update, noisy"] == pytest.approx(1)
    assert numbers["late update, noisy"] < 0.3


def test_schedules() -> None:
    numbers = ran("schedules").numbers
    assert numbers["floor, measured"] == pytest.approx(numbers["floor, law"], rel=0.03)
    assert numbers["floor at a tenth, measured"] == pytest.approx(numbers["floor at a tenth, law"], rel=0.1)
    for name in ("step", "cosine", "inverse_time", "averaged weights (SWA)"):
        assert numbers[f"mean loss, {name}"] < 0.1 * numbers["mean loss, constant"]


# a descent of one's own


def test_descent() -> None:
    result = experiments.run("descent", surface="double_well", optimizer="sgd", lr=0.01, start=(-3.0, 3.0), steps=200)
    assert column(result.tables[0], "minimum") == ["(-2.031)", "(1.968)"]
    assert result.numbers["critical rate"] == pytest.approx(2 / (12 * 2.030546615**2 - 16), rel=1e-6)


def test_descent_on_a_surface_without_a_minimum() -> None:
    result = experiments.run("descent", surface="monkey_saddle", optimizer="sgd", lr=0.01, steps=400, start=(1.0, 0.3))
    assert "critical rate" not in result.numbers
    assert result.panels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surface": "himelblau"}, "himmelblau"),
        ({"optimizer": "adm"}, "adam"),
        ({"schedule": "cosin"}, "cosine"),
        ({"start": (1.0,)}, "2 coordinates"),
        ({"start": (100.0, 1.0)}, "domain"),
    ],
)
def test_descent_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        experiments.run("descent", **options)


# loss functions


def test_loss_functions() -> None:
    numbers, table = ran("loss_functions").numbers, ran("loss_functions").tables[0]
    assert [numbers[f"{name} at an error of 10"] for name in ("mse", "mae", "huber")] == [100, 10, 9.5]
    assert numbers["huber over mse inside δ"] == pytest.approx(0.5)
    assert numbers["cross-entropy at a half"] == pytest.approx(math.log(2))
    for error, mse, mae, huber, *_ in table.rows:
        e = float(error)  # type: ignore[arg-type]
        assert (mse, mae, huber) == (
            pytest.approx(e**2), pytest.approx(e), pytest.approx(0.5 * e**2 if e <= 1 else e - 0.5),
        )  # fmt: skip
    for p, bce, *_ in ran("loss_functions").tables[2].rows:
        assert bce == pytest.approx(-math.log(float(p)))  # type: ignore[arg-type]


def test_outlier() -> None:
    numbers = ran("outlier").numbers
    rng = np.random.default_rng(0)
    x = np.append(np.linspace(0, 10, 20), 9.0)
    y = np.append(rng.normal(size=20), 0.0) + 1 + 0.5 * x
    far = y + np.where(np.arange(21) == 20, 20.0, 0.0)
    moved = np.polyval(np.polyfit(x, far, 1), 10) - np.polyval(np.polyfit(x, y, 1), 10)
    assert numbers["line moved by, mse"] == pytest.approx(moved, rel=1e-3)
    assert numbers["line moved by, mse"] > 10 * numbers["line moved by, huber"] > 0
    assert abs(numbers["line moved by, mae"]) < 0.05
    assert numbers["mean moved by"] == pytest.approx(20 / 21)
    assert numbers["gradient ratio, mse"] > 10 * numbers["gradient ratio, huber"]
    assert numbers["suggested for heavy tails"] == "huber"
