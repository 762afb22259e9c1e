"""Mini-batches against the full batch on a thousand rows: epochs, steps and seconds to the same loss."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import paths, regression
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

WEIGHTS = (2.0, -1.5, 0.5)
SHOWN = (1, 5, 10, 25, 50, 100)


@experiment(
    "Mini-batches against the full batch",
    "A thousand rows, 100 epochs: the mini-batch gets below a loss of 1 in 2 epochs, the full batch in 55.",
    LR,
    Option("batch_size", "rows in a mini-batch", low=1, high=999),
    Option("epochs", "passes over the rows", low=1, high=2000),
    Option("threshold", "the loss to get below", low=0, above=True),
    SEED,
)
def mini_batch(
    *, lr: float = 0.01, batch_size: int = 32, epochs: int = 100, threshold: float = 1.0, seed: int = 42
) -> Experiment:
    """Both at one rate, and the full batch also at the rate that suits it."""
    rng = np.random.RandomState(seed)
    x, y = regression.rows(1000, WEIGHTS, 0.5, rng)
    # The largest rate at which every direction still shrinks without crossing: half the critical one.
    suited = regression.critical_rate(x) / 2
    plans = {
        f"full batch, lr {lr:g}": (lr, 1000),
        f"mini-batch of {batch_size}, lr {lr:g}": (lr, batch_size),
        f"full batch, lr {suited:.2f}": (suited, 1000),
    }
    fits = {
        name: regression.fit(x, y, lr=rate, batch_size=size, epochs=epochs, rng=rng)
        for name, (rate, size) in plans.items()
    }
    losses = {name: fit.losses(x, y)[1:] for name, fit in fits.items()}
    reached = {name: regression.first_below(loss, threshold) for name, loss in losses.items()}
    full, mini, fast = losses
    per_epoch = fits[mini].steps_per_epoch

    def epochs_to(name: str) -> int | None:
        at = reached[name]
        return None if at is None else at + 1

    rows = []
    for name, fit in fits.items():
        epoch = epochs_to(name)
        steps = None if epoch is None else epoch * fit.steps_per_epoch
        weights = ", ".join(f"{w:.3f}" for w in fit.weights[-1])
        rows.append((name, float(losses[name][-1]), epoch, steps, fit.seconds, weights))
    shown = [e for e in SHOWN if e <= epochs]
    least = regression.mse(regression.best(x, y), x, y)
    numbers: dict[str, float | str] = {
        "least squares loss": least,
        "critical rate": 2 * suited,
        "steps per epoch of the mini-batch": float(per_epoch),
    }
    for short, name in (("full batch", full), ("mini-batch", mini), ("full batch at its own rate", fast)):
        numbers[f"loss, {short}"] = float(losses[name][-1])
        numbers[f"epochs, {short}"] = float(epochs_to(name) or np.inf)
    return found(
        f"Below a loss of {threshold:g} after {epochs_to(mini)} epochs of mini-batches and {epochs_to(full)} of full "
        f"batches at the same rate. But a mini-batch epoch is {per_epoch} steps: counted in steps the two are alike, "
        f"and at {suited:.2f}, half its critical rate, the full batch needs {epochs_to(fast)} epoch(s). Mini-batches "
        "win where a step over all rows is dear or does not fit in memory, and where a larger rate would diverge; "
        "their noise does not make a convex problem converge faster, and it costs an error floor "
        f"(here {losses[mini][-1] - least:.1e} above the least loss).",
        panels=(
            Panel(
                "Loss over the epochs", "epoch", "mean squared error",
                tuple(Line(name, paths.steps_of(loss) + 1, loss) for name, loss in losses.items()),
                log_x=True, log_y=True, marks=(Mark(f"{threshold:g}", y=threshold),),
            ),
            Panel(
                "Loss over the steps", "step", "mean squared error",
                tuple(Line(name, paths.steps_of(loss) * fits[name].steps_per_epoch + fits[name].steps_per_epoch, loss)
                      for name, loss in losses.items()),
                log_x=True, log_y=True, note="The same runs by steps: at one rate the curves meet.",
            ),
        ),
        tables=(
            Table(f"After {epochs} epochs", ("method", "last loss", f"epochs to loss < {threshold:g}", "steps to it",
                                             "seconds", "weights"), tuple(rows), f"True weights: {WEIGHTS}"),
            Table("Loss at some epochs", ("epoch", *losses),
                  tuple((e, *(float(loss[e - 1]) for loss in losses.values())) for e in shown)),
        ),
        numbers=numbers,
        runs={name: fit.history(name, x, y) for name, fit in fits.items()},
    )  # fmt: skip
