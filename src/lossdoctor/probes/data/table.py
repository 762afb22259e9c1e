"""What is checked: inputs and targets as NumPy arrays, whatever they came in, with what their values mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
KINDS = ("table", "sequence", "image", "codes")
TASKS = ("classification", "regression", "none")
_BLOCK_CELLS = 4_000_000  # columns are taken in blocks of about so many values, as float64


@dataclass(frozen=True)
class Part:
    """One input: values ``(examples, places, features)``; a table has one place, an image as many as it has pixels.

    Attributes:
        kind: ``"table"``; ``"sequence"``: features last; ``"image"``: the features are channels; ``"codes"``: token
            ids or categories, which have no scale. A NaN among codes is padding or a missing category.
        names: one per feature.
        integers: the values came as whole numbers.
    """

    name: str
    kind: str
    values: Floats
    names: tuple[str, ...]
    integers: bool = False

    @property
    def examples(self) -> int:
        return int(self.values.shape[0])

    @property
    def places(self) -> int:
        return int(self.values.shape[1])

    @property
    def features(self) -> int:
        return int(self.values.shape[2])

    @property
    def numeric(self) -> bool:
        """Whether the values are quantities."""
        return self.kind != "codes"

    def flat(self) -> Floats:
        """``(examples, places · features)``, without a copy."""
        return self.values.reshape(self.examples, -1)

    def columns(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Feature by feature: (its number, all its values ``(examples, places)`` in float64)."""
        step = max(1, _BLOCK_CELLS // max(1, self.examples * self.places))
        for start in range(0, self.features, step):
            block = np.moveaxis(self.values[:, :, start : start + step], 2, 0).astype(np.float64)
            for k in range(len(block)):
                yield start + k, block[k]

    def taken(self, rows: NDArray[np.int64]) -> Part:
        return replace(self, values=self.values[rows])


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
        kind: ``"classes"`` (one per example), ``"numbers"``, ``"labels"`` (several yes/no per example), ``"tokens"`` (a
            class per place: language models, segmentation).
        values: ``(examples, outputs)`` float64; of classes their numbers 0…K−1 in ``classes``.
        classes: their names, in order; empty for numbers.
        integers: numbers that are all whole.
        whole: the classes are whole numbers from 0, as losses of torch want them.
        declared: how many classes those numbers ask for (the largest + 1).
    """

    kind: str
    values: NDArray[np.float64]
    classes: tuple[str, ...] = ()
    integers: bool = False
    declared: int = 0

    @property
    def outputs(self) -> int:
        return int(self.values.shape[1])

    @property
    def classified(self) -> bool:
        return self.kind == "classes"

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Class number per example; −1 where it is missing."""
        first = self.values[:, 0]
        return np.where(np.isfinite(first), first, -1).astype(np.int64)

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """The first output that varies, which stands for all where one is needed."""
        for column in self.values.T:
            finite = column[np.isfinite(column)]
            if len(finite) and finite.min() != finite.max():
                return np.asarray(column)
        return np.asarray(self.values[:, 0])

    def told(self) -> NDArray[np.object_] | NDArray[np.float64]:
        """``(examples, outputs)``: the classes' names (two splits may number them differently), or the numbers."""
        if not self.classified:
            return self.values
        names = np.array([*self.classes, "missing"], dtype=object)
        return names[self.codes][:, None]

    def taken(self, rows: NDArray[np.int64]) -> Target:
        return replace(self, values=self.values[rows])


@dataclass(frozen=True)
class Table:
    """Everything that was read of one split.

    Attributes:
        rows: for each example what messages call it: its index in the data set or the arrays where that is known, else
            its place in the order of reading.
        batch: the batch it came in; all 0 for arrays.
        indexed: ``rows`` are indices of the data set.
        loader: the order is that of a loader, hence of training; else that of storage.
        total: how many examples there are, where that is known.
        cut: whether reading stopped at the limit, before all of them were read.
        notes: what was left out, and how the data were understood.
    """

    parts: tuple[Part, ...]
    target: Target | None
    rows: NDArray[np.int64]
    batch: NDArray[np.int64]
    indexed: bool = True
    loader: bool = False
    total: int | None = None
    cut: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def examples(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        """Of all quantities, places counted: what a linear layer would see."""
        return sum(p.features * p.places for p in self.parts if p.numeric)

    @property
    def numeric(self) -> tuple[Part, ...]:
        return tuple(p for p in self.parts if p.numeric)

    def named(self, part: Part, feature: int) -> str:
        """What messages call a feature."""
        return part.names[feature] if len(self.parts) == 1 else f"{part.name}: {part.names[feature]}"

    def taken(self, places: NDArray[np.int64]) -> Table:
        """Those examples, in that order."""
        return replace(
            self,
            parts=tuple(p.taken(places) for p in self.parts),
            target=None if self.target is None else self.target.taken(places),
            rows=self.rows[places],
            batch=self.batch[places],
        )
