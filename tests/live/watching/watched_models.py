"""What the tests of watching share: a monitor that only asks and notes, models, and a training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Notes:
    """Stands for the monitor: what a watch asks of it and tells it is noted."""

    def __init__(self, allow: Callable[[Any], bool] = lambda _: True) -> None:
        self.allow = allow
        self.asked: list[Any] = []
        self.stepped: list[Any] = []
        self.events: list[tuple[str, str]] = []

    def before_step(self, optimizer: Any) -> bool:
        self.asked.append([p.grad is not None for g in optimizer.param_groups for p in g["params"]])
        return self.allow(optimizer)

    def after_step(self, optimizer: Any) -> None:
        self.stepped.append(optimizer)

    def event(self, kind: str, message: str, **details: Any) -> None:
        del details
        self.events.append((kind, message))


def net(width: int = 16, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )


def batch(examples: int = 12) -> Tensor:
    return torch.randn(examples, 6, generator=torch.Generator().manual_seed(1))


def backward(model: nn.Module) -> Tensor:
    loss: Tensor = model(batch()).square().mean()
    loss.backward()
    return loss


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().to_dense().double().norm()) ** 2 for t in tensors))
