"""The parts of a scanned log put together to a history."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.readers.base import Source
from lossdoctor.readers.text.axis import Axis, assign, has_known, one_rank
from lossdoctor.readers.text.counters import integral
from lossdoctor.readers.text.curves import build
from lossdoctor.readers.text.layout import Block
from lossdoctor.readers.text.scan import Scan
from lossdoctor.readers.text.settle import by_section, directed, runs_of
from lossdoctor.readers.text.words import kind_of, setting

_WHOLE = frozenset({"batch_size", "classes", "planned_steps", "warmup_steps", "steps_per_epoch"})
_SOURCES = (
    *(".py", ".md", ".rst", ".c", ".cc", ".cpp", ".h", ".cu", ".js", ".ts", ".rs", ".go", ".java"),
    *(".html", ".tex", ".sh", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".ipynb", ".jl", ".m", ".r"),
)
LEAST_IN_SOURCE = 8
_EVENT_TEXT = {
    "out_of_memory": "out of memory",
    "nonfinite_message": "the log itself says that the loss is not finite",
    "traceback": "a Python traceback",
    "killed": "the process was killed",
}


def histories_of(scan: Scan, source: Source, notes: list[str]) -> list[TrainingHistory]:
    """One history, or one per run where another begins under other names; none when no metric recurs in the text."""
    everything = _without_echoes(scan.blocks(), scan.echoes)
    everything = by_section(directed([b for b in everything if len(b)]), scan.sections)
    blocks = one_rank(everything)
    fillers = np.array(scan.fillers, dtype=np.int64)
    axis = assign(blocks, fillers)
    runs = _curves(blocks, scan, axis)
    if source.name.lower().endswith(_SOURCES) and not any(map(_is_plain, (item for c in runs for item in c.items()))):
        runs = []  # examples in documentation and source code, not a log
    if not runs:
        runs = [curves] if (curves := _numbers_only(scan, source, axis)) else []
    context = _context(everything, axis)
    if turned := {c.key: c.name for b in blocks for c in b.layout.metrics if c.negated}:
        axis.notes += [f"{key} is to be maximised: {name} is its negative" for key, name in turned.items()]
    if len(runs) > 1:
        axis.notes.append(f"the log holds {len(runs)} runs: its steps return to the start under other names")
    return [
        TrainingHistory(
            curves,
            path=source.path if len(runs) == 1 else f"{source.path}#{k}",
            format="text",
            step_unit=axis.unit,
            context=context,
            metrics=_overrides(curves),
            notes=[*notes, *axis.notes, *_event_notes(scan)],
            events=scan.events,
        )
        for k, curves in enumerate(runs, 1)
    ]


def _curves(blocks: list[Block], scan: Scan, axis: Axis) -> list[dict[str, Curve]]:
    """The curves of each run in the log; empty when no metric recurs."""
    blocks = [b for b in blocks if len(b) and b.steps is not None]
    parts = runs_of(blocks)
    found = [build(part, scan.sections, counted=axis.unit != "row") for part in parts]
    if len(parts) > 1 and not all(found):
        found = [build(blocks, scan.sections, counted=axis.unit != "row")]
    return [curves for curves in found if curves]


def _without_echoes(blocks: list[Block], echoes: list[int]) -> list[Block]:
    """Leave out the record that a boosting library prints once more under "best iteration is:".

    A script that prints every record under "new best score:" is no such case: its counter goes on.
    """
    for block in blocks:
        found = np.flatnonzero(np.isin(block.order, np.array(echoes) + 1)).tolist()
        again = [i for i in found if i and _goes_back(block, i)]
        if again:
            block.keep(np.delete(np.arange(len(block)), again))
    return blocks


def _goes_back(block: Block, row: int) -> bool:
    counters = [c for c in block.layout.counters if integral(block.column(c))]
    if counters:
        return all(block.column(c)[row] <= block.column(c)[:row].max() for c in counters)
    return bool((block.values[:row] == block.values[row]).all(axis=1).any())


def _is_plain(item: tuple[str, Curve]) -> bool:
    """Whether a curve in a file of code or prose is long enough and plainly named, so that it must be a pasted log."""
    name, curve = item
    return len(curve) >= LEAST_IN_SOURCE and ("loss" in name.lower() or kind_of(name) == "accuracy")


def _numbers_only(scan: Scan, source: Source, axis: Axis) -> dict[str, Curve]:
    """A file of bare numbers, one a line, is a curve when its name says of what; one of ``step: value`` is a loss."""
    values = np.array(scan.numbers_only, dtype=np.float64)
    stem = source.name.rsplit(".", 1)[0]
    if len(values) >= max(3, 0.9 * scan.lines) and parse(stem).kind in ("loss", "accuracy"):
        axis.unit = "row"
        axis.notes.append(f"a file of bare numbers, taken as {stem!r} because of its name")
        return {stem: Curve.make(range(1, len(values) + 1), values)}
    pairs = np.array(scan.numbered, dtype=np.float64).reshape(-1, 2)
    if len(pairs) < max(3, 0.9 * scan.lines):
        return {}
    steps, values = pairs[:, 0], pairs[:, 1]
    if not (integral(steps) and np.all(np.diff(steps) > 0)) or np.all(values == np.floor(values)):
        return {}
    axis.unit = "step"
    axis.notes.append("lines of a number and a value without a name: taken as step and loss")
    return {"loss": Curve.make(steps.astype(np.int64), values)}


def _overrides(curves: dict[str, Curve]) -> dict[str, str]:
    """``norm`` beside a loss and a learning rate is the gradient's (llm.c and its kin)."""
    names = {n.lower(): n for n in curves}
    if "norm" in names and "loss" in names and not any(parse(n).kind == "grad_norm" for n in curves):
        return {"grad_norm": names["norm"]}
    if not any(parse(n).kind == "loss" for n in curves):  # a loss by a name that only logs use: "Cost"
        for name in curves:
            if kind_of(name) == "loss" and parse(name).split in ("", "train"):
                return {"train_loss": name}
    return {}


def _event_notes(scan: Scan) -> list[str]:
    seen: dict[str, list[int]] = {}
    for event in scan.events:
        seen.setdefault(event["event"], []).append(event["line"])
    return [
        f"{_EVENT_TEXT[name]} at line {lines[0]:,}" + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        for name, lines in seen.items()
    ]


def _context(blocks: list[Block], axis: Axis) -> RunContext:
    """Settings printed under an exact name, always with the same value."""
    found: dict[str, set[float]] = {}
    for block in blocks:
        if len(block) > 64 or (has_known(block) and block.layout.counters):
            continue
        for column in block.layout.metrics:
            field = setting(column.key)
            if field:
                found.setdefault(field, set()).update(block.column(column).tolist())
    known = {}
    for field, values in found.items():
        value = next(iter(values))
        if len(values) == 1 and np.isfinite(value) and value > 0 and (field not in _WHOLE or value == int(value)):
            known[field] = int(value) if field in _WHOLE else value
    if axis.planned > 0:
        known["planned_steps"] = axis.planned
    elif axis.unit != "step":
        known.pop("planned_steps", None)
    if axis.per_epoch > 0:
        known["steps_per_epoch"] = axis.per_epoch
    return RunContext(**known)  # type: ignore[arg-type]
