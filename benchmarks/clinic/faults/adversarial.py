"""Faults of a generator and its discriminator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

from numpy.random import Generator
from torch import Tensor

from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import Fault, codes, middle

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop

_ONLY = ("adversarial",)


@final
class AdversarialNan(Fault):
    """One batch of real points holds a NaN."""

    name = "gan_nan"
    codes = codes("101 107")
    kinds = _ONLY

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, at=middle(config, rng, 0.1, 0.8))

    def batch(self, loop: Loop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if loop.step != loop.config.param("at"):
            return x, y
        loop.mark_onset()
        x = x.clone()
        x[0] = math.nan
        return x, y


@final
class AdversarialDivergence(Fault):
    """A rate at which the two drive one another away."""

    name = "gan_diverged"
    codes = codes("101 102 103 104 105")
    kinds = _ONLY

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([30.0, 100.0]))
        changes = {"lr": config.lr * factor, "clip_norm": None, "schedule": "constant"}
        return config.with_fault(self.name, changes, factor=factor)


@final
class ModeCollapse(Fault):
    """A discriminator that hardly learns: the generator puts all its points where that one is weakest."""

    name = "gan_mode_collapse"
    codes = codes("102 104 201 204 208 302")
    kinds = _ONLY

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, slower=float(round(rng.uniform(20.0, 100.0))))
