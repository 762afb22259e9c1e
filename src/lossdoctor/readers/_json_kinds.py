"""Which tool wrote a JSON document, and its curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.readers._axes import Axis, axis_rank, choose_axis, is_epoch, is_metric, may_be_absolute_time, to_seconds
from lossdoctor.readers._context import context_from, positive
from lossdoctor.readers._histories import histories
from lossdoctor.readers._json_shapes import lists_in, names_a_metric, rows_in, short_names, steps_in
from lossdoctor.readers._rows import ObjectRows
from lossdoctor.readers._table import TableBuilder

NO_LOG = "this JSON holds no curve: no list of rows with metrics, no list of numbers named like one"
_BOOSTERS = frozenset({"training", "validation_0", "validation_1", "valid_0", "valid_1", "valid_2", "eval", "train"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a document is: how sure (0 to 100), and what reads it."""

    sure: int
    read: Callable[[Any, str, list[str]], list[TrainingHistory]]


def document_kind(value: Any, name: str) -> Kind | None:
    """The kind of a parsed document, or None when it holds no curve.

    Args:
        value: parsed JSON.
        name: the file's name; a hint where a bare list of numbers says nothing itself.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("log_history"), list):
            return Kind(92, _hugging_face)
        if isinstance(value.get("iterations"), list) and isinstance(value.get("meta"), Mapping):
            return Kind(92, _catboost)
    rows = rows_in(value)
    told = [(n, v) for n, v in lists_in(value) if names_a_metric(n) and (len(v) > 1 or parse(n).kind == "loss")]
    if rows is not None and len(rows[1]) >= max((len(v) for _, v in told), default=0):
        return Kind(75, _rows)
    if told:
        keras = isinstance(value, Mapping) and isinstance(value.get("history"), Mapping)
        return Kind(85 if keras or _is_boosting(told) else 65, _lists)
    return _by_step(value) or _bare(value, name)


def _is_boosting(lists: list[tuple[str, list[float | None]]]) -> bool:
    return any(n.split("/")[0] in _BOOSTERS and n.count("/") == 1 for n, _ in lists)


def _by_step(value: Any) -> Kind | None:
    found = list(steps_in(value))
    if any(names_a_metric(path) for path, _, _ in found):
        return Kind(60, _steps)
    if any(isinstance(x, Mapping) and any(names_a_metric(str(k)) for k in x) for _, _, at in found for x in at[:5]):
        return Kind(60, _steps)
    return None


def _bare(value: Any, name: str) -> Kind | None:
    """A list without any name: what TensorBoard's page downloads, or a list of losses in a file named so."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    if all(isinstance(x, list) and len(x) == 3 and _numeric(x) for x in value[:50]):
        stamps = np.array([x[0] for x in value[:50]], dtype=np.float64)
        return Kind(50, _triples) if to_seconds(stamps) is not None else None
    if "loss" in name.lower() and _numeric(value[:50]):
        return Kind(40, _lists)
    return None


def _numeric(values: list[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def read_document(value: Any, kind: Kind, path: str, notes: list[str]) -> list[TrainingHistory]:
    """The histories in a document."""
    return kind.read(value, path, notes)


def _hugging_face(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    builder = TableBuilder()
    rows = ObjectRows(builder)
    for row in value["log_history"]:
        if isinstance(row, Mapping):
            rows.add(row)
    if not builder.rows:
        notes = ["the state holds no logged row: nothing was logged yet", *notes]
    step, epoch = positive(value.get("global_step")), positive(value.get("epoch"))
    context = context_from(
        {k: v for k, v in {**value, **rows.facts}.items() if not isinstance(v, (list, Mapping))},
        planned_steps=positive(value.get("max_steps"), integer=True),
        steps_per_epoch=round(step / epoch) if step and epoch else None,
        batch_size=positive(value.get("train_batch_size"), integer=True),
    )
    return histories(builder.finish(), path=path, format="json", notes=notes, context=context)


def _catboost(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    """CatBoost's document: the meta part names sets and metrics, each iteration lists the values of each set."""
    meta: Mapping[str, Any] = value["meta"]
    metrics: dict[str, list[tuple[str, str]]] = {}
    for kind in ("learn", "test"):
        sets = meta.get(f"{kind}_sets")
        for name in sets if isinstance(sets, list) else [kind]:
            metrics[str(name)[:200]] = _catboost_metrics(meta.get(f"{kind}_metrics"))
    builder = TableBuilder()
    for row in value["iterations"]:
        if not isinstance(row, Mapping) or not _numeric([row.get("iteration")]):
            continue
        builder.cell("iteration", float(row["iteration"]))
        for part, known in metrics.items():
            values = row.get(part)
            for i, v in enumerate(values if isinstance(values, list) else ()):
                if _numeric([v]):
                    builder.cell(f"{part}/{known[i][0] if i < len(known) else f'metric{i}'}", float(v))
        builder.end_row()
    directions = {
        f"{part}/{name}": "max" if best == "Max" else "min"
        for part, known in metrics.items()
        for name, best in known
        if best in ("Max", "Min")
    }
    planned = positive(meta.get("iteration_count"), integer=True)
    context = RunContext(planned_steps=None if planned is None else int(planned), directions=directions)
    return histories(builder.finish(), path=path, format="json", notes=notes, context=context)


def _catboost_metrics(metrics: Any) -> list[tuple[str, str]]:
    found = metrics if isinstance(metrics, list) else []
    return [(str(m.get("name", "metric"))[:200], str(m.get("best_value", ""))) for m in found if isinstance(m, Mapping)]


def _rows(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    found = rows_in(value)
    assert found is not None
    builder = TableBuilder()
    rows = ObjectRows(builder)
    other = 0
    for row in found[1]:
        if isinstance(row, Mapping):
            rows.add(row)
        else:
            other += 1
    if other:
        notes = [*notes, f"{other:,} entries of the list are no objects and were skipped"]
    facts = {k: v for k, v in value.items() if k != found[0]} if isinstance(value, Mapping) else {}
    context = context_from({**rows.facts, **facts}) if rows.facts or facts else None
    return histories(builder.finish(), path=path, format="json", notes=notes, context=context)


def _lists(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    """Lists by name. Those as long as a step or epoch list stand at its steps, others are counted from 1."""
    found = [(n or "loss", v) for n, v in lists_in(value)]
    if any(names_a_metric(n) for n, _ in found):
        metric_parents = {n.rpartition("/")[0] for n, _ in found if names_a_metric(n)}
        found = [(n, v) for n, v in found if n.rpartition("/")[0] in metric_parents]
    names = short_names([n for n, _ in found])
    columns = {n: np.array([np.nan if x is None else x for x in v]) for n, (_, v) in zip(names, found, strict=True)}
    logged = {n: np.array([x is not None for x in v]) for n, (_, v) in zip(names, found, strict=True)}
    scalars = {k: v for k, v in value.items() if k != "history"} if isinstance(value, Mapping) else {}
    axes = _axes_by_length(columns)
    unit = axes[max(len(v) for v in columns.values())].unit
    used = {axis.column for axis in axes.values()}
    times = {len(v): t for n, v in columns.items() if may_be_absolute_time(n) and (t := to_seconds(v)) is not None}
    shown = [n for n in columns if n not in used and is_metric(n)]
    curves = {n: Curve(axes[len(v := columns[n])].steps, v, times.get(len(v))).take(logged[n]) for n in shown}
    holes = sum(int((~logged[n]).sum()) for n in shown)
    if holes:
        nulls = "1 null was" if holes == 1 else f"{holes:,} nulls were"
        notes = [*notes, f"{nulls} left out; a writer that knows no NaN writes null in its place"]
    context = context_from(scalars, unit) if scalars else None
    remarks = dict.fromkeys(x for axis in axes.values() for x in axis.notes)
    return [
        TrainingHistory(curves, path=path, format="json", step_unit=unit, context=context, notes=[*notes, *remarks])
    ]


def _axes_by_length(columns: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]) -> dict[int, Axis]:
    axes = {}
    for length in {len(v) for v in columns.values()}:
        same = [(n, v) for n, v in columns.items() if len(v) == length and axis_rank(n) is not None]
        axes[length] = choose_axis(same, length)
    return axes


def _steps(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    """Values or rows by step: ``{"loss": {"10": 2.3}}``, ``{"10": {"loss": 2.3}}``, a data frame's ``to_json()``."""
    found = list(steps_in(value))
    if any(isinstance(x, Mapping) for _, _, at in found for x in at):
        return _rows_by_step(found, path, notes)
    names = short_names([p or "loss" for p, _, _ in found])
    series = {n: dict(zip(keys, map(_float, at), strict=True)) for n, (_, keys, at) in zip(names, found, strict=True)}
    if any(axis_rank(n) is not None for n in series):  # the keys are row numbers of a data frame
        builder = TableBuilder()
        for key in dict.fromkeys(k for points in series.values() for k in points):
            for name, points in series.items():
                if (number := points.get(key)) is not None:
                    builder.cell(name, number)
            builder.end_row()
        return histories(builder.finish(), path=path, format="json", notes=notes)
    curves = {}
    for name, points in series.items():
        kept = {k: v for k, v in points.items() if v is not None}
        if kept:
            curves[name] = Curve.make(list(kept), list(kept.values()))
    return [TrainingHistory(curves, path=path, format="json", notes=notes)]


def _rows_by_step(found: list[tuple[str, list[int], list[Any]]], path: str, notes: list[str]) -> list[TrainingHistory]:
    path_in, keys, rows = max(found, key=lambda f: len(f[1]))
    name = path_in.rpartition("/")[2]
    axis = name if name and axis_rank(name) is not None else "step"
    builder = TableBuilder()
    adder = ObjectRows(builder)
    for key, row in zip(keys, rows, strict=True):
        if isinstance(row, Mapping):
            own = any(axis_rank(k) is not None and not is_epoch(k) for k in row)
            adder.add(row if own else {axis: key, **row})
    return histories(builder.finish(), path=path, format="json", notes=notes)


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _triples(value: Any, path: str, notes: list[str]) -> list[TrainingHistory]:
    """TensorBoard's download: ``[[wall time, step, value], …]`` of one tag, named after nothing."""
    kept = [x for x in value if isinstance(x, list) and len(x) == 3 and _numeric(x)]
    table = np.array(kept, dtype=np.float64)
    curve = Curve.make(table[:, 1].astype(np.int64), table[:, 2], to_seconds(table[:, 0]))
    remark = "a download of TensorBoard does not say which metric it is; it was taken for the loss"
    return [TrainingHistory({"loss": curve}, path=path, format="json", notes=[*notes, remark])]
