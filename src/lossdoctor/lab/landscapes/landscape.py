"""What a look at a model's loss around a point gives: a line or a plane of values, as plain arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Field, Line, Mark, Panel

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Profile:
    """The loss along a line through parameter space.

    Attributes:
        x: float64[n], coordinates; 0 is the first state, 1 the second one (or one direction's length away).
        values: float64[n], the loss; NaN and infinity where the model has none.
        x_label, title: words for a picture.
    """

    x: Floats
    values: Floats
    x_label: str = "position"
    title: str = "Loss along a line"

    @property
    def barrier(self) -> float:
        """How far the loss rises above the straight line between its values at 0 and at 1 (0: no barrier).

        NaN where the line does not hold both ends. (Frankle et al. 2020, "Linear mode connectivity".)
        """
        inside = (self.x >= 0) & (self.x <= 1)
        ends = [self.values[np.isclose(self.x, at)] for at in (0.0, 1.0)]
        if not (len(ends[0]) and len(ends[1])):
            return float("nan")
        straight = (1 - self.x) * ends[0][0] + self.x * ends[1][0]
        return float(np.max((self.values - straight)[inside]).clip(min=0))

    def panel(self) -> Panel:
        """For drawing."""
        marks = tuple(Mark(text, x=at) for at, text in ((0.0, "start"), (1.0, "end")) if self.x[0] <= at <= self.x[-1])
        line = Line("loss", self.x, np.where(np.isfinite(self.values), self.values, np.nan))
        return Panel(self.title, self.x_label, "loss", lines=(line,), marks=marks)


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss over a plane through parameter space.

    Attributes:
        x: float64[nx], coordinates along the first direction, (0, 0) is the model; y: float64[ny], along the second.
        values: float64[ny, nx]; NaN and infinity where the model has no finite loss.
        measured: bool[ny, nx], which values were evaluated; the others are interpolated.
        error: largest interpolation error at the control points, as a share of the range of the values.
        evaluations: evaluations of the loss that the values took.
        kind: ``"random"`` (filter-normalised directions) or ``"trajectory"`` (principal components).
        path: float64[k, 2] or None, a training run in these coordinates.
        path_values: float64[k] or None, the loss at the states of the path themselves (not of their projections).
        explained: share of the run's variance that each direction of a trajectory's plane explains, or None.
        cosine: between the two directions (0: orthogonal).
    """

    x: Floats
    y: Floats
    values: Floats
    measured: NDArray[np.bool_]
    error: float
    evaluations: int
    kind: Literal["random", "trajectory"] = "random"
    path: Floats | None = None
    path_values: Floats | None = None
    explained: tuple[float, float] | None = None
    cosine: float = 0.0

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.y), len(self.x)) or self.measured.shape != self.values.shape:
            raise UsageError(
                f"values of shape {self.values.shape} do not fit {len(self.y)} rows, {len(self.x)} columns"
            )

    @property
    def lowest(self) -> tuple[float, float]:
        """Coordinates of the least finite value; (nan, nan) when there is none."""
        if not np.isfinite(self.values).any():
            return float("nan"), float("nan")
        finite = np.where(np.isfinite(self.values), self.values, np.inf)
        row, column = np.unravel_index(finite.argmin(), finite.shape)
        return float(self.x[column]), float(self.y[row])

    def field(self) -> Field:
        """For drawing.

        Levels are logarithmic where a quarter of the plane lies within a twentieth of the range above the least value,
        so that linear ones would show the rims only. The least value is marked as a minimum of the plane unless it is
        on its edge.
        """
        finite = self.values[np.isfinite(self.values)]
        log = len(finite) > 0 and np.ptp(finite) > 20 * (np.quantile(finite, 0.25) - finite.min())
        x, y = self.lowest
        inside = self.x[0] < x < self.x[-1] and self.y[0] < y < self.y[-1]
        shown = np.where(np.isfinite(self.values), self.values, np.nan)
        minima = np.array([[x, y]]) if inside else np.empty((0, 2))
        return Field(self.x, self.y, shown, minima=minima, levels="log" if log else "linear")

    def panel(self, title: str = "Loss landscape") -> Panel:
        """For drawing: the field, and the path over it."""
        labels: tuple[str, ...]
        if self.explained is None:
            labels = ("first random direction", "second random direction")
            note = "Random directions, scaled like the weights filter by filter (Li et al. 2018)."
        else:
            labels = tuple(f"component {k + 1} ({share:.0%} of the variance)" for k, share in enumerate(self.explained))
            note = f"The plane explains {sum(self.explained):.0%} of the variance of the run's path."
        line = () if self.path is None else (Line("training", self.path[:, 0], self.path[:, 1]),)
        return Panel(title, labels[0], labels[1], lines=line, field=self.field(), note=note)

    def save(self, path: str | Path) -> None:
        """Write to one ``.npz`` file."""
        arrays = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in vars(self).items() if k not in arrays and v is not None}
        arrays["rest"] = np.array(json.dumps(rest))
        with Path(path).open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Landscape:
        """Read a file of :meth:`save`."""
        with np.load(path, allow_pickle=False) as stored:
            fields: dict[str, Any] = {k: stored[k] for k in stored.files if k != "rest"}
            fields |= json.loads(str(stored["rest"]))
        if fields.get("explained") is not None:
            fields["explained"] = tuple(fields["explained"])
        return cls(**fields)
