"""Faults of the model's start and size: weights too large, gradients that explode with depth, parts cut off."""

# ruff: noqa: ARG002 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import DENSE, Fault, codes

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop


@final
class LargeInit(Fault):
    """All weights start several times too large: the first loss is huge."""

    name = "large_init"
    codes = codes("207 101 102 103 104 105 110 203 204 209 301 302 303 305")
    own_code = "LD207"

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, factor=float(rng.choice([5.0, 10.0])))

    def prepare(self, loop: Loop) -> None:
        with torch.no_grad():
            for parameter in loop.task.model.parameters():
                parameter.mul_(loop.config.param("factor"))


@final
class ExplodingInit(Fault):
    """A deep stack whose weights double what goes through each layer, forth and back."""

    name = "exploding_init"
    codes = codes("105 101 102 103 104 110 201 202 203 204 207 209 301 302 303 305")
    own_code = "LD105"
    kinds = DENSE

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.task != "digits_cnn"

    def configure(self, config: Config, rng: Generator) -> Config:
        depth = 4 if config.task == "autoencoder" else int(rng.choice([6, 8]))
        changes = {"depth": depth, "dropout": 0.0, "activation": "relu", "clip_norm": None}
        return config.with_fault(self.name, changes, depth=depth, gain=float(rng.choice([1.7, 2.2])))

    def prepare(self, loop: Loop) -> None:
        gain = loop.config.param("gain")
        with torch.no_grad():
            for layer in (m for m in loop.task.model.modules() if isinstance(m, nn.Linear)):
                spread = gain * math.sqrt(2.0 / layer.in_features)  # He's, and more
                noise = loop.rng.standard_normal(tuple(layer.weight.shape))
                layer.weight.copy_(torch.from_numpy(noise).float() * spread)


def _cut(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.detach() for x in inputs)


@final
class Detached(Fault):
    """A ``detach`` before the last layer: nothing below it ever gets a gradient."""

    name = "detached"
    codes = codes("302 204 201 202 203 205 106 210")

    def fits(self, config: Config) -> bool:
        # Of a flow only the last coupling has a last layer to cut.
        return super().fits(config) and config.task != "moons_flow"

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name)

    def prepare(self, loop: Loop) -> None:
        last = [m for m in loop.task.model.modules() if isinstance(m, nn.Linear)][-1]
        last.register_forward_pre_hook(_cut)


@final
class CapacityTooLarge(Fault):
    """A model many times too wide for the part of the data that there is, with nothing to hold it."""

    name = "capacity_large"
    codes = codes("301 306 307 303")
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        spec = tasks.SPECS[config.task]
        width = min(256, max(96, int(rng.choice([6, 10])) * spec.shape.width)) // 2 * 2
        if spec.kind == "language" or spec.recurrent or not spec.shape.dropout:
            width = min(width, 4 * spec.shape.width)  # these are slow, or wide enough
        share = 0.5 if spec.small else 0.2
        changes = {"width": width, "dropout": 0.0, "weight_decay": 0.0, "schedule": "constant", "train_share": share}
        return config.with_fault(self.name, changes, width=width)


@final
class StaleStatistics(Fault):
    """Batch normalisation whose running statistics hardly move: what is evaluated is not what was trained."""

    name = "batchnorm_stale"
    codes = codes("309 303 301 305 306 307 102 204")
    own_code = "LD309"
    needs_validation = True

    def fits(self, config: Config) -> bool:
        return super().fits(config) and tasks.SPECS[config.task].norm == "batch"

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, momentum=float(rng.choice([1e-5, 1e-4, 3e-4])))

    def prepare(self, loop: Loop) -> None:
        for module in loop.task.model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = loop.config.param("momentum")
                module.reset_running_stats()
