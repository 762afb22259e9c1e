"""Slices through the loss of a real model: lines, random planes, the plane of a training run.

All of them leave the model as it was, run it in evaluation mode (batch norm uses its running statistics and does not
change them, dropout is off), and show NaN and infinity as what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.landscapes import weights
from lossdoctor.lab.landscapes.evaluate import Evaluator, Progress, Store, identity, looking_at
from lossdoctor.lab.landscapes.landscape import Landscape, Profile
from lossdoctor.lab.landscapes.sampling import coarse_to_fine
from lossdoctor.lab.landscapes.weights import Point, State, Trajectory
from lossdoctor.torchkit.objective import Objective, objective

LossFn = Callable[..., Tensor]
Batches = Iterable[Any] | None


def interpolate(
    model: nn.Module,
    loss_fn: LossFn,
    first: State,
    second: State,
    batches: Batches = None,
    *,
    points: int = 51,
    span: tuple[float, float] = (-0.25, 1.25),
    progress: Progress | None = None,
) -> Profile:
    """The loss on the straight line between two states of a model (Goodfellow, Vinyals, Saxe 2015).

    Parameters and floating-point buffers are both interpolated, so that the ends are the two states themselves; buffers
    that one of the states does not hold stay the model's.

    Args:
        model: gives the structure; its own weights do not matter.
        loss_fn: ``loss_fn(model)``, or with batches ``loss_fn(output, target)``; a scalar tensor.
        first, second: modules, state dicts or snapshots.
        batches: pairs (x, y), read once.
        points: along the line, at least 2; 0 and 1 are added to them.
        span: from, to; 0 is the first state, 1 the second.
        progress: called with (done, planned).

    Raises:
        UsageError: a model without parameters, a state of another model, no batches, or an option out of range.

    >>> import copy
    >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(a.weight, 0.0), nn.init.constant_(b.weight, 2.0)
    >>> found = interpolate(a, lambda m: (m.weight - 1).square().sum(), a, b, points=3, span=(0, 1))
    >>> found.values.tolist(), found.barrier
    ([1.0, 0.0, 1.0], 0.0)
    """
    x = _axis(points, span, (0.0, 1.0))
    goal = objective(model, loss_fn, batches)
    like = weights.moving(first, second, model)
    start = weights.point(first, like)
    step = weights.between(start, weights.point(second, like))
    with looking_at(model):
        values = Evaluator(model, goal, start, [step], progress=progress)([(at,) for at in x.tolist()])
    return Profile(x, np.array(values), "from the first state (0) to the second (1)", "Loss between two states")


def random_line(
    model: nn.Module,
    loss_fn: LossFn,
    batches: Batches = None,
    *,
    points: int = 51,
    span: tuple[float, float] = (-1.0, 1.0),
    seed: int = 0,
    vectors: bool = False,
    progress: Progress | None = None,
) -> Profile:
    """The loss along one filter-normalised random direction; arguments as in :func:`random_plane`."""
    x = _axis(points, span, (0.0,))
    goal = objective(model, loss_fn, batches)
    origin = weights.point(model, weights.parameters_of(model))
    direction = weights.filter_normalised(model, seed, vectors=vectors)
    with looking_at(model):
        values = Evaluator(model, goal, origin, [direction], progress=progress)([(at,) for at in x.tolist()])
    return Profile(x, np.array(values), "along a random direction, in lengths of the filters", "Loss along a line")


def random_plane(
    model: nn.Module,
    loss_fn: LossFn,
    batches: Batches = None,
    *,
    points: int | tuple[int, int] = 41,
    span: tuple[float, float] = (-1.0, 1.0),
    tolerance: float = 0.01,
    seed: int = 0,
    vectors: bool = False,
    progress: Progress | None = None,
    path: str | Path | None = None,
) -> Landscape:
    """The loss over a plane of two filter-normalised random directions (Li et al. 2018).

    Because each filter moves by its own length, planes of different nets can be compared: at distance 1 every filter
    has been changed by as much as it is large.

    Args:
        model: in the state to look around.
        loss_fn: ``loss_fn(model)``, or with batches ``loss_fn(output, target)``; a scalar tensor.
        batches: pairs (x, y), read once; a sample of the data will do.
        points: along each axis, or (columns, rows).
        span: from, to, of both axes; the model is at (0, 0).
        tolerance: largest interpolation error wanted, as a share of the range; 0 evaluates every point.
        seed: of the directions and of the control points.
        vectors: whether biases and normalisation parameters move too; in the paper they do not.
        progress: called with (done, planned); what is planned grows as the grid is refined.
        path: a file that keeps the evaluations, so that a stopped run goes on where it was.

    Raises:
        UsageError: a model without parameters, no batches, an option out of range, or a file of another landscape.
    """
    columns, rows = (points, points) if isinstance(points, int) else points
    x, y = _axis(columns, span), _axis(rows, span)
    goal = objective(model, loss_fn, batches)
    origin = weights.point(model, weights.parameters_of(model))
    pair = [weights.filter_normalised(model, s, vectors=vectors) for s in (2 * seed, 2 * seed + 1)]
    return _plane(model, goal, origin, pair, x, y, "random", tolerance, seed, progress, path)


def trajectory_plane(
    model: nn.Module,
    loss_fn: LossFn,
    trajectory: Trajectory | Iterable[State],
    batches: Batches = None,
    *,
    points: int | tuple[int, int] = 41,
    margin: float = 0.2,
    tolerance: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
    path: str | Path | None = None,
) -> Landscape:
    """The loss over the plane of the first two principal components of a training run, with the run projected on it.

    The plane goes through the last state. ``explained`` says how much of the run's variance it shows; a random walk in
    many dimensions reaches high shares too (Antognini and Sohl-Dickstein 2018), so a high share alone proves nothing.
    The loss of the states themselves is in ``path_values``: where it is far from the loss of the plane below the path,
    the run leaves the plane there.

    Args:
        trajectory: a :class:`Trajectory`, or states in order (state dicts, snapshots, modules); at least 3.
        margin: how far the picture goes beyond the path, as a share of its extent.

    The others are as in :func:`random_plane`. Raises the same, and when the states lie on one line.
    """
    if margin < 0:
        raise UsageError(f"margin is a share of the path's extent, 0 or more, not {margin}")
    goal = objective(model, loss_fn, batches)
    like = weights.parameters_of(model)
    states = weights.points(trajectory, like)
    found = weights.principal_plane(states)
    columns, rows = (points, points) if isinstance(points, int) else points
    extent = float(np.ptp(found.path, axis=0).max())
    x, y = (_axis(n, _around(found.path[:, k], extent, margin)) for k, n in enumerate((columns, rows)))
    with looking_at(model):
        values = _losses(model, goal, states, like)
        origin = weights.point(states[-1], like)
        plane = _plane(model, goal, origin, found.directions, x, y, "trajectory", tolerance, seed, progress, path)
    return Landscape(
        **{**vars(plane), "path": found.path, "path_values": values, "explained": found.explained, "cosine": 0.0}
    )


def _plane(
    model: nn.Module,
    goal: Objective,
    origin: Point,
    pair: Iterable[Point],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    kind: Literal["random", "trajectory"],
    tolerance: float,
    seed: int,
    progress: Progress | None,
    path: str | Path | None,
) -> Landscape:
    directions = list(pair)
    with looking_at(model):
        store = None
        if path is not None:
            middle = Evaluator(model, goal, origin, directions)([(0.0, 0.0)])[0]
            store = Store(path, identity(origin, directions, middle))
        with nullcontext() if store is None else closing(store):
            evaluator = Evaluator(model, goal, origin, directions, progress=progress, store=store)
            sampled = coarse_to_fine(
                (len(y), len(x)),
                lambda cells: evaluator([(float(x[j]), float(y[i])) for i, j in cells]),
                tolerance,
                seed,
            )
    return Landscape(
        x,
        y,
        sampled.values,
        sampled.measured,
        sampled.error,
        int(sampled.measured.sum()),
        kind,
        cosine=_cosine(*directions),
    )


def _losses(model: nn.Module, goal: Objective, states: list[Point], like: Point) -> NDArray[np.float64]:
    values = []
    for state in states:
        here = weights.point(state, like)
        values += Evaluator(model, goal, here, [])([()])
    return np.array(values)


def _axis(points: int, span: tuple[float, float], through: tuple[float, ...] = ()) -> NDArray[np.float64]:
    low, high = span
    if points < 2 or not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UsageError(f"an axis needs at least 2 points and a span from low to high, got {points} and {span}")
    x = np.linspace(low, high, points)
    x[np.abs(x) < 1e-12 * (high - low)] = 0.0
    added = [at for at in through if low <= at <= high]
    return np.unique(np.concatenate([x[~np.isclose(x[:, None], added).any(axis=1)], added])) if added else x


def _around(path: NDArray[np.float64], extent: float, margin: float) -> tuple[float, float]:
    """The path with a margin; a narrow one is widened to a fifth of the other, or nothing could be seen beside it."""
    low, high = float(path.min()), float(path.max())
    spare = max(0.2 * extent - (high - low), 0.0) / 2 + margin * extent
    return low - spare, high + spare


def _cosine(first: Point, second: Point) -> float:
    dot, squares = 0.0, [0.0, 0.0]
    for name, a in first.items():
        b = second[name].double()
        dot += float((a.double() * b).sum())
        squares = [squares[0] + float(a.double().square().sum()), squares[1] + float(b.square().sum())]
    length = float(np.sqrt(squares[0] * squares[1]))
    return dot / length if length else 0.0
