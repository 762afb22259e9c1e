"""The step axis of a log: every row of every block gets its step, from its own counters or from the lines around it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lossdoctor.readers.text.counters import (
    Ints,
    Track,
    epoch_column,
    integral,
    last_of_each,
    per_epoch,
    repeats_each_epoch,
    step_column,
    sweeps,
    track,
    wraps,
)
from lossdoctor.readers.text.layout import MISSING, Block
from lossdoctor.readers.text.words import KNOWN_KINDS, kind_of


@dataclass
class Axis:
    """What the counters of a log say.

    Attributes:
        unit: ``"step"``, ``"epoch"`` or ``"row"``.
        per_epoch: positions per epoch, 0 when unknown.
        planned: the total the steps run to, in the unit; 0 when unknown.
        notes: how steps were made up.
    """

    unit: str = "step"
    per_epoch: int = 0
    planned: int = 0
    notes: list[str] = field(default_factory=list)


def has_known(block: Block) -> bool:
    """Whether the block holds a loss, an accuracy or another judged metric."""
    return any(kind_of(c.name) in KNOWN_KINDS for c in block.layout.metrics)


def one_rank(blocks: list[Block]) -> list[Block]:
    """Keep one process where several wrote the same lines: the lowest rank."""
    for block in blocks:
        column = next((c for c in block.layout.columns if c.role == "rank"), None)
        if column is not None and len(block):
            ranks = block.column(column)
            block.keep(ranks == ranks.min())
    lowest: dict[object, int] = {}
    for block in blocks:
        key = _without_rank(block)
        lowest[key] = min(lowest.get(key, block.layout.rank), block.layout.rank)
    return [b for b in blocks if b.layout.rank == lowest[_without_rank(b)]]


def _without_rank(block: Block) -> object:
    layout = block.layout
    return (layout.columns, layout.split, layout.bar, layout.source)


def assign(blocks: list[Block], fillers: Ints) -> Axis:
    """Give every block its ``steps``; collapse progress bars and evaluation sweeps to what counts.

    Args:
        blocks: all blocks of the log; those with known metrics decide the unit.
        fillers: places of lines that hold boxes of key-value lines together.
    """
    axis = Axis()
    epochs = track([(b.order, b.column(c)) for b in blocks if (c := epoch_column(b)) is not None])
    based = 0.0 if len(epochs.value) and epochs.value.min() <= 0 else 1.0
    for block in blocks:
        _collapse(block, epochs)
    _collapse_keras([b for b in blocks if b.layout.bar == "keras"], epochs)
    providers = []
    for block in blocks:
        if _own_steps(block, epochs, based, axis) and block.layout.split not in ("val", "test"):
            providers.append(block)
    judged = [b for b in providers if has_known(b)]
    if _lone(judged, blocks):  # a progress bar on the same line as one record says nothing of the others
        for block in judged:
            block.steps, block.fine = None, False
        judged = []
    headers = [b for b in blocks if not b.layout.metrics]
    if judged:
        _fill(blocks, _track_of(judged), axis)
        return axis
    return _from_headers(blocks, headers, epochs, axis, fillers)


def _lone(judged: list[Block], blocks: list[Block]) -> bool:
    """Whether a single record has a step of its own and many others have none."""
    others = sum(len(b) for b in blocks if b.steps is None and has_known(b) and not b.averaged)
    return sum(map(len, judged)) == 1 and judged[0].layout.bar == "tqdm" and others >= 3


def _collapse(block: Block, epochs: Track) -> None:
    """Table rows that a bar rewrites count by their last state; so does an evaluation printed batch by batch."""
    layout = block.layout
    epoch = epoch_column(block)
    outer = block.column(epoch) if epoch is not None else epochs.last_before(block.order).astype(np.float64)
    position = next((c for c in layout.counters if c.role == "pos" and integral(block.column(c))), None)
    if layout.bar == "table" and epoch is not None:
        block.keep(last_of_each(np.cumsum(np.append(1, np.diff(outer) != 0)).astype(np.int64)))
    elif layout.split in ("val", "test") and layout.metrics and position is not None:
        block.keep(last_of_each(sweeps(block.column(position), outer)))
        block.averaged = True


def _collapse_keras(blocks: list[Block], epochs: Track) -> None:
    """Keras bars print running means: the last state of each epoch is its value.

    A second bar under one epoch header, with another total, is an evaluation after the training; it is left out.
    """
    if not blocks:
        return
    order = np.concatenate([b.order for b in blocks])
    position = np.concatenate([b.values[:, 0] for b in blocks])
    total = np.concatenate([b.values[:, 1] for b in blocks])
    by = np.argsort(order, kind="stable")
    order, position, total = order[by], position[by], total[by]
    held = epochs.last_before(order)
    group = sweeps(position, held.astype(np.float64) * 1e6 + total)
    if not len(epochs.order) and group[-1] == 1:  # one bar alone is a loop over steps
        return
    usual = total[0]
    for block in blocks:
        at = np.searchsorted(order, block.order)
        block.group = group[at]
        if len(epochs.order):
            block.keep(total[at] == usual)


def _own_steps(block: Block, epochs: Track, based: float, axis: Axis) -> bool:
    """Steps from the block's own columns. False when it has none but an epoch, or nothing."""
    if block.group is not None or block.averaged or not len(block):
        return False
    column = step_column(block)
    if column is None:
        return False
    if not (finite := np.isfinite(block.column(column))).all():  # "step nan" is no place
        block.keep(finite)
    position = block.column(column).copy()
    total = block.total(column)
    if np.any(position == MISSING):
        return False
    own = epoch_column(block)
    epoch = block.column(own) if own is not None else epochs.at(block.order)
    known = np.isfinite(epoch)
    if known.any() and (
        len(epochs.order)
        and (repeats_each_epoch(position[known], epoch[known]) or (column.role == "pos" and own is not None))
    ):
        size = per_epoch(position[known], total)
        if has_known(block):
            axis.per_epoch = axis.per_epoch or size
        position[known] += (epoch[known] - based).clip(0) * size
        if own is not None and own.total and has_known(block):
            axis.planned = axis.planned or int(np.nanmax(block.total(own)) * size)  # type: ignore[arg-type]
    elif column.role == "pos" and len(position) > 3 and np.all(position == position[0]):
        return False  # the end of a bar that is printed once an epoch
    elif (column.role == "pos" or "batch" in column.key.lower()) and total is not None:
        turns = wraps(position, total)
        if turns[-1]:
            axis.per_epoch = axis.per_epoch or (int(np.median(total)) if has_known(block) else 0)
            position += turns * np.median(total)
    elif total is not None and has_known(block):
        axis.planned = axis.planned or int(np.median(total))
    block.steps = position.astype(np.int64)
    block.fine = True
    return True


def _names_step(block: Block) -> bool:
    column = step_column(block)
    return column is not None and column.role == "step"


def _track_of(blocks: list[Block]) -> Track:
    return track([(b.order, b.steps.astype(np.float64)) for b in blocks if b.steps is not None])


def _before(steps: Track) -> float:
    """The step for rows that come before the first step: one logging interval earlier."""
    gaps = np.diff(np.unique(steps.value[:1000]))
    return max(0.0, float(steps.value[0]) - (float(gaps.min()) if len(gaps) else 1.0))


def _fill(blocks: list[Block], steps: Track, axis: Axis) -> None:
    """Rows without a step of their own take the last one before them."""
    axis.unit = "step"
    for block in blocks:
        if block.steps is None:
            found = steps.at(block.order)
            if np.isnan(found).any():
                found = np.where(np.isnan(found), _before(steps), found)
            block.steps = found.astype(np.int64)


def _from_headers(blocks: list[Block], headers: list[Block], epochs: Track, axis: Axis, fillers: Ints) -> Axis:
    """No judged row has a step of its own: steps come from header lines, epochs, progress bars or row numbers."""
    wanted = [b for b in blocks if has_known(b) and b.steps is None]
    evaluations = [b for b in blocks if has_known(b) and b.steps is not None]
    if not wanted and evaluations:  # only evaluations were logged, each with its step
        _fill(blocks, _track_of(evaluations), axis)
        return axis
    if not wanted:
        return axis
    main = max(wanted, key=lambda b: (b.layout.split not in ("val", "test"), len(b)))
    keyed = [b for b in headers if b.steps is not None and not b.layout.bar and _names_step(b)]
    bars = [b for b in headers if b.steps is not None and b.layout.bar]
    candidates = [("step", _boxed(_track_of(keyed), main, blocks, fillers))]
    if epoch_column(main) is not None:
        own = [(b.order, b.column(c)) for b in blocks if b.layout.metrics and (c := epoch_column(b)) is not None]
        candidates.append(("epoch", track(own)))
    candidates.append(("epoch", _boxed(epochs, main, blocks, fillers)))
    candidates.append(("step", _bar_track(bars)))
    for unit, course in candidates:
        found = course.at(main.order)
        known = found[np.isfinite(found)]
        groups = len(found) if main.group is None else len(np.unique(main.group))
        if len(found) - len(known) <= max(1, 0.1 * len(found)) and len(np.unique(known)) >= max(1, 0.5 * groups):
            axis.unit = unit
            axis.planned = _planned_epochs(blocks) if unit == "epoch" else course.total
            for block in blocks:
                block.steps = None if unit == "epoch" or block.layout.bar else block.steps
                block.fine = block.steps is not None
            _fill_epochs(blocks, course, unit)
            return axis
    _by_rows(blocks, main, axis)
    return axis


def _fill_epochs(blocks: list[Block], course: Track, unit: str) -> None:
    for block in blocks:
        if block.steps is not None:
            continue
        own = epoch_column(block)
        values = block.column(own) if own is not None and unit == "epoch" else course.at(block.order)
        least = max(course.value[0] - 1, 0) if len(course.value) else 0  # a log that begins in the middle of an epoch
        block.steps = np.where(np.isfinite(values) & (values != MISSING), values, least).astype(np.int64)


def _planned_epochs(blocks: list[Block]) -> int:
    for block in blocks:
        column = epoch_column(block)
        if column is not None and column.total:
            total = block.total(column)
            if total is not None and len(total):
                return int(np.nanmedian(total))
    return 0


def _boxed(course: Track, main: Block, blocks: list[Block], fillers: Ints) -> Track:
    """Let a counter inside a box of key-value lines count from the box's first line on."""
    singles = [b.order for b in blocks if b.layout.boxed]
    if not main.layout.boxed:  # without a frame only lines around the counter tell a box
        singles = [b.order for b in blocks if b.layout.single]
    if not singles or not len(course.order) or not main.layout.single:
        return course
    lines = np.unique(np.concatenate([*singles, fillers]))
    first = lines[np.append(True, np.diff(lines) > 1)]
    at = np.searchsorted(first, course.order, side="right") - 1
    inside = (at >= 0) & np.isin(course.order, lines)
    box = np.where(inside, at, -1 - np.arange(len(at)))
    _, counts = np.unique(box, return_counts=True)
    if counts.max(initial=0) > 1:  # several counters in one box: it is no box, but a log of key-value lines
        return course
    if not main.layout.boxed:
        last = np.append(lines[np.flatnonzero(np.diff(lines) > 1)], lines[-1])
        within = inside & (course.order > first[at.clip(0)]) & (course.order < last[at.clip(0)])
        if within.mean() < 0.9:
            return course
    return Track(np.where(inside, first[at.clip(0)], course.order), course.value)


def _bar_track(bars: list[Block]) -> Track:
    """The progress bar of the training: the one whose total spans most of the log."""
    best: tuple[int, Track] = (-1, track([]))
    for block in bars:
        column = step_column(block)
        total = block.total(column) if column is not None else None
        if total is None or block.steps is None:
            continue
        for value in np.unique(total)[:200]:
            chosen = total == value
            span = int(block.order[chosen][-1] - block.order[chosen][0])
            if span > best[0]:
                best = (span, Track(block.order[chosen], block.steps[chosen].astype(np.float64), int(value)))
    return best[1]


def _by_rows(blocks: list[Block], main: Block, axis: Axis) -> None:
    axis.unit = "row"
    axis.notes.append("the log names no step that goes on; its rows are counted")
    names = {c.name for c in main.layout.metrics}
    alike = [
        b.order for b in blocks if {c.name for c in b.layout.metrics} == names and b.layout.split == main.layout.split
    ]
    order = np.sort(np.concatenate(alike))
    course = Track(order, np.arange(1, len(order) + 1, dtype=np.float64))
    for block in blocks:
        found = course.at(block.order)
        block.steps = np.nan_to_num(found, nan=1.0).astype(np.int64)
        block.fine = True
