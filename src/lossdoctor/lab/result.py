"""What an experiment hands to whoever draws or prints it: NumPy arrays and words; no torch, no colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory

Array = NDArray[np.float64]
Style = Literal["line", "points", "steps", "dashed"]
STYLES = ("line", "points", "steps", "dashed")
EMPTY: Mapping[Any, Any] = MappingProxyType({})


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Line:
    """One series of a panel.

    Attributes:
        label: what the legend says; empty: not in the legend.
        x, y: float64[n], same length; NaN breaks the line.
        style: ``"line"``, ``"points"``, ``"steps"`` or ``"dashed"``.
        group: lines of one group share a colour (the train and the validation loss of one run).
    """

    label: str
    x: Array
    y: Array
    style: Style = "line"
    group: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _floats(self.x))
        object.__setattr__(self, "y", _floats(self.y))
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise UsageError(f"line {self.label!r} needs x and y of one length, got {self.x.shape} and {self.y.shape}")
        if self.style not in STYLES:
            raise UsageError(f"line {self.label!r} has style {self.style!r}; styles: {', '.join(STYLES)}")


@dataclass(frozen=True, eq=False)
class Band:
    """A range around a line: ``low`` to ``high`` over ``x`` (for instance the spread over seeds)."""

    x: Array
    low: Array
    high: Array
    label: str = ""
    group: str | None = None

    def __post_init__(self) -> None:
        for name in ("x", "low", "high"):
            object.__setattr__(self, name, _floats(getattr(self, name)))
        if not self.x.shape == self.low.shape == self.high.shape:
            raise UsageError(f"band {self.label!r} needs x, low and high of one length")


@dataclass(frozen=True, eq=False)
class Mark:
    """A remark at a point of a panel. ``y`` None: a vertical line at ``x``; ``x`` None: a horizontal one at ``y``."""

    text: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, eq=False)
class Field:
    """A value over a plane, drawn as contours or as a surface in space.

    Attributes:
        x: float64[nx]; y: float64[ny]; values: float64[ny, nx], row = y as NumPy's meshgrid has it.
        minima, saddles, maxima: float64[k, 2], points to mark.
        levels: ``"log"`` when the values span orders of magnitude above their least, else ``"linear"``;
            ``"category"`` when the values are whole numbers that name a class (a map of basins).
        label: what the value is.
        categories: the name of each class, for ``"category"``; -1 names none.
    """

    x: Array
    y: Array
    values: Array
    minima: Array = field(default_factory=lambda: np.empty((0, 2)))
    saddles: Array = field(default_factory=lambda: np.empty((0, 2)))
    maxima: Array = field(default_factory=lambda: np.empty((0, 2)))
    levels: Literal["log", "linear", "category"] = "linear"
    label: str = "loss"
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "values"):
            object.__setattr__(self, name, _floats(getattr(self, name)))
        for name in ("minima", "saddles", "maxima"):
            object.__setattr__(self, name, _floats(getattr(self, name)).reshape(-1, 2))
        if self.values.shape != (len(self.y), len(self.x)):
            expected = (len(self.y), len(self.x))
            raise UsageError(f"a field's values have shape {self.values.shape}; (len(y), len(x)) is {expected}")


@dataclass(frozen=True, eq=False)
class Panel:
    """One set of axes: lines and bands, or a field with paths over it.

    Attributes:
        marks: remarks at points.
        note: one sentence under the panel: what to see in it.
        field: the plane under the lines, when the panel is one.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    log_x: bool = False
    log_y: bool = False
    marks: tuple[Mark, ...] = ()
    note: str = ""
    field: Field | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of cells under named columns; every row as long as ``columns``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | bool | None, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if ragged := [row for row in self.rows if len(row) != len(self.columns)]:
            raise UsageError(
                f"table {self.title!r} has {len(self.columns)} columns and a row of {len(ragged[0])} cells"
            )


@dataclass(frozen=True, eq=False)
class Experiment:
    """What an experiment found, ready to be printed, drawn and diagnosed.

    Attributes:
        name: the name it is run by; title: its heading; text: what it shows, and what the numbers say.
        panels, tables: what to draw and to print, in order.
        numbers: the figures that carry the statement, by name.
        runs: label -> the run as a history, on which ``diagnose()`` works.
        descents: label -> the descent behind a run, for a film of its path (a ``lossdoctor.lab.descent.Descent``).
        sources: where the statement comes from (papers, pages).
    """

    name: str
    title: str
    text: str
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    numbers: Mapping[str, float | str] = field(default_factory=lambda: EMPTY)
    runs: Mapping[str, TrainingHistory] = field(default_factory=lambda: EMPTY)
    descents: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    sources: tuple[str, ...] = ()
