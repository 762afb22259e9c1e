"""LD305 validation-noisy."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall, kendall_z


class ValidationNoisy(Rule):
    """Single evaluations scatter so much that two checkpoints can hardly be compared.

    ## What it sees
    The scatter of single evaluations about their own trend, measured from second differences after the first fifth
    of the run, is large beside all that validation moved. It is a warning when it hides the trend: training
    falls clearly, yet the evaluations show no trend at all and scatter by at least half of that.

    ## Why it matters
    The best of many noisy evaluations is best by luck: early stopping and the choice of a checkpoint become
    random, and overfitting stays unseen.

    ## When it is wrong
    A model that was good from the start gains little, so any scatter is large beside it; scatter below one percent
    of the level is never told.

    ## What to try
    Evaluate on more examples, always the same ones; average over several evaluations; a smaller learning rate or
    an average of weights if the scatter is real.

    ## References
    Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks, arXiv:2103.03098.
    """

    code = "LD305"
    name = "validation-noisy"
    severity = "info"
    needs = "a validation loss with at least 10 evaluations"
    options = (
        Option("scatter", 0.12, "scatter over all that validation moved which is told", "share", 0.01, 10),
        Option("hides", 0.5, "scatter over all it moved from which it may be a warning", "share", 0.05, 10),
        Option("relative", 0.01, "least scatter over the level, for positive losses", "share", 0, 1),
        Option("large", 0.1, "scatter over the level from which it may be a warning", "share", 0, 10),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        val, train = case.reading("val_loss"), case.reading("train_loss")
        metric = case.roles.primary("val_loss")
        if val is None or metric is None or len(val) < 10:
            yield self.abstain()
            return
        scatter = val.noise_between(len(val) // 5, len(val)) if val.width == 1 else val.raw_sigma
        if scatter <= 0 or not _learns(train):
            return  # of a run that learns nothing other rules speak
        moved = max(val.drop, abs(val.start.value - val.end.value), abs(val.end.value - val.best.value))
        share = scatter / moved if moved > 0 else float("inf")
        relative = scatter / abs(val.end.value) if val.positive else float("nan")
        if share < case.option(self, "scatter") or (val.positive and relative < case.option(self, "relative")):
            return
        hidden = (
            share >= case.option(self, "hides")
            and val.positive
            and relative >= case.option(self, "large")
            and abs(kendall_z(val.y)) < 2
        )
        yield self._describe(case, metric, val, scatter, share, hidden)

    def _describe(self, case: Case, metric: str, val: Reading, scatter: float, share: float, hidden: bool) -> Finding:
        gain = f"{percent(share)} of all it moved" if share < 100 else "it did not move"
        trend = "; no trend can be seen although training falls" if hidden else ""
        return self.finding(
            case,
            metric=metric,
            severity="warning" if hidden else "info",
            summary=f"single evaluations of {metric} scatter by ±{short(scatter)} about their trend ({gain}){trend}",
            confidence=0.7 if hidden else min(sureness(share, case.option(self, "scatter"), 0.5), 0.9),
            onset_step=int(val.steps[0]),
            evidence={"scatter": scatter, "over_movement": min(share, 1e6), "trend_z": kendall_z(val.y)},
            causes=(
                Cause("validation-too-small", 0.45, "compare_splits"),
                Cause("learning-rate-too-high", 0.35, "lr_trial"),
                Cause("eval-mode-mismatch", 0.2, "eval_mode_gap"),
            ),
            actions=(
                Action("check_validation", "evaluate on more examples, always the same ones, in evaluation mode"),
                Action("reduce_learning_rate", "divide by 3; or evaluate an average of the weights"),
            ),
        )


def _learns(train: Reading | None) -> bool:
    if train is None or len(train) < 8:
        return False
    whole = fall(train)
    return whole is not None and whole.z > 3 and whole.trend_z < -2.5
