"""The learning-rate range test on a problem whose critical rate is known: what each way of reading it says."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments import regression
from lossdoctor.lab.experiments.base import SEED, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table
from lossdoctor.signal.smoothing import ema

WINDOW = 21  # batches over which a slope is fitted: a factor of 7 in the rate at 10 % a batch


@experiment(
    "The learning-rate range test",
    "From 1e-7, 10 % more each batch, until the loss is four times its least: where to read the rate off.",
    Option("lr_first", "learning rate of the first batch", low=0, above=True),
    Option("growth", "factor from one batch to the next", low=1, high=10, above=True),
    Option("stop", "ends when the loss is this many times its least", low=1, above=True),
    Option("batch_size", "rows in a batch", low=1, high=1000),
    SEED,
)
def lr_range_test(
    *, lr_first: float = 1e-7, growth: float = 1.1, stop: float = 4.0, batch_size: int = 32, seed: int = 42
) -> Experiment:
    """Mini-batches of a linear regression on 1,000 rows, whose full-batch critical rate is 2/λmax."""
    rng = np.random.RandomState(seed)
    x, y = regression.rows(1000, (2.0, -1.5, 0.5), 0.5, rng)
    critical = regression.critical_rate(x)
    w, lr, order = np.zeros(3), lr_first, rng.permutation(1000)
    rates: list[float] = []
    losses: list[float] = []
    at = 0
    while lr < 1e6:
        if at + batch_size > len(order):
            order, at = rng.permutation(1000), 0
        rows = order[at : at + batch_size]
        at += batch_size
        losses.append(regression.mse(w, x[rows], y[rows]))
        rates.append(lr)
        w = w - lr * regression.gradient(w, x[rows], y[rows])
        lr *= growth
        # With the raw loss the test would stop on one unlucky batch: the smoothed one decides.
        smooth = ema(losses, 0.8)
        if smooth[-1] > stop * smooth.min():
            break
    smooth, rate = ema(losses, 0.8), np.array(rates)
    # Raw losses of single batches as the listing has it: the first one above 4 times the least so far.
    raw = np.array(losses)
    above = np.flatnonzero(raw > stop * np.minimum.accumulate(raw))
    raw_stop = int(above[0]) if len(above) else len(raw) - 1
    lowest = int(np.argmin(smooth))
    naive = int(np.argmin(np.gradient(smooth)[: lowest + 1]))
    steepest = int(np.argmin(_slopes(raw, np.log(rate))[: lowest + 1]))
    readings = {
        "largest drop between neighbours": float(rate[naive]),
        "steepest descent": float(rate[steepest]),
        "a tenth of the rate at the minimum": float(rate[lowest] / 10),
        "minimum of the loss": float(rate[lowest]),
        "a tenth of the rate where it explodes": float(rate[-1] / 10),
        "where it explodes": float(rate[-1]),
    }
    table = []
    for name, value in readings.items():
        fit = regression.fit(x, y, lr=value, batch_size=batch_size, epochs=3, rng=np.random.RandomState(seed))
        end = float(fit.losses(x, y)[-1])
        table.append((name, value, value / critical, end))
    steps = np.arange(1, len(raw) + 1)
    history = TrainingHistory({"loss": (steps, raw), "learning_rate": (steps, rate)}, name="range test")
    return found(
        f"{len(rate)} batches took the rate from {lr_first:g} to {rate[-1]:.2g}. The loss falls most steeply at "
        f"{rate[steepest]:.2g}, is least at {rate[lowest]:.2g} and explodes at {rate[-1]:.2g}; full-batch descent "
        f"diverges above 2/λmax = {critical:.2f}. The two usual recipes, the steepest descent and a tenth of the "
        "exploding rate, are different places: “the steepest slope, just before the loss rises” is not one point. "
        "Both are safe here; the rate of the least loss is already near the edge. The steepest slope has to be sought "
        f"over many batches: the largest drop from one point to the next is noise, here at {rate[naive]:.1e}, where "
        "nothing is learned. The stopping rule on the raw loss "
        f"would have ended the test at {rate[raw_stop]:.2g}: compare smoothed losses.",
        panels=(
            Panel(
                "Loss against learning rate", "learning rate", "batch loss",
                (Line("batch loss", rate, raw, "points"), Line("smoothed", rate, smooth)),
                log_x=True, log_y=True,
                marks=(Mark("steepest", x=float(rate[steepest])), Mark("least", x=float(rate[lowest])),
                       Mark("2/λmax", x=critical)),
            ),
        ),
        tables=(Table("What each reading gives", ("reading", "rate", "share of 2/λmax", "loss after 3 epochs at it"),
                      tuple(table)),),
        numbers={"critical rate": critical, "batches": float(len(rate)), **readings},
        runs={"range test": history},
        sources=("Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3",),
    )  # fmt: skip


def _slopes(loss: Array, x: Array) -> Array:
    """The slope of the least-squares line through the WINDOW points around each point; NaN-free, ends included."""
    half, out = WINDOW // 2, np.empty(len(loss))
    for i in range(len(loss)):
        near = slice(max(0, i - half), i + half + 1)
        out[i] = np.polyfit(x[near], loss[near], 1)[0]
    return out
