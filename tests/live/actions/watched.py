"""A small run to act on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.live import Monitor


def watch(monitor: Monitor, model: nn.Module, optimizer: torch.optim.Optimizer, **parts: Any) -> Any:
    """``monitor.watch``, or as much of it as the actions need."""
    real = getattr(monitor, "watch", None)
    if real is not None:
        return real(model, optimizer, **parts)
    monitor.model, monitor.optimizer = model, optimizer
    for name, part in parts.items():
        setattr(monitor, name, part)

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        go_on = [action.before_step(monitor, optimizer) for action in monitor.actions]
        if not all(go_on):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for action in monitor.actions:
            action.after_step(monitor, optimizer)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return None


def bits(*things: Any) -> list[bytes]:
    """The bytes of all tensors in modules, optimizers and nested containers, in a fixed order."""
    found: list[bytes] = []
    for thing in things:
        if isinstance(thing, Tensor):
            found.append(thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(thing, dict):
            found += [b for key in sorted(thing, key=str) for b in (str(key).encode(), *bits(thing[key]))]
        elif isinstance(thing, list | tuple):
            found += bits(*thing)
        elif hasattr(thing, "state_dict"):
            found += bits(thing.state_dict())
        else:
            found.append(repr(thing).encode())
    return found
