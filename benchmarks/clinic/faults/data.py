"""Faults of the data: bad batches, outliers, labels, order, scale."""

# ruff: noqa: ARG002 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import LABELLED, Fault, codes, continuous, middle

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop


def _permuted(y: Tensor, loop: Loop) -> Tensor:
    return y[torch.from_numpy(loop.rng.permutation(len(y)))]


def _spoiled(x: Tensor, y: Tensor, loop: Loop, scale: float) -> tuple[Tensor, Tensor]:
    """A bad batch: far out of scale, or, where inputs are codes, random."""
    if x.is_floating_point():
        return x * scale + scale * x.std(), _permuted(y, loop)
    noise = torch.from_numpy(loop.rng.integers(0, 60, size=tuple(x.shape)))
    return noise, torch.from_numpy(loop.rng.integers(50, 60, size=tuple(y.shape)))


class _OneBadNumber(Fault):
    """One batch holds a number that is none; from then on every weight is NaN."""

    codes = codes("101 107")
    number: ClassVar[float]

    def fits(self, config: Config) -> bool:
        return super().fits(config) and continuous(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        at = middle(config, rng, 0.1, 0.9)
        stop = min(config.end, at + int(rng.choice([1, 20, config.end])) * max(1, config.log_every or 20))
        return config.with_fault(self.name, {"stop": stop}, at=at)

    def batch(self, loop: Loop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if loop.step != loop.config.param("at"):
            return x, y
        loop.mark_onset()
        x = x.clone()
        x[0] = self.number
        return x, y


@final
class NanBatch(_OneBadNumber):
    """The number is NaN."""

    name = "nan_in_data"
    number = math.nan


@final
class InfBatch(_OneBadNumber):
    """The number is infinite; what it leaves are NaNs."""

    name = "inf_in_data"
    number = math.inf


@final
class Outliers(Fault):
    """A few training examples hundreds of times too large."""

    name = "outliers"
    codes = codes("101 102 103 104 105 204 302 303")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and continuous(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        changes = {"clip_norm": None}
        return config.with_fault(self.name, changes, share=0.005, scale=float(rng.choice([100.0, 1000.0])))

    def prepare(self, loop: Loop) -> None:
        x, y = loop.task.splits.train
        count = max(1, int(loop.config.param("share") * len(x)))
        worst = torch.from_numpy(loop.rng.choice(len(x), count, replace=False))
        x, y = x.clone(), y.clone()
        x[worst] *= loop.config.param("scale")
        if tasks.SPECS[loop.config.task].kind == "regression":
            y[worst] *= loop.config.param("scale") ** 0.5
        loop.task.splits.train = (x, y)


@final
class Unscaled(Fault):
    """Inputs a thousand times too large, on an offset: raw features."""

    name = "unscaled_inputs"
    codes = codes("101 102 103 104 105 110 201 202 204 207 301 302 305")
    kinds = LABELLED

    def fits(self, config: Config) -> bool:
        return super().fits(config) and continuous(config) and config.task != "digits_cnn"

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, scale=1000.0)

    def prepare(self, loop: Loop) -> None:
        scale = loop.config.param("scale")
        splits = loop.task.splits
        shift = torch.from_numpy(loop.rng.uniform(0, 1, splits.train[0].shape[1:]).astype(np.float32))
        splits.train, splits.val, splits.test = (
            ((x + shift) * scale, y) for x, y in (splits.train, splits.val, splits.test)
        )


@final
class ShuffledLabels(Fault):
    """Labels that have nothing to do with the inputs, in every part of the data."""

    name = "shuffled_labels"
    codes = codes("201 202 204 301 302 303 306 307")
    kinds = LABELLED

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name)

    def prepare(self, loop: Loop) -> None:
        splits = loop.task.splits
        splits.train, splits.val, splits.test = (
            (x, _permuted(y, loop)) for x, y in (splits.train, splits.val, splits.test)
        )


@final
class LabelNoise(Fault):
    """40 % of the training labels are drawn at random."""

    name = "label_noise"
    codes = codes("204 301 302 303 304 306 307")
    kinds = LABELLED

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, {"dropout": 0.0}, share=0.4)

    def prepare(self, loop: Loop) -> None:
        x, y = loop.task.splits.train
        wrong = torch.from_numpy(loop.rng.random(len(y)) < loop.config.param("share"))
        y = y.clone()
        y[wrong] = _permuted(y[wrong], loop)
        loop.task.splits.train = (x, y)


@final
class Unshuffled(Fault):
    """Training data sorted by class (or target) and never shuffled."""

    name = "unshuffled"
    codes = codes("104 401 103 204 302 303 305 102 301")
    own_code = "LD401"
    kinds = LABELLED

    def configure(self, config: Config, rng: Generator) -> Config:
        changes = {"log_every": 1 if config.log_every else 0, "log_mean": config.log_mean and not config.log_every}
        return config.with_fault(self.name, changes)

    def prepare(self, loop: Loop) -> None:
        x, y = loop.task.splits.train
        key = y if y.ndim == 1 else y.mean(dim=1)
        order = torch.argsort(key, stable=True)
        loop.task.splits.train = (x[order], y[order])
        loop.task.shuffle = False


class _Spikes(Fault):
    """Bad batches at some steps."""

    scales: ClassVar[tuple[float, ...]] = (10.0, 30.0)

    def batch(self, loop: Loop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        params = dict(loop.config.params)
        first = [v for k, v in params.items() if k.startswith("at")]
        if not any(a <= loop.step < a + params["length"] for a in first):
            return x, y
        loop.mark_onset()
        return _spoiled(x, y, loop, params["scale"])


@final
class SpikesRecovering(_Spikes):
    """One to three bad batches, from which the run recovers."""

    name = "spikes_recovering"
    codes = codes("103 102 104 105")
    alarm = False

    def configure(self, config: Config, rng: Generator) -> Config:
        at = {f"at{i}": float(middle(config, rng, 0.2, 0.8)) for i in range(int(rng.integers(1, 4)))}
        changes = {"log_every": 1 if config.log_every else 0, "clip_norm": 1.0, "log_mean": config.log_mean}
        return config.with_fault(self.name, changes, scale=float(rng.choice(self.scales)), length=1.0, **at)


@final
class SpikeUnrecovered(_Spikes):
    """A row of bad batches, unclipped, as the rate has nearly gone: the level stays up."""

    name = "spike_unrecovered"
    codes = codes("101 102 103 105 204 301")

    def configure(self, config: Config, rng: Generator) -> Config:
        changes = {"clip_norm": None, "log_every": 1 if config.log_every else 0}
        at = middle(config, rng, 0.4, 0.75)
        length = float(rng.choice([5, 15]))
        return config.with_fault(self.name, changes, at=at, length=length, scale=10.0, calm=0.01)

    def learning_rate(self, loop: Loop, lr: float) -> float:
        after = loop.step >= loop.config.param("at") + loop.config.param("length")
        return lr * loop.config.param("calm") if after else lr


@final
class ValidationShift(Fault):
    """Validation data that was prepared differently from the training data."""

    name = "val_shift"
    codes = codes("303 301 304 306 307")
    own_code = "LD303"
    spoils_validation = True
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, size=float(rng.choice([0.5, 1.0])))

    def prepare(self, loop: Loop) -> None:
        x, y = loop.task.splits.val
        size = loop.config.param("size")
        if x.is_floating_point():
            pattern = torch.from_numpy(loop.rng.standard_normal(tuple(x.shape[1:])).astype(np.float32))
            x = x + size * x.std() * pattern
            if tasks.SPECS[loop.config.task].kind == "autoencoding":
                y = x
        else:
            wrong = torch.from_numpy(loop.rng.random(tuple(x.shape)) < 0.1 * size)
            x = torch.where(wrong, torch.from_numpy(loop.rng.integers(0, 60, tuple(x.shape))), x)
        loop.task.splits.val = (x, y)
