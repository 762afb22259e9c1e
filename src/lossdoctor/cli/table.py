"""A run's ragged curves as one table: a row per step, a column per metric."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Steps, Values
from lossdoctor.core.history import TrainingHistory


def table(history: TrainingHistory) -> tuple[Steps, dict[str, tuple[Values, NDArray[np.bool_]]]]:
    """The curves on one axis: the steps (a step as often as any metric logged it), and for each metric its values there
    with a mask of where it was logged.
    """
    curves = history.curves
    keyed = {name: _occurrences(c.steps) for name, c in curves.items()}
    longest = np.concatenate(list(keyed.values())) if keyed else np.zeros((0, 2), dtype=np.int64)
    axis = np.unique(longest, axis=0)
    # One number per (step, occurrence), in the axis' order, finds each curve's rows by bisection.
    width = int(axis[:, 1].max()) + 1 if len(axis) else 1
    low = int(axis[:, 0].min()) if len(axis) else 0
    code = (axis[:, 0] - low) * width + axis[:, 1]
    columns = {}
    for name, curve in curves.items():
        at = np.searchsorted(code, (keyed[name][:, 0] - low) * width + keyed[name][:, 1])
        values = np.full(len(axis), np.nan)
        logged = np.zeros(len(axis), dtype=bool)
        values[at], logged[at] = curve.values, True
        columns[name] = (values, logged)
    return axis[:, 0], columns


def _occurrences(steps: Steps) -> NDArray[np.int64]:
    """(step, how often it was seen before), one row per point, in the order of arrival."""
    order = np.argsort(steps, kind="stable")
    ranked = steps[order]
    first = np.concatenate([[True], ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, dtype=bool)
    start = np.maximum.accumulate(np.where(first, np.arange(len(ranked)), 0))
    seen = np.empty(len(steps), dtype=np.int64)
    seen[order] = np.arange(len(ranked)) - start
    return np.stack([steps, seen], axis=1)
