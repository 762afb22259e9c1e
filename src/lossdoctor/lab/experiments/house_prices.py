"""House prices by linear regression: why raw sizes need a rate of 1e-7, and what that rate never reaches."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import paths, regression
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array, Fit
from lossdoctor.lab.result import Experiment, Field, Line, Mark, Panel, Table

SIZES = np.array([1000.0, 1500.0, 2000.0, 2500.0, 3000.0])  # square feet
PRICES = np.array([200.0, 280.0, 350.0, 400.0, 480.0])  # thousands of dollars
START = np.array([0.1, 50.0])


@experiment(
    "House prices by linear regression",
    "Raw inputs need a rate of 1e-7 and still miss the line; scaled ones find it in a hundred steps.",
    LR,
    STEPS,
    Option("scaled_lr", "learning rate once the sizes are standardised", low=0, above=True),
)
def house_prices(*, lr: float = 1e-7, steps: int = 1001, scaled_lr: float = 0.1) -> Experiment:
    """Five houses, price = w·size + b, mean squared error, from w = 0.1 and b = 50."""
    raw = np.column_stack([SIZES, np.ones(5)])
    scaled = np.column_stack([(SIZES - SIZES.mean()) / SIZES.std(), np.ones(5)])
    # The same line in the scaled coordinates: both runs start with the same predictions.
    scaled_start = np.array([START[0] * SIZES.std(), START[1] + START[0] * SIZES.mean()])
    rng = np.random.RandomState(0)  # full batches draw nothing
    critical = regression.critical_rate(raw)
    fits = {
        f"raw sizes, lr {lr:g}": (raw, _descend(raw, lr, steps, START, rng)),
        f"raw sizes, lr {1.05 * critical:.3g}": (raw, _descend(raw, 1.05 * critical, steps, START, rng)),
        f"scaled sizes, lr {scaled_lr:g}": (scaled, _descend(scaled, scaled_lr, steps, scaled_start, rng)),
    }
    first, _, last = (fit for _, fit in fits.values())
    line = regression.best(raw, PRICES)
    least = regression.mse(line, raw, PRICES)
    slopes = np.linalg.eigvalsh(regression.hessian(raw))
    w, b = first.weights[-1]
    numbers: dict[str, float | str] = {
        "w after the last step": float(w),
        "b after the last step": float(b),
        "loss after the last step": regression.mse(first.weights[-1], raw, PRICES),
        "least squares w": float(line[0]),
        "least squares b": float(line[1]),
        "least squares loss": least,
        "critical rate, raw": critical,
        "critical rate, scaled": regression.critical_rate(scaled),
        "condition number, raw": float(slopes[1] / slopes[0]),
        "condition number, scaled": float(np.linalg.cond(regression.hessian(scaled))),
        "steps in which the offset covers 63 % of its way": float(1 / (lr * slopes[0])),
        "scaled: steps to within 1 % of the least loss": float(
            regression.first_below(last.losses(scaled, PRICES), 1.01 * least) or np.inf
        ),
        "scaled: loss after the last step": regression.mse(last.weights[-1], scaled, PRICES),
    }
    return found(
        f"The Hessian of the raw problem has the eigenvalues {slopes[0]:.3g} and {slopes[1]:.3g}: a rate above 2/λmax "
        f"= {critical:.3g} diverges, hence the 1e-7. At that rate w settles in a few steps, but b needs "
        f"{1 / (lr * slopes[0]):.1e} steps for 63 % of its way. After {steps} steps the loss stands at "
        f"{numbers['loss after the last step']:.2f} and looks converged, with b still at {b:.4f}; the line of least "
        f"squares is price = {line[0]:.3f}·size + {line[1]:.0f} with a loss of {least:.0f}. Standardised sizes have "
        "the condition number 1, a critical rate of 1, and reach the line at once: scale the inputs, do not shrink "
        "the rate. scikit-learn's LinearRegression is no gradient descent: it solves for the line directly.",
        panels=(_loss_panel(fits, least), _line_panel(w, b, line), _plane_panel(first.weights, line)),
        tables=(_steps_table(first, raw, lr), _predictions(w, b, line), _runs_table(fits)),
        numbers=numbers,
        runs={name: fit.history(name, x, PRICES) for name, (x, fit) in fits.items()},
        sources=("Goodfellow, Bengio and Courville, Deep Learning (2016), section 4.3",),
    )


def _descend(x: Array, lr: float, steps: int, start: Array, rng: np.random.RandomState) -> Fit:
    return regression.fit(x, PRICES, lr=lr, batch_size=len(PRICES), epochs=steps, rng=rng, start=start)


def _loss_panel(fits: dict[str, tuple[Array, Fit]], least: float) -> Panel:
    lines = []
    for name, (x, fit) in fits.items():
        loss = fit.losses(x, PRICES)
        with np.errstate(invalid="ignore"):
            loss = np.where(loss < 1e6, loss, np.nan)  # the diverging run leaves the picture
        lines.append(Line(name, paths.steps_of(loss), loss))
    return Panel(
        "Loss over the steps", "step + 1", "mean squared error",
        lines=tuple(Line(line.label, line.x + 1, line.y) for line in lines),
        log_x=True, log_y=True, marks=(Mark(f"least squares: {least:.0f}", y=least),),
        note="The raw run is flat long before it is done.",
    )  # fmt: skip


def _line_panel(w: float, b: float, line: Array) -> Panel:
    x = np.array([900.0, 3100.0])
    return Panel(
        "The fitted lines", "size (square feet)", "price ($1000)",
        lines=(
            Line("houses", SIZES, PRICES, "points"),
            Line(f"descent on raw sizes: {w:.4f}·size + {b:.2f}", x, w * x + b),
            Line(f"least squares: {line[0]:.3f}·size + {line[1]:.0f}", x, line[0] * x + line[1], "dashed"),
        ),
    )  # fmt: skip


def _plane_panel(path: Array, line: Array) -> Panel:
    w, b = np.linspace(0.09, 0.19, 121), np.linspace(30, 90, 121)
    predicted = w[None, :, None] * SIZES + b[:, None, None]
    loss = np.mean((predicted - PRICES) ** 2, axis=2)
    plane = Field(w, b, loss, minima=line.reshape(1, 2), levels="log", label="mean squared error")
    return Panel(
        "The loss over w and b (raw sizes)", "w", "b",
        lines=(Line("path", path[:, 0], path[:, 1]),), field=plane,
        note="A valley of condition number 4·10⁷: the path falls to its floor and stays there.",
    )  # fmt: skip


def _steps_table(fit: Fit, x: Array, lr: float) -> Table:
    shown = sorted({*range(0, len(fit.weights) - 1, max(1, (len(fit.weights) - 1) // 5)), len(fit.weights) - 2})
    rows = tuple(
        (i, float(fit.weights[i, 0]), float(fit.weights[i, 1]), regression.mse(fit.weights[i], x, PRICES))
        for i in shown
    )
    return Table(f"Raw sizes at lr {lr:g}", ("step", "w", "b", "loss"), rows)


def _predictions(w: float, b: float, line: Array) -> Table:
    rows = tuple(
        (float(s), float(p), float(w * s + b), float(abs(p - w * s - b)), float(line[0] * s + line[1]))
        for s, p in zip(SIZES, PRICES, strict=True)
    )
    return Table("Prices ($1000)", ("size", "actual", "descent", "error", "least squares"), rows)


def _runs_table(fits: dict[str, tuple[Array, Fit]]) -> Table:
    rows = []
    for name, (x, fit) in fits.items():
        spread = np.linalg.eigvalsh(regression.hessian(x))
        end = regression.mse(fit.weights[-1], x, PRICES)
        rows.append((name, float(2 / spread[-1]), float(spread[-1] / spread[0]), end))
    return Table("Rates and scales", ("run", "critical rate 2/λmax", "condition number", "last loss"), tuple(rows))
