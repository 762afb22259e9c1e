"""LD201 flat-line."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import in_noise, percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late, is_continued
from lossdoctor.rules.known import far_above_expected
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import Fall, fall


class FlatLine(Rule):
    """The loss never really fell.

    ## What it sees
    From the start to the end the loss falls by less than its noise explains, or by next to nothing of its own
    size; or it fell once, by little, in the first steps and then sat still for the rest of the run.

    ## Why it matters
    The model learns nothing: something is detached, frozen, saturated, or the learning rate is far off.

    ## When it is wrong
    A run continued from a trained checkpoint starts low and stays level. It is left alone when the log shows so: its
    first steps are missing, the accuracy is high from the start, or the loss less than half of what guessing gives.
    A trained model's batches also differ far more from one another, against their mean, than those of a model that
    guesses: a flat loss with strong noise is only told as information.

    ## What to try
    Look at the gradient norm: zero means detached or frozen parameters or a missing optimizer step. Then overfit
    one batch with regularisation off; if that fails the model or the loop is broken, if it works raise the
    learning rate tenfold.

    ## References
    Seeds of this project: "flat line: check gradient norms, run a one-batch overfit test, increase LR by 10x".
    """

    code = "LD201"
    name = "flat-line"
    severity = "warning"
    needs = "a loss with at least 6 points"
    options = (
        Option("noisy", 0.08, "noise of points over the level from which it is only information", "share", 0, 5),
        Option("hidden", 0.12, "largest fall over the start that the noise of a flat run may hide", "share", 0.01, 1),
        Option("z", 3.0, "fall in standard errors below which it is not one", "sigma", 1, 10),
        Option("least_fall", 0.015, "fall over the start that is next to nothing", "share", 0, 0.5),
        Option("once_fall", 0.03, "largest early fall after which a level run still counts as flat", "share", 0, 0.5),
        Option("known_fall", 0.12, "the same for a cross-entropy that ends above ln 100", "share", 0, 0.5),
        Option("learned_accuracy", 0.75, "first accuracy of a run that counts as continued", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 4:
            yield self.abstain()
            return
        metric, reading = primary
        noise = reading.raw_sigma / abs(reading.end.value) if reading.positive else 0.0
        if len(reading) < 24 and noise > case.option(self, "noisy") / 4:
            return  # too few points for so much noise
        if len(reading) < 6 and not (reading.positive and float(np.ptp(reading.y)) < 0.002 * reading.end.value):
            yield self.abstain()  # four or five points show a flat line only when they are all but equal
            return
        whole = fall(reading)
        if whole is None or is_continued(case, reading, case.option(self, "learned_accuracy")):
            return
        how = self._how_flat(case, metric, reading, whole)
        dead = _no_gradient(case)
        if how and (dead or not begins_late(reading)):  # what it lost before the log begins, nobody knows
            yield self._describe(case, metric, reading, whole, how, dead)

    def _how_flat(self, case: Case, metric: str, reading: Reading, whole: Fall) -> str:
        if (reading.positive and self._next_to_nothing(case, reading, whole)) or self._within_noise(
            case, reading, whole
        ):
            return "from the start"
        return self._after_a_small_fall(case, metric, reading) if reading.positive else ""

    def _next_to_nothing(self, case: Case, reading: Reading, whole: Fall) -> bool:
        """Whether the loss fell by next to nothing of its size, and not steadily."""
        least, start = case.option(self, "least_fall"), reading.start.value
        gained = start - reading.best.value
        steady = -4.0 if len(reading) >= 20 else -2.5  # fewer points cannot show a trend more clearly
        many = len(reading) >= 8 or bool((np.diff(reading.y) < 0).all())  # a few points all falling are no chance
        learning = whole.z > 3 and whole.trend_z < steady and many and whole.relative > 0.005
        return -0.05 < whole.relative < least and gained < 3 * least * start and not learning

    def _within_noise(self, case: Case, reading: Reading, whole: Fall) -> bool:
        """Whether the fall is within the noise, and the noise too small to hide one.

        Flat is what cannot have fallen by much, not what failed to show that it fell. The fewer points, the less may
        be hidden.
        """
        moved = abs(reading.end.value - reading.start.value)
        quiet = abs(whole.z) < case.option(self, "z") and whole.trend_z > -2.5
        if not quiet or moved > 4 * max(reading.sigma, reading.start.se):
            return False
        hidden = whole.drop + 2 * _error_of(whole, reading)
        gained = reading.start.value - reading.best.value
        most = case.option(self, "hidden") * min(1.0, len(reading) / 24) * abs(reading.start.value)
        signed = bool(reading.y.min() < 0)  # then a share of the start says nothing; a zero in it does not matter
        return signed or max(hidden, gained / 2) < most

    def _after_a_small_fall(self, case: Case, metric: str, reading: Reading) -> str:
        """How a loss is flat that fell once, by little, in its first steps; empty when it is not."""
        start, hidden = reading.start.value, case.option(self, "hidden")
        lost = (start - reading.end.value) / start
        frozen = reading.y[max(1, len(reading) // 4) :]
        if len(frozen) >= 6 and float(np.ptp(frozen)) == 0.0 and 0 <= lost < 2 * hidden:
            return "after a first small fall, to the last digit"
        rest = fall(reading, max(1, len(reading) // 16))
        if rest is None or len(reading) < 12:
            return ""
        quiet = abs(rest.z) < case.option(self, "z") and abs(rest.trend_z) < 3
        level = quiet or abs(rest.relative) < 0.5 * case.option(self, "least_fall")
        seen = rest.drop + 2 * _error_of(rest, reading) < 0.5 * hidden * start
        small = case.option(self, "known_fall" if far_above_expected(case, metric, reading) else "once_fall")
        return "after a first small fall" if level and seen and 0 <= lost < small else ""

    def _describe(self, case: Case, metric: str, reading: Reading, whole: Fall, how: str, dead: bool) -> Finding:
        lost = reading.start.value - reading.end.value
        change = percent(-lost / abs(reading.start.value)) if reading.positive else short(-lost)
        summary = (
            f"{metric} is flat {how}: {short(reading.start.value)} at the start, {short(reading.end.value)} at the end "
            f"(change {change}; the run's trend is {in_noise(abs(whole.z))})"
        )
        noisy = reading.positive and reading.raw_sigma > case.option(self, "noisy") * abs(reading.end.value)
        confidence = 0.9 if abs(whole.z) < 2 and len(reading) >= 30 else 0.75
        return self.finding(
            case,
            metric=metric,
            severity="info" if noisy and not dead else self.severity,
            summary=summary,
            confidence=0.97 if dead else 0.5 if noisy else confidence,
            onset_step=int(reading.steps[0]),
            evidence={
                "start": reading.start.value,
                "end": reading.end.value,
                "relative_fall": lost / abs(reading.start.value) if reading.positive else None,
                "z": whole.z,
                "grad_norm_zero": dead,
            },
            causes=_CAUSES_DEAD if dead else _CAUSES,
            actions=_ACTIONS_DEAD if dead else _ACTIONS,
            explains=("LD204", "LD302", "LD203", "LD205", "LD305", "LD307"),
        )


def _no_gradient(case: Case) -> bool:
    """Whether a gradient norm is logged and was never anything but zero."""
    norms = case.reading("grad_norm")
    return norms is not None and len(norms) >= 3 and float(norms.summary.max_value) == 0.0


def _error_of(part: Fall, reading: Reading) -> float:
    """The standard error of a measured fall."""
    return abs(part.drop / part.z) if part.z else reading.sigma


_CAUSES = (
    Cause("training-loop-bug", 0.25, "overfit_one_batch"),
    Cause("learning-rate-too-low", 0.2, "lr_range_test"),
    Cause("frozen-or-detached", 0.2, "check_gradients"),
    Cause("gradients-vanish", 0.1, "check_gradients"),
    Cause("learning-rate-too-high", 0.1, "lr_trial"),
    Cause("labels-uninformative", 0.15, "shuffled_label"),
)
_CAUSES_DEAD = (
    Cause("frozen-or-detached", 0.6, "check_gradients"),
    Cause("dead-units", 0.2, "check_gradients"),
    Cause("gradients-vanish", 0.2, "check_gradients"),
)
_ACTIONS = (
    Action(
        "check_training_loop",
        "overfit one batch: backward() and step() called, parameters in the optimizer, not frozen",
    ),
    Action("increase_learning_rate", "multiply by 10 if one batch can be learned"),
    Action("fix_initialization", "check that activations and gradients reach the first layers"),
)
_ACTIONS_DEAD = (
    Action(
        "check_training_loop", "the gradient norm is zero: the loss is detached from the parameters, or they are frozen"
    ),
    Action("fix_initialization", "dead or saturated units: smaller weights, He or Xavier initialisation"),
)
