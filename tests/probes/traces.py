"""All that a test on a model might leave behind, as plain values to compare with ``==``: bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def trace_of(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, *generators: torch.Generator) -> Any:
    """Tensors with their gradients, modes, hooks and dropout of a model; its optimizer; every random generator."""
    parameters = list(model.parameters())
    tensors = [*parameters, *model.buffers(), *(p.grad for p in parameters)]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    modes = [(m.training, str(getattr(m, "p", None)), str(getattr(m, "dropout", None))) for m in model.modules()]
    numpy: Any = np.random.get_state()
    return (
        [_bytes(t) for t in tensors],
        [modes, hooks],
        [p.requires_grad for p in parameters],
        None if optimizer is None else _plain(optimizer.state_dict()),
        [_bytes(torch.get_rng_state()), random.getstate(), numpy[1].tolist(), numpy[2:]],
        [_bytes(g.get_state()) for g in generators],
        (torch.backends.cudnn.enabled, torch.is_grad_enabled()),
    )


def drawing(loss_fn: Callable[..., Tensor], failing: type[BaseException] | None = None, at: int = 9) -> Any:
    """The loss, which also draws from every generator that a user's code might, and fails at that call."""
    calls = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if failing is not None and calls == at:
            raise failing("stop")
        random.random()
        np.random.rand()
        return loss_fn(output, target)

    return loss


def _bytes(tensor: Tensor | None) -> tuple[Any, ...] | None:
    return None if tensor is None else (tensor.dtype, tuple(tensor.shape), tensor.detach().numpy().tobytes())


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _bytes(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
