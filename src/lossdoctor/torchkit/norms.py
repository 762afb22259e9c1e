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
from lossdoctor.torchkit.packing import Packing, local

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
    the same: short runs spread evenly over it. Norms are then estimates, right to about ``sqrt(k / sample) / 2`` with
    the kurtosis ``k`` of the values (3 for normal ones, hundreds for the updates of plain SGD); that costs next to no
    memory and time.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> meter = UpdateMeter(model)
    >>> meter.before(); _ = nn.init.constant_(model.weight, 2.5); meter.after().result().total
    0.25
    """

    def __init__(self, model: nn.Module | Iterable[tuple[str, Tensor]], sample: int | None = None) -> None:
        found = [(name, p) for name, p in _named(model) if p.requires_grad]
        self._names = tuple(name for name, _ in found)
        self._tensors = [p for _, p in found]
        self._packing = Packing(self._tensors)
        self._sample = sample
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def before(self) -> None:
        """Remember the parameters."""
        here = self._packing.pack(self._tensors, self._sample)
        if [c.shape for c in self._copies] == [p.shape for p in here]:
            torch._foreach_copy_(self._copies, here)
        else:  # vectors of packed tensors are copies already
            own = len(here) - len(self._packing.single)
            self._copies = [p if i < own else p.clone() for i, p in enumerate(here)]

    @torch.no_grad()
    def after(self) -> Pending[UpdateRatios]:
        """The ratios of what happened since :meth:`before`.

        Raises:
            UsageError: :meth:`before` was not called.
        """
        if self._tensors and not self._copies:
            raise UsageError("UpdateMeter.after() needs a before(): call it ahead of optimizer.step()")
        here = self._packing.pack(self._tensors, self._sample)
        moved = torch._foreach_sub(here, self._copies) if here else []
        names, count, scale = self._names, len(self._tensors), self._scale(here)
        buffers = [
            *self._packing.norms(moved),
            *(([count + i for i in places], values) for places, values in self._packing.norms(self._copies)),
        ]
        return Pending(buffers, 2 * count, lambda v: UpdateRatios(names, v[:count] * scale, v[count:] * scale))

    def _scale(self, parts: Sequence[Tensor]) -> Floats:
        """From the norm of a sample to that of the whole."""
        scale = np.ones(len(self._tensors))
        single = self._packing.single
        if self._sample is not None:
            for i, part in zip(single, parts[len(parts) - len(single) :], strict=True):
                scale[i] = math.sqrt(local(self._tensors[i]).numel() / max(part.numel(), 1))
        return scale


def _named(model: nn.Module | Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    return unwrapped(model).named_parameters() if isinstance(model, nn.Module) else model


@torch.no_grad()
def device_norms(tensors: Sequence[Tensor]) -> list[tuple[list[int], Tensor]]:
    """Norms that are still on their devices: (places in ``tensors``, values) per device and precision."""
    packing = Packing(tensors)
    return packing.norms(packing.pack(tensors))


def _norms(tensors: list[Tensor], build: Any) -> Pending[Any]:
    return Pending(device_norms(tensors), len(tensors), build)
