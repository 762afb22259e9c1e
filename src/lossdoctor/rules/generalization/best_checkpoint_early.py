"""LD306 best-checkpoint-early."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.shape import turn


class BestCheckpointEarly(Rule):
    """The best evaluation came in the first tenth of a long run, and validation got worse since.

    ## What it sees
    The lowest level of the validation loss lies in the first tenth of the run, and the end stands above it by more
    than the noise explains, allowing for the lowest one having been chosen among many.

    ## Why it matters
    Nine tenths of the run made the model no better; the last checkpoint is not the one to keep.

    ## When it is wrong
    Fast convergence: a best evaluation early and a level curve after it is not this. A validation loss that rises by
    overconfidence while the accuracy still improves.

    ## What to try
    Restore the best checkpoint; shorten the run, or lower the learning rate and regularise so that more steps help.

    ## References
    Prechelt 1998, Early Stopping, but when?
    """

    code = "LD306"
    name = "best-checkpoint-early"
    severity = "info"
    needs = "a validation loss with at least 12 evaluations"
    options = (
        Option("early", 0.1, "share of the run that counts as early", "share", 0.01, 0.5),
        Option("z", 3.5, "rise since in standard errors", "sigma", 1, 20),
        Option("relative", 0.02, "least rise over the lowest level, for positive losses", "share", 0, 10),
        Option("share", 0.02, "least rise over the drop, for losses that are not all positive", "share", 0, 10),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        val = case.reading("val_loss")
        metric = case.roles.primary("val_loss")
        if val is None or metric is None or len(val) < 12:
            yield self.abstain()
            return
        t = turn(val)
        if t is None or t.rise <= 0 or val.fraction(t.onset_step) > case.option(self, "early"):
            return
        matters = t.relative >= case.option(self, "relative") if val.positive else t.share >= case.option(self, "share")
        still_there = t.kept >= 0.6 and not (t.late_z < -2.5 and t.kept_of_all < 0.6)
        if t.z < case.option(self, "z") or not matters or not still_there:
            return
        yield self.finding(
            case,
            metric=metric,
            summary=(
                f"the best {metric}, {short(t.best.value)}, came at {case.step_unit} {t.onset_step}, "
                f"{percent(val.fraction(t.onset_step))} into the run; it ends at {short(t.end.value)}"
            ),
            confidence=sureness(t.z, case.option(self, "z"), 0.6),
            onset_step=t.onset_step,
            evidence={"lowest": t.best.value, "end": t.end.value, "rise": t.rise, "z": t.z},
            causes=(
                Cause("capacity-exceeds-data", 0.45, "overfit_subset"),
                Cause("learning-rate-too-high", 0.3, "lr_trial"),
                Cause("too-little-data", 0.25, "compare_splits"),
            ),
            actions=(
                Action("restore_checkpoint", f"restore {case.step_unit} {t.onset_step}"),
                Action("stop_early", "stop when validation has not improved for a tenth of the budget"),
            ),
        )
