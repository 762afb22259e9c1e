"""From a table to histories: the axis, the wall times, and what label columns say (run, metric, split)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import TEST, TRAIN, VALIDATION, parse
from lossdoctor.readers._axes import Axis, axis_rank, choose_axis, is_metric, may_be_absolute_time, normal, to_seconds
from lossdoctor.readers._table import Labels, Series, Table

RUN_COLUMNS = frozenset({"run", "run_id", "run_uuid", "run_name", "runid"})
METRIC_COLUMNS = frozenset({"metric", "metric_name", "key", "tag", "variable", "name", "scalar"})
VALUE_COLUMNS = frozenset({"value", "metric_value", "scalar_value", "values"})
SPLIT_COLUMNS = frozenset(
    {"mode", "split", "phase", "subset", "stage", "set", "dataset", "partition", "data_split", "type", "kind"}
)
_SPLIT_WORDS = TRAIN | VALIDATION | TEST | {"infer", "predict"}
# More runs in one table than this is no log of runs.
_MAX_RUNS = 10_000


def is_label(name: str) -> bool:
    """Whether a column's texts say something about the numbers beside them."""
    word = normal(name)
    return word in RUN_COLUMNS or word in METRIC_COLUMNS or word in SPLIT_COLUMNS


def histories(
    table: Table,
    *,
    path: str,
    format: str,
    name: str = "",
    notes: Sequence[str] = (),
    context: RunContext | None = None,
    axis: Axis | None = None,
) -> list[TrainingHistory]:
    """The runs in a table, one history each; without any number column one history without curves.

    Args:
        table: what was read.
        path, format, name, context: as in TrainingHistory.
        notes: remarks of the reader so far.
        axis: the step axis, where the reader knows it better than the columns' names do.
    """
    runs = _label(table, RUN_COLUMNS, least=2)
    if runs is None or len(runs.texts) > _MAX_RUNS:
        return [_history(table, path, format, name, notes, context, axis)]
    out = []
    for text, rows, part in _by_run(table, runs):
        steps = None if axis is None else Axis(axis.steps[rows], axis.unit, axis.column, axis.notes)
        out.append(_history(part, f"{path}#{text}", format, text, notes, context, steps))
    return out


def _history(
    table: Table, path: str, format: str, name: str, notes: Sequence[str], context: RunContext | None, axis: Axis | None
) -> TrainingHistory:
    if axis is None:
        candidates = [(n, s.dense(table.rows)) for n, s in table.columns.items() if axis_rank(n) is not None]
        axis = choose_axis(candidates, table.rows)
        del candidates
    times = _times(table)
    curves: dict[str, Curve] = {}
    for metric, series in _metrics(table, axis):
        curve = _curve(series, axis, times)
        curves[metric] = curves[metric].joined(curve) if metric in curves else curve
    return TrainingHistory(
        curves, name=name, path=path, format=format, step_unit=axis.unit, context=context, notes=[*notes, *axis.notes]
    )


def _curve(series: Series, axis: Axis, times: NDArray[np.float64] | None) -> Curve:
    at = series.at()
    when = None if times is None else times[at]
    if when is not None and not np.isfinite(when).all():
        when = None
    return Curve(axis.steps[at], series.values, when)


def _metrics(table: Table, axis: Axis) -> list[tuple[str, Series]]:
    """The metrics by name: the columns, or one per text of a metric column, marked with their split."""
    split = _split(table)
    metric = _label(table, METRIC_COLUMNS)
    value = next((n for n in table.columns if normal(n) in VALUE_COLUMNS), None)
    if metric is not None and value is not None:
        pairs = list(_by_label(table.columns[value], metric, table.rows))
        return [p for name, series in pairs for p in _by_split(name or value, series, split, table.rows)]
    out: list[tuple[str, Series]] = []
    for name, series in table.columns.items():
        if name == axis.column or not is_metric(name) or len(series.values) == 0:
            continue
        if split is None or parse(name).kind == "epoch":
            out.append((name, series))
        else:
            out.extend(_by_split(name, series, split, table.rows))
    return out


def _by_label(series: Series, labels: Labels, rows: int) -> list[tuple[str, Series]]:
    """One column cut up by a label; the name is empty for rows without one."""
    at = np.arange(rows) if series.rows is None else series.rows
    codes = labels.codes[at]
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    out = []
    for part in np.split(order, bounds):
        if len(part):
            code = int(codes[part[0]])
            out.append((labels.texts[code] if code >= 0 else "", Series(at[part], series.values[part])))
    return sorted(out, key=lambda p: int(p[1].rows[0]) if p[1].rows is not None else 0)


def _by_split(name: str, series: Series, split: Labels | None, rows: int) -> list[tuple[str, Series]]:
    if split is None:
        return [(name, series)]
    return [(with_split(name, text), part) for text, part in _by_label(series, split, rows)]


def with_split(name: str, split: str) -> str:
    """The metric's name with its split before it, unless it says it already.

    >>> with_split("loss", "val"), with_split("val_loss", "val"), with_split("loss", "")
    ('val/loss', 'val_loss', 'loss')
    """
    if not split or parse(name).split == (parse(f"{split}/x").split or None) or name.startswith(f"{split}/"):
        return name
    return f"{split}/{name}"


def _label(table: Table, names: frozenset[str], least: int = 1) -> Labels | None:
    found = [labels for n, labels in table.labels.items() if normal(n) in names and len(labels.texts) >= least]
    return found[0] if found else None


def _split(table: Table) -> Labels | None:
    """The column that says to which split a row belongs: its texts are split names."""
    for name, labels in table.labels.items():
        texts = {t.lower() for t in labels.texts}
        if normal(name) not in SPLIT_COLUMNS or len(texts) > 64:
            continue
        known = {t for t in texts if parse(f"{t}/x").split}
        several_sets = len(texts) > 1 and normal(name) in ("dataset", "subset", "set")
        if (known and (len(known) * 2 >= len(texts))) or (texts & _SPLIT_WORDS) or several_sets:
            return labels
    return None


def _times(table: Table) -> NDArray[np.float64] | None:
    for name, series in table.columns.items():
        if may_be_absolute_time(name) and len(series.values):
            found = to_seconds(series.dense(table.rows))
            if found is not None:
                return found
    return None


def _by_run(table: Table, runs: Labels) -> Iterator[tuple[str, NDArray[np.int64], Table]]:
    """The rows of each run, and the table with these rows only. Rows without a run belong to none."""
    order = np.argsort(runs.codes, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(table.rows)
    bounds = np.searchsorted(runs.codes[order], np.arange(len(runs.texts) + 1))
    sorted_columns = {}
    for name, series in table.columns.items():
        at = place[series.at()]
        by_place = np.argsort(at, kind="stable")
        sorted_columns[name] = (at[by_place], series.values[by_place])
    kept = {n: labels for n, labels in table.labels.items() if labels is not runs}
    for code, text in enumerate(runs.texts):
        low, high = int(bounds[code]), int(bounds[code + 1])
        part = Table(high - low)
        for name, (at, values) in sorted_columns.items():
            first, last = np.searchsorted(at, (low, high))
            if last > first:
                part.columns[name] = Series(at[first:last] - low, values[first:last])
        rows = order[low:high]
        part.labels = {n: Labels(labels.codes[rows], labels.texts) for n, labels in kept.items()}
        yield text, rows, part
