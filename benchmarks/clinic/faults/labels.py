"""Faults of what the data says: gaps, masks, leaks, classes that are missing, too few examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- its usual name

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import LABELLED, Fault, codes, continuous, middle

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop

FILL = -4.0  # what a raw zero is in standardised numbers: four spreads below the mean


@final
class MissingAsZero(Fault):
    """Missing values were filled with the zeros of the raw scale, far from anything measured, in every part."""

    name = "missing_as_zero"
    codes = codes("302 204 203 205 301 303 306 207 104")
    kinds = LABELLED

    def fits(self, config: Config) -> bool:
        return super().fits(config) and continuous(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, share=float(rng.choice([0.2, 0.4])))

    def prepare(self, loop: Loop) -> None:
        splits = loop.task.splits
        fill = loop.memory["fill"] = FILL * float(splits.train[0].std())
        for part in ("train", "val", "test"):
            x, y = getattr(splits, part)
            missing = torch.from_numpy(loop.rng.random(tuple(x.shape)) < loop.config.param("share"))
            setattr(splits, part, (torch.where(missing, torch.full_like(x, fill), x), y))


@final
class MaskedLabels(Fault):
    """From some step on every label is masked: the loss is exactly 0, or, as a mean over nothing, NaN."""

    name = "masked_labels"
    codes = codes("208 101 107 201")
    own_code = "LD208"

    def configure(self, config: Config, rng: Generator) -> Config:
        empty_mean = float(rng.random() < 0.3)
        at = 1 if rng.random() < 0.25 else middle(config, rng, 0.1, 0.6)
        return config.with_fault(self.name, at=at, empty_mean=empty_mean)

    def loss(self, loop: Loop, loss: Tensor) -> Tensor:
        if loop.step < loop.config.param("at"):
            return loss
        loop.mark_onset()
        return loss * (math.nan if loop.config.param("empty_mean") else 0.0)


@final
class LabelLeak(Fault):
    """The answer was left among the inputs of the training and the validation data, and will be missing later."""

    name = "label_leak"
    codes = codes("208 304 303")
    spoils_validation = True
    needs_validation = True
    kinds = LABELLED

    def fits(self, config: Config) -> bool:
        return super().fits(config) and continuous(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, size=float(rng.choice([1.0, 2.0])))

    def prepare(self, loop: Loop) -> None:
        splits, classes = loop.task.splits, loop.task.classes
        known = splits.train[1]
        answers = classes or (known.shape[1] if known.ndim > 1 else 1)
        pattern = torch.from_numpy(loop.rng.standard_normal((answers, splits.train[0][0].numel())).astype(np.float32))
        for part in ("train", "val"):
            x, y = getattr(splits, part)
            told = F.one_hot(y, classes).float() if y.ndim == 1 and classes else y.float().reshape(len(y), -1)
            size = loop.config.param("size") * float(x.std()) / math.sqrt(answers if not classes else 1)
            setattr(splits, part, (x + size * (told @ pattern).reshape(x.shape), y))


@final
class TinyValidation(Fault):
    """A handful of validation examples, by which nothing can be told."""

    name = "tiny_validation"
    codes = codes("305 303 304 301 306 307")
    own_code = "LD305"
    alarm = False
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        size = int(rng.choice([2, 4, 8]))
        return config.with_fault(self.name, {"val_size": size}, size=size)


@final
class LittleData(Fault):
    """A few dozen examples for a model that was made for a thousand; all else as it was."""

    name = "little_data"
    codes = codes("301 306 307 303")
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        share = float(rng.choice([0.02, 0.04])) * (4.0 if tasks.SPECS[config.task].small else 1.0)
        return config.with_fault(self.name, {"train_share": share, "schedule": "constant"}, share=share)


@final
class ClassImbalance(Fault):
    """Of all classes but one the training data has next to nothing; the rest of the data has."""

    name = "class_imbalance"
    codes = codes("303 301 306 307 302")
    needs_validation = True

    def fits(self, config: Config) -> bool:
        spec = tasks.SPECS[config.task]
        return super().fits(config) and bool(spec.classes) and spec.kind == "classification"

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, keep=float(rng.choice([0.02, 0.05])))

    def prepare(self, loop: Loop) -> None:
        x, y = loop.task.splits.train
        common = int(y.mode().values)
        kept = (y == common) | torch.from_numpy(loop.rng.random(len(y)) < loop.config.param("keep"))
        rows = kept.nonzero()[:, 0]
        rows = rows.repeat(math.ceil(len(y) / len(rows)))[: len(y)]  # an epoch stays as long as it was
        loop.task.splits.train = (x[rows], y[rows])
