"""What a watched optimizer moves, by name: its parameters, the layers they belong to, and the units of those layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.torchkit.objective import unwrapped

MOST_LAYERS = 64  # curves per quantity; a deeper model is shown by its blocks
_FEW_BLOCKS = 16
# What wrappers put into the names of parameters.
_WRAPPERS = re.compile(
    r"(?:^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)|\.parametrizations"
)
_UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

Models = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]


@dataclass(frozen=True)
class Units:
    """Units of one layer: the rows of its weight.

    Attributes:
        layer: its name.
        weight: place of its weight among the parameters.
        bias: place of its bias, or None.
    """

    layer: str
    weight: int
    bias: int | None


@dataclass(frozen=True)
class Plan:
    """The parameters of one optimizer, in its order.

    Attributes:
        ids: of the parameters; when they are others, the plan is out of date.
        names: one per parameter.
        layers: labels of the layers, each with its weights: parameters of two dimensions or more.
        layer_of: of each parameter the place of its layer; -1 for biases, scales, and layers that are left out.
        units: of linear and convolutional layers.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    layers: tuple[str, ...]
    layer_of: NDArray[np.int64]
    units: tuple[Units, ...]


def parts(models: Models) -> list[tuple[str, nn.Module]]:
    """(prefix, module) of one model, or of several."""
    if isinstance(models, nn.Module):
        return [("", models)]
    named = models.items() if isinstance(models, Mapping) else ((str(i), m) for i, m in enumerate(models))
    return [(f"{name}.", module) for name, module in named]


def parameter_names(models: Models) -> dict[str, nn.Parameter]:
    """All parameters by their plain names, without what wrappers put into them."""
    return {
        prefix + _plain(name): parameter
        for prefix, module in parts(models)
        for name, parameter in unwrapped(module).named_parameters()
    }


def _plain(name: str) -> str:
    return _WRAPPERS.sub("", name).lstrip(".")


def parameters_of(optimizer: Any) -> list[Tensor]:
    """All parameters of an optimizer, in the order of its groups."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def plan_of(parameters: Sequence[Tensor], modules: Iterable[tuple[str, nn.Module]]) -> Plan:
    """Names, layers and units of these parameters. One that is in none of the modules is named by its place."""
    names: dict[int, str] = {}
    rows: list[tuple[str, nn.Module]] = []
    for prefix, module in modules:
        inner = unwrapped(module)
        for name, parameter in inner.named_parameters():
            names.setdefault(id(parameter), prefix + _plain(name))
        rows += [(prefix + _plain(n), m) for n, m in inner.named_modules() if isinstance(m, _UNITS)]
    found = [names.get(id(p), f"parameter{i}") for i, p in enumerate(parameters)]
    places = {id(p): i for i, p in enumerate(parameters)}
    units = []
    for layer, module in rows:
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        if weight is not None and id(weight) in places and _whole_rows(weight):
            units.append(Units(layer, places[id(weight)], places.get(id(bias)) if bias is not None else None))
    layers, layer_of = _layers(found, parameters)
    return Plan(tuple(map(id, parameters)), tuple(found), layers, layer_of, tuple(units))


def _whole_rows(weight: Tensor) -> bool:
    """Whether a unit's weights are all on this process: a parameter sharded by columns has no units here."""
    return all(getattr(p, "dim", 0) == 0 for p in getattr(weight, "placements", ()))


def _layers(names: Sequence[str], parameters: Sequence[Tensor]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Weights by layer, or by block where there are more than :data:`MOST_LAYERS` layers."""
    weights = [i for i, p in enumerate(parameters) if p.dim() >= 2]
    paths = {i: tuple(names[i].split(".")[:-1]) for i in weights}
    kept = _blocks(list(dict.fromkeys(paths.values())))
    depth = max((len(path) for path in kept), default=0)
    places: dict[str, int] = {}
    layer_of = np.full(len(parameters), -1, dtype=np.int64)
    for i, path in paths.items():
        if path[:depth] in kept:
            layer_of[i] = places.setdefault(".".join((*path[:depth], "weight")), len(places))
    return tuple(places), layer_of


def _blocks(paths: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The layers, or the deepest blocks that are few enough; when these are too few to tell anything, some layers."""
    deeper = paths
    for depth in range(max((len(p) for p in paths), default=0), 0, -1):
        blocks = list(dict.fromkeys(p[:depth] for p in paths))
        if len(blocks) <= MOST_LAYERS:
            if len(blocks) >= _FEW_BLOCKS or len(blocks) == len(paths):
                return set(blocks)
            break
        deeper = blocks
    if len(deeper) <= MOST_LAYERS:
        return set(deeper)
    last = len(deeper) - 1
    places = {round(i * last / (MOST_LAYERS - 5)) for i in range(MOST_LAYERS - 4)}  # evenly, and the ends closely
    return {deeper[i] for i in places | {1, 2, last - 1, last - 2}}
