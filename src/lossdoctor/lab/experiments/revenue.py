"""Revenue of ad spend and discount, made as large as it gets: ascent is descent on the negative."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table


@experiment(
    "Revenue, maximised",
    "R = 100x₁ + 50x₂ − x₁² − x₂² is largest at (50, 25), where it is 3125; descend −R to get there.",
    LR,
    STEPS,
    Option("start", "ad spend x₁ and discount x₂ to begin with", low=0, high=100),
)
def revenue(*, lr: float = 0.1, steps: int = 50, start: tuple[float, ...] = (0.0, 0.0)) -> Experiment:
    """Gradient descent on −R, and what happens when the sign is forgotten."""
    run = lab.descend("revenue", "sgd", lr=lr, starts=[list(start)], steps=steps)
    label = f"lr {lr:g}"
    value, end = run.values[:, 0], run.path[-1, 0]
    # The forgotten sign: descending R itself runs away from the maximum, by 1 + 2·lr a step.
    apart = float(np.linalg.norm(np.asarray(start) - [50, 25]))
    lost = apart * (1 + 2 * lr) ** steps
    rows = tuple(
        (i, float(run.path[i, 0, 0]), float(run.path[i, 0, 1]), float(value[i]))
        for i in sorted({*range(min(6, steps + 1)), *range(0, steps + 1, 10), steps})
    )
    return found(
        f"The gradient of R is (100 − 2x₁, 50 − 2x₂): zero at (50, 25), where R = 3125. Descending −R at {lr:g} from "
        f"({start[0]:g}, {start[1]:g}) arrives at ({end[0]:.4f}, {end[1]:.4f}) with R = {value[-1]:.4f} after {steps} "
        f"steps: {run.state(0)}. With the sign forgotten (w − lr·∇R) the same steps would end {lost:.3g} away from the "
        f"maximum. The critical rate is {run.critical_lr:g}; both coordinates have the same curvature, so the path is "
        "straight.",
        panels=(
            paths.over_surface("Revenue over ad spend and discount", {label: (run, 0)}),
            paths.over_steps("Revenue over the steps", "revenue", {label: value}, log_y=False),
            paths.over_steps("What is still missing", "3125 − R", {label: 3125 - value}, floor=1e-12),
        ),
        tables=(Table(f"Steps at lr {lr:g}", ("step", "x₁ (ad spend)", "x₂ (discount)", "revenue"), rows),),
        numbers={
            "x1 at the end": float(end[0]),
            "x2 at the end": float(end[1]),
            "revenue at the end": float(value[-1]),
            "largest revenue": float(run.surface(run.surface.minima)[0]),
            "critical rate": float(run.critical_lr or 0),
            "distance with the sign forgotten": lost,
            "state": run.state(0),
        },
        runs={label: run.history(0)},
        descents={label: run},
    )
