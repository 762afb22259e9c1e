"""The gradients of one optimizer, as actions look at them before a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from lossdoctor.torchkit.norms import Norms, Pending

_SCALE, _SKIPPED = "#scale", "#skipped"  # no parameter is called so


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a step's gradients are.

    Attributes:
        norm: of all of them as one vector, without the loss scale of AMP; NaN or infinite where one of them is.
        nonfinite: names of parameters whose gradient is not finite.
        skipped: a ``GradScaler`` leaves this step out by itself (fused optimizers are called all the same).
    """

    norm: float
    nonfinite: tuple[str, ...] = ()
    skipped: bool = False


def parameters(optimizer: Any) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def as_module(model: Any) -> Any:
    """What is watched as one module: several in a row or by name become one that holds them."""
    from torch import nn

    if isinstance(model, dict):
        return nn.ModuleDict(model)
    return nn.ModuleList(model) if isinstance(model, list | tuple) else model


def names_in(model: Any, optimizer: Any) -> dict[int, str]:
    """The name of each of the optimizer's parameters, by its ``id``."""
    own = {id(p) for p in parameters(optimizer)}
    found = {id(p): name for name, p in model.named_parameters() if id(p) in own} if model is not None else {}
    return {key: found.get(key, f"parameter {i}") for i, key in enumerate(own)}


def measured(optimizer: Any, names: Mapping[int, str]) -> Pending[Norms] | None:
    """The norms on their way (there at once on a CPU), to be read by :func:`read`; None without any gradient."""
    from lossdoctor.torchkit.norms import tensor_norms

    found: dict[str, Tensor] = {}
    for i, parameter in enumerate(parameters(optimizer)):
        if parameter.grad is not None:
            found[names.get(id(parameter), f"parameter {i}")] = parameter.grad
    if not found:
        return None
    for key, attribute in ((_SCALE, "grad_scale"), (_SKIPPED, "found_inf")):
        value = getattr(optimizer, attribute, None)  # set by a GradScaler around the step of a fused optimizer
        if value is not None and hasattr(value, "device"):
            found[key] = value.reshape(1)
    return tensor_norms(found)


def read(pending: Pending[Norms]) -> Gradients:
    """What the norms say; waits where they have not arrived."""
    from lossdoctor.torchkit.norms import Norms

    norms = pending.result()
    values = norms.as_dict()
    scale, skipped = values.pop(_SCALE, 1.0), values.pop(_SKIPPED, 0.0)
    own = {name: value / scale for name, value in values.items()}
    rest = Norms(tuple(own), norms.values[: len(own)] / scale)
    return Gradients(rest.total, rest.nonfinite, skipped > 0)
