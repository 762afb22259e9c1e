"""From rows with steps to named curves: what is a metric, what merges, what was printed twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.names import parse
from lossdoctor.readers.text.axis import has_known
from lossdoctor.readers.text.counters import Floats, Ints, last_of_each
from lossdoctor.readers.text.layout import MISSING, Block
from lossdoctor.readers.text.words import KNOWN_KINDS, ROLE_KINDS, is_weak, kind_of

SECTION_REACH = 10
MOST_PROCESSES = 64
SAME = 2e-5  # two prints of one value agree to the digits printed


@dataclass
class _Series:
    name: str
    fine: bool
    steps: list[Ints] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    order: list[Ints] = field(default_factory=list)
    times: list[Floats] = field(default_factory=list)
    group: list[Ints] = field(default_factory=list)
    held: bool = False


def build(blocks: list[Block], sections: list[tuple[int, str]], *, counted: bool) -> dict[str, Curve]:
    """The curves of a log; empty when nothing in it is a metric over time.

    Args:
        blocks: blocks with steps.
        sections: places of lines that name a split.
        counted: the steps are the log's own, not row numbers.
    """
    accepted = [b for b in blocks if has_known(b) and _is_record(b, counted)]
    if sum(len(b) for b in accepted) < 2 or not any(len(b) > 1 or b.layout.counters for b in accepted):
        return {}
    begin = min(int(b.order[0]) for b in accepted if len(b) > 1 or b.layout.counters)
    accepted = [b for b in accepted if b.order[-1] >= begin]  # a lone "val_loss = 0" before is a setting
    marks = _counter_lines(blocks)
    sections = _all_sections(blocks, sections)
    series: dict[tuple[str, bool], _Series] = {}
    for block in blocks:
        if block in accepted or (block.layout.metrics and _is_companion(block, begin)):
            _add(block, sections, marks, series)
    return _finish(series)


def _is_record(block: Block, counted_steps: bool) -> bool:
    """Whether lines of this kind report a metric again and again, rather than once set it or mention it."""
    names = [c for c in block.layout.metrics if kind_of(c.name) in KNOWN_KINDS]
    counted = bool(block.layout.counters)
    if not counted:
        names = [c for c in names if not is_weak(c.name) or block.layout.single]
    if not names:
        return False
    if counted:
        return True
    moving = any(_moves(block.column(c)) for c in names)
    placed = block.steps is not None and len(np.unique(block.steps)) > 1
    strong = any(not is_weak(c.name) for c in names)
    if len(block) == 1:
        return bool(names[0].split in ("val", "test") and strong)
    distinct = len(np.unique(block.steps)) if block.steps is not None else 0
    settled = placed and strong and distinct >= max(3 if counted_steps else 20, 0.5 * len(block))
    return (placed or len(block) >= 3) and (moving or settled)


def _moves(values: Floats) -> bool:
    return len(np.unique(values[~np.isnan(values)])) > 1 or bool(np.isnan(values).any())


def _is_companion(block: Block, begin: int) -> bool:
    """Other numbers that recur with a step: learning rate, gradient norm, anything the loop logs."""
    if len(block) < 2 or block.steps is None or block.order[len(block) // 2] < begin - SECTION_REACH:
        return False
    named = any(c.role in ("step", "epoch") for c in block.layout.counters)
    if not (named or block.layout.single):
        return False
    if not named and not any(kind_of(c.name) in ROLE_KINDS or _moves(block.column(c)) for c in block.layout.metrics):
        return False
    distinct = len(np.unique(block.steps))
    return distinct >= 3 and distinct >= 0.5 * len(block)


def _all_sections(blocks: list[Block], sections: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Lines that say what the next lines are about: titles, headers with a counter, evaluation bars."""
    titled = [b for b in blocks if b.layout.split and (not b.layout.metrics or b.averaged)]
    return sorted([*sections, *((int(o), b.layout.split) for b in titled for o in b.order)])


def _counter_lines(blocks: list[Block]) -> Ints:
    found = [b.order for b in blocks if b.layout.counters]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _add(block: Block, sections: list[tuple[int, str]], marks: Ints, series: dict[tuple[str, bool], _Series]) -> None:
    assert block.steps is not None
    splits = _section_splits(block, sections, marks)
    times = _times(block)
    for column in block.layout.metrics:
        values = block.column(column)
        if block.averaged and column.average:
            values = block.values[:, block.layout.at(column) + 1]
        elif column.total:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = values / block.values[:, block.layout.at(column) + 1]
        present = values != MISSING
        if not present.any():
            continue
        if column.negated:
            values = np.where(present, -values, MISSING)
        held = block.layout.bar == "tqdm" and (column.split in ("val", "test") or column.key.endswith("_epoch"))
        held &= not block.averaged  # a bar of its own is a new evaluation
        for split in ("", "val", "test"):
            chosen = present & (splits == split) if splits is not None and not column.split else present
            if splits is None or column.split:
                if split:
                    break
            elif not chosen.any():
                continue
            name = f"{split}/{column.name}" if split else column.name
            one = series.setdefault((name, block.fine), _Series(name, block.fine))
            every = bool(chosen.all())
            one.steps.append(block.steps if every else block.steps[chosen])
            one.values.append(values if every else values[chosen])
            one.order.append(block.order if every else block.order[chosen])
            one.held |= held
            if block.group is not None:
                one.group.append(block.group[chosen])
            if times is not None:
                one.times.append(times[chosen])


def _section_splits(block: Block, sections: list[tuple[int, str]], marks: Ints) -> NDArray[np.str_] | None:
    """For rows without counters under a line such as ``Validation:``: the split that it names."""
    if not sections or block.layout.counters or block.layout.split:
        return None
    places = np.array([s[0] for s in sections], dtype=np.int64)
    names = np.array([s[1] if s[1] != "train" else "" for s in sections])
    index = np.searchsorted(places, block.order, side="right") - 1
    near = (index >= 0) & (block.order - places[index.clip(0)] <= SECTION_REACH)
    if len(marks):
        mark = np.searchsorted(marks, block.order, side="left") - 1
        near &= (mark < 0) | (marks[mark.clip(0)] <= places[index.clip(0)])
    return np.where(near, names[index.clip(0)], "") if near.any() else None


def _times(block: Block) -> Floats | None:
    if not block.layout.timed:
        return None
    year, month, day, hour, minute, second = (block.values[:, block.layout.width - 6 + i] for i in range(6))
    with np.errstate(invalid="ignore"):
        good = (year >= 1970) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    if not good.all():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    return np.asarray(days * 86400.0 + hour * 3600 + minute * 60 + second, dtype=np.float64)


def _finish(series: dict[tuple[str, bool], _Series]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    longest = {s.name: s for s in sorted(series.values(), key=lambda s: sum(map(len, s.steps)))}
    found: list[tuple[int, str, Curve]] = []
    for one in series.values():
        order, by = _merged(one.order)
        steps = _taken(one.steps, by)
        values = _taken(one.values, by)
        times = _taken(one.times, by) if one.times and sum(map(len, one.times)) == len(steps) else None
        keep = ~_repeated(steps, values)
        if one.held:  # the bar repeats the last evaluation until the next
            keep &= np.append(True, (np.diff(values) != 0) & ~(np.isnan(values[1:]) & np.isnan(values[:-1])))
        if one.group and sum(map(len, one.group)) == len(steps):
            last = np.zeros(len(steps), dtype=bool)
            last[last_of_each(_taken(one.group, by))] = True
            keep = last
        curve = Curve(steps, values, times)
        if not keep.all():
            curve = curve.take(np.flatnonzero(keep))
        one.steps, one.values, one.order = [steps], [], []  # only the length is asked for again
        if longest[one.name] is not one and len(steps) == 1:
            continue  # a summary of what the curve shows
        name = one.name if longest[one.name] is one else f"epoch/{one.name}"
        if _is_curve(name, curve):
            found.append((int(order[0]), name, curve))
    for _, name, curve in sorted(found, key=lambda f: f[0]):
        curves[name] = curve
    if not any(kind_of(n) in KNOWN_KINDS for n in curves):
        return {}
    return curves


def _merged(orders: list[Ints]) -> tuple[Ints, Ints | None]:
    """The places of all rows in order, and the permutation that sorts them; None when they are sorted already."""
    if len(orders) == 1:
        return orders[0], None
    order = np.concatenate(orders)
    by = np.argsort(order, kind="stable")
    return order[by], by


def _taken(parts: list[NDArray[Any]], by: Ints | None) -> NDArray[Any]:
    joined: NDArray[Any] = parts[0] if by is None else np.concatenate(parts)[by]
    return np.ascontiguousarray(joined)


def _is_curve(name: str, curve: Curve) -> bool:
    """A single point is a curve only of an evaluation or of a run that has logged once so far."""
    if len(curve) > 1:
        return True
    kind = kind_of(name)
    return kind in KNOWN_KINDS and not is_weak(name) and parse(name).split in ("val", "test")


def _repeated(steps: Ints, values: Floats) -> NDArray[np.bool_]:
    """Rows that repeat a value already printed at the same step: several processes, or two loggers."""
    drop = np.zeros(len(steps), dtype=bool)
    if len(steps) < 2 or not (steps[1:] == steps[:-1]).any():
        return drop
    run = np.cumsum(np.append(0, np.diff(steps) != 0))  # a resume prints old steps again: those are no repeats
    longest = int(np.bincount(run).max())
    for lag in range(1, min(longest, MOST_PROCESSES)):
        a, b = values[:-lag], values[lag:]
        with np.errstate(invalid="ignore"):
            equal = (np.abs(a - b) <= SAME * np.maximum(np.abs(a), np.abs(b))) | (np.isnan(a) & np.isnan(b)) | (a == b)
        drop[lag:] |= (run[lag:] == run[:-lag]) & equal
    return drop
