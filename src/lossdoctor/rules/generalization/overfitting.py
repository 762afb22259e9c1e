"""LD301 overfitting."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import short, sureness, up_by
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.loss_divergence import has_turned
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import Turn, clear_rise, kendall_z, turn


class Overfitting(Rule):
    """The validation loss turned and rises while the training loss goes on falling.

    ## What it sees
    The validation loss ends above its lowest level by more than its own noise explains (allowing for the lowest
    one having been chosen), stays up, and the training loss does not rise after that point. The onset is the
    lowest level.

    ## Why it matters
    From the onset on, the model memorises the training set; every later checkpoint is worse than the one at the
    onset.

    ## When it is wrong
    One noisy evaluation is not overfitting, and neither is a rise of training and validation together (a
    divergence). A cross-entropy may rise by overconfidence alone while the accuracy still improves.

    ## What to try
    Restore the checkpoint of the onset and stop there; more weight decay, dropout or augmentation; more data.

    ## References
    Prechelt 1998, Early Stopping, but when? Guo et al. 2017, On Calibration, arXiv:1706.04599.
    """

    code = "LD301"
    name = "overfitting"
    severity = "warning"
    needs = "a validation loss with at least 5 evaluations"
    options = (
        Option("z", 3.5, "rise above the lowest validation level in standard errors", "sigma", 1, 20),
        Option("relative", 0.06, "least rise over the lowest level, for positive losses", "share", 0, 10),
        Option("share", 0.05, "least rise over the drop, for losses that are not all positive", "share", 0, 10),
        Option("kept", 0.5, "share of the largest late rise that is still there at the end", "share", 0.1, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        val, train = case.reading("val_loss"), case.reading("train_loss")
        metric = case.roles.primary("val_loss")
        if val is None or metric is None or len(val) < 5:
            yield self.abstain()
            return
        t = self._rise(case, val)
        if t is None:
            return
        follows = _training_after(train, t.onset_step)
        if follows == "rises" or (
            follows == "level" and val.positive and t.relative < 3 * case.option(self, "relative")
        ):
            return
        yield self._describe(case, metric, val, t, follows)

    def _rise(self, case: Case, val: Reading) -> Turn | None:
        """The rise of the validation loss, where it is beyond doubt and large enough to matter."""
        t = turn(val)
        beyond_noise = (
            t is not None and t.bins_after >= 4 and has_turned(t, case.option(self, "z"), case.option(self, "kept"))
        )
        if t is not None and beyond_noise and self._matters(case, val, t, 1.0):
            return t
        few = clear_rise(val)
        if few is not None and self._matters(case, val, few, 1.0 if few.bins_after >= 4 else 1.6):
            return few
        return None

    def _matters(self, case: Case, val: Reading, t: Turn, factor: float) -> bool:
        if val.positive:
            return t.relative >= factor * case.option(self, "relative")
        return t.share >= factor * case.option(self, "share")

    def _describe(self, case: Case, metric: str, val: Reading, t: Turn, follows: str) -> Finding:
        rise = up_by(t.relative) if val.positive else f"up by {short(t.rise)}"
        train = {
            "falls": "while the training loss went on falling",
            "level": "while the training loss stayed level",
        }.get(follows, "(no training loss is logged beside it)")
        severe = val.positive and t.relative > 1 and t.share > 0.5
        doubt = {"falls": 1.0, "level": 0.85}.get(follows, 0.75)
        onset = _lowest_evaluation(val, t)
        restore = f"restore {case.step_unit} {onset}, the lowest {metric}"
        return self.finding(
            case,
            metric=metric,
            severity="critical" if severe and t.share > 2 else "warning",
            summary=(
                f"{metric} rose from {short(t.best.value)} at {case.step_unit} {onset} to {short(t.end.value)} "
                f"({rise}) {train}"
            ),
            confidence=doubt * sureness(t.z, case.option(self, "z"), 0.6),
            onset_step=onset,
            evidence={
                "lowest": t.best.value,
                "end": t.end.value,
                "rise": t.rise,
                "relative_rise": t.relative,
                "z": t.z,
            },
            causes=(
                Cause("capacity-exceeds-data", 0.5, "overfit_subset"),
                Cause("too-little-data", 0.25, "compare_splits"),
                Cause("label-noise", 0.15, "check_data"),
                Cause("validation-differs", 0.1, "compare_splits"),
            ),
            actions=(
                Action("stop_early", restore),
                Action("add_regularization", "more weight decay, dropout or augmentation"),
                Action("get_more_data", "or augment what there is"),
            ),
            explains=("LD306", "LD307", "LD303", "LD308", "LD204", "LD205", "LD302", "LD203"),
        )


def _lowest_evaluation(val: Reading, t: Turn) -> int:
    """The step of the lowest single evaluation, where it belongs to the lowest stretch; else that stretch's middle."""
    step = val.summary.min_step
    return step if abs(val.fraction(step) - val.fraction(t.onset_step)) < 0.1 else t.onset_step


def _training_after(train: Reading | None, onset: int) -> str:
    """What the training loss does after the onset: ``falls``, ``level``, ``rises``, or ``unknown``."""
    if train is None or len(train) < 4:
        return "unknown"
    after = train.steps >= onset
    if after.sum() < 3:
        return "unknown"
    y = train.y[after]
    edge = max(1, len(y) // 5)
    change = float(np.median(y[-edge:]) - np.median(y[:edge]))
    noise = max(train.sigma, 0.002 * abs(median(y))) * 1.25 * np.sqrt(2 / edge)
    trend = kendall_z(y)
    if change > 2 * noise and trend > 2:
        return "rises"
    return "falls" if change < -noise or trend < -2 else "level"
