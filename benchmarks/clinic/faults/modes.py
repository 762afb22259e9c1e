"""Faults of the loop around the step: the wrong mode, the wrong sum, a sampler or a schedule that starts anew."""

# ruff: noqa: ARG002 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from numpy.random import Generator
from torch import Tensor

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config, learning_rate_at
from benchmarks.clinic.faults.base import Fault, by_step, codes, middle

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop


def _has_modes(config: Config) -> bool:
    spec = tasks.SPECS[config.task]
    return spec.shape.dropout > 0 or spec.norm == "batch"


@final
class TrainedInEvalMode(Fault):
    """After the first evaluation nobody calls ``train()``: no dropout, and no batch's own statistics, from there on."""

    name = "trained_in_eval_mode"
    codes = codes("301 306 307 309 303 102 103 101 302 104")
    needs_validation = True

    def fits(self, config: Config) -> bool:
        return super().fits(config) and _has_modes(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, {"weight_decay": 0.0, "schedule": "constant"}, at=config.val_every)

    def after_step(self, loop: Loop) -> None:
        if loop.step == (loop.config.param("at") or loop.steps_per_epoch):
            loop.task.model.eval()
            loop.mark_onset()


@final
class ValidatedInTrainMode(Fault):
    """Nobody calls ``eval()``: validation goes through a strong dropout, in batches of a few examples."""

    name = "validated_in_train_mode"
    codes = codes("303 305 301 302 304 307 309")
    spoils_validation = True
    needs_validation = True

    def fits(self, config: Config) -> bool:
        return super().fits(config) and _has_modes(config)

    def configure(self, config: Config, rng: Generator) -> Config:
        dropout = 0.4 if tasks.SPECS[config.task].shape.dropout > 0 else 0.0
        return config.with_fault(self.name, {"dropout": dropout}, dropout=dropout, batch=float(rng.choice([4, 16])))

    @torch.no_grad()
    def evaluate(self, loop: Loop) -> float:
        x, y = loop.task.splits.val
        size = int(loop.config.param("batch"))
        starts = range(0, len(x) - 1, size)
        parts = [(x[i : i + size], y[i : i + size]) for i in starts]
        return float(torch.stack([loop.task.loss_fn(loop.task.model(a), b) for a, b in parts]).mean())


@final
class WrongReduction(Fault):
    """The training loss is a sum over the batch, at a rate that was meant for the mean."""

    name = "wrong_reduction"
    codes = codes("207 101 102 103 104 105 108 110 201 202 204 303 304 305")
    own_code = "LD207"

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.optimizer in ("sgd", "momentum")

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, times=config.batch_size)

    def loss(self, loop: Loop, loss: Tensor) -> Tensor:
        return loss * loop.task.batch_size


@final
class SamplerRestart(Fault):
    """A job that is stopped and resumed again and again, each time from the first batches: the rest is never seen."""

    name = "sampler_restart"
    codes = codes("109 301 303 306 307 308 401 208")
    own_code = "LD109"
    needs_validation = True

    def configure(self, config: Config, rng: Generator) -> Config:
        at = middle(config, rng, 0.15, 0.4)
        changes = by_step(config) | {"weight_decay": 0.0}
        return config.with_fault(self.name, changes, at=at, batches=float(rng.choice([1, 2])))

    def batch(self, loop: Loop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[tuple[Tensor, Tensor]] = loop.memory.setdefault("batches", [])
        if len(kept) < loop.config.param("batches"):
            kept.append((x, y))
        if loop.step <= loop.config.param("at"):
            return x, y
        loop.mark_onset()
        return kept[loop.step % len(kept)]


@final
class ResumeWithoutSchedule(Fault):
    """Resumed with weights and momenta, but with the schedule from its beginning."""

    name = "resume_no_schedule"
    codes = codes("109 404 103 102 104 204 402")
    own_code = "LD404"
    alarm = False

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.schedule not in ("constant", "warmup", "restarts")

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, {"axis": "step"}, at=middle(config, rng, 0.6, 0.9))

    def learning_rate(self, loop: Loop, lr: float) -> float:
        at = int(loop.config.param("at"))
        if loop.step <= at:
            return lr
        loop.mark_onset()
        return learning_rate_at(loop.config, loop.step - at)
