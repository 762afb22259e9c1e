"""Batch, stochastic and mini-batch gradient descent on the same rows, by every cost that matters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossdoctor.lab.experiments import paths, regression
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array, Fit
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

WEIGHTS = (2.0, -1.0, 0.5)


@experiment(
    "Batch, stochastic and mini-batch gradient descent",
    "The same 500 rows one by one, in batches of 32 and all at once: loss by epoch, by row and by second.",
    LR,
    Option("batch_size", "rows in a mini-batch", low=2, high=499),
    Option("epochs", "passes over the rows", low=2, high=2000),
    SEED,
)
def batch_variants(*, lr: float = 0.01, batch_size: int = 32, epochs: int = 50, seed: int = 42) -> Experiment:
    """Three ways to descend one mean squared error, from one start and at one rate."""
    rng = np.random.RandomState(seed)
    x, y = regression.rows(500, WEIGHTS, 0.1, rng)
    printed = _as_printed(x, y, batch_size, rng)
    least = regression.mse(regression.best(x, y), x, y)
    start = np.random.RandomState(seed).randn(3) * 0.01
    sizes = {"all 500 rows": 500, f"{batch_size} rows": batch_size, "1 row": 1}
    fits = {
        name: regression.fit(x, y, lr=lr, batch_size=size, epochs=epochs, rng=np.random.RandomState(seed), start=start)
        for name, size in sizes.items()
    }
    rows: list[tuple[str, int, int | None, float, float, float, float, int]] = []
    floors = {}
    for (name, fit), size in zip(fits.items(), sizes.values(), strict=True):
        losses = fit.losses(x, y)
        spread = regression.gradient_spread(start, x, y, size, 300, np.random.RandomState(seed))
        noise = float(np.sqrt((spread**2).sum(axis=1).mean()) / np.linalg.norm(regression.gradient(start, x, y)))
        floors[name] = float(np.median(losses[-max(2, epochs // 5) :])) - least
        reached = regression.first_below(losses, 2 * least)
        micros = fit.seconds / len(fit.batch_losses) * 1e6
        memory = regression.peak_bytes(x, y, size)
        rows.append((name, len(fit.batch_losses), reached, floors[name], noise, micros, fit.seconds, memory))
    columns = ("method", "steps", "epochs to twice the least loss", "last loss above the least", "noise of a step",
               "µs a step", "seconds", "bytes a step")  # fmt: skip
    _, mini, single = rows
    numbers: dict[str, float | str] = {
        "as printed: batch": printed[0],
        "as printed: stochastic": printed[1],
        "as printed: mini-batch": printed[2],
        "as printed: mini-batch, averaged by row": printed[3],
        "least squares loss": least,
        "critical rate of the full batch": regression.critical_rate(x),
        **{f"noise of a step, {r[0]}": float(r[4]) for r in rows},
        **{f"loss above the least, {r[0]}": float(r[3]) for r in rows},
        **{f"bytes a step, {r[0]}": float(r[7]) for r in rows},
    }
    return found(
        f"One epoch is 1 step of batch descent, {mini[1] // epochs} of mini-batch and 500 of stochastic descent, so "
        f"at one rate the batch is far behind after {epochs} epochs (loss {printed[0]:.3f} in the comparison of 50 "
        f"epochs as it is often printed, against {printed[1]:.5f} and {printed[2]:.5f}): not because it descends "
        f"worse, but because it has made {epochs} steps, at a rate of {lr:g} where {regression.critical_rate(x):.2g} "
        "would still converge. That comparison also gives stochastic descent another rate (0.001). The price of few "
        f"rows is noise: a single row's gradient is off by {single[4]:.1f} times the gradient's own length, one of "
        f"{batch_size} rows by {mini[4]:.2f}, and the loss stays above the least by {single[3]:.1e} and "
        f"{mini[3]:.1e}. Batch descent is monotone only below its critical rate. Note that averaging an epoch's batch "
        f"losses batch by batch counts the rows of a short last batch more ({printed[2]:.7f} against {printed[3]:.7f} "
        "by row).",
        panels=_panels(fits, x, y, least),
        tables=(Table(f"{epochs} epochs at lr {lr:g}", columns, tuple(rows), "Seconds depend on the machine."),),
        numbers=numbers,
        runs={name: fit.history(name, x, y) for name, fit in fits.items()},
        sources=("Bottou, Curtis and Nocedal, Optimization Methods for Large-Scale Machine Learning (2018)",),
    )


def _as_printed(x: Array, y: Array, batch_size: int, rng: np.random.RandomState) -> tuple[float, float, float, float]:
    """The three losses of the usual listing (50 epochs; the losses before the updates), from one stream of draws."""
    last = []
    for lr, size in ((0.01, len(y)), (0.001, 1), (0.01, batch_size)):
        start = rng.randn(x.shape[1]) * 0.01
        last.append(regression.fit(x, y, lr=lr, batch_size=size, epochs=50, rng=rng, start=start))
    ends = [float(fit.mean_of_batches()[-1]) for fit in last]
    return ends[0], ends[1], ends[2], float(last[2].mean_of_rows()[-1])


def _panels(fits: dict[str, Fit], x: Array, y: Array, least: float) -> tuple[Panel, ...]:
    def panel(title: str, label: str, note: str, axes: Mapping[str, Array], log_x: bool = True) -> Panel:
        lines = tuple(Line(name, axes[name], losses[name]) for name in fits)
        marks = (Mark("least squares", y=least),)
        return Panel(title, label, "mean squared error", lines, log_x=log_x, log_y=True, marks=marks, note=note)

    losses = {name: fit.losses(x, y)[1:] for name, fit in fits.items()}
    epochs = {name: paths.steps_of(loss) + 1 for name, loss in losses.items()}
    shares = {name: epochs[name] / fit.epochs for name, fit in fits.items()}
    steps = {name: epochs[name] * float(fit.steps_per_epoch) for name, fit in fits.items()}
    seconds = {name: shares[name] * fit.seconds for name, fit in fits.items()}
    walk = tuple(Line(name, fit.weights[:500, 0], fit.weights[:500, 1]) for name, fit in fits.items())
    return (
        panel("By epoch: equally many row gradients", "epoch", "Every epoch costs 500 row gradients, whatever the "
              "batch.", epochs, log_x=False),
        panel("By step", "step", "Step for step the full batch is as good as any.", steps),
        panel("By second", "seconds", "Small steps cost more time per row; this machine, this run.", seconds),
        Panel("The walk of the first two weights", "w₁", "w₂", walk,
              marks=(Mark("true weights", WEIGHTS[0], WEIGHTS[1]),), note="The first steps of each."),
    )  # fmt: skip
