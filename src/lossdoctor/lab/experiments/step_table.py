"""Gradient descent on (w − 3)², every step with its loss, gradient and update."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table

COLUMNS = ("step", "w", "loss", "gradient", "update")


@experiment(
    "Gradient descent step by step",
    "Every step on (w − 3)² at 0.1, 0.9 and 0.01: two of them have the same loss curve.",
    Option("rates", "learning rates", low=0, above=True),
    STEPS,
    Option("start", "where w begins", low=-4, high=10),
)
def step_table(*, rates: tuple[float, ...] = (0.1, 0.9, 0.01), steps: int = 15, start: float = 0.0) -> Experiment:
    """The table of w, loss, gradient and update for each rate."""
    runs = {f"lr {lr:g}": (lab.descend("quadratic", "sgd", lr=lr, starts=[[start]], steps=steps), 0) for lr in rates}
    tables, numbers, losses = [], dict[str, float | str](), {}
    for lr, (label, (run, _)) in zip(rates, runs.items(), strict=True):
        w, loss = run.path[:, 0, 0], run.losses[:, 0]
        gradient = run.surface.gradient(run.path[:, 0])[:, 0]
        rows = tuple(
            (i, float(w[i]), float(loss[i]), float(gradient[i]), float(-lr * gradient[i])) for i in range(steps)
        )
        flat = np.flatnonzero(np.abs(gradient) < 1e-4)
        note = f"{run.state(0)}; each step multiplies w − 3 by {1 - 2 * lr:g}"
        tables.append(Table(f"(w − 3)² at lr {lr:g}", COLUMNS, rows, note))
        losses[label] = loss
        numbers[f"loss after {steps} steps, {label}"] = float(loss[-1])
        numbers[f"state, {label}"] = run.state(0)
        numbers[f"gradient below 1e-4 at step, {label}"] = float(flat[0]) if len(flat) else np.inf
    mirrored = [(a, b) for a in rates for b in rates if a < b and abs(a + b - 1) < 1e-12]
    same = ""
    if mirrored:
        a, b = mirrored[0]
        gap = float(np.abs(losses[f"lr {a:g}"] / losses[f"lr {b:g}"] - 1).max())
        numbers["largest relative difference of the mirrored losses"] = gap
        same = (
            f" The rates {a:g} and {b:g} leave the same {abs(1 - 2 * a):.0%} of the distance at each step, one without "
            f"crossing the minimum and one jumping over it every time: their losses are the same to {gap:.0e}. Neither "
            "is the better one, and the loss curve cannot show which it was."
        )
    return found(
        "Each step multiplies the distance to the minimum by 1 − 2·lr and the loss by its square. Positive gradient: "
        f"step left; negative: step right; at the minimum the update is zero.{same} Too small a rate is only slow: "
        "nothing in its table is wrong.",
        panels=(
            paths.over_surface("The steps on (w − 3)²", runs),
            paths.over_steps("w over the steps", "w", {k: r.path[:, 0, 0] for k, (r, _) in runs.items()}, log_y=False),
            paths.over_steps("Loss over the steps", "loss", losses, floor=1e-16, note="Mirrored rates share a line."),
        ),
        tables=tuple(tables),
        numbers=numbers,
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
    )
