"""Where gradient descent breaks: rates from 0.01 to 1.5 on x² − 4x + 5, and the critical one found by experiment."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


def fixed_thresholds(x: Array, best: float) -> str:
    """The status as it is often computed: fixed distances from the optimum, and whether the last values differ."""
    distance = abs(x[-1] - best)
    if not abs(x[-1]) <= 1000:
        return "diverged"
    if distance < 0.01:
        return "converged"
    return "oscillating" if len({round(float(v), 4) for v in x[-5:]}) > 1 and distance < 1 else "still converging"


@experiment(
    "The critical learning rate",
    "Rates from 0.01 to 1.5 on x² − 4x + 5, their state from the dynamics, and the rate where it breaks.",
    Option("rates", "learning rates", low=0, above=True),
    STEPS,
    Option("start", "where x begins", low=-3, high=7),
)
def critical_rate(
    *, rates: tuple[float, ...] = (0.01, 0.1, 0.5, 0.9, 1.0, 1.1, 1.5), steps: int = 20, start: float = 0.0
) -> Experiment:
    """One run per rate, and a bisection for the rate at which the distance stops shrinking."""
    runs = {f"lr {lr:g}": (lab.descend("blind_hiker", "sgd", lr=lr, starts=[[start]], steps=steps), 0) for lr in rates}
    rows, trails, numbers = [], [], dict[str, float | str]()
    wrong = []
    for lr, (label, (run, _)) in zip(rates, runs.items(), strict=True):
        x = run.path[:, 0, 0]
        guess, state = fixed_thresholds(x, 2.0), run.state(0)
        rows.append((lr, 1 - 2 * lr, float(x[-1]), float(abs(x[-1] - 2)), state, guess))
        trails.append((lr, " → ".join(f"{v:.2f}" for v in x[:8])))
        if not _agrees(guess, 1 - 2 * lr, abs(x[-1] - 2)):
            wrong.append(f"{lr:g} is called {guess} (it is: {state})")
        numbers[f"x at the end, {label}"] = float(x[-1])
        numbers[f"state, {label}"] = state
        numbers[f"fixed thresholds, {label}"] = guess
    telling = ("lr 0.1", "lr 0.9", "lr 1", "lr 1.1")
    shown = {label: run for label, run in runs.items() if label in telling} or runs
    measured = _bisect(start)
    numbers["critical rate, 2/λmax"] = float(next(iter(runs.values()))[0].critical_lr or 0)
    numbers["critical rate, by bisection"] = measured
    numbers["wrong by fixed thresholds"] = float(len(wrong))
    grid = np.linspace(0.01, 1.5, 60)
    growth = np.array([_growth(lr, start) for lr in grid])
    return found(
        f"The second derivative is 2, so the critical rate is 2/λmax = {numbers['critical rate, 2/λmax']:g}; bisection "
        f"on the runs themselves finds {measured:.6f}. At exactly 1.0 the descent jumps between {start:g} and "
        f"{4 - start:g} for ever. Statuses by fixed thresholds are wrong for {len(wrong)} of {len(rates)} rates"
        + (f": {'; '.join(wrong)}. " if wrong else ". ")
        + "0.1 and 0.9 leave the same 80 % of the distance at each step.",
        panels=(
            paths.over_steps(
                "Distance to the optimum", "|x − 2|", {k: np.abs(r.path[:, 0, 0] - 2) for k, (r, _) in runs.items()},
                floor=1e-3, note="0.5 arrives in one step; 0.1 and 0.9 share a line.",
            ),
            Panel(
                "What a step does to the distance", "learning rate", "factor per step, measured",
                (Line("measured", grid, growth), Line("|1 − 2·lr|", grid, np.abs(1 - 2 * grid), "dashed")),
                marks=(Mark("critical", x=measured), Mark("", y=1.0)), note="Above 1 it diverges.",
            ),
            paths.over_surface("The steps", shown),
        ),
        tables=(
            Table(f"After {steps} steps from x = {start:g}",
                  ("lr", "factor per step", "x", "distance", "state", "by fixed thresholds"), tuple(rows)),
            Table("The first steps", ("lr", "x"), tuple(trails)),
        ),
        numbers=numbers,
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
    )  # fmt: skip


def _agrees(guess: str, factor: float, distance: float) -> bool:
    """Whether a guessed status is what a descent with this factor per step does."""
    if abs(factor) > 1:
        return guess == "diverged"
    if abs(factor) == 1:
        return guess == "oscillating"
    if distance < 0.01:
        return guess == "converged"
    return guess == ("oscillating" if factor < 0 else "still converging")


def _growth(lr: float, start: float, steps: int = 20) -> float:
    """By what a step multiplies the distance to the optimum, from a run (the first steps: later ones may underflow)."""
    run = lab.descend("blind_hiker", "sgd", lr=lr, starts=[[start]], steps=steps)
    apart = np.abs(run.path[:, 0, 0] - 2)
    end = int(np.flatnonzero(apart > 1e-9 * apart[0])[-1])
    return float((apart[end] / apart[0]) ** (1 / end)) if end else 0.0


def _bisect(start: float) -> float:
    low, high = 0.01, 4.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if _growth(middle, start) < 1 else (low, middle)
    return high
