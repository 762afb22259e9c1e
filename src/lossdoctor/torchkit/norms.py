"""Norms of gradients, parameters and updates: one fused kernel, one transfer, and no wait on a GPU.

On the CPU the numbers are there at once. On a GPU a call only enqueues work; the handle it returns is resolved later
(``result()``), when the numbers have arrived by themselves. Low precision is accumulated in float32; nothing here
changes a tensor, a graph or a random generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.objective import unwrapped

Floats = NDArray[np.float64]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Norms:
    """Euclidean norms by name.

    Attributes:
        names: of the tensors that are there.
        values: float64, one per name; infinite or NaN where the tensor is not finite (or its squares overflow float32
            on a GPU).
        missing: names without a tensor (a parameter that got no gradient).

    >>> norms = Norms(("a.weight", "a.bias", "b.weight"), np.array([3.0, 4.0, 12.0]))
    >>> norms.total, norms.by_layer()
    (13.0, {'a': 5.0, 'b': 12.0})
    """

    names: tuple[str, ...]
    values: Floats
    missing: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Norm of all tensors as one vector; 0 of none."""
        return math.hypot(*self.values.tolist())

    @property
    def nonfinite(self) -> tuple[str, ...]:
        """Names whose norm is infinite or NaN."""
        return tuple(n for n, v in zip(self.names, self.values.tolist(), strict=True) if not math.isfinite(v))

    def as_dict(self) -> dict[str, float]:
        """Name -> norm."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    def by_layer(self, depth: int | None = None) -> dict[str, float]:
        """Norm per module: the parts of its name without the parameter's own, at most ``depth`` of them.

        >>> Norms(("net.0.w", "net.1.w"), np.array([3.0, 4.0])).by_layer(depth=1)
        {'net': 5.0}
        """
        groups: dict[str, list[float]] = {}
        for name, value in zip(self.names, self.values.tolist(), strict=True):
            groups.setdefault(".".join(name.split(".")[:-1][:depth]), []).append(value)
        return {layer: math.hypot(*values) for layer, values in groups.items()}


@dataclass(frozen=True, eq=False)
class UpdateRatios:
    """How far one optimizer step moved each parameter, relative to its size.

    Attributes:
        names: of the parameters.
        updates: |w after - w before| of each.
        weights: |w before| of each.
    """

    names: tuple[str, ...]
    updates: Floats
    weights: Floats

    @property
    def values(self) -> Floats:
        """Update over weight, per parameter; NaN where the weight was zero."""
        ratios: Floats = np.full(len(self.names), np.nan)
        np.divide(self.updates, self.weights, out=ratios, where=self.weights > 0)
        return ratios

    @property
    def total(self) -> float:
        """Ratio over all parameters as one vector; about 1e-3 is usual. NaN when all weights were zero."""
        weight = math.hypot(*self.weights.tolist())
        return math.hypot(*self.updates.tolist()) / weight if weight else math.nan


class Pending(Generic[Result]):
    """Numbers that are on their way from the device.

    ``ready()`` never waits; ``result()`` waits only where they have not arrived yet.
    """

    def __init__(self, buffers: Sequence[tuple[Sequence[int], Tensor]], count: int, build: Any) -> None:
        self._count, self._build = count, build
        self._hosts: list[tuple[Sequence[int], Tensor]] = []
        self._events: list[Any] = []
        for where, values in buffers:
            host = values
            if values.is_cuda:
                host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
                host.copy_(values, non_blocking=True)
                self._events.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
                self._events[-1].record(torch.cuda.current_stream(values.device))
            self._hosts.append((where, host))
        self._result: Result | None = None

    def ready(self) -> bool:
        """Whether the numbers are here."""
        return all(event.query() for event in self._events)

    def result(self) -> Result:
        """The numbers."""
        if self._result is None:
            for event in self._events:
                event.synchronize()
            values = np.empty(self._count)
            for where, host in self._hosts:
                values[list(where)] = host.cpu().double().numpy()
            self._result = self._build(values)
        assert self._result is not None
        return self._result


def gradient_norms(model: nn.Module | Iterable[tuple[str, Tensor]]) -> Pending[Norms]:
    """Norms of the gradients of all parameters that require one.

    Sparse gradients count by their coalesced values; of a sharded parameter the local shard counts.

    Args:
        model: a module, also compiled or data-parallel, or (name, parameter) pairs.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
    >>> gradient_norms(model).result().as_dict()
    {'weight': 5.0}
    """
    trainable = [(name, p) for name, p in _named(model) if p.requires_grad]
    found = {name: p.grad for name, p in trainable if p.grad is not None}
    missing = tuple(name for name, p in trainable if p.grad is None)
    names = tuple(found)
    return _norms(list(found.values()), lambda values: Norms(names, values, missing))


def parameter_norms(model: nn.Module | Iterable[tuple[str, Tensor]]) -> Pending[Norms]:
    """Norms of all parameters, frozen ones too."""
    found = dict(_named(model))
    names = tuple(found)
    return _norms(list(found.values()), lambda values: Norms(names, values))


def tensor_norms(tensors: Mapping[str, Tensor]) -> Pending[Norms]:
    """Norms of any named tensors."""
    names = tuple(tensors)
    return _norms(list(tensors.values()), lambda values: Norms(names, values))


class UpdateMeter:
    """Measures the ratio of update to weight of one optimizer step.

    Call :meth:`before` ahead of ``optimizer.step()`` and :meth:`after` behind it. It holds one copy of the trainable
    parameters, made at the first call and used again; or with ``sample`` of that many values of each larger one, always
    the same: short runs spread evenly over it. Norms are then estimates, right to about one part in
    ``sqrt(2 * sample)``; that costs next to no memory and time.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> meter = UpdateMeter(model)
    >>> meter.before(); _ = nn.init.constant_(model.weight, 2.5); meter.after().result().total
    0.25
    """

    def __init__(self, model: nn.Module | Iterable[tuple[str, Tensor]], sample: int | None = None) -> None:
        self._parameters = {name: p for name, p in _named(model) if p.requires_grad}
        self._sample = sample
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def before(self) -> None:
        """Remember the parameters."""
        here = [self._part(p) for p in self._parameters.values()]
        if [c.shape for c in self._copies] != [p.shape for p in here]:
            self._copies = [p.clone() for p in here]
        else:
            torch._foreach_copy_(self._copies, here)

    @torch.no_grad()
    def after(self) -> Pending[UpdateRatios]:
        """The ratios of what happened since :meth:`before`.

        Raises:
            UsageError: :meth:`before` was not called.
        """
        if self._parameters and not self._copies:
            raise UsageError("UpdateMeter.after() needs a before(): call it ahead of optimizer.step()")
        here = [self._part(p) for p in self._parameters.values()]
        moved = torch._foreach_sub(here, self._copies) if here else []
        names, count = tuple(self._parameters), len(here)
        whole = np.array([local(p).numel() for p in self._parameters.values()], dtype=np.float64)
        scale = np.sqrt(whole / np.maximum([p.numel() for p in here], 1.0))
        return _norms([*moved, *self._copies], lambda v: UpdateRatios(names, v[:count] * scale, v[count:] * scale))

    def _part(self, parameter: Tensor) -> Tensor:
        here = local(parameter).detach()
        return here if self._sample is None else sampled(here, self._sample)


def _named(model: nn.Module | Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    return unwrapped(model).named_parameters() if isinstance(model, nn.Module) else model


_RUN = 16  # values in one run of a sample: one line of a CPU's cache


def sampled(tensor: Tensor, count: int) -> Tensor:
    """A view of about ``count`` values of a dense tensor: runs of neighbours, spread evenly; small ones whole.

    >>> sampled(torch.zeros(1000, 1000), 1024).shape
    torch.Size([64, 16])
    """
    total, runs = tensor.numel(), count // _RUN
    if total <= max(count, runs * (_RUN + 1)) or not _packed(tensor):
        return tensor
    apart = (total - _RUN) // (runs - 1) if runs > 1 else 0
    if apart % 2 == 0:
        apart -= 1  # widths are mostly powers of two: an odd step does not stay in the same columns
    return tensor.as_strided((runs, _RUN), (apart, 1))


def _packed(tensor: Tensor) -> bool:
    """Whether its values fill its memory without gaps: in rows, in columns, or with the channels last."""
    if tensor.is_contiguous():
        return True
    if tensor.dim() == 2:
        return tensor.t().is_contiguous()
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    return last is not None and tensor.is_contiguous(memory_format=last)


@torch.no_grad()
def device_norms(tensors: Sequence[Tensor]) -> list[tuple[list[int], Tensor]]:
    """Norms that are still on their devices: (places in ``tensors``, values) per device and precision."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    dense = [local(t).detach() for t in tensors]
    for i, tensor in enumerate(dense):
        wide = torch.float64 if tensor.dtype in (torch.float64, torch.complex128) else torch.float32
        groups.setdefault((tensor.device, wide), []).append(i)
    buffers = []
    for (device, wide), where in groups.items():
        members = [dense[i].abs() if dense[i].is_complex() else dense[i] for i in where]
        values = torch.stack(torch._foreach_norm(members, 2, dtype=wide))
        if device.type == "cpu" and not bool(torch.isfinite(values).all()):
            values = torch.stack([_careful(m) for m in members])
        buffers.append((where, values))
    return buffers


def _norms(tensors: list[Tensor], build: Any) -> Pending[Any]:
    return Pending(device_norms(tensors), len(tensors), build)


def _careful(tensor: Tensor) -> Tensor:
    """The norm in float64 by way of the largest value, where squares overflow."""
    wide = tensor.reshape(-1).double()
    largest = wide.abs().max() if wide.numel() else torch.zeros((), dtype=torch.float64)
    if not bool(torch.isfinite(largest)) or largest == 0:
        return largest
    scaled: Tensor = torch.linalg.vector_norm(wide / largest)
    return largest * scaled


def local(tensor: Tensor) -> Tensor:
    """An ordinary dense tensor with the same norm: values of a sparse one, the local shard of a distributed one."""
    if tensor.layout is torch.sparse_coo:
        return tensor.coalesce().values()
    if tensor.layout is not torch.strided:
        return tensor.values()
    to_local = getattr(tensor, "to_local", None)
    shard: Tensor = tensor if to_local is None else to_local()
    return shard
