"""A small run to act on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossdoctor.live import Monitor


def watch(monitor: Monitor, model: Any, optimizer: Any, **parts: Any) -> Any:
    """``monitor.watch``, measuring next to nothing of its own."""
    return monitor.watch(model, optimizer, every=1000, per_layer=False, updates=False, dead_units=False, **parts)


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
