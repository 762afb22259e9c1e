"""What one outlier does to a fit: the same data fitted under each loss, one point of it drawn ever farther away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.losses.base import LossFunction
from lossdoctor.lab.result import Line, Mark, Panel
from lossdoctor.lab.stepping import Settings, Walk, small_work
from lossdoctor.lab.surfaces import Surface

Array = NDArray[np.float64]
Model = Literal["location", "line", "boundary"]
MODELS: tuple[str, ...] = get_args(Model)

_DEFAULTS: dict[str, tuple[str, ...]] = {
    "location": ("mse", "mae", "huber", "log_cosh"),
    "line": ("mse", "mae", "huber", "log_cosh"),
    "boundary": ("bce", "hinge", "focal"),
}
# Adam with its rate brought to zero: the one method here that settles at the kink of |x| as well.
_STEPS = 2000
_RATE = 0.1


@dataclass(frozen=True, eq=False)
class OutlierStudy:
    """Fits under several losses, over where the outlier lies.

    Attributes:
        model: ``"location"`` (a constant), ``"line"`` (a straight line) or ``"boundary"`` (between two classes).
        losses: the loss functions, k of them.
        positions: float64[m], how far the outlier was drawn from where it belongs; 0 first.
        x, y: float64[n], the data the outlier as the last point, at the position 0. For ``"boundary"`` y is −1 or 1.
        parameters: float64[k, m, p]: the constant; intercept and slope; or offset and weight.
        shift: float64[k, m], how far the fit moved from that at position 0: the constant; the line, at its far end; the
            boundary.
    """

    model: Model
    losses: tuple[LossFunction, ...]
    positions: Array
    x: Array
    y: Array
    parameters: Array
    shift: Array

    def panel(self) -> Panel:
        """How far each fit moves, over how far the outlier was drawn."""
        what = {"location": "constant", "line": "line at its far end", "boundary": "boundary"}[self.model]
        lines = tuple(Line(loss.title, self.positions, s) for loss, s in zip(self.losses, self.shift, strict=True))
        farthest = ", ".join(f"{loss.name} {s[-1]:.2f}" for loss, s in zip(self.losses, self.shift, strict=True))
        note = f"With the outlier at {self.positions[-1]:g} the {what} has moved by: {farthest}."
        return Panel(
            f"One outlier among {len(self.y)} points",
            "distance of the outlier",
            f"movement of the {what}",
            lines,
            marks=(Mark("", y=0.0),),
            note=note,
        )

    def fits(self, position: int = -1) -> Panel:
        """The data of a line with the outlier at one of the positions, and the line fitted under each loss."""
        if self.model != "line":
            raise UsageError(f"only the study of a line has lines to show; this is one of a {self.model}")
        y = self.y.copy()
        y[-1] += self.positions[position]
        ends = np.array([self.x.min(), self.x.max()])
        lines = [Line("data", self.x[:-1], y[:-1], "points"), Line("outlier", self.x[-1:], y[-1:], "points")]
        for loss, (intercept, slope) in zip(self.losses, self.parameters[:, position], strict=True):
            lines.append(Line(loss.title, ends, intercept + slope * ends))
        return Panel("Lines fitted under each loss", "x", "y", tuple(lines))


def outlier_study(
    model: Model = "location",
    which: Sequence[LossFunction | str] | None = None,
    positions: ArrayLike | None = None,
    points: int = 20,
    seed: int = 0,
) -> OutlierStudy:
    """Fit the same data under several losses, with one more point drawn away from where it belongs.

    Every fit is a real one, by Adam with a rate that goes to zero, all positions at once.

    Args:
        model: ``"location"``: a constant to Gaussian numbers of spread 1. ``"line"``: y = 1 + x/2 with such noise, the
            outlier near the end of the line. ``"boundary"``: two classes about −1 and 1 on a line, overlapping, the
            outlier a point with the wrong label.
        which: loss functions of that task; by default mse, mae, huber and log_cosh, or bce, hinge and focal.
        positions: how far the outlier is drawn; by default 21 from 0 to 20 (a boundary: to 10).
        points: how many others there are (of each class), 3 or more.
        seed: of the data.

    >>> study = outlier_study("location", ["mse", "mae"], positions=[0.0, 10.0])
    >>> study.shift.round(2).tolist()[0]
    [0.0, 0.48]
    """
    from lossdoctor.lab.losses import loss as by_name

    if model not in MODELS:
        raise UsageError(
            f"no study is called {model!r}{nearest(str(model), MODELS) or '; studies: ' + ', '.join(MODELS)}"
        )
    if points < 3:
        raise UsageError(f"points is {points}; give 3 or more")
    losses = tuple(by_name(one) for one in (which if which is not None else _DEFAULTS[model]))
    task = "classification" if model == "boundary" else "regression"
    wrong = [one.name for one in losses if one.task != task]
    if wrong or not losses:
        raise UsageError(f"a {model} is fitted by losses of a {task}, 1 or more; got {', '.join(wrong) or 'none'}")
    reach = 10.0 if model == "boundary" else 20.0
    drawn = np.linspace(0.0, reach, 21) if positions is None else np.array(positions, dtype=np.float64)
    if drawn.ndim != 1 or not len(drawn) or not np.isfinite(drawn).all():
        raise UsageError(f"positions must be finite numbers in a row, got shape {drawn.shape}")
    x, y = _data(model, points, seed)
    # The position 0 is fitted with the others: what moves is measured from there.
    design, target, centre, spread = _problem(model, x, y, np.concatenate([[0.0], drawn]))
    fitted = np.stack([_fit(one, design, target) for one in losses])
    parameters = _natural(model, fitted, centre, spread)
    place = _place(model, parameters, float(x.max()))
    return OutlierStudy(model, losses, drawn, x, y, parameters[:, 1:], place[:, 1:] - place[:, :1])


def _data(model: Model, points: int, seed: int) -> tuple[Array, Array]:
    """The points with the outlier-to-be as the last, where it belongs."""
    rng = np.random.default_rng(seed)
    if model == "location":
        return np.zeros(points + 1), np.append(rng.normal(size=points), 0.0)
    if model == "line":
        x = np.append(np.linspace(0.0, 10.0, points), 9.0)
        noise = np.append(rng.normal(size=points), 0.0)
        return x, 1.0 + 0.5 * x + noise
    # Laid out, not drawn: classes that happened not to overlap would have no best weight at all.
    spread = 1.5 * np.array([NormalDist().inv_cdf((i + 0.5) / points) for i in range(points)])
    return np.concatenate([spread - 1.0, spread + 1.0, [-1.0]]), np.concatenate(
        [-np.ones(points), np.ones(points), [-1.0]]
    )


def _problem(model: Model, x: Array, y: Array, positions: Array) -> tuple[Tensor, Tensor, float, float]:
    """Design float64[m, n, p] and target float64[m, n] of every position, x in units of its own spread."""
    m, n = len(positions), len(y)
    xs, ys = np.tile(x, (m, 1)), np.tile(y, (m, 1))
    (xs if model == "boundary" else ys)[:, -1] += positions
    if model == "location":
        return torch.ones(m, n, 1, dtype=torch.float64), torch.from_numpy(ys), 0.0, 1.0
    centre, spread = float(x.mean()), float(x.std())
    design = np.stack([np.ones_like(xs), (xs - centre) / spread], axis=2)
    return torch.from_numpy(design), torch.from_numpy(ys), centre, spread


def _fit(loss: LossFunction, design: Tensor, target: Tensor) -> Array:
    """Parameters float64[m, p] that make the mean loss least, one row for each position."""
    m, _, p = design.shape
    function = _mean_loss(loss, design, target)
    empty = np.empty((0, p))
    surface = Surface("fit", "Fit", loss.formula, p, function, ((-1e6, 1e6),) * p, empty, empty, empty)
    start = torch.zeros(m, p, dtype=torch.float64)
    walk = Walk(surface, start, Settings("adam", _RATE, _STEPS, schedule="cosine"))
    with small_work(design.numel()):
        for _ in range(_STEPS):
            walk.step()
    return np.asarray(start.numpy())


def _mean_loss(loss: LossFunction, design: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
    def function(parameters: Tensor) -> Tensor:
        score = (design * parameters[:, None, :]).sum(dim=2)
        argument = score - target if loss.task == "regression" else score * target
        return loss.function(argument).mean(dim=1)

    return function


def _natural(model: Model, fitted: Array, centre: float, spread: float) -> Array:
    """Intercept and slope in units of x itself."""
    if model == "location":
        return fitted
    slope = fitted[..., 1] / spread
    return np.stack([fitted[..., 0] - slope * centre, slope], axis=-1)


def _place(model: Model, parameters: Array, end: float) -> Array:
    """What is watched: the constant, the line's height at its far end, or where the boundary lies."""
    if model == "location":
        return np.asarray(parameters[..., 0])
    intercept, slope = parameters[..., 0], parameters[..., 1]
    if model == "line":
        return np.asarray(intercept + slope * end)
    with np.errstate(divide="ignore"):
        return np.asarray(-intercept / slope)
