"""The blind hiker: twenty steps down x² − 4x + 5, feeling only the slope."""

from __future__ import annotations

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table


@experiment(
    "The blind hiker",
    "Twenty steps down x² − 4x + 5 from 0, feeling only the slope, end at x = 1.9769.",
    LR,
    STEPS,
    Option("start", "where the hiker is put down", low=-3, high=7),
)
def blind_hiker(*, lr: float = 0.1, steps: int = 20, start: float = 0.0) -> Experiment:
    """Gradient descent on a valley whose bottom is at x = 2, height 1."""
    run = lab.descend("blind_hiker", "sgd", lr=lr, starts=[[start]], steps=steps)
    x, height = run.path[:, 0, 0], run.values[:, 0]
    label = f"lr {lr:g}"
    rows = tuple((i, float(x[i]), float(height[i]), float(2 * x[i] - 4)) for i in range(steps + 1))
    factor = 1 - 2 * lr
    return found(
        f"The slope at x is 2x − 4, so a step of {lr:g} times the slope multiplies the distance to the bottom by 1 − "
        f"2·lr = {factor:g}. From {start:g} the hiker is at x = {x[-1]:.4f}, height {height[-1]:.4f}, after {steps} "
        f"steps: {run.state(0)}. No step ever arrives; each leaves {abs(factor):.0%} of the way. The rate that would "
        f"go there at once is 0.5, and beyond {run.critical_lr:g} the hiker climbs.",
        panels=(
            paths.over_surface("The valley and the steps", {label: (run, 0)}),
            paths.over_steps("Height above the bottom", "height − 1", {label: height - 1}),
        ),
        tables=(Table(f"Steps at lr {lr:g}", ("step", "x", "height", "slope"), rows),),
        numbers={
            "x at the end": float(x[-1]),
            "height at the end": float(height[-1]),
            "factor per step": factor,
            "critical rate": float(run.critical_lr or 0),
            "state": run.state(0),
        },
        runs={label: run.history(0)},
        descents={label: run},
    )
