"""LD208 loss-collapsed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading


class LossCollapsed(Rule):
    """The loss is exactly zero, or all but zero within the first epoch.

    ## What it sees
    The last points of the loss are exactly 0.0, and it did not get there by itself (the last value before was not small
    yet); or, where the steps per epoch are known, the loss lost 99.9 % of its
    starting level before the first epoch ended.

    ## Why it matters
    A real loss does not reach zero: all labels are masked, the answer leaks into the input, a logger writes 0 for NaN,
    or the numbers are too small for the printed digits.

    ## When it is wrong
    A hinge loss on separable data, or a model that memorised a tiny training set, does reach zero.

    ## What to try
    Shuffle the labels: if the loss still collapses, the data or the masking is wrong. Look at one batch: how many
    labels are left after masking?

    ## References
    Karpathy 2019, A Recipe for Training Neural Networks.
    """

    code = "LD208"
    name = "loss-collapsed"
    severity = "warning"
    needs = "a loss with at least 5 points"
    options = (
        Option("points", 5.0, "how many of the last points are exactly zero", "count", 2, 1000),
        Option("left", 0.001, "share of the starting level that is left within the first epoch", "share", 0, 0.1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or primary[1].n < case.option(self, "points"):
            yield self.abstain()
            return
        metric, reading = primary
        last = reading.summary.tail_values[-int(case.option(self, "points")) :]
        if np.all(last == 0.0) and not self._converged(case, reading):
            yield self._describe(case, metric, reading, _zero_from(reading), "is exactly 0.0")
            return
        early = self._early(case, reading)
        if early is not None:
            level = short(float(reading.level[early]))
            yield self._describe(
                case, metric, reading, int(reading.steps[early]), f"fell to {level} in its first epoch"
            )

    def _converged(self, case: Case, reading: Reading) -> bool:
        """Whether the loss went to zero by itself: it was already all but gone before the first zero."""
        values = reading.summary.tail_values
        other = values[np.isfinite(values) & (values != 0.0)]
        return len(other) > 0 and abs(float(other[-1])) < case.option(self, "left") * abs(reading.start.value)

    def _early(self, case: Case, reading: Reading) -> int | None:
        """The bin at which the loss is all but gone within the first epoch, or None."""
        length = case.context.steps_per_epoch
        if length is None or case.step_unit != "step" or not reading.positive or reading.width > 1:
            return None
        first = reading.steps <= reading.summary.first_step + length
        gone = np.flatnonzero(first & (reading.level < case.option(self, "left") * reading.start.value))
        return int(gone[0]) if len(gone) >= 3 else None

    def _describe(self, case: Case, metric: str, reading: Reading, onset: int, how: str) -> Finding:
        return self.finding(
            case,
            metric=metric,
            summary=f"{metric} {how} from {case.step_unit} {onset} on, after starting at {short(reading.start.value)}",
            confidence=0.85,
            onset_step=onset,
            evidence={"start": reading.start.value, "end": reading.end.value},
            causes=(
                Cause("training-loop-bug", 0.35, "log_more"),
                Cause("data-leak", 0.3, "shuffled_label"),
                Cause("bad-data", 0.2, "check_data"),
                Cause("precision-overflow", 0.15, "check_gradients"),
            ),
            actions=(
                Action("check_data", "look at one batch: are labels left after masking, is the answer in the input?"),
                Action("check_training_loop", "look at the raw loss before the logger rounds or filters it"),
            ),
            explains=("LD201", "LD204", "LD205"),
        )


def _zero_from(reading: Reading) -> int:
    """The step at which the final stretch of zeros begins, as far back as the raw tail goes."""
    values = reading.summary.tail_values
    other = np.flatnonzero(values != 0.0)
    at = int(other[-1]) + 1 if len(other) else 0
    return int(reading.summary.tail_steps[min(at, len(values) - 1)])
