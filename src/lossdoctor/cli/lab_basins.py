"""A map of basins as an experiment: which minimum each point leads to, and how soon."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossdoctor.cli.io import Progress
from lossdoctor.lab.result import Experiment, Field, Panel, Table


def basins_experiment(
    name: str, optimizer: str, lr: float | None, steps: int, resolution: int, told: Progress | None
) -> Experiment:
    """Descend from every point of a grid.

    Args:
        told: called with the steps of starts done, all of them, and what they are.
    """
    from lossdoctor import lab

    step = None if told is None else (lambda done, total: told(done, total, name))
    found = lab.basin_map(name, optimizer, lr=lr, steps=steps, resolution=resolution, progress=step)
    surface, spec = found.surface, found.settings.spec
    taken = np.where(found.steps >= 0, found.steps, np.nan).astype(np.float64)
    rows: list[tuple[Any, ...]] = []
    for i, (minimum, share) in enumerate(zip(found.minima, found.shares, strict=True)):
        own = taken[found.basins == i]
        rows.append(
            (
                f"({minimum[0]:.4g}, {minimum[1]:.4g})",
                float(surface([minimum])[0]),
                f"{100 * share:.1f} %",
                float(np.nanmedian(own)) if len(own) else None,
            )
        )
    nowhere = float((found.basins < 0).mean())
    if nowhere:
        rows.append(("none of them", None, f"{100 * nowhere:.1f} %", None))
    panels = [Panel("Where each point leads", surface.axes[0], surface.axes[1], field=found.field())]
    if np.isfinite(taken).any():
        soon = Field(found.x, found.y, taken, found.minima, surface.saddles, label="steps")
        panels.append(Panel("Steps until it is there", surface.axes[0], surface.axes[1], field=soon))
    reached = sum(1 for share in found.shares if share > 0)
    return Experiment(
        f"{surface.name} basins",
        f"Basins of {surface.title}: {spec.title}, lr {found.settings.rate:g}",
        f"{resolution:,} × {resolution:,} starts, {steps:,} steps each of {spec.title}: {reached} of "
        f"{len(found.minima)} minima are reached, from {100 * (1 - nowhere):.1f} % of the plane. The borders run "
        "through the saddles; where they fray, the rate is near the critical one, and a step may leap into another.",
        tuple(panels),
        (Table("Basins", ("minimum", surface.value_name, "share", "median steps"), tuple(rows)),),
        {"minima reached": float(reached), "share that ends at no minimum": nowhere},
    )
