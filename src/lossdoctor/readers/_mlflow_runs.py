"""Runs of MLflow, from either store, into histories."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._axes import is_epoch
from lossdoctor.readers._context import context_from

# MLflow's database holds no infinity: it stores the largest float64 instead.
_INFINITE = 1.7976931348623157e308


class Points:
    """One metric of one run under construction: wall times in milliseconds, values, steps."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.times, self.values, self.steps = array("d"), array("d"), array("d")

    def add(self, time: float, value: float, step: float) -> None:
        self.times.append(time)
        self.values.append(value)
        self.steps.append(step)


@dataclass(slots=True)
class Run:
    """What a store says of one run."""

    path: str
    name: str = ""
    status: str = ""
    experiment: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Points] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def history(self) -> TrainingHistory:
        """The run as a history. A metric that was logged without steps is counted in the order of its points."""
        curves: dict[str, Curve] = {}
        uncounted = []
        for name, points in self.metrics.items():
            curve, counted = _curve(points)
            curves[name] = curve
            if not counted:
                uncounted.append(name)
        several = [n for n in curves if len(curves[n]) > 1]
        notes = list(self.notes)
        if uncounted:
            notes.append(f"logged without a step and counted in order: {', '.join(uncounted[:8])}")
        if self.status in ("FAILED", "KILLED"):
            notes.append(f"MLflow says that the run's status is {self.status}")
        if not curves:
            notes.insert(0, "the run logged no metric")
        unit = "row" if several and set(several) <= set(uncounted) else "step"
        extra: Mapping[str, Any] = {"experiment": self.experiment} if self.experiment else {}
        context = context_from({**self.params, **extra}, unit)
        return TrainingHistory(
            {n: c for n, c in curves.items() if len(c) or not is_epoch(n)},
            name=self.name,
            path=self.path,
            format="mlflow",
            step_unit=unit,
            context=context,
            notes=notes,
        )


def _curve(points: Points) -> tuple[Curve, bool]:
    """The curve, and whether its steps count anything."""
    values = np.array(points.values, dtype=np.float64)
    values[values >= _INFINITE] = math.inf
    values[values <= -_INFINITE] = -math.inf
    times = np.array(points.times, dtype=np.float64) / 1000.0
    raw = np.array(points.steps, dtype=np.float64)
    usable = bool(np.isfinite(raw).all() and (np.abs(raw) < 2**53).all())
    if usable and not (len(raw) > 1 and raw.min() == raw.max()):
        return Curve(raw.astype(np.int64), values, times), True
    return Curve(np.arange(1, len(values) + 1, dtype=np.int64), values, times), False
