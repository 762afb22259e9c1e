"""What forward passes show from outside: the order of the layers, rectifiers that stay at zero, units that saturate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # layers whose weight has one row per unit
RECTIFIERS = ("relu", "threshold")
SATURATING = ("sigmoid", "tanh")
SATURATED = 0.97  # share of its range beyond which such an activation hardly passes a gradient (6 % of its largest)


@dataclass
class Site:
    """One activation in the model.

    Attributes:
        name: of the module that calls it, and the function.
        kind: ``"relu"``, ``"threshold"``, ``"sigmoid"`` or ``"tanh"``.
        layer: the linear or convolutional layer that was called last before it, ``""`` for none.
        last: when it was called last, on the clock of the layers' calls.
        seen: for a rectifier bool[units], whether it was ever above zero; else float[units], how often saturated.
        values: how many values each unit has had.
    """

    name: str
    kind: str
    layer: str
    last: int
    seen: Tensor
    values: int = 0


class Watch:
    """A context manager around forward passes of a model, which are not changed by it.

    Temporary hooks tell which module runs; the functions themselves are seen by torch's function mode, so that
    ``F.relu(x)`` and ``x.tanh()`` count as ``nn.ReLU`` does. Compiled or scripted parts show nothing of their inside.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with (watch := Watch(model)):
    ...     _ = model(torch.ones(4, 2))
    >>> watch.first_calls["0"] < watch.first_calls["2"], [site.name for site in watch.sites]
    (True, ['1 (relu)'])
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sites: dict[tuple[str, str, int], Site] = {}
        self._stack: list[str] = []
        self._handles: list[RemovableHandle] = []
        self._mode: _Functions | None = None
        self._clock = 0
        self._layer, self._axis, self._last_unit = "", -1, -1
        self.first_calls: dict[str, int] = {}  # module -> when it was entered for the first time

    @property
    def sites(self) -> tuple[Site, ...]:
        """The activations, in the order of their first calls."""
        return tuple(self._sites.values())

    def hidden(self, site: Site) -> bool:
        """Whether a layer with units follows; the last activation may well saturate."""
        return site.last < self._last_unit

    def __enter__(self) -> Watch:
        try:
            for name, module in self._model.named_modules():
                self._handles.append(module.register_forward_pre_hook(self._entering(name)))
                self._handles.append(module.register_forward_hook(self._leaving, always_call=True))
            self._mode = _Functions(self._activation)
            self._mode.__enter__()  # type: ignore[no-untyped-call]
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mode is not None:
            self._mode.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stack.clear()
        self._mode = None

    def _entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def entered(module: nn.Module, _inputs: Any) -> None:
            self._clock += 1
            self._stack.append(name)
            self.first_calls.setdefault(name, self._clock)
            if isinstance(module, UNITS):
                # Units of a convolution lie before its spatial axes, those of a linear layer on the last one.
                spatial = len(module.kernel_size) if not isinstance(module, nn.Linear) else 0
                self._layer, self._axis, self._last_unit = name, -1 - spatial, self._clock

        return entered

    def _leaving(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        if self._stack:
            self._stack.pop()

    def _activation(self, kind: str, output: Tensor) -> None:
        axis = self._axis if output.dim() >= -self._axis else -1
        if not output.dim() or not output.numel():
            return
        width = output.shape[axis]
        path = self._stack[-1] if self._stack else ""
        site = self._sites.get((path, kind, width))
        rows = output.movedim(axis, -1).reshape(-1, width)
        if kind in RECTIFIERS:
            seen = (rows != 0).any(0)
        else:
            seen = ((2 * rows - 1 if kind == "sigmoid" else rows).abs() > SATURATED).sum(0).double()
        if site is None:
            name = f"{path} ({kind})" if path else kind
            site = self._sites[path, kind, width] = Site(name, kind, self._layer, self._clock, seen, len(rows))
            return
        site.seen = site.seen | seen if kind in RECTIFIERS else site.seen + seen
        site.values += len(rows)
        site.last = self._clock


class _Functions(TorchFunctionMode):
    """Calls back for every activation that is computed, in place or not."""

    def __init__(self, report: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._report = report

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        kind = getattr(func, "__name__", "").rstrip("_")
        watched = kind in RECTIFIERS or kind in SATURATING
        if watched and isinstance(output, Tensor) and output.is_floating_point():
            self._report(kind, output.detach())
        return output


def forward_order(model: nn.Module, watch: Watch) -> list[tuple[str, nn.Parameter]]:
    """All parameters in the order in which the forward pass reaches them.

    Of a module that is never called itself, as the output projection of attention, the parameters come where its
    parent does.
    """
    named = list(model.named_parameters())
    return [named[i] for i in sorted(range(len(named)), key=lambda i: (_entered(named[i][0], watch), i))]


def _entered(name: str, watch: Watch) -> int:
    path = name.rpartition(".")[0]
    while path and path not in watch.first_calls:
        path = path.rpartition(".")[0]
    return watch.first_calls.get(path, 0)


def unit_layers(model: nn.Module) -> dict[str, tuple[nn.Parameter, nn.Parameter | None]]:
    """Layer -> its weight, with one row per unit, and its bias; each weight once."""
    found: dict[str, tuple[nn.Parameter, nn.Parameter | None]] = {}
    known: set[int] = set()
    for name, module in model.named_modules():
        weight = module._parameters.get("weight") if isinstance(module, UNITS) else None
        if weight is not None and id(weight) not in known:
            known.add(id(weight))
            found[name] = (weight, module._parameters.get("bias"))
    return found


@torch.no_grad()
def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norms in float64, on one device, without a wait: no gradient of float32 is too small to count."""
    wide = torch.float32 if any(t.device.type == "mps" for t in tensors) else torch.float64
    parts = [torch.linalg.vector_norm(_values(t), dtype=wide) for t in tensors]
    device = tensors[0].device if tensors else torch.device("cpu")
    return torch.stack([p.to(device, non_blocking=True) for p in parts]) if parts else torch.empty(0)


def _values(tensor: Tensor) -> Tensor:
    """What a tensor holds: of a sparse one its values, of a complex one its sizes."""
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    tensor = tensor.detach()
    return tensor.abs() if tensor.is_complex() else tensor
