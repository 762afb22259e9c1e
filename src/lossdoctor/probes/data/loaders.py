"""Loaders and lists of batches as a table: read through an iterator of its own, by indices where they can be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import Batches, label_key, split
from lossdoctor.probes.data.arrays import MAX_CELLS, Wish, is_array, to_numpy
from lossdoctor.probes.data.forms import IGNORED, merged, part_of, target_of
from lossdoctor.probes.data.table import Part, Table
from lossdoctor.probes.progress import Progress
from lossdoctor.torchkit.state import preserved

# Inputs of models that say where there is text, not what it is.
_AUXILIARY = frozenset({"attention_mask", "token_type_ids", "position_ids", "special_tokens_mask", "length", "idx"})


class _Indexed(Dataset[Any]):
    """A data set whose items know their index."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        return index, self.inner[index]


class _Collate:
    """The loader's own collation, beside the indices; a class, since workers need it pickled."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, items: list[tuple[Any, Any]]) -> tuple[list[Any], Any]:
        return [i for i, _ in items], self.inner([item for _, item in items])


@dataclass
class _Blocks:
    """What was read so far, input by input."""

    inputs: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    torch: dict[str, bool] = field(default_factory=dict)
    targets: list[NDArray[Any]] = field(default_factory=list)
    target_torch: bool = True
    batch: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    cells: int = 0
    skipped: set[str] = field(default_factory=set)

    @property
    def examples(self) -> int:
        return sum(self.batch)


def from_loader(loader: Iterable[Any], wish: Wish, tell: Progress) -> Table:
    """The table of a loader, a data set of torch, or a list of batches; it is read in the loader's order.

    The loader, its generators and the global ones are as before at the end.

    Raises:
        UsageError: it can be read only once, is empty, or its batches hold no arrays.
        UserCodeError: the loader raised.
    """
    stored = isinstance(loader, Dataset) and not isinstance(loader, IterableDataset)
    if isinstance(loader, Dataset):
        loader = DataLoader(loader, batch_size=256)
    with preserved(loader if isinstance(loader, DataLoader) else None):
        source = _with_indices(loader)
        blocks = _read(Batches(loader if source is None else source), source is not None, wish, tell)
    total = _length(loader)
    return _table(blocks, wish, indexed=source is not None, loader=not stored, total=total)


def _with_indices(loader: Any) -> DataLoader[Any] | None:
    """The same loader giving (indices, batch), where it is a plain one over a data set that can be indexed."""
    if type(loader) is not DataLoader or loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    return DataLoader(
        _Indexed(loader.dataset),
        batch_sampler=loader.batch_sampler,
        collate_fn=_Collate(loader.collate_fn),
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        timeout=loader.timeout,
        generator=loader.generator,
    )


def _length(loader: Any) -> int | None:
    dataset = getattr(loader, "dataset", None)
    try:
        return len(dataset) if dataset is not None and not isinstance(dataset, IterableDataset) else None
    except TypeError:
        return None


def _read(batches: Batches, indexed: bool, wish: Wish, tell: Progress) -> _Blocks:
    blocks = _Blocks()
    for number, batch in enumerate(batches):
        places, content = batch if indexed else (None, batch)
        _add(blocks, content, number)
        size = blocks.batch[-1]
        known = places is not None and len(places) == size and all(isinstance(i, int) for i in places)
        blocks.rows += list(places or ()) if known else [-1] * size  # keys of other types cannot be rows
        tell(min(blocks.examples, wish.max_examples), wish.max_examples)
        if blocks.examples >= wish.max_examples or blocks.cells >= MAX_CELLS:
            break
    return blocks


def _add(blocks: _Blocks, batch: Any, number: int) -> None:
    inputs, target = _halves(batch, number)
    sizes = set()
    for name, value in _named(inputs):
        if name in _AUXILIARY:
            continue
        if not is_array(value):
            blocks.skipped.add(f"{name} ({type(value).__name__})")
            continue
        array = to_numpy(value)
        if array.ndim == 0:
            continue
        if number and name not in blocks.inputs:
            raise UsageError(f"batch {number} has an input {name!r} that the first batch had not")
        blocks.inputs.setdefault(name, []).append(array)
        blocks.torch[name] = isinstance(value, torch.Tensor)
        blocks.cells += array.size
        sizes.add(len(array))
    if not sizes:
        raise UsageError(f"batch {number} holds no tensor or array of inputs; got {_words(inputs)}")
    if target is not None and is_array(target):
        array = to_numpy(target)
        blocks.target_torch = isinstance(target, torch.Tensor)
        if array.ndim:
            blocks.targets.append(array)
            sizes.add(len(array))
    if len(sizes) > 1:
        raise UsageError(
            f"batch {number} holds parts of {' and '.join(str(s) for s in sorted(sizes))} examples; expected the"
            " examples in the first dimension of every input and of the target"
        )
    blocks.batch.append(sizes.pop())


def _halves(batch: Any, number: int) -> tuple[Any, Any]:
    """(inputs, target); the target is None where a batch has none."""
    if isinstance(batch, Mapping):
        return split(batch, number) if label_key(batch) is not None else (batch, None)
    if isinstance(batch, list | tuple) and len(batch) >= 2:
        return split(batch, number)
    return (batch[0] if isinstance(batch, list | tuple) and len(batch) == 1 else batch), None


def _named(inputs: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(inputs, Mapping):
        for key, value in inputs.items():
            yield from _named(value, f"{prefix}{key}")
    elif isinstance(inputs, list | tuple) and not all(isinstance(v, str) for v in inputs):
        for k, value in enumerate(inputs):
            yield from _named(value, f"{prefix or 'input'} {k}")
    else:
        yield prefix or "the input", inputs


def _words(inputs: Any) -> str:
    return ", ".join(f"{name}: {type(value).__name__}" for name, value in _named(inputs)) or "nothing"


def _table(blocks: _Blocks, wish: Wish, *, indexed: bool, loader: bool, total: int | None) -> Table:
    notes = [f"{name} was not checked: no numbers" for name in sorted(blocks.skipped)]
    parts: list[Part] = []
    for name, held in blocks.inputs.items():
        if len(held) != len(blocks.batch):
            raise UsageError(
                f"the input {name!r} is in {len(held)} of {len(blocks.batch)} batches; expected it in each"
            )
        whole = all(h.dtype.kind in "ui" for h in held)
        codes = whole and held[0].ndim <= 2 and blocks.torch[name] and wish.kind in (None, "codes")
        array, cut = merged(held, fill=np.nan if codes else None)
        if cut:
            notes.append(f"{name} varies in size: of each example only the first {array.shape[1:]} was checked")
        names = wish.names if len(blocks.inputs) == 1 else None
        kind = "codes" if codes else wish.kind
        parts.append(part_of(name, array, torch=blocks.torch[name], kind=kind, names=names))
    target = None
    if blocks.targets and sum(len(t) for t in blocks.targets) == blocks.examples:
        array, cut = merged(blocks.targets, fill=IGNORED if blocks.targets[0].dtype.kind in "i" else None)
        target, guess = target_of(array, torch=blocks.target_torch, task=wish.task)
        notes += [guess] if guess else []
    else:
        notes.append("the batches have no target that could be read: what concerns it was not checked")
    known = indexed and min(blocks.rows) >= 0
    rows = np.array(blocks.rows if known else range(blocks.examples), dtype=np.int64)
    batch = np.repeat(np.arange(len(blocks.batch)), blocks.batch)
    table = Table(tuple(parts), target, rows, batch, known, loader, total)
    if len(rows) > wish.max_examples:
        table = table.taken(np.arange(wish.max_examples))
    limited = table.examples >= wish.max_examples or blocks.cells >= MAX_CELLS
    cut = limited and (total is None or table.examples < total)
    if cut:
        why = f"max_examples={wish.max_examples:,}" if blocks.cells < MAX_CELLS else f"{MAX_CELLS:,} values"
        of = "" if total is None else f" of {total:,}"
        notes.insert(0, f"the first {table.examples:,}{of} examples in the loader's order were read ({why})")
    return replace(table, cut=cut, notes=tuple(notes))
