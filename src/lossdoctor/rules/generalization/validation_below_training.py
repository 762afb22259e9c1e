"""LD304 validation-below-training."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.generalization.paired import pair
from lossdoctor.signal.arrays import median


class ValidationBelowTraining(Rule):
    """The validation loss lies below the training loss at most evaluations.

    ## What it sees
    At nine of ten evaluations after the first fifth, validation lies below the training loss of the same state of
    the model, by more than the noise of both. A training loss averaged over the epoch describes the model of half
    an epoch before the evaluation; it is moved back by that much first.

    ## Why it matters
    Mostly harmless: dropout, augmentation and penalties count in the training loss only. But an evaluation set that
    is easier than the task, or holds training examples, looks the same, and its figures flatter the model.

    ## When it is wrong
    A small validation set may be easy by chance.

    ## What to try
    Compute the training loss in evaluation mode, without augmentation and penalties, on as many examples as
    validation has. If validation is still lower, look for training examples in it.

    ## References
    Srivastava et al. 2014, Dropout, JMLR 15.
    """

    code = "LD304"
    name = "validation-below-training"
    severity = "info"
    needs = "training and validation loss of one quantity with at least 8 evaluations"
    options = (
        Option("most", 0.9, "share of the evaluations that lie below training", "share", 0.5, 1),
        Option("relative", 0.05, "least distance over the training level, for positive losses", "share", 0, 1),
        Option("z", 4.0, "distance in standard errors", "sigma", 1, 20),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        p = pair(case, 8)
        metric = case.roles.primary("val_loss")
        if p is None or metric is None:
            yield self.abstain()
            return
        skip = len(p.above) // 5  # the first fall is steep: a small shift of one curve makes a large difference
        above, at = p.above[skip:], p.at[skip:]
        below = float((above < 0).mean())
        distance = -median(above)
        size = abs(median(at)) if p.train.positive and p.val.positive else p.drop
        z = distance * len(above) ** 0.5 / p.noise if p.noise > 0 else float("inf")
        if below < case.option(self, "most") or z < case.option(self, "z"):
            return
        if distance <= case.option(self, "relative") * size:
            return
        yield self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} lies below the training loss at {percent(below)} of the evaluations, "
                f"by {short(distance)} at the median"
            ),
            confidence=0.85,
            onset_step=int(p.steps[0]),
            evidence={
                "below": below,
                "distance": distance,
                "relative": distance / size if size else 0.0,
                "half_epoch_shift": case.epoch_averaged,
            },
            causes=(
                Cause("normal", 0.55, None),
                Cause("over-regularized", 0.15, "eval_mode_gap"),
                Cause("validation-differs", 0.2, "compare_splits"),
                Cause("data-leak", 0.1, "compare_splits"),
            ),
            actions=(
                Action("check_validation", "compare with the training loss in evaluation mode, without augmentation"),
            ),
        )
