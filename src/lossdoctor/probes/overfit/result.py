"""What the overfit tests return."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.result import ProbeResult


@dataclass(frozen=True)
class Attempt:
    """One training at one learning rate.

    Attributes:
        factor: times the run's own rate: 1, 10 or 0.1.
        rate: the learning rate; with several groups the largest.
        losses: of every step, before its update; of a subset means over one pass.
        needed: steps until the goal was reached; None where it was not.
        broken: ``""``, ``"non-finite"``, ``"diverged"`` or ``"detached"``.
        every: steps from one of the losses to the next.
    """

    factor: float
    rate: float
    losses: tuple[float, ...]
    needed: int | None = None
    broken: str = ""
    every: int = 1

    @property
    def steps(self) -> int:
        """Updates, but for those of a pass that was not finished."""
        return len(self.losses) * self.every

    @property
    def best(self) -> float:
        """The lowest loss."""
        return min((v for v in self.losses if math.isfinite(v)), default=math.nan)


@dataclass(frozen=True, kw_only=True)
class OverfitResult(ProbeResult):
    """Whether the model can learn a few examples by heart.

    Attributes:
        learns: True; False; None where it could not be told.
        examples: how many it should learn.
        attempts: the rates that were tried, the run's own first.
        start: the loss before any update.
        best: the lowest loss of all attempts.
        goal: at which it counts as learned; None where neither task nor ``target_loss`` tells.
        lowest: the least that these examples allow: 0, or more where labels are soft or contradict one another.
        guess: the loss of the best answer that is the same for all of these examples.
        task: in words.
        learned_share: how much of the way from the guess to the lowest the best attempt went; 1 is all of it.
        without_gradient: trainable parameters that got none (looked at when it did not learn).
        not_in_optimizer: trainable parameters that the optimizer does not have.
        frozen_share: share of all parameters that are not trained.
    """

    test: ClassVar[str] = "overfit_one_batch"
    title: ClassVar[str] = "Overfit one batch"

    learns: bool | None
    examples: int
    attempts: tuple[Attempt, ...]
    start: float
    best: float
    goal: float | None
    lowest: float | None
    guess: float | None
    task: str
    learned_share: float | None = None
    without_gradient: tuple[str, ...] = ()
    not_in_optimizer: tuple[str, ...] = ()
    frozen_share: float = 0.0

    @property
    def needed(self) -> int | None:
        """Steps until the goal, of the first attempt that reached it."""
        return next((a.needed for a in self.attempts if a.needed is not None), None)

    def charts(self) -> tuple[Chart, ...]:
        """The loss over the steps for every rate that was tried, with the goal."""
        if not self.attempts:
            return ()
        values = [v for a in self.attempts for v in a.losses if math.isfinite(v)]
        log = bool(values) and min(values) > 0 and (self.goal is None or self.goal > 0)
        lines = tuple(
            Line(f"learning rate {short(a.rate)}", [i * a.every for i in range(len(a.losses))], list(a.losses))
            for a in self.attempts
        )
        levels = (("goal", self.goal, True), ("guessing", self.guess, False))
        marks = tuple(Mark(v, name, axis="y", good=good) for name, v, good in levels if v is not None)
        return (Chart(f"Loss on {self.examples} examples", "step", "loss", lines=lines, marks=marks, log_y=log),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [("task", self.task), ("examples", str(self.examples)), ("loss at the start", short(self.start))]
        for a in self.attempts:
            how = f"goal reached in {a.needed} steps" if a.needed is not None else a.broken or "goal not reached"
            if self.goal is None and a.needed is None:
                how = a.broken or f"{a.steps} steps"
            rows.append((f"at the rate {short(a.rate)}", f"lowest loss {short(a.best)}, {how}"))
        named = (("goal", self.goal), ("loss of guessing", self.guess), ("lowest possible", self.lowest))
        rows += [(name, short(v)) for name, v in named if v is not None]
        if self.frozen_share:
            rows.append(("frozen", f"{percent(self.frozen_share)} of all parameters"))
        return tuple(rows)


@dataclass(frozen=True, kw_only=True)
class OverfitSubsetResult(OverfitResult):
    """Whether the model can learn some dozens of examples by heart, in minibatches."""

    test: ClassVar[str] = "overfit_subset"
    title: ClassVar[str] = "Overfit a subset"
