"""Any surface, any optimizer, any schedule: the experiment to play with."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossdoctor import lab
from lossdoctor.core.errors import UsageError
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import SEED, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Table

SHOWN = 8  # paths drawn and told one by one


@experiment(
    "A descent of your own",
    "Any surface with any optimizer, rate, schedule, noise and clipping, from starts of your choice.",
    Option("surface", "name of the surface"),
    Option("optimizer", "name of the optimizer"),
    Option("lr", "learning rate; 0: the optimizer's own", low=0),
    STEPS,
    Option("starts", "how many random starts", low=1, high=10_000),
    Option("start", "coordinates of one or more starts, one after the other; none: random ones"),
    Option("noise", "standard deviation of the gradient noise", low=0),
    Option("schedule", "name of the schedule"),
    Option("clip", "largest norm of a gradient; 0: no clipping", low=0),
    SEED,
)
def descent(
    *, surface: str = "himmelblau", optimizer: str = "adam", lr: float = 0.05, steps: int = 300, starts: int = 4,
    start: tuple[float, ...] = (), noise: float = 0.0, schedule: str = "constant", clip: float = 0.0, seed: int = 0,
) -> Experiment:  # fmt: skip
    """The paths over the surface, the loss beside them, and what became of each start."""
    land = lab.surface(surface)
    where: Any = starts
    if start:
        if len(start) % land.dim:
            raise UsageError(f"surface {land.name!r} has {land.dim} coordinates a start; got {len(start)} numbers")
        where = np.reshape(start, (-1, land.dim))
    run = lab.descend(
        land, optimizer, lr=lr or None, starts=where, steps=steps, noise=noise or None, schedule=schedule,
        clip=clip or None, seed=seed,
    )  # fmt: skip
    some = range(min(run.n, SHOWN))
    runs = {f"from ({', '.join(f'{v:.3g}' for v in run.path[0, i])})": (run, i) for i in some}
    states = [run.state(i) for i in range(run.n)]
    counted = ", ".join(f"{states.count(s)} {s}" for s in sorted(set(states), key=states.count, reverse=True))
    reached = [run.minimum(i) for i in range(run.n)]
    rows = tuple(
        (label, f"({', '.join(f'{v:.6g}' for v in run.ends[i])})", float(run.values[-1, i]), run.state(i),
         *(_reached(run, reached[i])), run.steps_to(0.01, i))
        for label, (_, i) in runs.items()
    )  # fmt: skip
    least = land.lowest if land.lowest is not None else float(np.nanmin(run.losses))
    bound = run.critical_lr
    panels = [
        paths.over_steps(
            "Loss over the steps", "loss above the least", {k: run.losses[:, i] - least for k, (_, i) in runs.items()},
            floor=1e-16, ceiling=1e12,
        )
    ]  # fmt: skip
    if land.dim <= 2:
        panels.insert(0, paths.over_surface(f"{land.title}: {land.formula}", runs))
    rate = run.settings.rate
    return found(
        f"{land.formula}: {land.about}. {run.n} starts, {steps} steps of {run.settings.spec.title} at lr {rate:g}: "
        f"{counted}. "
        + ("" if bound is None else f"Plain descent is stable at the minimum reached below 2/λmax = {bound:.4g}. "),
        panels=tuple(panels),
        tables=(Table("What became of each start",
                      ("start", "end", land.value_name, "state", "minimum", "steps to 0.01"),
                      rows, f"The first {len(runs)} of {run.n}." if run.n > SHOWN else ""),),
        numbers={
            "least loss at an end": float(run.losses[-1, run.best]),
            "minima reached": float(len({m for m in reached if m is not None})),
            **({} if bound is None else {"critical rate": bound}),
            **{f"starts: {state}": float(states.count(state)) for state in sorted(set(states))},
        },
        runs=paths.histories(runs),
        descents={run.settings.spec.name: run},
        sources=(land.source,) if land.source else (),
    )  # fmt: skip


def _reached(run: lab.Descent, which: int | None) -> tuple[str | None]:
    return (None if which is None else f"({', '.join(f'{v:.4g}' for v in run.minima[which])})",)
