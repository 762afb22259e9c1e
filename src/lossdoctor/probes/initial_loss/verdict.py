"""What the loss at the start says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import short
from lossdoctor.probes.task.levels import Guess
from lossdoctor.probes.task.misuse import Misuse
from lossdoctor.probes.task.task import Task

_FAR = 2.0  # times the loss of guessing from which a start is wrong, beyond its noise
_ABOVE = 1.5  # the same from which it is worth a word
_BELOW = 0.75  # part of the loss of guessing below which it is no luck: the weights have learned something
_OFFSET = 25.0  # times the variance: targets whose mean lies five spreads from zero
_ERRORS = 2.0  # standard errors that a start must lie beyond a level


@dataclass(frozen=True)
class Start:
    """What was measured; the fields of the result, and the task."""

    task: Task
    initial: float
    error: float | None
    losses: tuple[float, ...]
    guess: Guess
    expected: float | None
    reduction: str
    multiple: float | None
    misuses: tuple[Misuse, ...]
    drawn: bool = False
    kept: tuple[str, ...] = ()

    @property
    def low(self) -> float:
        """What the start is at least, with its noise."""
        return self.initial - _ERRORS * (self.error or 0.0)

    @property
    def high(self) -> float:
        return self.initial + _ERRORS * (self.error or 0.0)


Told = tuple[str, str, dict[str, float]]


def judged(start: Start) -> dict[str, Any]:
    """Outcome, verdict, causes and measurements."""
    outcome, verdict, causes, initial = _verdict(start)
    if not start.drawn:
        verdict += " These are the weights as given."
    elif start.kept:
        verdict += f" Not drawn anew, for want of reset_parameters(): {', '.join(start.kept[:3])}."
    detail = {"task": start.task.kind, "reduction": start.reduction, "weights": "drawn" if start.drawn else "given"}
    levels = {"expected": start.expected, "constant": start.guess.constant, "error": start.error}
    detail |= {k: v for k, v in levels.items() if v is not None}  # type: ignore[misc]
    measured = (Measurement("initial_loss", start.initial, "loss", 0, detail),) if initial else ()
    return {"outcome": outcome, "verdict": verdict, "causes": causes, "measurements": measured}


def _verdict(s: Start) -> tuple[str, str, dict[str, float], bool]:
    """Also whether it is the loss of an initial model that rules may judge."""
    if s.misuses:
        return "failed", f"The loss is misused: {s.misuses[0].text}.", {"loss-misused": 15.0}, False
    if not math.isfinite(s.initial):
        bad = sum(not math.isfinite(v) for v in s.losses)
        text = (
            f"The loss is {s.initial} before any update, in {bad} of {len(s.losses)} batches: look for NaN or infinity"
        )
        causes = {"bad-data": 5.0, "precision-overflow": 3.0, "bad-initialization": 2.0, "loss-misused": 2.0}
        return "failed", f"{text} in the data (check_data) and in the model's outputs.", causes, True
    if all(v == 0 for v in s.losses):
        text = "The loss is exactly 0: nothing is left to learn from. Are all labels masked, or is it a constant?"
        return "failed", text, {"loss-misused": 8.0, "bad-data": 3.0, "data-leak": 1.5}, True
    if s.expected is None:
        text = f"The loss is {short(s.initial)}; what guessing would give cannot be told for {s.task.described()}."
        if s.guess.constant is not None:
            text += f" The best constant answer would give {short(s.guess.constant)}."
        return "unknown", f"{text} Give expected=… where you know it.", {}, False
    kind = _number if s.task.kind == "regression" else _decision
    outcome, verdict, causes = kind(s, s.expected)
    better = verdict.startswith("Better than guessing")
    return outcome, verdict, causes, not better


def _decision(s: Start, expected: float) -> Told:
    """A classification, a language model, yes or no; or a loss whose start the user told."""
    name = _named(s)
    ratio = s.initial / expected if expected else math.inf
    least = min(expected, s.guess.constant) if s.guess.constant is not None else expected
    if s.high < _BELOW * least:
        text = f"Better than guessing: the loss is {short(s.initial)}, guessing gives {short(least)}."
        if s.drawn:
            return (
                "noted",
                f"{text} Untrained weights cannot know: does the answer lie among the inputs?",
                {"data-leak": 2.0},
            )
        return "noted", f"{text} The weights are trained; reset=True judges new ones.", {"loss-misused": 0.7}
    if s.low > _FAR * expected:
        text = (
            f"The loss starts at {short(s.initial)}, {short(ratio)} times the {short(expected)} of guessing ({name}):"
        )
        text += " the outputs are sure of what they cannot know. Make the last layer small or zero, normalise the"
        causes = {"bad-initialization": 6.0, "inputs-unscaled": 4.0, "loss-misused": 1.5, "learning-rate-too-high": 1.2}
        return "failed", f"{text} inputs.", causes
    if s.low > _ABOVE * expected:
        text = (
            f"The loss starts at {short(s.initial)}, {short(ratio)} times the {short(expected)} of guessing ({name}):"
        )
        causes = {"bad-initialization": 2.0, "inputs-unscaled": 1.5}
        return "noted", f"{text} the first steps will only shrink the outputs. A smaller last layer saves them.", causes
    near = f"The loss starts at {short(s.initial)}{_noise(s)}, where guessing is: {short(expected)} ({name})."
    healthy = {"bad-initialization": 0.3, "loss-misused": 0.4, "inputs-unscaled": 0.7}
    if s.multiple is not None and abs(s.multiple - 1) > 0.01 and s.reduction == "sum":
        text = (
            f"{near} It is a sum over the examples ({short(s.multiple)} decisions): the gradient and with it the right"
        )
        return "noted", f"{text} learning rate grow with the batch; take the mean.", {**healthy, "loss-misused": 2.0}
    if s.multiple is not None and abs(s.multiple - 1) > 0.01:
        text = f"{near} That is {short(s.multiple)} times that of one decision: the loss is summed or weighted."
        return "noted", text, {**healthy, "loss-misused": 1.3}
    prior = s.guess.constant
    if prior is not None and prior < 0.7 * expected:
        near += f" The labels' shares alone give {short(prior)}: a last bias at their logarithms starts there."
    return "passed", near, healthy


def _number(s: Start, expected: float) -> Told:
    """A regression."""
    constant = s.guess.constant if s.guess.constant is not None else expected
    names = {"mse": "the targets' variance", "mae": "the targets' mean absolute deviation"}
    spread = names.get(s.task.loss, "the loss of the best constant answer")
    if s.high < _BELOW * constant:
        text = f"Better than guessing: the loss is {short(s.initial)}, {spread} {short(constant)}."
        if s.drawn:
            return (
                "noted",
                f"{text} Untrained weights cannot know: does the answer lie among the inputs?",
                {"data-leak": 1.5},
            )
        return "noted", f"{text} The weights are trained; reset=True judges new ones.", {"loss-misused": 0.7}
    if s.low > _FAR * expected:
        text = f"The loss starts at {short(s.initial)}, {short(s.initial / expected)} times the {short(expected)} that"
        text += " outputs of zero or the targets' mean give: the outputs are far too large. Look at the scale of the"
        causes = {"bad-initialization": 5.0, "inputs-unscaled": 6.0, "learning-rate-too-high": 1.2}
        return "failed", f"{text} inputs (check_data) and of the weights.", causes
    if constant > 0 and expected > _FAR * constant and s.guess.zero is not None:
        times = short(expected / constant)
        text = f"The targets lie far from zero: the loss starts at {short(s.initial)}, {times} times {spread},"
        text += f" {short(constant)}, and the first steps only find their mean. Standardise them, or set the last bias."
        far = expected > _OFFSET * constant
        causes = {"inputs-unscaled": 4.0 if far else 1.5, "bad-initialization": 2.0 if far else 1.0}
        return "failed" if far else "noted", text, causes
    near = f"The loss starts at {short(s.initial)}{_noise(s)}"
    zero = s.guess.zero
    at_zero = zero is not None and zero > _ABOVE * constant
    text = f"{near}, where guessing is: {spread} is {short(constant)}."
    if zero is not None and at_zero:
        text = f"{near}, about where outputs of zero are ({short(zero)}); {spread} is {short(constant)}."
    healthy = {"bad-initialization": 0.3, "loss-misused": 0.5, "inputs-unscaled": 0.6}
    if s.reduction == "sum":
        text += " It is a sum over the examples: the gradient and with it the right learning rate grow with the batch."
        return "noted", text, {**healthy, "loss-misused": 2.0}
    return "passed", text, healthy


def _named(s: Start) -> str:
    if s.guess.uniform is None or s.expected != s.guess.uniform:
        return "as given"
    plain = s.multiple is not None and abs(s.multiple - 1) < 0.01
    if s.task.classes:
        return f"ln {s.task.classes}" if plain else f"equal shares of {s.task.classes} classes"
    return "ln 2" if plain else "even odds"


def _noise(s: Start) -> str:
    return "" if not s.error else f" ± {short(s.error)}"
