"""LD307 loss-accuracy-disagree."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.loss_divergence import has_turned
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall, kendall_z, turn

_CALIBRATION = (
    Cause("capacity-exceeds-data", 0.6, "overfit_subset"),
    Cause("label-noise", 0.25, "check_data"),
    Cause("validation-differs", 0.15, "compare_splits"),
)
_METRIC = (
    Cause("loss-misused", 0.4, "check_data"),
    Cause("bad-data", 0.35, "check_data"),
    Cause("validation-differs", 0.25, "compare_splits"),
)


class LossAccuracyDisagree(Rule):
    """The validation loss and the validation accuracy tell different stories.

    ## What it sees
    Both rise: the loss stands clearly above its lowest level while the accuracy went on improving since. Or the
    loss falls by a fifth and more, and the accuracy stays where it was from the first evaluation on, below 98 %,
    or falls (it is information only where the accuracy moves a little, or is above 90 %).

    ## Why it matters
    When both rise, the model grows surer of its mistakes: the better checkpoint depends on which of both counts.
    An accuracy that never moves is often that of the most frequent class, or a metric that is computed wrongly.

    ## When it is wrong
    A fine-tuned classifier may start at its best accuracy and only become better calibrated.

    ## What to try
    Both rise: choose the checkpoint by the figure that counts, and calibrate (temperature scaling, label
    smoothing). Accuracy stuck: print the confusion matrix of one evaluation, and compute the metric by hand.

    ## References
    Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
    """

    code = "LD307"
    name = "loss-accuracy-disagree"
    severity = "warning"
    needs = "a validation loss and a validation accuracy with at least 8 evaluations each"
    options = (
        Option("z", 3.5, "rise of the loss above its lowest level in standard errors", "sigma", 1, 20),
        Option("relative", 0.06, "least rise of the loss over its lowest level", "share", 0, 10),
        Option("fall", 0.2, "fall of the loss over its starting level that accuracy should follow", "share", 0.02, 1),
        Option("still", 0.005, "movement of the accuracy that counts as none", "share", 0, 0.1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        loss, accuracy = case.reading("val_loss"), case.reading("val_accuracy")
        if loss is None or accuracy is None or min(len(loss), len(accuracy)) < 8:
            yield self.abstain()
            return
        unit = 100.0 if float(accuracy.y.max()) > 1.5 else 1.0
        found = self._both_rise(case, loss, accuracy, unit) or self._left_behind(case, loss, accuracy, unit)
        if found is not None:
            yield found

    def _both_rise(self, case: Case, loss: Reading, accuracy: Reading, unit: float) -> Finding | None:
        t = turn(loss)
        if t is None or not loss.positive or not has_turned(t, case.option(self, "z"), 0.5):
            return None
        since = accuracy.y[accuracy.steps >= t.onset_step] / unit
        if t.relative < case.option(self, "relative") or t.bins_after < 5 or len(since) < 6:
            return None
        edge = max(2, len(since) // 5)
        gain = median(since[-edge:]) - median(since[:edge])
        if kendall_z(since) < 3 or gain < 0.01:
            return None
        return self._told(
            case,
            severity="warning",
            confidence=0.9 * sureness(t.z, case.option(self, "z"), 0.6),
            onset=t.onset_step,
            words=f"the loss rose by {percent(t.relative)} since, and the accuracy improved by {percent(gain)}",
            evidence={"relative_rise": t.relative, "accuracy_gain": gain},
            causes=_CALIBRATION,
            actions=(
                Action("check_validation", "choose the checkpoint by the figure that counts; calibrate afterwards"),
                Action("add_regularization", "label smoothing, or stop earlier"),
            ),
        )

    def _left_behind(self, case: Case, loss: Reading, accuracy: Reading, unit: float) -> Finding | None:
        whole = fall(loss)
        if whole is None or not loss.positive or whole.z < 4 or whole.trend_z > -2.5:
            return None
        lost = 1 - loss.end.value / loss.start.value
        y = accuracy.y / unit
        centre = median(y)
        broken = loss.summary.n_nonfinite or accuracy.summary.n_nonfinite  # after a NaN both stop meaning anything
        if lost < case.option(self, "fall") or centre > 0.98 or broken:
            return None
        moved = float(np.ptp(y))
        trend = kendall_z(y)
        edge = max(2, len(y) // 5)
        sunk = median(y[:edge]) - median(y[-edge:])
        if moved <= case.option(self, "still") and abs(trend) < 2:
            words = f"the loss fell by {percent(lost)}, the accuracy stayed at {percent(centre)} all the time"
            severity = "warning" if moved < 1e-6 and centre <= 0.9 else "info"  # 97 % at once may be all there is
        elif trend < -3.5 and sunk > 0.03:
            words = f"the loss fell by {percent(lost)}, and the accuracy fell by {percent(sunk)} with it"
            severity = "warning"
        else:
            return None
        return self._told(
            case,
            severity=severity,
            confidence=0.75,
            onset=int(accuracy.steps[0]),
            words=words,
            evidence={"relative_fall": lost, "accuracy": centre, "accuracy_moved": moved},
            causes=_METRIC,
            actions=(
                Action("check_validation", "compute the accuracy of one evaluation by hand, with its confusion matrix"),
                Action("check_data", f"is {short(100 * centre)} % the share of the most frequent class?"),
            ),
        )

    def _told(
        self,
        case: Case,
        *,
        severity: str,
        confidence: float,
        onset: int,
        words: str,
        evidence: dict[str, object],
        causes: tuple[Cause, ...],
        actions: tuple[Action, ...],
    ) -> Finding:
        metric = case.roles.primary("val_loss") or ""
        accuracy = case.roles.primary("val_accuracy")
        return self.finding(
            case,
            metric=metric,
            severity=severity,
            summary=f"{metric} and {accuracy} disagree from {case.step_unit} {onset} on: {words}",
            confidence=confidence,
            onset_step=onset,
            evidence=evidence,
            causes=causes,
            actions=actions,
            explains=("LD306",),
        )
