"""Faults of the training loop: what was forgotten, and what was lost on resuming."""

# ruff: noqa: ARG002 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

import copy
from typing import TYPE_CHECKING, final

from numpy.random import Generator

from benchmarks.clinic.config import Config, learning_rate_at
from benchmarks.clinic.faults.base import Fault, codes, middle

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop


@final
class MissingStep(Fault):
    """The optimizer is never called."""

    name = "missing_step"
    codes = codes("201 202 204")

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name)

    def updates(self, loop: Loop) -> bool:
        return False


@final
class MissingZeroGrad(Fault):
    """Gradients pile up from step to step."""

    name = "missing_zero_grad"
    codes = codes("101 102 103 104 105 108 110 204 305")
    clears_gradients = False

    def configure(self, config: Config, rng: Generator) -> Config:
        return config.with_fault(self.name, {"clip_norm": None})


@final
class ResumeWithoutState(Fault):
    """Resumed from a checkpoint with a fresh optimizer and, half the time, the schedule started anew."""

    name = "resume_no_state"
    codes = codes("109 103 402 404 102")
    own_code = "LD109"
    alarm = False

    def configure(self, config: Config, rng: Generator) -> Config:
        at = middle(config, rng, 0.4, 0.75)
        back = int(rng.choice([0.0, 0.1]) * at)
        params = {"at": at, "back": back, "schedule_lost": float(rng.integers(2))}
        return config.with_fault(self.name, {"axis": "step"}, **params)

    def learning_rate(self, loop: Loop, lr: float) -> float:
        c = loop.config
        if loop.step > c.param("at"):
            loop.mark_onset()
            if c.param("schedule_lost"):
                return learning_rate_at(c, loop.step - int(c.param("at")))
        return lr

    def after_step(self, loop: Loop) -> None:
        at, back = int(loop.config.param("at")), int(loop.config.param("back"))
        if loop.step == at - back:
            loop.checkpoint = copy.deepcopy(loop.task.model.state_dict())
        if loop.step == at:
            loop.task.model.load_state_dict(loop.checkpoint)
            loop.renew_optimizer()
            loop.step_shift = back
