"""The two JSON-lines dialects of OpenMMLab, whose validation rows count on another axis than their training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.readers._axes import Axis, choose_axis, filled
from lossdoctor.readers._table import Labels, Table


def settle(table: Table) -> Axis | None:
    """The axis of an OpenMMLab log, or None for any other log.

    MMEngine writes validation rows with the *epoch* as their ``step`` and without ``iter``; they are put at the last
    training step before them and marked as validation. The older logs say ``"mode": "val"`` and give the number of
    validation batches as ``iter``; they too are put at the last training step.
    """
    if table.rows == 0:
        return None
    mode = table.labels.get("mode")
    if mode is not None and "iter" in table.columns and "step" not in table.columns and "epoch" in table.columns:
        return _by_mode(table, mode)
    if "step" in table.columns and "iter" in table.columns and not table.labels.keys() & {"mode", "split", "phase"}:
        return _by_missing_iter(table)
    return None


def _by_mode(table: Table, mode: Labels) -> Axis | None:
    training = np.isin(mode.codes, [i for i, t in enumerate(mode.texts) if t == "train"])
    if not training.any() or training.all():
        return None
    counter = np.where(training, table.columns["iter"].dense(table.rows), np.nan)
    epoch = np.where(training, table.columns["epoch"].dense(table.rows), np.nan)
    if not np.isfinite(counter).any() or not np.isfinite(epoch).any():
        return None
    axis = choose_axis(
        [("iter", filled(counter).astype(np.float64)), ("epoch", filled(epoch).astype(np.float64))], table.rows
    )
    note = "validation rows count their own batches; they were put at the last training step before them"
    return Axis(axis.steps, axis.unit, axis.column, (*axis.notes, note))


def _by_missing_iter(table: Table) -> Axis | None:
    has = np.isfinite(table.columns["iter"].dense(table.rows))
    steps = table.columns["step"].dense(table.rows)
    other = np.isfinite(steps) & ~has
    if not other.any() or not has.any() or has.sum() < 2:
        return None
    training = np.where(has, steps, np.nan)
    if not np.isfinite(training).any():
        return None
    at_train = filled(training)
    behind = steps[other] < at_train[other]
    notes: tuple[str, ...] = ()
    resolved: NDArray[np.float64] = steps
    if behind.mean() > 0.5:
        resolved = np.where(other, np.nan, steps)
        notes = ("rows without iter count epochs as their step; they were put at the last training step before them",)
    table.labels["mode"] = Labels(np.where(other, 0, -1).astype(np.int64), ["val"])
    return Axis(filled(resolved), "step", "step", notes)
