"""Many small tensors as one vector: a thousand of them cost a thousand calls otherwise, each longer than its work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SMALL = 4096  # values; above, the work of a call is more than its overhead
_FEW = 8
_PACKED = (torch.float32, torch.bfloat16, torch.float16)  # their squares do not overflow float64
_RUN = 64  # values in one run of a sample: few enough runs that fetching them from memory stays cheap


class Packing:
    """Which of some tensors are packed: the small ones on the CPU, one vector per precision.

    Args:
        tensors: what is to be packed; later calls are given tensors of the same kinds and shapes.

    >>> tensors = [torch.full((2,), 3.0), *(torch.ones(4) for _ in range(8)), torch.ones(5000)]
    >>> packing = Packing(tensors)
    >>> [part.shape[0] for part in packing.pack(tensors)]
    [34, 5000]
    >>> packing.norms(packing.pack(tensors))[0][1][:2].tolist()
    [4.242640687119285, 2.0]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        small: dict[torch.dtype, list[int]] = {}
        sizes: dict[torch.dtype, list[int]] = {}
        self.single: list[int] = []
        for i, tensor in enumerate(tensors):
            size = tensor.numel()
            if 0 < size <= SMALL and type(tensor) in (Tensor, nn.Parameter) and _packs(tensor):
                small.setdefault(tensor.dtype, []).append(i)
                sizes.setdefault(tensor.dtype, []).append(size)
            else:
                self.single.append(i)
        for dtype in [d for d, places in small.items() if len(places) < _FEW]:
            self.single = sorted([*self.single, *small.pop(dtype)])
        self._groups = [(places, np.cumsum([0, *sizes[d][:-1]])) for d, places in small.items()]
        self.size = len(tensors)

    def pack(self, tensors: Sequence[Tensor], sample: int | None = None) -> list[Tensor]:
        """The vectors of the small ones, in new memory, then the others, in theirs: dense, local, maybe sampled."""
        vectors = [_flat([tensors[i] for i in places]) for places, _ in self._groups]
        others = [local(tensors[i]).detach() for i in self.single]
        return [*vectors, *(others if sample is None else [sampled(t, sample) for t in others])]

    def norms(self, packed: Sequence[Tensor]) -> list[tuple[list[int], Tensor]]:
        """Norms of what :meth:`pack` gave, on their devices: (places among the tensors, values)."""
        found = []
        for (places, starts), vector in zip(self._groups, packed, strict=False):
            squares = np.add.reduceat(np.square(vector.float().numpy(), dtype=np.float64), starts)
            found.append((places, torch.from_numpy(np.sqrt(squares))))
        for where, values in single_norms(packed[len(self._groups) :]):
            found.append(([self.single[i] for i in where], values))
        return found


def single_norms(tensors: Sequence[Tensor]) -> list[tuple[list[int], Tensor]]:
    """Norms of dense tensors by one fused kernel per device and precision: (places, values)."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, tensor in enumerate(tensors):
        wide = torch.float64 if tensor.dtype in (torch.float64, torch.complex128) else torch.float32
        groups.setdefault((tensor.device, wide), []).append(i)
    found = []
    for (device, wide), where in groups.items():
        members = [tensors[i].abs() if tensors[i].is_complex() else tensors[i] for i in where]
        values = torch.stack(torch._foreach_norm(members, 2, dtype=wide))
        if device.type == "cpu" and not bool(torch.isfinite(values).all()):
            values = torch.stack([_careful(m) for m in members])
        found.append((where, values))
    return found


def sampled(tensor: Tensor, count: int) -> Tensor:
    """A view of about ``count`` values of a dense tensor: runs of neighbours, spread evenly; small ones whole.

    >>> sampled(torch.zeros(1000, 1000), 1024).shape
    torch.Size([16, 64])
    """
    total, runs = tensor.numel(), count // _RUN
    if total <= max(count, runs * (_RUN + 1)) or not _in_one_piece(tensor):
        return tensor
    apart = (total - _RUN) // (runs - 1) if runs > 1 else 0
    if apart % 2 == 0:
        apart -= 1  # widths are mostly powers of two: an odd step does not stay in the same columns
    return tensor.as_strided((runs, _RUN), (apart, 1))


def local(tensor: Tensor) -> Tensor:
    """An ordinary dense tensor with the same norm: values of a sparse one, the local shard of a distributed one."""
    if tensor.layout is torch.sparse_coo:
        return tensor.coalesce().values()
    if tensor.layout is not torch.strided:
        return tensor.values()
    to_local: Any = getattr(tensor, "to_local", None)
    shard: Tensor = tensor if to_local is None else to_local()
    return shard


def rows_alive(weights: Sequence[Tensor]) -> NDArray[np.int64]:
    """Of each small CPU tensor (out, …), how many rows are not all zero; NaN is not zero.

    >>> rows_alive([torch.eye(3), torch.zeros(2, 5), torch.tensor([[0.0, 1.0], [0.0, 0.0]])]).tolist()
    [3, 0, 1]
    """
    rows = np.array([w.shape[0] for w in weights])
    widths = np.array([w.numel() for w in weights]) // rows
    vector = _flat(weights)
    begins = np.cumsum(np.concatenate(([0], np.repeat(widths, rows)[:-1])))
    alive = np.logical_or.reduceat((vector != 0).numpy(), begins)
    found: NDArray[np.int64] = np.add.reduceat(alive, np.cumsum([0, *rows[:-1]]), dtype=np.int64)
    return found


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    flat: Tensor = torch._utils._flatten_dense_tensors(list(tensors))  # type: ignore[no-untyped-call]
    return flat


def _packs(tensor: Tensor) -> bool:
    return tensor.dtype in _PACKED and tensor.layout is torch.strided and tensor.device.type == "cpu"


def _in_one_piece(tensor: Tensor) -> bool:
    """Whether its values fill its memory without gaps: in rows, in columns, or with the channels last."""
    if tensor.is_contiguous():
        return True
    if tensor.dim() == 2:
        return tensor.t().is_contiguous()
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    return last is not None and tensor.is_contiguous(memory_format=last)


def _careful(tensor: Tensor) -> Tensor:
    """The norm in float64 by way of the largest value, where squares overflow."""
    wide = tensor.reshape(-1).double()
    largest = wide.abs().max() if wide.numel() else torch.zeros((), dtype=torch.float64)
    if not bool(torch.isfinite(largest)) or largest == 0:
        return largest
    scaled: Tensor = torch.linalg.vector_norm(wide / largest)
    return largest * scaled
