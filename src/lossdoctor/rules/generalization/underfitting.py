"""LD302 underfitting."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall, straightness


class Underfitting(Rule):
    """Training and validation loss stay high together.

    ## What it sees
    Both losses fall only little of their starting level and lie close together, and either the fall is slow to
    the end in both or the accuracy is poor. Shape alone cannot know what the task allows, so without such a sign it
    abstains.

    ## Why it matters
    There is nothing to regularise: the model cannot even learn its training set. More capacity, more steps or a
    better learning rate helps; more data does not.

    ## When it is wrong
    A fine-tuned model starts near its end level and has little to gain. Irreducible noise (a high best possible
    loss).

    ## What to try
    Overfit one batch with regularisation off: if that works, raise capacity or the learning rate; if not, look at
    the loop and the data.

    ## References
    Goodfellow, Bengio, Courville 2016, Deep Learning, chapter 5.2.
    """

    code = "LD302"
    name = "underfitting"
    severity = "warning"
    needs = "a training and a validation loss of one quantity, with at least 9 points each"
    options = (
        Option("little", 0.25, "fall over the starting level that counts as staying high", "share", 0.01, 1),
        Option("gap", 0.15, "gap between both over the level that counts as close", "share", 0.01, 1),
        Option("straight", 0.5, "slope of the last third over the mean slope", "ratio", 0.1, 2),
        Option("poor_accuracy", 0.6, "way from chance to a perfect accuracy below which a fit is poor", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        train, val = case.reading("train_loss"), case.reading("val_loss")
        metric = case.roles.primary("train_loss")
        if train is None or val is None or metric is None or not case.roles.comparable or min(len(train), len(val)) < 9:
            yield self.abstain()
            return
        if not (train.positive and val.positive):
            return
        if begins_late(train):
            yield self.abstain("a log from the first steps on: how far both losses fell is not known")
            return
        lost = [1 - r.end.value / r.start.value for r in (train, val)]
        gap = abs(val.end.value - train.end.value) / abs(train.end.value)
        if max(lost) >= case.option(self, "little") or min(lost) < 0.01 or gap > case.option(self, "gap"):
            return
        sign = self._sign(case, train, val)
        if sign:
            yield self._describe(case, metric, train, val, max(lost), gap, sign)

    def _sign(self, case: Case, train: Reading, val: Reading) -> str:
        whole = fall(train)
        if whole is None or whole.z < 3:
            return ""
        least = case.option(self, "straight")
        if min(straightness(train), straightness(val)) >= least and train.n >= 30:
            return "both still fall slowly in a straight line"
        accuracy = case.reading("val_accuracy") or case.reading("train_accuracy")
        if accuracy is None or len(accuracy) < 4 or min(len(val), len(train)) < 15:
            return ""
        best = float(np.max(accuracy.level))
        best = best / 100 if best > 1.5 else best
        chance = 1 / case.context.classes if case.context.classes else 0.0
        poor = (best - chance) / (1 - chance) < case.option(self, "poor_accuracy")
        return f"the accuracy does not pass {percent(best)}" if poor else ""

    def _describe(
        self, case: Case, metric: str, train: Reading, val: Reading, lost: float, gap: float, sign: str
    ) -> Finding:
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"training and validation stay high together: {short(train.end.value)} and {short(val.end.value)}, "
                f"at most {percent(lost)} below where they started; {sign}"
            ),
            confidence=0.65,
            onset_step=int(train.steps[0]),
            evidence={"train_end": train.end.value, "val_end": val.end.value, "relative_fall": lost, "gap": gap},
            causes=(
                Cause("capacity-too-small", 0.4, "overfit_one_batch"),
                Cause("learning-rate-too-low", 0.3, "lr_range_test"),
                Cause("over-regularized", 0.2, "overfit_one_batch"),
                Cause("labels-uninformative", 0.1, "shuffled_label"),
            ),
            actions=(
                Action("increase_capacity", "if one batch cannot be overfitted with regularisation off"),
                Action("increase_learning_rate", "multiply by 3 to 10, guided by a range test"),
                Action("reduce_regularization", "less weight decay and dropout"),
            ),
            explains=("LD203", "LD204", "LD205"),
        )
