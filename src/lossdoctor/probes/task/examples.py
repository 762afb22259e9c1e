"""Batches as rows of examples: cut, joined and permuted, in whatever form they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lossdoctor.probes.batches import mapped, tensors
from lossdoctor.probes.task.task import Seen


def rows(batch: Any) -> int | None:
    """How many examples a batch holds, if all its tensors agree on that; None where it cannot be cut.

    >>> rows((torch.zeros(4, 2), torch.zeros(4))), rows((torch.zeros(4, 2), torch.zeros(3)))
    (4, None)
    """
    lengths = {len(t) if t.dim() else 1 for t in tensors(batch)}
    return lengths.pop() if len(lengths) == 1 else None


def cut(batch: Any, which: slice | Tensor) -> Any:
    """Some of a batch's examples, in its own form."""
    return mapped(batch, lambda t: t[which] if t.dim() else t)


def halves(batch: Any, at_least: int = 1) -> list[Any]:
    """A batch in two, or whole where it cannot be cut into parts of that many examples."""
    size = rows(batch)
    if size is None or size < 2 * at_least:
        return [batch]
    return [cut(batch, slice(0, size // 2)), cut(batch, slice(size // 2, size))]


def merged(whats: Sequence[Seen]) -> Seen | None:
    """Several batches as one; None where their tensors do not fit together."""
    if len(whats) == 1:
        return whats[0]
    if any(w.output is None or w.target is None for w in whats):
        return None
    try:
        batch = _joined([w.batch for w in whats])
        output = torch.cat([w.output for w in whats if w.output is not None])
        target = torch.cat([w.target for w in whats if w.target is not None])
    except (RuntimeError, TypeError, ValueError):  # padded to other lengths, or of another form
        return None
    return Seen(batch, output, target, torch.stack([w.loss for w in whats]).mean(), whats[0].ending)


def _joined(batches: Sequence[Any]) -> Any:
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat(list(batches)) if first.dim() else first
    if isinstance(first, Mapping):
        return {k: _joined([b[k] for b in batches]) for k in first}
    if isinstance(first, list | tuple):
        return tuple(_joined(list(parts)) for parts in zip(*batches, strict=True))
    return first
