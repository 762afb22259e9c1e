"""Faults of the learning rate, its schedule and the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from numpy.random import Generator

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.faults.base import Fault, codes

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop


@final
class Diverging(Fault):
    """A learning rate far beyond what the loss surface bears."""

    name = "lr_diverging"
    codes = codes("101 102 104 105 201 202 204 110")

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([30.0, 100.0, 300.0]))
        changes = {"lr": config.lr * factor, "clip_norm": None, "schedule": _steady(config)}
        return config.with_fault(self.name, changes, factor=factor)


@final
class NonFinite(Fault):
    """A learning rate so high that the weights overflow."""

    name = "lr_nan"
    codes = codes("101 102 103 105 110 207")

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.optimizer in ("sgd", "momentum")

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([100.0, 1e3, 1e4]))
        changes = {"lr": config.lr * factor, "clip_norm": None, "schedule": _steady(config)}
        return config.with_fault(self.name, changes, factor=factor)


@final
class Oscillating(Fault):
    """A learning rate at the edge: the loss swings and does not settle."""

    name = "lr_oscillating"
    codes = codes("102 103 104 105 204 305 110")

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([10.0, 20.0, 40.0]))
        changes = {"lr": config.lr * factor, "clip_norm": None, "schedule": "constant"}
        return config.with_fault(self.name, changes, factor=factor)


@final
class TooLow(Fault):
    """A learning rate 30 or 100 times too low."""

    name = "lr_low"
    codes = codes("201 203 204 205 302")
    alarm = False

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([30.0, 100.0]))
        return config.with_fault(self.name, {"lr": config.lr / factor}, factor=factor)


@final
class DecayedEarly(Fault):
    """The learning rate falls to next to nothing early in the run: a schedule copied from a shorter one."""

    name = "decayed_early"
    codes = codes("204 206 201 203 302")
    own_code = "LD206"

    def configure(self, config: Config, rng: Generator) -> Config:
        share = float(rng.uniform(0.03, 0.12))
        factor = float(rng.choice([0.01, 0.001]))
        return config.with_fault(self.name, {"schedule": "decayed_early"}, share=share, factor=factor)

    def after_step(self, loop: Loop) -> None:
        if loop.step > loop.config.param("share") * loop.config.steps:
            loop.mark_onset()


@final
class StoppedEarly(Fault):
    """A budget too short by far: the run ends while it still learns fast."""

    name = "stopped_early"
    codes = codes("203 205")
    alarm = False

    def configure(self, config: Config, rng: Generator) -> Config:
        share = float(rng.uniform(0.06, 0.15))
        end = max(60, int(share * tasks.SPECS[config.task].steps))
        changes: dict[str, Any] = {"steps": end, "stop": None, "schedule": "constant", "log_every": 1, "axis": "step"}
        if config.val_every >= 0:  # a log per epoch would have next to no points left
            changes["val_every"] = max(1, end // 15)
        return config.with_fault(self.name, changes, share=share)


@final
class NoWarmup(Fault):
    """A high peak rate from the first step on."""

    name = "no_warmup"
    codes = codes("101 102 103 104 105 110 204 201")
    own_code = "LD110"

    def fits(self, config: Config) -> bool:
        return super().fits(config) and config.optimizer in ("adam", "adamw", "momentum")

    def configure(self, config: Config, rng: Generator) -> Config:
        factor = float(rng.choice([10.0, 30.0]))
        changes = {"lr": config.lr * factor, "schedule": "cosine", "clip_norm": None}
        return config.with_fault(self.name, changes, factor=factor)


def _steady(config: Config) -> str:
    """A schedule without the end that would calm the run down."""
    return config.schedule if config.schedule in ("constant", "warmup", "cosine") else "constant"
