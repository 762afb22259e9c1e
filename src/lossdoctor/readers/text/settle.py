"""What only the rows of a log tell of its lines: which are validation, which way a metric goes, where a run ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lossdoctor.core.names import parse
from lossdoctor.readers.text.axis import has_known
from lossdoctor.readers.text.counters import Floats, Ints, epoch_column, integral, step_column
from lossdoctor.readers.text.curves import SECTION_REACH
from lossdoctor.readers.text.layout import Block, Column, Layout
from lossdoctor.readers.text.words import kind_of, pure_split

_LEAST = 3


def directed(blocks: list[Block]) -> list[Block]:
    """Call the metrics of CatBoost scores where the best one so far is the highest: it names neither.

    ``learn: 0.95 test: 0.82 best: 0.83 (1)`` says that 0.83 is better than 0.82.
    """
    pairs = [pair for b in blocks if (pair := _with_best(b)) is not None]
    if not pairs or not _is_maximised(*(np.concatenate(side) for side in zip(*pairs, strict=True))):
        return blocks
    for block in blocks:
        columns = tuple(_as_score(c) for c in block.layout.columns)
        block.layout = replace(block.layout, columns=columns)
    return blocks


def _with_best(block: Block) -> tuple[Floats, Floats] | None:
    """The evaluations of a block, named by nothing but their split, and the best of them so far."""
    columns = block.layout.columns
    at = next((i for i, c in enumerate(columns) if c.role == "best"), 0)
    if not at or not pure_split(columns[at - 1].key) or not len(block):
        return None
    return block.column(columns[at - 1]), block.column(columns[at])


def _is_maximised(values: Floats, best: Floats) -> bool:
    near = 1e-9 * np.abs(best)
    above, below = best > values + near, best < values - near
    if above.any() or below.any():
        return bool(above.sum() > below.sum())
    return bool(values[-1] > values[0])  # each is the best so far


def _as_score(column: Column) -> Column:
    if column.role != "metric" or not pure_split(column.key):
        return column
    return replace(column, name=f"{column.key}/score")


def by_section(blocks: list[Block], sections: list[tuple[int, str]]) -> list[Block]:
    """Cut the rows under lines such as ``testing in eval mode`` out of a block that training and evaluation share.

    Lines of one form report both; each row that comes first after such a title is an evaluation, where the rows of
    the training count the same epochs.
    """
    titles = [(at, split) for at, split in sections if split in ("val", "test")]
    known = [b.order for b in blocks if has_known(b)]
    if not titles or not known:
        return blocks
    rows = np.sort(np.concatenate(known))
    out: list[Block] = []
    for block in blocks:
        column = epoch_column(block) or step_column(block)
        if column is None or block.layout.split or block.layout.bar or not has_known(block):
            out.append(block)
            continue
        out.extend(_cut(block, block.column(column), titles, rows))
    return sorted(out, key=lambda b: int(b.order[0]))


def _cut(block: Block, counted: Floats, titles: list[tuple[int, str]], rows: Ints) -> list[Block]:
    places = np.array([at for at, _ in titles], dtype=np.int64)
    splits = np.array([split for _, split in titles])
    title = np.searchsorted(places, block.order, side="right") - 1
    place = places[title.clip(0)]
    first = np.searchsorted(rows, block.order) == np.searchsorted(rows, place)
    under = (title >= 0) & first & (block.order - place <= SECTION_REACH)
    shared = np.isin(counted[under], counted[~under])
    if min(under.sum(), (~under).sum()) < 2 or shared.mean() < 0.8:
        return [block]
    parts = [Block(block.layout, block.order[~under], block.values[~under])]
    for split in np.unique(splits[title[under]]).tolist():
        chosen = under & (splits[title.clip(0)] == split)
        parts.append(Block(_of_split(block.layout, split), block.order[chosen], block.values[chosen]))
    return parts


def _of_split(layout: Layout, split: str) -> Layout:
    columns = (
        replace(c, name=f"{split}/{c.name}", split=split) if c.role == "metric" and not c.split else c
        for c in layout.columns
    )
    return replace(layout, columns=tuple(columns), split=split)


def runs_of(blocks: list[Block]) -> list[list[Block]]:
    """The blocks run by run: a new one begins where the steps return to the start under other names.

    Two calls of a boosting library, first with one loss and then with another, print so. Steps that start again under
    the same names are left to :func:`lossdoctor.readers.split.split_runs`, which looks at the curves.
    """
    records = [b for b in blocks if len(b) and b.steps is not None and has_known(b)]
    trained = [b for b in records if b.fine and len(b) >= _LEAST and _trains(b) and _counts(b)]
    cuts: list[int] = []
    before: list[Block] = []
    for block in sorted(trained, key=lambda b: int(b.order[0])):
        begin = int(block.order[0])
        if before and _starts_anew(block, before) and not any(b.order[0] < begin <= b.order[-1] for b in records):
            cuts.append(begin)
            before = []
        before.append(block)
    if not cuts:
        return [blocks]
    return [_between(blocks, low, high) for low, high in zip([0, *cuts], [*cuts, np.iinfo(np.int64).max], strict=True)]


def _trains(block: Block) -> bool:
    return any(kind_of(c.name) == "loss" and parse(c.name).split in ("", "train") for c in block.layout.metrics)


def _counts(block: Block) -> bool:
    return any(integral(block.column(c)) for c in block.layout.counters)


def _starts_anew(block: Block, before: Sequence[Block]) -> bool:
    names = {c.name for c in block.layout.metrics}
    steps = [b.steps for b in before if b.steps is not None]
    assert block.steps is not None
    return (
        not any(names & {c.name for c in b.layout.metrics} for b in before)
        and max(int(b.order[-1]) for b in before) < block.order[0]
        and int(block.steps[0]) <= min(int(s[0]) for s in steps)
        and max(int(s[-1]) for s in steps) > block.steps[0]
    )


def _between(blocks: list[Block], low: int, high: int) -> list[Block]:
    out = []
    for block in blocks:
        inside = (block.order >= low) & (block.order < high)
        if not inside.any():
            continue
        part = replace(block)
        part.keep(inside)
        out.append(part)
    return out
