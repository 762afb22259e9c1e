"""Putting a model back to an untrained state, as far as its modules know how."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.torchkit.objective import unwrapped

Reset = bool | Callable[[nn.Module], object] | None


def reinitialise(model: nn.Module, reset: Reset) -> tuple[str, ...]:
    """Draw all weights anew, in place; to be undone by the caller.

    Args:
        model: every module of it with ``reset_parameters`` (those of torch all have it) is asked, children first; then
            ``_init_weights``, which the models of Hugging Face have.
        reset: True for the above; or a function that initialises the model in place, as the run itself does it: what
            your code does to the weights after it made the model is not known to the modules.

    Returns:
        The names of trainable parameters that no module drew anew; they are as they were.

    Raises:
        UserCodeError: the function, or a module's own, raised.
        UsageError: nothing in the model can be drawn anew.

    >>> reinitialise(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), True)
    ()
    """
    plain = unwrapped(model)
    if callable(reset):
        _called("the function given as reset", lambda: reset(plain))
        return ()
    before = {name: p.detach().clone() for name, p in plain.named_parameters()}
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.is_floating_point():
                parameter.fill_(math.nan)  # what is still NaN afterwards nobody has drawn
    plain.apply(_reset)
    own = getattr(plain, "_init_weights", None)
    if callable(own):
        _called(f"{type(plain).__name__}._init_weights", lambda: plain.apply(own))
    kept = []
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if parameter.is_floating_point() and bool(parameter.isnan().any()):
                parameter.copy_(before[name])
                kept.append(name)
    if len(kept) == len(before):
        raise UsageError(
            f"no module of {type(plain).__name__} has reset_parameters(): it cannot be put back to an untrained state;"
            " give reset=function(model) that initialises it, or a freshly made model"
        )
    return tuple(name for name in kept if plain.get_parameter(name).requires_grad)


def _reset(module: nn.Module) -> None:
    # MultiheadAttention and Transformer keep theirs private.
    method = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(method):
        _called(f"{type(module).__name__}.reset_parameters", method)


def _called(where: str, function: Callable[[], object]) -> None:
    try:
        function()
    except Exception as error:
        raise UserCodeError(where, error) from error
