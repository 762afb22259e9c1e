"""A run that meets trouble, with or without somebody who acts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossdoctor.live import Monitor
from lossdoctor.live.actions import LiveAction
from tests.live.actions.watched import bits, watch

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=5e-3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
}
Batch = tuple[Tensor, Tensor]


class Loader:
    """Endless batches with a position that can be kept, and followed by a running iterator."""

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed
        self.position = 0
        self.direction = torch.randn(6, 1, generator=torch.Generator().manual_seed(1))

    def __iter__(self) -> Iterator[Batch]:
        while True:
            generator = torch.Generator().manual_seed(self.seed + self.position)
            self.position += 1
            x = torch.randn(32, 6, generator=generator)
            yield x, (x @ self.direction).sin() + 0.1 * torch.randn(32, 1, generator=generator)

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class Run:
    """One training."""

    def __init__(
        self,
        folder: Path,
        actions: Iterable[LiveAction] = (),
        *,
        optimizer: str = "adam",
        loader: Loader | None = None,
        dropout: float = 0.0,
        steps: int = 300,
    ) -> None:
        torch.manual_seed(0)
        np.random.seed(0)
        self.model = nn.Sequential(
            nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 1)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.loader = loader or Loader()
        self.steps = steps
        self.monitor = Monitor(run_dir=folder, actions=tuple(actions))
        self.after: list[dict[str, list[bytes]]] = []  # right after each optimizer step
        self.before_step: Callable[[int], object] = lambda _: None
        if self.monitor.actions:
            watch(self.monitor, self.model, self.optimizer, scheduler=self.scheduler)

    def go(self, spoil: Callable[[int, Batch], Batch] = lambda step, batch: batch, *, keep: bool = False) -> Run:  # noqa: ARG005
        for step, batch in zip(range(self.steps), self.loader, strict=False):
            x, y = spoil(step, batch)
            loss = (self.model(x) - y).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.before_step(step)
            self.optimizer.step()
            if keep:
                self.after.append(self.state())
            self.scheduler.step()
            self.monitor.log(step, loss=loss.item())
            if self.monitor.should_stop:
                break
        self.monitor.finish()
        return self

    def state(self) -> dict[str, list[bytes]]:
        """The bits of everything that training touches."""
        return {
            "model": bits(self.model),
            "moments": bits(dict(enumerate(self.optimizer.state_dict()["state"].values()))),
            "scheduler": bits(self.scheduler.last_epoch),
            "random": [*bits(torch.get_rng_state()), *bits(str(np.random.get_state()))],
            "loader": bits(self.loader.position),
        }

    @torch.no_grad()
    def loss(self) -> float:
        """On data of its own, in evaluation mode."""
        self.model.eval()
        x, y = next(iter(Loader(seed=10**6)))
        for _ in range(40):
            more = next(iter(Loader(seed=10**6 + len(x))))
            x, y = torch.cat([x, more[0]]), torch.cat([y, more[1]])
        value = float((self.model(x) - y).square().mean())
        self.model.train()
        return value

    def kinds(self) -> list[str]:
        return [e.kind for e in self.monitor.events if e.details.get("action") == "Rescue"]


def with_nan(batch: Batch) -> Batch:
    x = batch[0].clone()
    x[0, 0] = math.nan
    return x, batch[1]


def too_large(batch: Batch) -> Batch:
    return 1000.0 * batch[0] + 1000.0, 1000.0 * batch[1]


def at(steps: Iterable[int], change: Callable[[Batch], Batch]) -> Callable[[int, Batch], Batch]:
    """Spoil the batches of some steps."""
    chosen = set(steps)
    return lambda step, batch: change(batch) if step in chosen else batch
