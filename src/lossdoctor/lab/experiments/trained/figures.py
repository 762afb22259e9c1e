"""From histories to panels and tables: what the trained experiments draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.result import Band, Line, Mark, Panel, Style, Table

Array = NDArray[np.float64]
Row = tuple[str | float | int | bool | None, ...]


def curve(history: TrainingHistory, metric: str) -> tuple[Array, Array]:
    """Steps and values of a metric, as float64; empty when it was not logged."""
    if metric not in history:
        return np.empty(0), np.empty(0)
    found = history[metric]
    return found.steps.astype(np.float64), found.values


def line(history: TrainingHistory, metric: str, label: str, *, group: str | None = None, style: Style = "line") -> Line:
    """One metric of a run as a line; values that are not finite break it."""
    x, y = curve(history, metric)
    return Line(label, x, np.where(np.isfinite(y), y, np.nan), style, group)


def train_and_val(
    title: str,
    history: TrainingHistory,
    *,
    note: str = "",
    marks: Sequence[Mark] = (),
    log_y: bool = False,
) -> Panel:
    """Training and validation loss of one run."""
    lines = (line(history, "loss", "training"), line(history, "val_loss", "validation"))
    return Panel(title, "step", "loss", lines, log_y=log_y, marks=tuple(marks), note=note)


def compared(
    title: str,
    runs: Mapping[str, TrainingHistory],
    metric: str,
    y_label: str,
    *,
    note: str = "",
    marks: Sequence[Mark] = (),
    log_y: bool = False,
) -> Panel:
    """One metric of several runs on the same axes."""
    lines = tuple(line(history, metric, name, group=name) for name, history in runs.items())
    return Panel(title, "step", y_label, lines, log_y=log_y, marks=tuple(marks), note=note)


def spread(
    label: str, histories: Iterable[TrainingHistory], metric: str, *, group: str | None = None
) -> tuple[Line, Band]:
    """Mean of a metric over runs that were logged at the same steps, and one standard deviation around it."""
    pairs = [curve(history, metric) for history in histories]
    x = pairs[0][0]
    values = np.stack([y for _, y in pairs])
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    group = group or label
    return Line(label, x, mean, group=group), Band(x, mean - std, mean + std, f"{label} ± 1 SD", group)


def last(history: TrainingHistory, metric: str) -> float:
    """The last value of a metric; NaN when there is none."""
    _, y = curve(history, metric)
    return float(y[-1]) if len(y) else float("nan")


def tail(history: TrainingHistory, metric: str, share: float = 0.1) -> float:
    """Mean of the last share of a metric's values: less at the mercy of one batch than the last value."""
    _, y = curve(history, metric)
    return float(np.mean(y[-max(1, round(share * len(y))) :])) if len(y) else float("nan")


def lowest(history: TrainingHistory, metric: str = "val_loss") -> tuple[int, float]:
    """Step and value of a metric's least finite value; (0, NaN) when there is none."""
    x, y = curve(history, metric)
    if not np.isfinite(y).any():
        return 0, float("nan")
    at = int(np.nanargmin(np.where(np.isfinite(y), y, np.nan)))
    return int(x[at]), float(y[at])


def outcomes(title: str, runs: Mapping[str, TrainingHistory], *, note: str = "") -> Table:
    """Where each run ended, and where it was best."""
    rows: list[Row] = []
    judged = any("val_accuracy" in history for history in runs.values())  # a regression has no accuracy
    for name, history in runs.items():
        step, best = lowest(history)
        ends = [round(last(history, m), 4) for m in ("loss", "val_loss", "val_accuracy")]
        rows.append((name, ends[0], round(best, 4), step, *ends[1:]))
    columns = (
        *("run", "final training loss", "lowest validation loss", "at step"),
        *("final validation loss", "final validation accuracy"),
    )
    shown = len(columns) if judged else len(columns) - 1
    return Table(title, columns[:shown], tuple(row[:shown] for row in rows), note)
