"""What the short trainings on a few examples say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.overfit.result import Attempt
from lossdoctor.probes.task.misuse import Misuse
from lossdoctor.probes.task.task import Task

_STUCK = 0.05  # share of the way below which nothing was learned of the inputs
_MOST = 0.5  # share from which it is rather slow than unable
_NEARLY = 0.75  # share from which nothing is broken
_HIGH = 5.0  # times the loss of guessing from which the start itself is wrong
_STILL = 0.02  # part of the rest of the way that the last fifth must take to count as still falling
_FALL = 0.1  # share of the starting loss that must go where no goal is known


@dataclass
class Evidence:
    """What was seen; filled step by step."""

    task: Task
    examples: int
    start: float
    lowest: float | None
    guess: float | None
    goal: float | None
    given_goal: bool
    alike: bool  # one answer fits all of these examples
    misuses: tuple[Misuse, ...]
    outside: tuple[str, ...]
    frozen_share: float
    steps_allowed: int
    spent: int
    attempts: list[Attempt] = field(default_factory=list)
    without_gradient: tuple[str, ...] = ()
    trained: int = 0
    kept: tuple[str, ...] = ()  # parameters that a reset could not draw anew

    @property
    def span(self) -> float | None:
        """From the lowest loss to that of guessing; None where either is unknown."""
        return None if self.lowest is None or self.guess is None else self.guess - self.lowest

    @property
    def learnable(self) -> bool:
        """Whether there is any sense in training."""
        hopeless = {"all-masked", "not-log-probabilities"} & {m.name for m in self.misuses}
        return math.isfinite(self.start) and not hopeless and (not self.alike or self.given_goal)

    @property
    def limit(self) -> float:
        """The loss beyond which a training has diverged."""
        return self.start + 1e4 * max(abs(self.start), self.span or 0.0, abs(self.guess or 0.0))

    @property
    def best(self) -> float:
        return min((a.best for a in self.attempts if math.isfinite(a.best)), default=self.start)

    def share(self, best: float) -> float | None:
        """How much of the way from guessing to the lowest a loss is; negative where it is worse than guessing."""
        if self.span is None or self.guess is None or self.span <= 0 or not math.isfinite(best):
            return None
        return (self.guess - best) / self.span

    @property
    def settled(self) -> bool:
        """Whether another learning rate cannot change the verdict."""
        last = self.attempts[-1]
        if self.misuses or last.needed is not None or last.broken == "detached":
            return True
        return self.goal is None and self.start - last.best > _FALL * abs(self.start)

    @property
    def leading(self) -> Attempt:
        """The attempt with the lowest loss."""
        return min(self.attempts, key=lambda a: a.best if math.isfinite(a.best) else math.inf)

    def still_falling(self, attempt: Attempt) -> bool:
        """Whether it learned something, and the last fifth of the steps took a part of what was left."""
        cut = len(attempt.losses) * 4 // 5
        share = self.share(attempt.best)
        if cut < 1 or attempt.broken or self.lowest is None or share is None or share < _STUCK:
            return False
        before, after = min(attempt.losses[:cut]) - self.lowest, min(attempt.losses[cut:]) - self.lowest
        return before - after > _STILL * before

    def rises_with_rate(self) -> bool:
        """Whether ten times the rate gave several times the fall: then the rate is far from what it could be."""
        falls = {a.factor: self.start - a.best for a in self.attempts if not a.broken}
        return 1.0 in falls and 10.0 in falls and falls[10.0] > 3 * max(falls[1.0], 0.0) and falls[10.0] > 0


def judged(e: Evidence, *, subset: bool) -> dict[str, Any]:
    """The fields of the result."""
    outcome, learns, verdict, causes = _verdict(e, subset)
    share = e.share(e.best)
    if e.kept:
        verdict += f" {_names(e.kept)} could not be drawn anew and stayed as they were."
    detail = {"goal": e.goal, "start": e.start, "examples": e.examples, "task": e.task.kind}
    name = "overfit_subset_loss" if subset else "overfit_loss"
    return {
        "outcome": outcome,
        "verdict": verdict,
        "causes": causes,
        "measurements": (Measurement(name, e.best, "loss", None, {k: v for k, v in detail.items() if v is not None}),),
        "steps": e.spent,
        "learns": learns,
        "examples": e.examples,
        "attempts": tuple(e.attempts),
        "start": e.start,
        "best": e.best,
        "goal": e.goal,
        "lowest": e.lowest,
        "guess": e.guess,
        "task": e.task.described(),
        "learned_share": share,
        "without_gradient": e.without_gradient,
        "not_in_optimizer": e.outside,
        "frozen_share": e.frozen_share,
    }


Told = tuple[str, bool | None, str, dict[str, float]]


def _verdict(e: Evidence, subset: bool) -> Told:
    what = f"{e.examples} examples" if subset else f"one batch of {e.examples}"
    masked = any(m.name == "all-masked" for m in e.misuses)
    if not math.isfinite(e.start) and not masked:
        text = f"The loss of {what} is {e.start} before any update: look for NaN or infinity in the data (check_data)"
        causes = {"bad-data": 5.0, "precision-overflow": 3.0, "bad-initialization": 2.0, "loss-misused": 2.0}
        return "failed", False, f"{text} and in what the model gives for it.", causes
    if not e.attempts:
        return _untrained(e, what)
    first = e.attempts[0]
    if first.broken == "detached":
        text = "The loss does not depend on any trainable parameter: it was detached, computed under no_grad or from"
        return "failed", False, f"{text} argmax, or everything is frozen.", {"frozen-or-detached": 30.0}
    reached = next((a for a in e.attempts if a.needed is not None), None)
    if reached is not None:
        return _learned(e, reached, what, subset)
    if e.misuses:
        return "failed", False, f"Cannot learn {what}: {e.misuses[0].text}.", {"loss-misused": 12.0, **_MODEL_NOT_LOOP}
    return _unreached(e, what, subset) if e.goal is not None else _goalless(e, what)


# The test's own loop fails as well: the bug is rather not in the user's.
_MODEL_NOT_LOOP = {"training-loop-bug": 0.5}


def _untrained(e: Evidence, what: str) -> Told:
    if e.misuses:
        masked = e.misuses[0].name == "all-masked"
        text = f"Nothing to learn from {what}: {e.misuses[0].text}."
        return "failed", False, text, {"loss-misused": 12.0, **({"bad-data": 3.0} if masked else {})}
    text = f"All targets of {what} are alike: one constant answer fits them, which says nothing about the model."
    more = " Shuffle the loader, or give a batch with different targets."
    return "unknown", None, text + more, {"data-unshuffled": 2.0}


def _learned(e: Evidence, reached: Attempt, what: str, subset: bool) -> Told:
    goal = "" if e.goal is None else f" (goal {short(e.goal)})"
    causes = {"training-loop-bug": 2.0, "capacity-too-small": 0.15, "gradients-vanish": 0.3, "dead-units": 0.4}
    causes |= {"frozen-or-detached": 0.2, "loss-misused": 0.3}
    if subset:
        causes |= {"capacity-exceeds-data": 1.5, "capacity-too-small": 0.1, "training-loop-bug": 1.5}
    if e.outside:
        causes["frozen-or-detached"] = 3.0
    if e.span and e.lowest is not None and e.start - e.lowest > _HIGH * e.span:
        causes["bad-initialization"] = 2.0
    tail = f" But the optimizer does not have {_names(e.outside)}." if e.outside else ""
    if reached.needed == 0:
        text = f"These weights fit {what} already: the loss is {short(reached.losses[0])}{goal}, nothing had to be"
        del causes["training-loop-bug"]
        return "noted", True, f"{text} learned; reset=True starts from new weights.{tail}", causes
    falls = f"the loss of {what} falls from {short(e.start)} to {short(reached.losses[-1])}{goal}"
    pace = f"in {reached.needed} steps at a rate of {short(reached.rate)}"
    if reached.factor == 1:
        loop = "This loop is the test's own: if your run does not learn, the bug is in your loop (zero_grad, backward,"
        loop += " step, what the optimizer was given), or in the data it sees."
        if subset:
            loop = "The model has room for these examples."
        causes |= {"learning-rate-too-high": 0.8, "learning-rate-too-low": 0.5}
        return "noted" if e.outside else "passed", True, f"Learns: {falls} {pace}. {loop}{tail}", causes
    low = reached.factor > 1
    own = e.attempts[0]
    ended = f"breaks off ({own.broken})" if own.broken else f"gets no lower than {short(own.best)}"
    most = e.start - own.best > 0.9 * (e.start - (e.lowest or 0.0))  # of a start far above guessing
    near = not own.broken and (most or (e.share(own.best) or 0.0) >= _MOST)
    times = "ten times" if low else "a tenth of"
    text = f"Learns{', faster' if near and low else ' only'} at {times} your learning rate: {falls} {pace}; at"
    text += f" {short(own.rate)} it {ended} in {own.steps}."
    text += f" {'Try' if near else 'Use'} a {'higher' if low else 'lower'} rate, or run lr_range_test."
    causes["learning-rate-too-low" if low else "learning-rate-too-high"] = 2.0 if near else 6.0
    causes["learning-rate-too-high" if low else "learning-rate-too-low"] = 0.3
    causes["training-loop-bug"] = 0.7
    return "noted" if near else "failed", True, text + tail, causes


def _unreached(e: Evidence, what: str, subset: bool) -> Told:
    best, share, gaps = e.leading, e.share(e.best), _gaps(e)
    tried = f"at a rate of {_listed(sorted({short(a.rate) for a in e.attempts}, key=float))}"
    goal = f"the goal of {short(e.goal or 0.0)}"
    causes = dict(_MODEL_NOT_LOOP)
    if gaps:
        causes |= {"frozen-or-detached": 8.0 if len(e.without_gradient) < e.trained else 5.0, "dead-units": 4.0}

    def failed(text: str, more: dict[str, float]) -> Told:
        both = causes | {k: max(v, causes.get(k, 0.0)) for k, v in more.items()}
        return "failed", False, f"Cannot learn {what}: {text}", both

    if all(a.broken for a in e.attempts):
        more = {"gradients-explode": 4.0, "learning-rate-too-high": 3.0, "bad-initialization": 2.0}
        text = (
            f"the loss leaves its start of {short(e.start)} upwards {tried}. Look at the gradients (check_gradients)."
        )
        return failed(text + gaps, more)
    if _flat(e):
        more = {"frozen-or-detached": 8.0, "dead-units": 5.0, "gradients-vanish": 4.0}
        return failed(f"the loss stays at {short(e.start)} {tried}.{gaps}", more)
    if not gaps and e.rises_with_rate() and (share is None or share < _MOST):
        text = (
            f"Your learning rate is far too low for this model: at {short(e.attempts[0].rate)} the loss of {what} falls"
        )
        text += (
            f" by {short(e.start - e.attempts[0].best)}, at ten times that by {short(e.start - best.best)}, and {goal}"
        )
        return "failed", None, f"{text} is still far. Run lr_range_test.", {"learning-rate-too-low": 8.0}
    if e.still_falling(best):
        text = f"Not told yet: the loss of {what} has come from {short(e.start)} to {short(best.best)} and still falls"
        text += f" towards {goal} after {best.steps} steps at a rate of {short(best.rate)};"
        more = {"learning-rate-too-low": 2.0, "capacity-too-small": 1.5}
        return "unknown", None, f"{text} give it more: steps={2 * best.steps}.{gaps}", causes | more
    if share is not None and share >= _NEARLY:
        text = f"Learns {percent(share)} of the way from guessing: the loss of {what} comes from {short(e.start)} to"
        text += f" {short(best.best)}, and levels off before {goal}. More width or depth would take it further."
        more = {"capacity-too-small": 2.5 if subset else 2.0, "training-loop-bug": 1.2, "loss-misused": 0.5}
        return "noted", True, text + gaps, causes | more
    lowest = f"the loss gets no lower than {short(best.best)} from {short(e.start)} {tried}, and should reach {goal}."
    if share is not None and share < _STUCK:
        guess = (
            f" It gets no better than the best answer that is the same for all ({short(e.guess or 0.0)}): the inputs"
        )
        more = {"dead-units": 4.0, "gradients-vanish": 4.0, "frozen-or-detached": 4.0}
        more["capacity-too-small"] = 1.0 if gaps else 3.0
        return failed(f"{lowest}{guess} do not come through.{gaps}", more)
    more = {"capacity-too-small": 6.0 if subset else 4.0, "frozen-or-detached": 2.0, "gradients-vanish": 1.5}
    part = "" if share is None else f" That is {percent(share)} of the way from guessing."
    step = " Widen or deepen the model, or thaw what is frozen" if e.frozen_share else " Widen or deepen the model"
    return failed(f"{lowest}{part}{gaps}{step}.", more)


def _goalless(e: Evidence, what: str) -> Told:
    """The task does not tell how low the loss can go."""
    best = e.leading
    falls = f"the loss of {what} falls from {short(e.start)} to {short(best.best)}"
    falls += f" in {best.steps} steps at a rate of {short(best.rate)}"
    ask = "How low it can go is not known for this loss; target_loss=… would make the verdict firm."
    fell = e.start - best.best
    learned = {"training-loop-bug": 1.5, "capacity-too-small": 0.5, "frozen-or-detached": 0.4, "gradients-vanish": 0.5}
    if e.guess is not None and best.best < e.guess - 0.05 * max(abs(e.guess), abs(e.start - e.guess)):
        better = f"below what the best constant answer gives ({short(e.guess)})"
        text = f"Learns: {falls}, {better}. {ask}"
        return "passed" if best.factor == 1 else "noted", True, text, learned | _rate_causes(best)
    if _flat(e) or all(a.broken for a in e.attempts):
        causes = {"frozen-or-detached": 6.0, "dead-units": 3.0, "gradients-explode": 2.0, **_MODEL_NOT_LOOP}
        text = f"Cannot learn {what}: the loss does not fall from {short(e.start)} at"
        return "failed", False, f"{text} {_listed([short(a.rate) for a in e.attempts])}.{_gaps(e)}", causes
    if fell > _FALL * abs(e.start):
        return "noted", True, f"Seems to learn: {falls}. {ask}", learned | _rate_causes(best)
    return "unknown", None, f"Cannot be told: {falls}. {ask}", {}


def _rate_causes(best: Attempt) -> dict[str, float]:
    if best.factor == 1:
        return {}
    return {"learning-rate-too-low" if best.factor > 1 else "learning-rate-too-high": 2.0}


def _flat(e: Evidence) -> bool:
    """Whether no update changed anything that is more than rounding."""
    values = [v for a in e.attempts for v in a.losses if math.isfinite(v)]
    return bool(values) and max(values) - min(values) <= 1e-6 * max(abs(e.start), 1e-30)


def _gaps(e: Evidence) -> str:
    if not e.without_gradient:
        return ""
    return (
        f" {len(e.without_gradient)} of {e.trained} trainable tensors get no gradient ({_names(e.without_gradient)})."
    )


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
