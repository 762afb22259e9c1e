"""Pictures of descents, as data: the path over its surface, and the loss beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Line, Mark, Panel, Style

if TYPE_CHECKING:
    from lossdoctor.lab.descent import Descent

MARGIN = 0.1  # how far a picture reaches beyond the domain, as a share of its sides
FOLLOWED = 40  # steps


def steps_of(values: Array) -> Array:
    """0, 1, 2, … as floats, one for each row."""
    return np.arange(len(values), dtype=np.float64)


def inside(run: Descent, start: int) -> Array:
    """The path of one start up to where it leaves the picture; NaN from there on. float64[steps + 1, dim]."""
    path = run.path[:, start].copy()
    pad = MARGIN * (run.surface.high - run.surface.low)
    out = ~((path >= run.surface.low - pad) & (path <= run.surface.high + pad)).all(axis=1)
    path[np.logical_or.accumulate(out)] = np.nan
    return path


def over_surface(title: str, runs: Mapping[str, tuple[Descent, int]], note: str = "") -> Panel:
    """The surface (of one or two coordinates) with the path of each run over it; label -> (descent, start)."""
    surface = next(iter(runs.values()))[0].surface
    if surface.dim == 1:
        curve = surface.profile(margin=MARGIN)
        lines = [Line(surface.formula, curve.x, curve.y, "dashed")]
        for label, (run, start) in runs.items():
            x = inside(run, start)[:, 0]
            # Few steps can be followed from one to the next; many are better seen as a swarm.
            style: Style = "line" if run.steps <= FOLLOWED else "points"
            lines.append(Line(label, x, np.where(np.isnan(x), np.nan, run.values[:, start]), style))
        return Panel(title, surface.axes[0], surface.value_name, tuple(lines), note=note)
    paths = {label: inside(run, start) for label, (run, start) in runs.items()}
    drawn = tuple(Line(label, path[:, 0], path[:, 1]) for label, path in paths.items())
    field = surface.grid(margin=MARGIN)
    return Panel(title, surface.axes[0], surface.axes[1], drawn, note=note, field=field)


def over_steps(
    title: str,
    label: str,
    columns: Mapping[str, Array],
    *,
    log_y: bool = True,
    log_x: bool = False,
    floor: float | None = None,
    ceiling: float | None = None,
    marks: Sequence[Mark] = (),
    note: str = "",
) -> Panel:
    """A line per column over the steps from 0; what is below ``floor`` is drawn there, above ``ceiling`` not at all."""
    lines = []
    for name, values in columns.items():
        y = np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            y = y if ceiling is None else np.where(y <= ceiling, y, np.nan)
            y = y if floor is None else np.maximum(y, floor)
        lines.append(Line(name, steps_of(y) + (1.0 if log_x else 0.0), y))
    x_label = "step + 1" if log_x else "step"
    return Panel(title, x_label, label, tuple(lines), log_x=log_x, log_y=log_y, marks=tuple(marks), note=note)


def losses(runs: Mapping[str, tuple[Descent, int]]) -> dict[str, Array]:
    """The loss of each run over its steps, by its label; float64[steps + 1] each."""
    return {label: run.losses[:, start] for label, (run, start) in runs.items()}


def histories(runs: Mapping[str, tuple[Descent, int]]) -> dict[str, TrainingHistory]:
    """Each run as a training run, by its label."""
    return {label: run.history(start) for label, (run, start) in runs.items()}
