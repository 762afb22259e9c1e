"""SGD, momentum, RMSProp and Adam on one surface: at the usual rates, and each at the rate that suits it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Panel, Table

# label -> optimizer, the rate of the usual comparison, and its own settings.
USUAL: dict[str, tuple[str, float, dict[str, Any]]] = {
    "SGD": ("sgd", 0.1, {}),
    "SGD+Momentum": ("momentum", 0.05, {"momentum": 0.9}),
    "RMSProp": ("rmsprop", 0.1, {"alpha": 0.9}),
    "Adam": ("adam", 0.5, {}),
}
GRID = np.geomspace(1e-3, 1.0, 31)


@experiment(
    "Four optimizers on one bowl",
    "SGD, momentum, RMSProp and Adam on (w − 3)²: loss after 50 steps, steps to 0.01, and what the rates do to both.",
    STEPS,
    Option("tolerance", "loss to get below", low=0, above=True),
    Option("start", "where w begins", low=-4, high=10),
)
def optimizers(*, steps: int = 50, tolerance: float = 0.01, start: float = 0.0) -> Experiment:
    """The usual table at four different rates, and the same with every optimizer at its best rate of a grid."""
    runs, numbers = {}, dict[str, float | str]()
    rows: list[tuple[str, float, float, int | None, int | None, int, str]] = []
    for label, (name, lr, options) in USUAL.items():
        run = lab.descend("quadratic", name, lr=lr, starts=[[start]], steps=steps, **options)
        runs[label] = (run, 0)
        # The usual listing records the loss before each step: its last is that of one step earlier.
        before = run.losses[:-1, 0]
        first, stays = _first_below(before, tolerance), _stays_below(run.losses[:, 0], tolerance)
        rises = int((np.diff(run.losses[:, 0]) > 0).sum())
        rows.append((label, lr, float(before[-1]), first, stays, rises, run.state(0)))
        numbers[f"final loss, {label}"] = float(before[-1])
        numbers[f"steps to {tolerance:g}, {label}"] = np.inf if first is None else float(first)
        numbers[f"steps to stay below, {label}"] = np.inf if stays is None else float(stays)
        numbers[f"steps uphill, {label}"] = float(rises)
    tuned, curves = [], []
    for label, (name, _, options) in USUAL.items():
        need = np.array([_need(name, lr, start, steps, tolerance, options) for lr in GRID])
        best = int(np.nanargmin(np.where(np.isnan(need), np.inf, need))) if np.isfinite(need).any() else None
        tuned.append((label, None if best is None else float(GRID[best]), None if best is None else int(need[best])))
        curves.append(Line(label, GRID, need))
        numbers[f"best steps to stay below, {label}"] = np.inf if best is None else float(need[best])
    spread = ", ".join(f"{label} {steps_}" for label, _, steps_ in tuned)
    return found(
        f"{_first_told(rows, tolerance)} Adam and momentum are not the smooth "
        f"ones here: they go uphill in {rows[3][5]} and {rows[1][5]} of {steps} steps, plain descent in {rows[0][5]}. "
        "Above all, the table compares four rates, not four optimizers: each at the best rate of one grid, they need "
        f"{spread} steps. On one weight nothing beats plain descent at 0.5, which arrives in one step; what the others "
        "are for shows where directions differ in curvature (`ravine`) or gradients vanish (`plateau_crossing`).",
        panels=(
            paths.over_steps("Loss at the usual rates", "loss", paths.losses(runs), floor=1e-16),
            paths.over_surface("The paths on (w − 3)²", runs),
            Panel("Steps until the loss stays below " + f"{tolerance:g}", "learning rate", "steps", tuple(curves),
                  log_x=True, note=f"Missing: not within {steps} steps."),
        ),
        tables=(
            Table("At the usual rates", ("optimizer", "lr", "final loss", f"first below {tolerance:g}",
                                         "stays below from", "steps uphill", "state"), tuple(rows),
                  "As usually listed, the final loss is that before the last step."),
            Table("Each at its best rate of the grid", ("optimizer", "lr", f"steps until it stays below {tolerance:g}"),
                  tuple(tuned)),
        ),
        numbers=numbers,
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
        sources=(
            "Kingma and Ba, Adam: A Method for Stochastic Optimization (2015)",
            "Choi et al., On Empirical Comparisons of Optimizers for Deep Learning (2019): tuning decides comparisons",
        ),
    )  # fmt: skip


def _first_below(losses: Array, tolerance: float) -> int | None:
    at = np.flatnonzero(losses < tolerance)
    return int(at[0]) if len(at) else None


def _stays_below(losses: Array, tolerance: float) -> int | None:
    """The first step from which on every loss is below the tolerance."""
    above = np.flatnonzero(~(losses < tolerance))
    first = int(above[-1]) + 1 if len(above) else 0
    return first if first < len(losses) else None


def _need(name: str, lr: float, start: float, steps: int, tolerance: float, options: dict[str, Any]) -> float:
    run = lab.descend("quadratic", name, lr=float(lr), starts=[[start]], steps=steps, **options)
    stays = _stays_below(run.losses[:, 0], tolerance)
    return np.nan if stays is None else float(stays)


def _first_told(rows: list[tuple[str, float, float, int | None, int | None, int, str]], tolerance: float) -> str:
    """Which is first below the tolerance, and whether it stays there."""
    reached = [row for row in rows if row[3] is not None]
    if not reached:
        return f"None of the four gets below {tolerance:g} at the usual rates."
    label, _, final, first, stays, _, _ = min(reached, key=lambda row: row[3] or 0)
    told = f"At the usual rates {label} is the first below {tolerance:g}, at step {first}"
    if stays == first:
        return f"{told}, and it stays there."
    end = f"ends at {final:.4f}, not below for good" if stays is None else f"stays below only from step {stays}"
    return f"{told}, but it only passes through and {end}: “steps to a loss” should count from where it stays below."
