"""A saddle: what gets away from it, and what does not."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, SEED, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table


@experiment(
    "At a saddle",
    "Exactly on the ridge neither plain descent nor momentum nor Adam leaves the saddle; a little noise does.",
    LR,
    STEPS,
    Option("offset", "how far beside the ridge the second start is", low=0, high=1, above=True),
    Option("noise", "standard deviation of the gradient noise", low=0),
    SEED,
)
def saddle(
    *, lr: float = 0.05, steps: int = 300, offset: float = 1e-6, noise: float = 1e-3, seed: int = 0
) -> Experiment:
    """x² − y² + y⁴/4 from (1.5, 0), on the ridge, and from a little beside it."""
    plans: dict[str, tuple[str, float, float]] = {
        "plain on ridge": ("sgd", 0.0, 0.0),
        "momentum on ridge": ("momentum", 0.0, 0.0),
        "Adam on ridge": ("adam", 0.0, 0.0),
        "plain with noise": ("sgd", 0.0, noise),
        "plain beside it": ("sgd", offset, 0.0),
        "momentum beside it": ("momentum", offset, 0.0),
        "Adam beside it": ("adam", offset, 0.0),
    }
    runs, rows, numbers = {}, [], dict[str, float | str]()
    for label, (optimizer, y, strength) in plans.items():
        starts = [[1.5, y]]
        run = lab.descend(
            "saddle_between_wells", optimizer, lr=lr, starts=starts, steps=steps, noise=strength, seed=seed
        )
        runs[label] = (run, 0)
        away = np.flatnonzero(np.abs(run.path[:, 0, 1]) > 0.5)
        left = int(away[0]) if len(away) else None
        rows.append((label, left, run.state(0), float(run.losses[-1, 0])))
        numbers[f"steps to leave, {label}"] = np.inf if left is None else float(left)
        numbers[f"state, {label}"] = run.state(0)
    # Near the saddle y grows by 1 + 2·lr a step under plain descent.
    predicted = float(np.log(0.5 / offset) / np.log(1 + 2 * lr))
    numbers["predicted steps to leave, plain beside it"] = predicted
    off = {k: np.abs(r.path[:, 0, 1]) for k, (r, _) in runs.items() if "beside" in k or "noise" in k}
    beside = [row for row in rows if "beside" in row[0]]
    left_it = [row for row in beside if row[1] is not None]
    told = ", ".join(f"{row[0].split()[0]} {row[1]}" for row in left_it) or "none"
    stayed = sum(row[1] is None for row in rows[:3])
    return found(
        "At a saddle the gradient is zero and the Hessian has a negative eigenvalue. On the ridge the gradient has "
        "no component across it, so there is nothing for momentum to build up and nothing for Adam to scale: "
        f"{stayed} of 3 stay. With noise of {noise:g} plain descent "
        f"{'stays' if rows[3][1] is None else f'is away after {rows[3][1]} steps'}. From {offset:g} beside the ridge "
        f"{len(left_it)} of 3 leave (steps: {told}; plain descent grows its offset by 1 + 2·lr a step, which makes "
        f"about {predicted:.0f}). Random starts hit a ridge with probability zero (Lee et al. 2016), so saddles cost "
        "time, not the result; on the loss curve they are a plateau followed by a fall.",
        panels=(
            paths.over_surface("Paths around the saddle", runs),
            paths.over_steps("Loss over the steps", "loss", paths.losses(runs),
                             log_y=False, note="The flat stretch at 0 is the saddle."),
            paths.over_steps("Distance from the ridge", "|y|", off, floor=1e-9),
        ),
        tables=(Table(f"{steps} steps at lr {lr:g}",
                      ("run", "steps to |y| > 0.5", "state", "last loss"), tuple(rows)),),
        numbers=numbers,
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
        sources=(
            "Dauphin et al., Identifying and attacking the saddle point problem (2014)",
            "Lee et al., Gradient Descent Only Converges to Minimizers (2016)",
            "Jin et al., How to Escape Saddle Points Efficiently (2017)",
        ),
    )  # fmt: skip
