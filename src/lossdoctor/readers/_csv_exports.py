"""What downloads of dashboards leave out or pack together, and a hole that may be a NaN."""

from __future__ import annotations

import re

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse

# TensorBoard: "run-<run>-tag-<tag>.csv" with the columns Wall time, Step, Value.
_TENSORBOARD = re.compile(r"(?:^|-)tag-(.+?)\.csv$", re.IGNORECASE)
# W&B: a column "<run> - <metric>" with "__MIN" and "__MAX" beside it.
_WANDB = re.compile(r"^(?P<run>.+?) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?$")
_LEAST_HOLE = 3
_MOST_POINTS = 100_000


def named_by_file(history: TrainingHistory, file_name: str) -> TrainingHistory:
    """A TensorBoard download with its curve called after the tag in the file's name."""
    found = _TENSORBOARD.search(file_name)
    if found is None or [n.lower() for n in history.curves] != ["value"]:
        return history
    return _with_curves(history, {found.group(1): next(iter(history.curves.values()))})


def by_run(history: TrainingHistory) -> list[TrainingHistory]:
    """A W&B download as one history per run; any other history as it is."""
    names = list(history.curves)
    parts = {n: m for n in names if (m := _WANDB.match(n))}
    if not parts or not any(m["bound"] for m in parts.values()):
        return [history]
    runs: dict[str, dict[str, str]] = {}
    for name, m in parts.items():
        if not m["bound"]:
            runs.setdefault(m["run"], {})[m["metric"]] = name
    out = []
    for run, metrics in runs.items():
        one = _with_curves(history, {metric: history[name] for metric, name in metrics.items()})
        one.name = run
        one.path = f"{history.path}#{run}" if len(runs) > 1 else history.path
        out.append(one)
    return out or [history]


def _with_curves(history: TrainingHistory, curves: dict[str, object]) -> TrainingHistory:
    return TrainingHistory(
        curves,  # type: ignore[arg-type]
        name=history.name,
        path=history.path,
        format=history.format,
        step_unit=history.step_unit,
        context=history.context,
        notes=history.notes,
    )


def holes(history: TrainingHistory) -> list[str]:
    """A note on losses that stop while other metrics of their split go on: an empty cell may have been a NaN.

    pandas and others write NaN as nothing. Which it was, the file does not say; the reader does not guess.
    """
    curves = history.curves
    found: dict[tuple[int, int], list[str]] = {}
    for name in [n for n in curves if parse(n).kind == "loss" and parse(n).split][:200]:
        curve, split = curves[name], parse(name).split
        group = name.rpartition("/")[0]
        for other in curves:
            same = other != name and other.rpartition("/")[0] == group and parse(other).split == split
            if not same or parse(other).kind not in ("loss", "accuracy", "score"):
                continue
            if not len(curve) < len(curves[other]) < _MOST_POINTS:
                continue
            missing = np.setdiff1d(curves[other].steps, curve.steps)
            kept = np.intersect1d(curves[other].steps, curve.steps)
            after = missing[missing > (kept[:-1].max() if len(kept) > 1 else -1)] if len(kept) else missing[:0]
            if len(after) >= _LEAST_HOLE and len(after) == len(missing) and len(kept) > 1:
                found.setdefault((int(missing[0]), len(missing)), []).append(name)
                break
    return [
        f"{', '.join(names[:8])}: no value from step {step:,} on in {rows:,} rows that hold other values of the kind;"
        " some writers leave a cell empty for NaN"
        for (step, rows), names in found.items()
    ]
