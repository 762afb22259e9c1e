"""Faults of the model: too small, too large, dead, frozen, saturated."""

# ruff: noqa: ARG002 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

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
class Overfitting(Fault):
    """A large model on few examples, trained long without regularisation."""

    name = "overfitting"
    codes = codes("301 306 307 303")
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        spec = tasks.SPECS[config.task]
        share = float(rng.choice([0.03, 0.06, 0.12])) * (0.3 if spec.kind == "language" else 1.0)
        if spec.kind != "language" and spec.small:
            share = min(1.0, 4 * share)
        changes = {
            "train_share": share,
            "width": spec.shape.width * 4 if spec.kind != "language" else spec.shape.width * 2,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "schedule": "constant" if config.schedule != "cosine" else "cosine",
            "batch_size": min(config.batch_size, 32),
        }
        return config.with_fault(self.name, changes, share=share)


@final
class Underfitting(Fault):
    """A model too small for the task."""

    name = "underfitting"
    codes = codes("302 204 203 202")
    kinds = ("classification", "regression", "autoencoding", "language")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and not tasks.SPECS[config.task].small

    def configure(self, config: Config, rng: Generator) -> Config:
        width = 2 * int(rng.choice([1, 2])) if config.task == "chars_transformer" else int(rng.choice([1, 2]))
        return config.with_fault(self.name, {"width": width, "dropout": 0.0}, width=width)


@final
class Vanishing(Fault):
    """A deep stack of sigmoids: the first layers get no gradient."""

    name = "vanishing_gradients"
    codes = codes("106 201 202 204 302 209 203")
    own_code = "LD106"
    kinds = DENSE

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.task != "digits_cnn"

    def configure(self, config: Config, rng: Generator) -> Config:
        depth = int(rng.choice([6, 10]))
        depth = depth // 2 if config.task == "autoencoder" else depth
        return config.with_fault(self.name, {"activation": "sigmoid", "depth": depth, "dropout": 0.0}, depth=depth)


@final
class ZeroInit(Fault):
    """All weights start at zero: nothing but the last bias can learn."""

    name = "zero_init"
    codes = codes("106 201 202 204 210 302")
    kinds = DENSE

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name)

    def prepare(self, loop: Loop) -> None:
        with torch.no_grad():
            for parameter in loop.task.model.parameters():
                parameter.zero_()


@final
class DeadInit(Fault):
    """Biases so low that no ReLU ever fires."""

    name = "dead_init"
    codes = codes("106 201 202 204 210 302")
    kinds = DENSE

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.task not in ("digits_cnn", "autoencoder")

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, bias=float(rng.choice([-10.0, -30.0])))

    def prepare(self, loop: Loop) -> None:
        linear = [m for m in loop.task.model.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            for layer in linear[:-1]:
                layer.bias.fill_(loop.config.param("bias"))


@final
class Frozen(Fault):
    """Parameters left out of training: all of them, or all but the last bias."""

    name = "frozen_parameters"
    codes = codes("201 202 204 302")

    def configure(self, config: Config, rng: Generator) -> Config:
        changes = {"log_grad_norm": False, "clip_norm": None}
        return config.with_fault(self.name, changes, all_but_bias=float(rng.integers(2)))

    def prepare(self, loop: Loop) -> None:
        parameters = list(loop.task.model.parameters())
        for parameter in parameters:
            parameter.requires_grad_(False)
        if loop.config.param("all_but_bias"):
            parameters[-1].requires_grad_(True)


@final
class DoubleSoftmax(Fault):
    """Probabilities where the loss expects logits."""

    name = "double_softmax"
    codes = codes("202 204 302 203")
    kinds = ("classification", "language")

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name)

    def prepare(self, loop: Loop) -> None:
        inner = loop.task.loss_fn

        def doubled(output: Tensor, target: Tensor) -> Tensor:
            return inner(output.softmax(dim=-1), target)

        loop.task.loss_fn = doubled


@final
class ExplodingRecurrence(Fault):
    """A plain recurrent net with a high rate and no clipping."""

    name = "exploding_rnn"
    codes = codes("101 102 103 104 105 204 201 110")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and tasks.SPECS[config.task].recurrent

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([8.0, 20.0]))
        changes = {"cell": "rnn_relu", "clip_norm": None, "lr": config.lr * factor, "schedule": "constant"}
        return config.with_fault(self.name, changes, factor=factor)
