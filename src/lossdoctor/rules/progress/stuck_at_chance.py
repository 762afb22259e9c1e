"""LD202 stuck-at-chance."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading

Floats = NDArray[np.float64]


class StuckAtChance(Rule):
    """A classifier's loss sits at the value of guessing.

    ## What it sees
    The cross-entropy stays within two percent of ln K for at least half of the run and to its end. The number of
    classes K is given (``--context classes=10``) or seen in the log's configuration. Without it, an accuracy that
    stays at 1/K while the loss stays at ln K says the same, and so does a loss that is constant to a few parts in a
    thousand at ln K of a usual K, or training and validation losses that both lie at ln 2 from start to end.

    ## Why it matters
    A loss of ln K means that the prediction does not depend on the input: 0.693 for two classes, 2.303 for ten.

    ## When it is wrong
    A loss that is not a cross-entropy in nats, or classes so unbalanced that guessing does better than ln K.

    ## What to try
    Overfit one batch. Look for a softmax applied twice, dead units after a far too high learning rate, labels
    that do not belong to their inputs.

    ## References
    Karpathy 2019, A Recipe for Training Neural Networks ("verify loss at init").
    """

    code = "LD202"
    name = "stuck-at-chance"
    severity = "warning"
    needs = "the number of classes (context classes=K), or an accuracy"
    options = (
        Option("near", 0.02, "distance from ln K that counts as sitting at it", "share", 0.001, 0.2),
        Option("share", 0.5, "share of the run that sits there", "share", 0.1, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 6:
            yield self.abstain("a loss with at least 6 points")
            return
        metric, reading = primary
        classes = (
            case.context.classes or _classes_by_digits(reading) or _classes_by_accuracy(case) or _two_by_both(case)
        )
        if classes is None or classes < 2:
            yield self.abstain()
            return
        chance = math.log(classes)
        near = np.abs(reading.level - chance) <= case.option(self, "near") * chance
        share = float(near.mean())
        ends_there = bool(near[-max(1, len(near) // 5) :].all())
        if share >= case.option(self, "share") and ends_there:
            yield self._describe(case, metric, reading, classes, share)

    def _describe(self, case: Case, metric: str, reading: Reading, classes: int, share: float) -> Finding:
        chance = math.log(classes)
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} sits at {short(reading.end.value)} for {percent(share)} of the run: guessing among "
                f"{classes} classes gives ln {classes} = {short(chance)}"
            ),
            confidence=0.9 if case.context.classes else 0.8,
            onset_step=int(reading.steps[0]),
            evidence={"level": reading.end.value, "ln_k": chance, "classes": classes, "share": share},
            causes=(
                Cause("loss-misused", 0.25, "overfit_one_batch"),
                Cause("learning-rate-too-high", 0.25, "lr_trial"),
                Cause("dead-units", 0.2, "check_gradients"),
                Cause("labels-uninformative", 0.2, "shuffled_label"),
                Cause("training-loop-bug", 0.1, "overfit_one_batch"),
            ),
            actions=(
                Action(
                    "check_training_loop",
                    "overfit one batch; look for a second softmax, labels that lost their inputs",
                ),
                Action("reduce_learning_rate", "divide by 10: a first step too long can kill all units"),
            ),
            explains=("LD201", "LD204", "LD302", "LD205", "LD305", "LD307"),
        )


def _classes_by_accuracy(case: Case) -> int | None:
    """K, when an accuracy stays near 1/K (in the second half of the run) for a whole K; None otherwise."""
    for role in ("val_accuracy", "train_accuracy"):
        reading = case.reading(role)
        if reading is None or len(reading) < 4:
            continue
        late = reading.y[len(reading) // 2 :]
        level = float(np.median(late))
        level = level / 100 if level > 1.5 else level
        if not 0 < level <= 0.55:
            continue
        classes = round(1 / level)
        if abs(level * classes - 1) < 0.1 and float(np.ptp(late)) < 0.2 * max(float(np.median(late)), 1e-9):
            return classes
    return None


def _classes_by_digits(reading: Reading) -> int | None:
    """K, when the second half of the run is constant to two parts in a thousand, at ln K of a usual K; None otherwise.

    A constant output gives the same loss every epoch; ln K to a thousandth is then no coincidence.
    """
    late = reading.y[len(reading) // 2 :]
    level = median(late)
    if len(late) < 3 or not 0 < level < 8 or float(np.ptp(late)) > 2e-3 * level:
        return None
    usual = (*range(2, 11), 20, 100, 1000)
    return next((k for k in usual if abs(level - math.log(k)) < 1e-3 * math.log(k)), None)


def _two_by_both(case: Case) -> int | None:
    """2, when training and validation loss lie at ln 2 from start to end; None otherwise.

    One loss may pass by ln 2; both within a few parts in a hundred of it all along are guesses between two classes.
    """
    both = [case.reading(role) for role in ("train_loss", "val_loss")]
    at_chance = [r is not None and len(r) >= 6 and _all_near(r.y[len(r) // 10 :], math.log(2)) for r in both]
    return 2 if all(at_chance) else None


def _all_near(values: Floats, level: float) -> bool:
    return bool((np.abs(values - level) < 0.015 * level).all())
