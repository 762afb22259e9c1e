"""Faults of how steps are made: a hot start, momentum, clipping, tiny batches, half precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from numpy.random import Generator
from torch import Tensor

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import Fault, by_step, codes

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop

_HOT = 24  # steps after which a rate that makes nothing leap is given up
_HALF_MAX = 65504.0  # the largest number in half precision
_PLAIN = ("sgd", "momentum")  # their steps are as long as their gradients are


@final
class Catapult(Fault):
    """A first rate that rises until the loss leaps, and is then what it should be: the run goes well from there."""

    name = "catapult"
    codes = codes("102 103 104 105 110 101 207")
    alarm = False

    def fits(self, config: Config) -> bool:
        # What is thrown out of a narrow valley does not come back.
        return super().fits(config) and tasks.SPECS[config.task].kind not in ("autoencoding", "variational")

    def configure(self, config: Config, rng: Generator) -> Config:
        changes = {"clip_norm": None, "log_every": 1, "log_mean": False, "axis": "step"}
        if config.schedule.startswith("warmup"):
            changes["schedule"] = "constant" if config.schedule == "warmup" else "cosine"
        if config.val_every == 0:
            changes["val_every"] = max(1, config.end // 30)
        return config.with_fault(self.name, changes, growth=1.25, leap=float(rng.choice([1.2, 1.4])))

    def loss(self, loop: Loop, loss: Tensor) -> Tensor:
        first: float = loop.memory.setdefault("first_loss", loss.item())
        leapt = loss.item() - first > (loop.config.param("leap") - 1.0) * abs(first)
        loop.memory["calm"] = loop.memory.get("calm", False) or leapt or loop.step >= _HOT
        return loss

    def learning_rate(self, loop: Loop, lr: float) -> float:
        if loop.memory.get("calm"):
            return lr
        loop.mark_onset()
        return float(lr * loop.config.param("growth") ** loop.step)


@final
class MomentumTooHigh(Fault):
    """A momentum of 0.99 and more at a rate that was tuned for 0.9."""

    name = "momentum_high"
    codes = codes("101 102 103 104 105 110 204 305 301")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.optimizer == "momentum"

    def configure(self, config: Config, rng: Generator) -> Config:
        momentum = float(rng.choice([0.995, 0.998, 0.999]))
        changes = {"momentum": momentum, "clip_norm": None, "schedule": "constant"}
        return config.with_fault(self.name, changes, momentum=momentum)


@final
class ClippingTooLow(Fault):
    """Gradients are cut to a length at which plain steps lead nowhere."""

    name = "clipping_low"
    codes = codes("108 201 202 203 204 205 302")
    own_code = "LD108"

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.optimizer in _PLAIN

    def configure(self, config: Config, rng: Generator) -> Config:
        limit = float(rng.choice([1e-3, 3e-3, 1e-2]))
        return config.with_fault(self.name, {"clip_norm": limit}, limit=limit)


@final
class BatchTooSmall(Fault):
    """Two examples a step at the rate of a whole batch."""

    name = "batch_small"
    codes = codes("101 102 103 104 105 204 302 305 203 301")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.batch_size >= 8

    def configure(self, config: Config, rng: Generator) -> Config:
        size = int(rng.choice([2, 3]))
        return config.with_fault(self.name, {"batch_size": size, **by_step(config)}, size=size)


@final
class OverRegularized(Fault):
    """A weight decay or a dropout that leaves next to nothing to learn with."""

    name = "over_regularized"
    codes = codes("302 204 202 201 203 304 303")
    own_code = "LD302"

    def configure(self, config: Config, rng: Generator) -> Config:
        by_dropout = bool(rng.integers(2)) and tasks.SPECS[config.task].shape.dropout > 0
        strength = float(rng.choice([0.85, 0.95])) if by_dropout else float(rng.choice([0.1, 0.3]))
        if by_dropout:
            return config.with_fault(self.name, {"dropout": strength}, dropout=strength)
        if config.optimizer == "adamw":  # it decays by the rate alone, and needs more
            strength *= 30.0
        return config.with_fault(self.name, {"weight_decay": strength}, weight_decay=strength)


@final
class HalfOverflow(Fault):
    """Gradients in half precision under a loss scale that only ever grows, until they overflow.

    Either nobody looks (the weights are lost) or every step from there on is skipped while the scale never backs off.
    """

    name = "fp16_overflow"
    codes = codes("101 107 204 201 203 302")
    own_code = "LD107"

    def configure(self, config: Config, rng: Generator) -> Config:
        doublings = int(rng.integers(14, 30))
        skips = float(rng.integers(2))
        return config.with_fault(self.name, {"clip_norm": None}, doublings=doublings, skips=skips)

    def scale(self, loop: Loop) -> float:
        """The loss scale at the present step: 2^10, doubled again and again over the run."""
        c = loop.config
        return 2.0 ** (10 + math.floor(c.param("doublings") * loop.step / c.end))

    @torch.no_grad()
    def gradients(self, loop: Loop) -> None:
        scale = self.scale(loop)
        overflown = False
        for parameter in loop.task.model.parameters():
            if parameter.grad is None:
                continue
            parameter.grad.mul_(scale)
            overflown |= bool((parameter.grad.abs() > _HALF_MAX).any())
            parameter.grad.copy_(parameter.grad.half().float() / scale)
        loop.memory["overflown"] = overflown
        if overflown:
            loop.mark_onset()

    def updates(self, loop: Loop) -> bool:
        return not (loop.memory.get("overflown") and loop.config.param("skips"))
