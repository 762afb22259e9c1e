"""Data frames in and out, through Narwhals: whatever library the caller uses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse

STEP = "step"
# Columns that are taken for the step axis when the caller names none, and the unit that each counts.
_AXES = {
    **dict.fromkeys(("step", "global_step", "_step", "trainer/global_step", "iteration", "iter", "steps"), "step"),
    **dict.fromkeys(("num_tokens", "tokens"), "token"),
    **dict.fromkeys(("epoch", "epochs", "Epoch"), "epoch"),
}
# Columns that are filled whatever happens to the model: they do not show that something was measured in a row.
_SCHEDULED = frozenset({"learning_rate", "epoch", "batch_size", "other"})


def to_frame(history: TrainingHistory, backend: str) -> Any:
    """A wide frame: a column ``step``, rising, and a float column per metric, missing where it was not logged.

    A metric that was logged twice at one step takes two rows, in the order of arrival: nothing is lost. pandas cannot
    tell a NaN that was logged from a missing value; Polars can.

    Args:
        history: the run.
        backend: ``"pandas"`` or ``"polars"``, or another package that Narwhals can build a frame with.

    Raises:
        UsageError: the package is not installed.

    >>> frame = to_frame(TrainingHistory({"loss": ([1, 2], [0.5, 0.25])}), "polars")
    >>> frame.columns, frame["loss"].to_list()
    (['step', 'loss'], [0.5, 0.25])
    """
    import narwhals.stable.v1 as nw

    namespace = _package(backend)
    curves = {name: curve for name, curve in history.curves.items() if len(curve)}
    keys, columns, steps = _rows(curves)
    data: dict[str, Any] = {STEP: steps}
    present: dict[str, str] = {}
    for k, (name, curve) in enumerate(curves.items()):
        at = np.searchsorted(keys, columns[name])
        values = np.full(len(keys), np.nan)
        there = np.zeros(len(keys), dtype=bool)
        values[at], there[at] = curve.values, True
        column = _free(name, data)
        data[column] = values
        if not there.all():
            present[column] = f"\0{k}"  # no log has a metric of that name
            data[present[column]] = there
    frame = nw.from_dict(data, native_namespace=namespace)
    if present:
        frame = frame.with_columns(nw.when(nw.col(mask)).then(nw.col(c)).alias(c) for c, mask in present.items())
        frame = frame.drop(list(present.values()))
    return frame.to_native()


def from_frame(frame: Any, step: str | None = None, *, nan: str = "auto", **options: Any) -> TrainingHistory:
    """A history from any frame that Narwhals takes: one curve per numeric column.

    Args:
        frame: a pandas, Polars or PyArrow frame, lazy ones included.
        step: the column of the steps; by default a column called step, global_step, iteration, epoch or the like,
            else the rows are counted from 1.
        nan: where a library cannot tell NaN from missing (pandas): ``"drop"`` takes every NaN for missing, ``"keep"``
            for a value, ``"auto"`` for a value where a row has no other measured value, in the columns filled most.
            Otherwise missing is missing and NaN is NaN.
        options: passed to :class:`TrainingHistory` (name, context, metrics, …).

    Raises:
        UsageError: it is no frame, has no such step column, or no numeric column.
    """
    import narwhals.stable.v1 as nw

    if nan not in ("auto", "keep", "drop"):
        raise UsageError(f"nan must be auto, keep or drop, got {nan!r}")
    try:
        table = nw.from_native(frame)
    except TypeError as error:
        raise UsageError(f"{type(frame).__name__} is no data frame that Narwhals knows: {error}") from None
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    axis, unit = _axis(table, step)
    rows = np.arange(1, len(table) + 1) if axis is None else None
    steps, kept = (rows, None) if axis is None else _whole(table[axis].to_numpy(), str(axis))
    values: dict[str, NDArray[np.float64]] = {}
    there: dict[str, NDArray[np.bool_]] = {}
    for name in table.columns:
        if name != axis and table[name].dtype.is_numeric():
            there[name] = ~table[name].is_null().to_numpy().astype(bool)
            values[name] = _floats(table[name])
    if not values:
        kinds = ", ".join(f"{n} ({table[n].dtype})" for n in table.columns[:8]) or "none"
        raise UsageError(f"this frame has no numeric column besides its steps; its columns are {kinds}")
    if nan != "drop" and table.implementation.is_pandas_like():
        _restore_nan(values, there, nan)
    curves = {}
    for name, column in values.items():
        mask = there[name] if kept is None else there[name] & kept
        curves[name] = Curve.make(np.asarray(steps)[mask], column[mask])
    return TrainingHistory(curves, **{"step_unit": unit, "format": "dataframe", **options})


def _package(backend: str) -> Any:
    try:
        return import_module(backend)
    except ImportError:
        raise UsageError(f"{backend} is not installed: run pip install {backend}") from None


def _rows(curves: dict[str, Curve]) -> tuple[NDArray[Any], dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Number the rows of the wide frame: each distinct step, as often as the metric that repeats it most."""
    if not curves:
        return np.zeros(0, dtype=np.int64), {}, np.zeros(0, dtype=np.int64)
    distinct = np.unique(np.concatenate([c.steps for c in curves.values()]))
    turns = {name: _turns(c.steps) for name, c in curves.items()}
    width = 1 + max(int(t.max()) for t in turns.values())
    keys = {name: np.searchsorted(distinct, c.steps) * width + turns[name] for name, c in curves.items()}
    rows = np.unique(np.concatenate(list(keys.values())))
    return rows, keys, distinct[rows // width]


def _turns(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each point, how many earlier points of the curve have its step."""
    order = np.argsort(steps, kind="stable")
    ranked = steps[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    lengths = np.diff(np.append(starts, len(steps)))
    out = np.empty(len(steps), dtype=np.int64)
    out[order] = np.arange(len(steps)) - np.repeat(starts, lengths)
    return out


def _free(name: str, taken: dict[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _axis(table: Any, step: str | None) -> tuple[str | None, str]:
    if step is not None:
        if step not in table.columns:
            raise UsageError(f"this frame has no column {step!r} for the steps; it has {', '.join(table.columns)}")
        return step, _AXES.get(step, "step")
    for name, unit in _AXES.items():
        if name in table.columns and table[name].dtype.is_numeric():
            return name, unit
    return None, "row"


def _whole(column: NDArray[Any], name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The steps as integers, and which rows have one; fractional epochs cannot be kept apart by whole numbers."""
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"the step column {name!r} must hold numbers, it holds {np.asarray(column).dtype}") from None
    kept = np.isfinite(numbers)
    if np.any(np.abs(numbers[kept]) >= 2**63):
        raise UsageError(f"the step column {name!r} holds a number beyond 64 bits")
    whole = np.asarray(column, dtype=np.int64) if np.asarray(column).dtype.kind in "iu" else None
    if whole is not None:
        return whole, kept
    if np.any(numbers[kept] % 1):
        raise UsageError(f"the step column {name!r} holds fractions, and steps are whole: name another with step=")
    return np.where(kept, numbers, 0).astype(np.int64), kept


def _floats(series: Any) -> NDArray[np.float64]:
    import narwhals.stable.v1 as nw

    column = series.to_numpy()
    if column.dtype.kind == "O":  # nullable integers come as objects
        column = series.cast(nw.Float64).to_numpy()
    return np.asarray(column, dtype=np.float64)


def _restore_nan(values: dict[str, Any], there: dict[str, Any], nan: str) -> None:
    if nan == "keep":
        for mask in there.values():
            mask[:] = True
        return
    measured = [n for n in values if parse(n).kind not in _SCHEDULED] or list(values)
    filled = {n: int(there[n].sum()) for n in measured}
    empty = ~np.logical_or.reduce([there[n] for n in measured])
    for name in measured:
        if filled[name] and filled[name] == max(filled.values()):
            there[name] |= empty
