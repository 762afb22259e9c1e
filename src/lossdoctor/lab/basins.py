"""Basins of attraction: which minimum each point of a plane leads to, and in how many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.critical import NEAR, critical_points
from lossdoctor.lab.result import Field
from lossdoctor.lab.schedules import Factor
from lossdoctor.lab.stepping import EMPTY, Settings, Walk, small_work
from lossdoctor.lab.surfaces import Surface
from lossdoctor.lab.surfaces import surface as make_surface

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

# So many starts go at once: few enough to stay in the processor's cache, many enough to be worth a step.
_CHUNK = 16_384
# How often, in steps, it is asked whether all starts of a chunk stand still; and below which move they do.
_ASK = 25
_STILL = 1e-7
NOWHERE = -1


@dataclass(frozen=True, eq=False)
class BasinMap:
    """Where every point of a grid leads.

    Attributes:
        surface, settings: what was descended, and how.
        x: float64[nx]; y: float64[ny]: the grid.
        basins: int64[ny, nx], the row of ``minima`` that the descent from there ends at; -1: at none of them (diverged,
            stalled at a saddle, or still moving).
        steps: int64[ny, nx], the first step at which it is within 1 ‰ of the domain's width of that minimum; -1: never.
        minima: float64[k, 2], the surface's, or those found where it knows none.
    """

    surface: Surface
    settings: Settings
    x: Array
    y: Array
    basins: NDArray[np.int64]
    steps: NDArray[np.int64]
    minima: Array

    @property
    def shares(self) -> Array:
        """The share of the grid that leads to each minimum; float64[k]. What is left of 1 leads nowhere."""
        return np.array([float((self.basins == i).mean()) for i in range(len(self.minima))])

    def field(self) -> Field:
        """The map as a plane to draw, the minima marked."""
        names = tuple(f"({a:.3g}, {b:.3g})" for a, b in self.minima)
        return Field(
            self.x,
            self.y,
            self.basins.astype(np.float64),
            minima=self.minima,
            saddles=self.surface.saddles,
            levels="category",
            label="basin",
            categories=names,
        )


def basin_map(
    surface: str | Surface | Callable[..., Any],
    optimizer: str = "sgd",
    lr: float | None = None,
    steps: int = 500,
    resolution: int | tuple[int, int] = 512,
    schedule: str | Factor | None = None,
    clip: float | None = None,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    schedule_options: Mapping[str, Any] = EMPTY,
    surface_options: Mapping[str, Any] = EMPTY,
    progress: Progress | None = None,
    **options: Any,
) -> BasinMap:
    """Descend from every point of a grid and note where it ends.

    Args:
        surface: of two coordinates; a name, a Surface or a function.
        optimizer, lr, steps, schedule, clip, schedule_options, options: as in :func:`lossdoctor.lab.descend`.
        resolution: points a side, 2 or more; or (nx, ny).
        x_range, y_range: the part of the plane; by default the surface's domain.
        surface_options: the surface's own parameters (of a function also ``domain``).
        progress: called with (steps of starts done, all of them).

    Raises:
        UsageError: on a surface that has not two coordinates, or as :func:`lossdoctor.lab.descend` does.

    >>> found = basin_map("himmelblau", lr=0.01, steps=300, resolution=8)
    >>> found.basins.shape, sorted(set(found.basins.ravel().tolist()) - {-1})
    ((8, 8), [0, 1, 2, 3])
    """
    given = dict(surface_options)
    if callable(surface) and not isinstance(surface, Surface):
        given.setdefault("dim", 2)
    made = make_surface(surface, **given)
    if made.dim != 2:
        raise UsageError(f"a map of basins needs two coordinates, surface {made.name!r} has {made.dim}")
    settings = Settings(optimizer, lr, steps, None, 0.0, schedule, clip, 0, dict(options), dict(schedule_options))
    _refuse(made, settings)
    nx, ny = (resolution, resolution) if isinstance(resolution, int) else resolution
    if min(nx, ny) < 2:
        raise UsageError(f"resolution is {resolution}; a map has 2 points a side or more")
    x = np.linspace(*(x_range or made.domain[0]), nx)
    y = np.linspace(*(y_range or made.domain[1]), ny)
    starts = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    minima = made.minima if len(made.minima) else _found_minima(made, settings, starts)
    basins = np.empty(len(starts), dtype=np.int64)
    first = np.empty(len(starts), dtype=np.int64)
    total = len(starts) * steps
    for begin in range(0, len(starts), _CHUNK):
        part = slice(begin, min(begin + _CHUNK, len(starts)))
        size = part.stop - part.start

        def report(done: int, begin: int = begin, size: int = size) -> None:
            if progress is not None:
                progress(begin * steps + done * size, total)

        basins[part], first[part] = _descend(made, settings, starts[part], minima, report)
    return BasinMap(made, settings, x, y, basins.reshape(ny, nx), first.reshape(ny, nx), minima)


def _refuse(surface: Surface, settings: Settings) -> None:
    if settings.spec.scope == "optimizer":
        raise UsageError(
            f"{settings.spec.name!r} has to be made anew for every start, which is too slow for a map; take another "
            "optimizer, or descend from fewer starts with lab.descend()"
        )
    if settings.plan.follows_loss:
        raise UsageError(f"the schedule {settings.plan.name!r} serves one start at a time; take another for a map")
    if surface.noise:
        raise UsageError(f"{surface!r} leads elsewhere every time; a map needs a surface without noise")


def _descend(
    surface: Surface, settings: Settings, starts: Array, minima: Array, report: Callable[[int], None]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which minimum each start ends at, and its first step within reach of it."""
    x = torch.from_numpy(starts.copy())
    walk = Walk(surface, x, settings)
    goals = torch.from_numpy(np.ascontiguousarray(minima))
    reach = NEAR * surface.width
    constant = settings.plan.name == "constant"  # a schedule may wake them again
    # The first step of the present stay near each minimum; a path that leaves again starts anew.
    since = torch.full((len(goals), len(x)), NOWHERE, dtype=torch.int64)
    nowhere = torch.tensor(NOWHERE)
    with small_work(x.numel()):
        for step in range(settings.steps + 1):
            near = (x[:, 0] - goals[:, :1]).square_() + (x[:, 1] - goals[:, 1:]).square_() <= reach * reach
            since = torch.where(near, torch.where(since == NOWHERE, step, since), nowhere)
            if step == settings.steps:
                break
            before = x.clone() if constant and step % _ASK == 0 else None
            walk.step()
            report(step + 1)
            # All stand still (or are lost, as NaN): what follows would only repeat it.
            if before is not None and not bool(((x - before).abs() > _STILL * reach).any()):
                break
    report(settings.steps)
    if not len(goals):
        lost = np.full(len(x), NOWHERE, dtype=np.int64)
        return lost, lost.copy()
    at, basin = since.max(dim=0)
    basin[at == NOWHERE] = NOWHERE
    return basin.numpy(), at.numpy()


def _found_minima(surface: Surface, settings: Settings, starts: Array) -> Array:
    """The minima of a surface that knows none: where a thin sample of the starts ends."""
    sample = np.ascontiguousarray(starts[:: max(1, len(starts) // 1024)])
    x = torch.from_numpy(sample)
    walk = Walk(surface, x, settings)
    with small_work(x.numel()):
        for _ in range(settings.steps):
            walk.step()
    return critical_points(surface, x.numpy()).distinct_minima
