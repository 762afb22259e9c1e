"""Four learning rates on (w − 3)²: what each does, by its dynamics."""

from __future__ import annotations

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table


@experiment(
    "Learning rates on a bowl",
    "0.001, 0.1, 0.45 and 0.95 on (w − 3)²: none of the four diverges, and the last one crosses at every step.",
    Option("rates", "learning rates", low=0, above=True),
    STEPS,
    Option("start", "where w begins", low=-4, high=10),
)
def learning_rates(
    *, rates: tuple[float, ...] = (0.001, 0.1, 0.45, 0.95), steps: int = 30, start: float = 0.0
) -> Experiment:
    """One run per rate; the label is computed from the path, not from the rate."""
    runs = {f"lr {lr:g}": (lab.descend("quadratic", "sgd", lr=lr, starts=[[start]], steps=steps), 0) for lr in rates}
    rows, numbers = [], dict[str, float | str]()
    for lr, (label, (run, _)) in zip(rates, runs.items(), strict=True):
        loss = run.losses[:, 0]
        rows.append((lr, 1 - 2 * lr, float(loss[-2]), float(loss[-1]), run.state(0), run.steps_to(0.01)))
        numbers[f"loss before the last step, {label}"] = float(loss[-2])
        numbers[f"loss at the end, {label}"] = float(loss[-1])
        numbers[f"state, {label}"] = run.state(0)
    first = next(iter(runs.values()))[0]
    numbers["critical rate"] = float(first.critical_lr or 0)
    told = "; ".join(f"{lr:g}: {row[4]}" for lr, row in zip(rates, rows, strict=True))
    return found(
        "The curvature of (w − 3)² is 2, so a step multiplies the distance by 1 − 2·lr: no crossing below 0.5, which "
        "arrives at once, crossing between 0.5 and 1.0, divergence only beyond 2/λmax = "
        f"{numbers['critical rate']:g}. {told}. 0.45 is often called large and oscillating: it is monotone and nearly "
        "the fastest rate there is. 0.95 is often called too large and exploding: it jumps from side to side, "
        "converges, and its loss falls at every step, by a factor of 0.81.",
        panels=(
            *(
                paths.over_steps(f"{label}: {run.state(0)}", "loss", {label: run.losses[:, 0]}, log_y=False)
                for label, (run, _) in runs.items()
            ),
            paths.over_surface("The steps on (w − 3)²", runs),
            paths.over_steps(
                "All together", "loss", paths.losses(runs), floor=1e-16,
                ceiling=1e6,
            ),
        ),
        tables=(
            Table(f"After {steps} steps from w = {start:g}",
                  ("lr", "factor per step", "loss before the last step", "loss at the end", "state", "steps to 0.01"),
                  tuple(rows)),
        ),
        numbers=numbers,
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
    )  # fmt: skip
