"""What it says when other inputs do, or do not, change the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lossdoctor.core.numbers import short
from lossdoctor.probes.task.arms import Arm
from lossdoctor.probes.task.noise import Difference, paired

_SURE = 0.01  # chance below which a difference is taken to be there
_COUNTS = 0.01  # part of the loss of guessing below which a difference is of no use
_POWER = 0.05  # part of it that a comparison must be able to exclude before it says that there is nothing
_DEAF = 1e-6  # change of the outputs, against their size, that is rounding


@dataclass
class Compared:
    """What was measured; the short trainings are added where they were needed."""

    real_losses: tuple[float, ...]
    swapped_losses: tuple[float, ...]
    noise_losses: tuple[float, ...]
    response: float | None
    guess: float | None
    spent: int
    own: Arm | None = None
    random: Arm | None = None
    trained: Difference | None = None

    @property
    def real(self) -> float:
        return sum(self.real_losses) / len(self.real_losses)

    @property
    def swapped(self) -> float:
        return sum(self.swapped_losses) / len(self.swapped_losses)

    @property
    def noise(self) -> float:
        return sum(self.noise_losses) / len(self.noise_losses)

    @property
    def finite(self) -> bool:
        return all(math.isfinite(v) for v in self.real_losses)

    @property
    def difference(self) -> Difference:
        """Swapped minus own, part by part."""
        return paired(self.real_losses, self.swapped_losses)

    @property
    def scale(self) -> float:
        return abs(self.guess) if self.guess else abs(self.real)

    @property
    def told(self) -> bool:
        """Whether the weights as they are show already that inputs are used."""
        return self.difference.p < _SURE and self.difference.mean > _COUNTS * self.scale


_USED = {"frozen-or-detached": 0.5, "dead-units": 0.5, "labels-uninformative": 0.2, "gradients-vanish": 0.6}
_UNUSED = {"labels-uninformative": 4.0, "dead-units": 3.0, "frozen-or-detached": 3.0, "gradients-vanish": 3.0}
_DEAF_CAUSES = {"dead-units": 6.0, "frozen-or-detached": 4.0, "gradients-vanish": 4.0, "inputs-unscaled": 2.0}


def judged(c: Compared) -> dict[str, Any]:
    """Outcome, verdict, causes, and whether the input is used."""
    outcome, used, verdict, causes = _verdict(c)
    return {"outcome": outcome, "used": used, "verdict": verdict, "causes": causes}


def _verdict(c: Compared) -> tuple[str, bool | None, str, dict[str, float]]:
    if not c.finite:
        text = f"Cannot be told: the loss with the examples' own inputs is {short(c.real)}. Run check_data."
        return "unknown", None, text, {"bad-data": 3.0, "precision-overflow": 2.0}
    if c.told:
        text = f"The input is used: the loss rises from {short(c.real)} to {short(c.swapped)} with the inputs of other"
        text += f" examples ({c.difference.in_words()}) and to {short(c.noise)} with noise."
        return "passed", True, text, _USED
    same = f"With the inputs of other examples the loss is {short(c.swapped)}, with the own {short(c.real)}"
    if c.own is None or c.random is None or c.trained is None:
        if c.response is not None and c.response < _DEAF:
            text = f"{same}, and the outputs do not change at all: the input is ignored at these weights."
            return "failed", False, text, _DEAF_CAUSES
        text = f"{same}: these weights do not use the input. Whether the model can, steps=100 would tell."
        return "unknown", None, text, {}
    return _after_training(c, same, c.own, c.random, c.trained)


def _after_training(
    c: Compared, same: str, own: Arm, random: Arm, trained: Difference
) -> tuple[str, bool | None, str, dict[str, float]]:
    steps = own.steps[-1]
    if own.broken or not math.isfinite(trained.p):
        text = f"{same}, and the short training broke off ({own.broken or 'no finite loss'}). Run lr_range_test first."
        return "unknown", None, text, {"learning-rate-too-high": 2.0}
    with_own, with_random = sum(own.best) / len(own.best), sum(random.best) / len(random.best)
    both = f"{steps} steps of training bring unseen examples to {short(with_own)}, on random inputs to"
    both += f" {short(with_random)}"
    if trained.p < _SURE and trained.mean > _COUNTS * c.scale:
        text = f"The input is used: {both} ({trained.in_words()}). At the weights as given it made no difference yet."
        return "passed", True, text, _USED
    deaf = c.response is not None and c.response < _DEAF
    if deaf and abs(with_own - with_random) <= _POWER * c.scale:
        text = f"The input is ignored: the outputs are the same whatever goes in, and {both}. Look for dead units, a"
        return "failed", False, f"{text} cut connection or inputs that overflow (check_gradients).", _DEAF_CAUSES
    fitted = sum(own.trained[-10:]) / len(own.trained[-10:])
    guessing = "" if c.guess is None else f" (guessing: {short(c.guess)})"
    if c.guess is not None and c.guess > 0 and fitted > 1.05 * c.guess:
        text = f"Cannot be told: in {steps} steps the training loss came only to {short(fitted)}{guessing}."
        return "unknown", None, f"{text} Give it more steps or another learning rate.", {}
    if trained.upper < _POWER * c.scale:
        text = f"The input makes no difference: {both}{guessing}. Either it says nothing about the target, or it does"
        return "failed", False, f"{text} not come through the model.", _UNUSED
    text = f"Cannot be told: {both} ({trained.in_words()}){guessing}. More batches or steps would tell."
    return "unknown", None, text, {}
