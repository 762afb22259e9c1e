"""Is the order of a loader's batches that of chance? A few numbers per example, and a permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import examples, mapped, split, tensors

Floats = NDArray[np.float64]

COLUMNS = 4  # numbers per example
BLOCK = 8  # examples that are compared with others as one; smaller batches are put together
_PERMUTATIONS = 200
_CODES = 4096  # whole numbers are told apart up to this, and modulo it beyond
SURE = 6.0  # standard deviations of chance
WORTH = 0.05  # share of the variation


@dataclass(frozen=True)
class Grouping:
    """How alike the examples of a batch are.

    Attributes:
        share: of the variation between examples that lies between batches, beyond what chance puts there; 0 to 1.
        z: how far that is beyond chance, in its standard deviations.
    """

    share: float
    z: float

    @property
    def found(self) -> bool:
        """Whether batches hold examples that are more alike than chance makes them."""
        return self.z > SURE and self.share > WORTH


class Digest:
    """A few numbers of each example of many batches: random projections of what it holds.

    Whole numbers (classes, tokens) become random vectors, whose mean over an example is taken, so that no order of the
    classes is assumed.
    """

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._codes = torch.randn(_CODES, COLUMNS, generator=generator)
        self._generator = generator
        self._weights: dict[int, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, batch: Any) -> None:
        """Take a batch in; its numbers stay on its device."""
        size = examples(batch)
        try:
            inputs, target = split(batch)
        except UsageError:
            inputs, target = batch, None
        for value, rows in ((inputs, self.inputs), (target, self.targets)):
            found = next((t for t in tensors(value) if t.dim() and len(t) == size), None)
            if found is not None and found.numel():
                rows.append(self._numbers(found.detach()))

    def _numbers(self, values: Tensor) -> Tensor:
        flat = values.reshape(len(values), -1)
        if not (flat.is_floating_point() or flat.is_complex()):
            if flat.dtype is torch.uint8 and flat.shape[1] > 1:
                return self._projected(flat.float())  # pixels
            codes = self._codes.to(flat.device)
            return codes[flat.long().remainder(_CODES)].mean(1)
        return self._projected((flat.abs() if flat.is_complex() else flat).float())

    def _projected(self, flat: Tensor) -> Tensor:
        flat = torch.nan_to_num(flat, 0.0, 0.0, 0.0)
        if flat.shape[1] <= COLUMNS:
            return torch.nn.functional.pad(flat, (0, COLUMNS - flat.shape[1]))
        width = flat.shape[1]
        if width not in self._weights:
            self._weights[width] = torch.randn(width, COLUMNS, generator=self._generator) / width**0.5
        return flat @ self._weights[width].to(flat.device)


def grouping(rows: Sequence[Tensor], seed: int) -> Grouping | None:
    """The share of variation between batches, against random permutations of all examples; None where it has no sense.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> ordered = torch.arange(200.0)[:, None].chunk(10)
    >>> grouping(ordered, 0).found, grouping(torch.randn(200, 1).chunk(10), 0).found
    (True, False)
    """
    blocks = _blocks(rows)
    if len(blocks) < 3:
        return None
    values = np.concatenate(blocks)
    spread = values.std(axis=0)
    values = values[:, spread > 1e-12 * (np.abs(values).max(axis=0) + 1e-300)]
    if not values.shape[1]:
        return None
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    sizes = np.array([len(b) for b in blocks])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))

    def between(x: Floats) -> float:
        sums = np.add.reduceat(x, starts, axis=0)
        return float((sums**2 / sizes[:, None]).sum() / x.size)

    seen = between(values)
    random = np.random.default_rng(seed)
    chance = np.array([between(values[random.permutation(len(values))]) for _ in range(_PERMUTATIONS)])
    usual, width = float(chance.mean()), float(chance.std())
    if width == 0:
        return None
    return Grouping(max(seen - usual, 0.0) / max(1 - usual, 1e-12), (seen - usual) / width)


def _blocks(rows: Sequence[Tensor]) -> list[Floats]:
    """Batches, put together where they are small, on the host."""
    if not rows:
        return []
    together = torch.cat(list(rows)).cpu().double().numpy()
    sizes = [len(r) for r in rows]
    each = max(1, -(-BLOCK // max(sizes)))
    ends = np.cumsum(sizes)[each - 1 :: each]
    return [b for b in np.split(together, ends) if len(b)]


def same_batches(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two passes begin with the same batches; augmented inputs may differ where the targets tell them apart."""
    if len(first) != len(second):
        return False
    pairs = list(zip(first, second, strict=True))
    if all(_equal(tensors(a), tensors(b)) for a, b in pairs):
        return True
    try:
        targets = [(tensors(split(a)[1]), tensors(split(b)[1])) for a, b in pairs]
    except UsageError:
        return False
    if not all(a and _equal(a, b) for a, b in targets):
        return False
    # Targets that are the same everywhere (one class, a dummy) say nothing of the order.
    distinct = {tuple(t[0].reshape(-1).tolist()) for t, _ in targets}
    return len(distinct) > len(targets) // 2 and any(len(set(values)) > 1 for values in distinct)


def _equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return (
        bool(a)
        and len(a) == len(b)
        and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
    )


def pooled(batches: Sequence[Any]) -> Any | None:
    """All examples of some batches as one batch of the same form; None where they do not fit together.

    >>> pooled([(torch.zeros(2, 3), torch.zeros(2)), (torch.ones(1, 3), torch.ones(1))])[0].shape
    torch.Size([3, 3])
    """
    return _pooled(list(batches), [examples(b) for b in batches])


def _pooled(parts: list[Any], sizes: Sequence[int]) -> Any | None:
    first = parts[0]
    if isinstance(first, Tensor):
        fits = all(
            isinstance(p, Tensor) and p.dim() and len(p) == n and p.shape[1:] == first.shape[1:]
            for p, n in zip(parts, sizes, strict=True)
        )
        return torch.cat(parts) if fits else None
    if isinstance(first, dict):
        found = {k: _pooled([p.get(k) for p in parts], sizes) for k in first}
        return None if any(v is None for v in found.values()) else found
    if isinstance(first, list | tuple):
        if not all(isinstance(p, list | tuple) and len(p) == len(first) for p in parts):
            return None
        inner: list[Any] = [_pooled([p[i] for p in parts], sizes) for i in range(len(first))]
        if any(v is None for v in inner):
            return None
        return type(first)(*inner) if hasattr(first, "_fields") else type(first)(inner)
    return None


def picked(pool: Any, places: Tensor) -> Any:
    """Some examples of a pool."""
    return mapped(pool, lambda t: t.index_select(0, places.to(t.device)))
