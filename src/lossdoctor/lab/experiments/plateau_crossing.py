"""A plateau: small gradients, and how optimizers that rescale them cross it."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table


@experiment(
    "Across a plateau",
    "1 − exp(−r²/2) from r = 3.5: plain descent needs hundreds of steps where Adam needs tens.",
    LR,
    STEPS,
    Option("distance", "how far out on the plateau the start is", low=0.5, high=5),
)
def plateau_crossing(*, lr: float = 0.1, steps: int = 600, distance: float = 3.5) -> Experiment:
    """The same rate for plain descent, momentum, RMSProp and Adam."""
    names = {"plain": "sgd", "momentum 0.9": "momentum", "RMSProp": "rmsprop", "Adam": "adam"}
    runs, rows, numbers = {}, [], dict[str, float | str]()
    for label, name in names.items():
        run = lab.descend("plateau", name, lr=lr, starts=[[distance, 0.0]], steps=steps)
        runs[label] = (run, 0)
        first = float(np.linalg.norm(run.path[1, 0] - run.path[0, 0]))
        need = run.steps_to(0.01)
        rows.append((label, first, need, float(run.losses[-1, 0]), run.state(0)))
        numbers[f"steps to 0.01, {label}"] = np.inf if need is None else float(need)
        numbers[f"first step, {label}"] = first
    slope = float(next(iter(runs.values()))[0].grad_norms[0, 0])
    told = ", ".join(f"{row[0]} {'not in ' + str(steps) if row[2] is None else row[2]}" for row in rows)
    return found(
        f"At r = {distance:g} the gradient is {slope:.1e}. Plain descent steps by lr times that, momentum soon by ten "
        "times as much; Adam divides the gradient by its own recent size and steps by about lr however flat it is. "
        "RMSProp does, too, but does not correct its average for having begun at zero: its first step is "
        f"{rows[2][1] / lr:.0f} times lr, and near the bottom it never settles. Steps to a loss "
        f"of 0.01: {told}. On the loss curve the first is a flat line, and its gradient norm is small but not zero: "
        "that tells a plateau from a minimum, and a larger rate or an adaptive one is the cure.",
        panels=(
            paths.over_surface("Paths over the plateau", runs),
            paths.over_steps("Loss over the steps", "loss", paths.losses(runs),
                             log_x=True, log_y=False),
            paths.over_steps("Gradient norm", "|∇loss|", {k: r.grad_norms[:, 0] for k, (r, _) in runs.items()},
                             log_x=True, floor=1e-12),
        ),
        tables=(Table(f"{steps} steps at lr {lr:g}",
                      ("optimizer", "length of the first step", "steps to 0.01", "last loss", "state"), tuple(rows)),),
        numbers={"gradient at the start": slope, **numbers},
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
    )  # fmt: skip
