"""Missing values: one NaN in the inputs ends a training run at its first step; two ways to go on."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import paths, regression
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Panel, Table

WEIGHTS = (2.0, -1.5, 0.5)


def mean_imputed(x: Array) -> Array:
    """Each NaN replaced by the mean of what its column has; what scikit-learn's SimpleImputer does."""
    return np.where(np.isnan(x), np.nanmean(x, axis=0), x)


def with_indicator(x: Array) -> Array:
    """Each NaN replaced by 0, and a column of 0 and 1 per input that says where it was missing."""
    return np.hstack([np.nan_to_num(x, nan=0.0), np.isnan(x).astype(np.float64)])


@experiment(
    "Missing values",
    "A NaN in the inputs makes the loss NaN at once; imputation and a missing-value indicator compared.",
    Option("share", "share of the inputs that are missing", low=0.001, high=0.9),
    Option("level", "mean of the inputs: at 0 a zero and a mean are the same thing"),
    LR,
    Option("epochs", "passes over the data", low=1, high=10_000),
    SEED,
)
def missing_values(
    *, share: float = 0.05, level: float = 1.0, lr: float = 0.1, epochs: int = 1000, seed: int = 42
) -> Experiment:
    """Linear regression on 1,000 rows of 3 inputs, of which a share is missing at random."""
    rng = np.random.RandomState(seed)
    whole, y = regression.rows(1000, WEIGHTS, 0.5, rng)
    whole, y = whole + level, y + level * sum(WEIGHTS)
    gone = rng.rand(*whole.shape) < share
    holes = np.where(gone, np.nan, whole)
    ways = {
        "nothing missing": whole,
        "left as NaN": holes,
        "NaN to 0": np.nan_to_num(holes, nan=0.0),
        "mean imputed": mean_imputed(holes),
        "0 and an indicator": with_indicator(holes),
    }
    fits, losses, rows = {}, {}, []
    for name, inputs in ways.items():
        x = np.column_stack([inputs, np.ones(len(y))])
        fit = regression.fit(x, y, lr=lr, batch_size=len(y), epochs=epochs, rng=rng)
        fits[name], losses[name] = fit.history(name, x, y), fit.losses(x, y)
        error = float(np.abs(fit.weights[-1, :3] - WEIGHTS).max())
        rows.append((name, x.shape[1], float(losses[name][-1]), error))
    ends = {name: float(loss[-1]) for name, loss in losses.items()}
    return found(
        f"{int(gone.sum())} of {gone.size} inputs are missing. Left as NaN, the first prediction of such a row is NaN, "
        "and with it the loss, the gradient and every weight: the run is over at step 1. Putting 0 in their place is "
        f"a wrong value when the inputs are not centred (loss {ends['NaN to 0']:.2f}, against "
        f"{ends['nothing missing']:.2f} with nothing missing); the mean of the column costs less "
        f"({ends['mean imputed']:.3f}). Zero plus an indicator column lets the model learn what to put there "
        f"({ends['0 and an indicator']:.3f}): never worse than the mean on the training data, and the one to choose "
        "when a value is missing for a reason.",
        panels=(
            Panel(
                "Loss over the epochs", "epoch", "mean squared error",
                lines=tuple(Line(name, paths.steps_of(v), v) for name, v in losses.items() if np.isfinite(v[-1])),
                log_y=True, note="The run with NaN has no loss to draw.",
            ),
        ),
        tables=(Table("After training", ("inputs", "weights", "loss", "largest error of a weight"), tuple(rows)),),
        numbers={"missing": float(gone.sum()), "inputs": float(gone.size),
                 **{f"loss, {name}": value for name, value in ends.items()}},
        runs=fits,
    )  # fmt: skip
