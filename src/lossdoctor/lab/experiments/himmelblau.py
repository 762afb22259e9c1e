"""Four starts on Himmelblau's function, four minima; and the five other points where its gradient is zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossdoctor import lab
from lossdoctor.core.errors import UsageError
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Table

if TYPE_CHECKING:
    from lossdoctor.lab.surfaces import Surface

STARTS = (-4.0, -4.0, 4.0, -4.0, -1.0, 4.0, 1.0, 1.0)


@experiment(
    "Four starts on Himmelblau's function",
    "Four starts end at four minima, all of value 0; there are four saddles and a maximum besides.",
    LR,
    STEPS,
    Option("starts", "x and y of each start, one after the other", low=-6, high=6),
    Option("optimizer", "name of the optimizer"),
)
def himmelblau(
    *, lr: float = 0.001, steps: int = 500, starts: tuple[float, ...] = STARTS, optimizer: str = "sgd"
) -> Experiment:
    """The paths of several starts over the surface, and what each of them came to."""
    if len(starts) % 2:
        raise UsageError(f"starts takes pairs x, y; got {len(starts)} numbers")
    at = np.reshape(starts, (-1, 2))
    run = lab.descend("himmelblau", optimizer, lr=lr, starts=at, steps=steps)
    surface = run.surface
    runs = {f"from ({x:g}, {y:g})": (run, i) for i, (x, y) in enumerate(at)}
    reached = [run.minimum(i) for i in range(run.n)]
    rows = tuple(
        (f"({x:g}, {y:g})", f"({run.ends[i, 0]:.6f}, {run.ends[i, 1]:.6f})", float(run.losses[-1, i]), run.state(i),
         _numbered(reached[i]), run.steps_to(0.01, i))
        for i, (x, y) in enumerate(at)
    )  # fmt: skip
    critical: list[tuple[str, str, float, float, float]] = [
        (kind, f"({p[0]:.6f}, {p[1]:.6f})", float(surface([p])[0]), *_curvatures(surface, p))
        for kind, group in (("minimum", surface.minima), ("saddle", surface.saddles), ("maximum", surface.maxima))
        for p in group
    ]  # fmt: skip
    distinct = len({m for m in reached if m is not None})
    sharpest = max(row[4] for row in critical if row[0] == "minimum")
    return found(
        f"{run.n} starts reach {distinct} different minima: each follows the slope it stands on and sees nothing "
        "else. The function has nine points of zero gradient: four minima (all of value 0), four saddles and a "
        f"maximum near ({surface.maxima[0, 0]:.3f}, {surface.maxima[0, 1]:.3f}), value "
        f"{surface(surface.maxima)[0]:.1f}; not “four minima and one saddle”. The borders between the basins run "
        "through the saddles. As all four minima are equally good, which one is reached says nothing about the "
        f"optimizer. The sharpest has λmax = {sharpest:.1f}: plain descent cannot stay there above {2 / sharpest:.4f}.",
        panels=(
            paths.over_surface("Paths over the surface", runs),
            paths.over_steps("Loss over the steps", "loss", paths.losses(runs), floor=1e-16),
        ),
        tables=(
            Table(f"{steps} steps of {optimizer} at lr {lr:g}",
                  ("start", "end", "loss", "state", "minimum", "steps to 0.01"), rows),
            Table("All nine points of zero gradient",
                  ("kind", "point", "value", "smaller curvature", "larger curvature"), tuple(critical)),
        ),
        numbers={
            "minima reached": float(distinct),
            "points of zero gradient": float(len(critical)),
            "largest last loss": float(run.losses[-1].max()),
            "critical rate at the sharpest minimum": 2 / sharpest,
            "value at the maximum": float(surface(surface.maxima)[0]),
        },
        runs=paths.histories(runs),
        descents={optimizer: run},
        sources=("Himmelblau, Applied Nonlinear Programming (1972)",),
    )  # fmt: skip


def _curvatures(surface: Surface, point: Array) -> tuple[float, float]:
    small, large = np.linalg.eigvalsh(surface.hessian(point[None])[0])
    return float(small), float(large)


def _numbered(minimum: int | None) -> int | None:
    return None if minimum is None else minimum + 1
