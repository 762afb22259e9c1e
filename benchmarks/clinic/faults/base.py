"""What a fault is: a change of the configuration, and hooks into the data, the model and the loop."""

# ruff: noqa: ARG002, B027 -- hooks have one signature, whether or not a fault needs all of it
from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.random import Generator
from torch import Tensor

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config

if TYPE_CHECKING:
    from benchmarks.clinic.train import Loop

# Kinds of tasks that many faults apply to.
LABELLED = ("classification", "regression")
DENSE = (*LABELLED, "autoencoding")


class Fault(abc.ABC):
    """One way in which a training goes wrong.

    Attributes:
        name: as in the index of the corpus.
        codes: findings of which any one is a right answer.
        own_code: the finding made for this very fault, where there is one in the catalogue.
        alarm: whether a visible case deserves a status of warning or critical; else a remark is enough.
        kinds: the kinds of tasks it applies to; empty for all.
        spoils_validation: the logged validation data is not to be trusted, only the hidden test data.
        clears_gradients: the loop calls ``zero_grad``.
        needs_validation: without a logged validation loss nobody can see it.
    """

    name: ClassVar[str]
    codes: ClassVar[frozenset[str]]
    own_code: ClassVar[str] = ""
    alarm: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ()
    spoils_validation: ClassVar[bool] = False
    clears_gradients: ClassVar[bool] = True
    needs_validation: ClassVar[bool] = False

    def fits(self, config: Config) -> bool:
        """Whether this healthy run can be given the fault."""
        spec = tasks.SPECS[config.task]
        if config.variant or (self.needs_validation and config.val_every < 0):
            return False
        if self.name in spec.unfit or (spec.kind == "adversarial" and "adversarial" not in self.kinds):
            return False
        return not self.kinds or spec.kind in self.kinds

    @abc.abstractmethod
    def configure(self, config: Config, rng: Generator) -> Config:
        """The sick configuration of a healthy one."""

    def prepare(self, loop: Loop) -> None:
        """Change the task's data or model before the loop is set up."""

    def ready(self, loop: Loop) -> None:
        """Change what is set up, before the first step."""

    def batch(self, loop: Loop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch that the step really sees."""
        return x, y

    def learning_rate(self, loop: Loop, lr: float) -> float:
        """The learning rate that the step really uses (and logs)."""
        return lr

    def loss(self, loop: Loop, loss: Tensor) -> Tensor:
        """The loss that the step really lowers (and logs)."""
        return loss

    def gradients(self, loop: Loop) -> None:
        """Whatever happens to the gradients before they are clipped."""

    def evaluate(self, loop: Loop) -> float:
        """The validation loss that is logged."""
        return loop.task.evaluate("val")

    def updates(self, loop: Loop) -> bool:
        """Whether the optimizer steps."""
        return True

    def after_step(self, loop: Loop) -> None:
        """Whatever happens after a step has been logged."""


class Healthy(Fault):
    """No fault at all."""

    name = "healthy"
    codes = frozenset()
    alarm = False

    def configure(self, config: Config, rng: Generator) -> Config:
        return config


def middle(config: Config, rng: Generator, low: float = 0.3, high: float = 0.8) -> int:
    """A step somewhere in the run."""
    return max(2, int(rng.uniform(low, high) * config.end))


def continuous(config: Config) -> bool:
    """Whether inputs are measured numbers, and not codes."""
    return not tasks.SPECS[config.task].codes


def by_step(config: Config) -> dict[str, Any]:
    """Changes that write a log by the step where an epoch is too long, or an event too short, for one line an epoch."""
    if config.log_every and config.val_every:
        return {"axis": "step"}
    changes: dict[str, Any] = {"axis": "step", "log_every": config.log_every or 20}
    return changes | {"val_every": config.val_every or max(1, config.end // 30)}


def codes(text: str) -> frozenset[str]:
    """``"101 102"`` -> the set of LD101 and LD102."""
    return frozenset(f"LD{c}" for c in text.split())
