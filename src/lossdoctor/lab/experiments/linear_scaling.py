"""Batch size against learning rate: what the linear scaling rule keeps, and where it breaks, measured."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import paths, regression
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

RULES = {"same rate": 0.0, "square root": 0.5, "linear": 1.0}
DIM = 10


@experiment(
    "Batch size against learning rate",
    "k times the batch: is the loss curve per epoch kept by the same rate, √k times, or k times the rate?",
    Option("batch_size", "rows of the base batch", low=1, high=256),
    LR,
    Option("factors", "how many times larger the batches are", low=1, high=1024),
    Option("epochs", "passes over the 4,096 rows", low=2, high=200),
    SEED,
)
def linear_scaling(
    *, batch_size: int = 8, lr: float = 0.004, factors: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
    epochs: int = 6, seed: int = 0,
) -> Experiment:  # fmt: skip
    """Linear regression on 4,096 rows of 10 inputs; every run is compared with the base run epoch by epoch."""
    rng = np.random.RandomState(seed)
    x, y = regression.rows(4096, tuple(np.linspace(-1, 1, DIM)), 1.0, rng)
    least = regression.mse(regression.best(x, y), x, y)
    critical = regression.critical_rate(x)
    base = _loss(x, y, lr, batch_size, epochs, seed)
    curves: dict[str, dict[int, Array]] = {rule: {} for rule in RULES}
    gaps: dict[str, dict[int, float]] = {rule: {} for rule in RULES}
    for rule, power in RULES.items():
        for factor in sorted({k for k in factors if batch_size * k <= len(y)}):
            loss = _loss(x, y, lr * factor**power, batch_size * factor, epochs, seed)
            curves[rule][factor] = loss
            # By how much the curve is off, as a share of what there was to learn.
            gaps[rule][factor] = float(np.abs(loss - base).max() / (base[0] - least))
    floors = {rule: {k: float(v[-1] - least) for k, v in by.items()} for rule, by in curves.items()}
    kept = [k for k, gap in gaps["linear"].items() if gap <= 0.05]
    largest = max(kept, default=1)
    broken = [k for k, v in curves["linear"].items() if not v[-1] <= v[0]]
    accumulated = _accumulation_error(x, y, batch_size)
    rows = tuple(
        (batch_size * k, k, lr * k, float(gaps["same rate"][k]), gaps["square root"][k], gap, floors["linear"][k])
        for k, gap in gaps["linear"].items()
    )
    return found(
        f"With k times the batch an epoch has k times fewer steps. At the same rate the run falls behind at once; with "
        f"k times the rate the loss per epoch stays within 5 % of the base run up to k = {largest} (batch "
        f"{batch_size * largest}, rate {lr * largest:g}). The rule ends where the rate nears the critical one, "
        f"2/λmax = {critical:.2f}"
        + (f": from k = {broken[0]} (rate {lr * broken[0]:.3g}) the run diverges. " if broken else ". ")
        + "Less noise does not lift that bound, which is why very large batches gain nothing more from a larger rate. "
        "The square root keeps the noise of a step, not the pace, and falls behind on this problem. Accumulating the "
        f"gradients of small batches gives the large batch's gradient exactly (largest difference {accumulated:.0e}).",
        panels=(
            Panel(
                "How far the loss curve is from the base run", "k, times the batch", "largest gap",
                tuple(Line(rule, np.array(list(by)), np.clip(list(by.values()), 1e-4, 10), "line")
                      for rule, by in gaps.items()),
                log_x=True, log_y=True, marks=(Mark(f"critical rate {critical:.2f} (linear)", x=critical / lr),
                                               Mark("5 %", y=0.05)),
                note="As a share of what there was to learn; 10 stands for more.",
            ),
            *(_curves_panel(rule, curves[rule], batch_size, least) for rule in RULES),
        ),
        tables=(
            Table(
                f"Against the base run (batch {batch_size}, rate {lr:g})",
                ("batch", "k", "linear rate", "gap, same rate", "gap, square root", "gap, linear",
                 "loss above the least, linear"), rows,
            ),
        ),
        numbers={
            "largest k that linear scaling keeps": float(largest),
            "first k that diverges": float(broken[0]) if broken else np.inf,
            "critical rate": critical,
            "accumulation error": accumulated,
            **{f"gap at k = {k}, {rule}": gaps[rule][k] for rule in RULES for k in (8, 64) if k in gaps[rule]},
        },
        sources=(
            "Goyal et al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour (2017)",
            "Hoffer, Hubara and Soudry, Train Longer, Generalize Better (2017): the square root",
            "McCandlish et al., An Empirical Model of Large-Batch Training (2018): the critical batch size",
            "Shallue et al., Measuring the Effects of Data Parallelism (2019): no rule holds everywhere",
        ),
    )  # fmt: skip


def _loss(x: Array, y: Array, lr: float, batch_size: int, epochs: int, seed: int) -> Array:
    fit = regression.fit(x, y, lr=lr, batch_size=batch_size, epochs=epochs, rng=np.random.RandomState(seed))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(fit.losses(x, y), nan=np.inf)


def _curves_panel(rule: str, curves: dict[int, Array], batch_size: int, least: float) -> Panel:
    shown = [k for k in curves if k in (1, 8, 64, 128, 256)]
    lines = tuple(
        Line(f"batch {batch_size * k}", paths.steps_of(curves[k]), np.where(curves[k] < 1e3, curves[k], np.nan))
        for k in shown
    )
    marks = (Mark("least squares", y=least),)
    return Panel(f"Loss per epoch, {rule}", "epoch", "mean squared error", lines, log_y=True, marks=marks)


def _accumulation_error(x: Array, y: Array, batch_size: int) -> float:
    """The gradient of 1,024 rows, and the mean of the gradients of its batches: the largest difference."""
    w, n = np.ones(x.shape[1]), 1024 // batch_size * batch_size
    parts = [regression.gradient(w, x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, n, batch_size)]
    return float(np.abs(np.mean(parts, axis=0) - regression.gradient(w, x[:n], y[:n])).max())
