"""LD104 oscillation."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.rules.stability.evidence import weighed
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.swings import Swings, swings


class Oscillation(Rule):
    """The loss swings without settling, by more than mini-batch noise explains.

    ## What it sees
    After the first seventh of the run: swings about the slow trend that do not decay, change direction again and
    again, are large against the level and against what was learned, and are either slow (neighbouring points
    agree), or larger than the noise of single points explains, or seen in values that are averages over an epoch
    or a whole validation set.

    ## Why it matters
    The steps are too long for the curvature: the model jumps across the valley instead of walking down. A lower
    rate usually ends lower at once.

    ## When it is wrong
    Warm restarts of the schedule; a tiny validation set, whose noise looks the same in the validation loss.

    ## What to try
    Divide the learning rate by 3, or decay it; enlarge the batch; lower the momentum.

    ## References
    Seeds of this project: "oscillation: reduce by 2 to 10 times". Cohen et al. 2021, arXiv:2103.00065.
    """

    code = "LD104"
    name = "oscillation"
    severity = "warning"
    per_segment = True
    needs = "a loss with at least 24 points"
    options = (
        Option("relative", 0.2, "amplitude of the swings over the level", "share", 0.01, 10),
        Option("share", 0.15, "amplitude over what was learned", "share", 0.01, 10),
        Option("reversals", 4.0, "changes of direction", "count", 2, 100),
        Option("decay", 0.4, "amplitude of the last third over that of the first", "ratio", 0.0, 2),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        judged = False
        for role in ("train_loss", "val_loss"):
            reading = case.reading(role)
            metric = case.roles.primary(role)
            if reading is None or metric is None or len(reading) < 24:
                continue
            judged = True
            s = swings(reading)
            averaged = role == "val_loss" or (case.epoch_averaged and not _calm_validation(case, s))
            if s is not None and self._oscillates(case, reading, s, averaged):
                yield self._describe(case, metric, reading, s)
                return
        if not judged:
            yield self.abstain()

    def _oscillates(self, case: Case, reading: Reading, s: Swings, averaged: bool) -> bool:
        relative, share = case.option(self, "relative"), case.option(self, "share")
        if s.reversals < case.option(self, "reversals") or not s.decay >= case.option(self, "decay"):
            return False
        if reading.positive and s.relative < relative:
            return False
        # Single values, not bins: a bin's median hides what one evaluation differs from the next.
        single = 1.28 * reading.raw_sigma / abs(reading.end.value) if reading.positive else 0.0
        large = not reading.positive or max(s.relative, single) >= 1.5 * relative
        if averaged and large and s.late_share >= 0.5 and s.reversals >= 6:
            return True  # each value is an average over many batches: this is not mini-batch noise
        if s.share < share:
            return False
        slow = s.smooth > 3 and s.lag1 > 0.4
        beyond_noise = reading.width > 1 and s.excess > 4
        alternating = reading.width == 1 and s.lag1 < -0.5 and s.reversals > len(reading) // 4
        return slow or beyond_noise or alternating

    def _describe(self, case: Case, metric: str, reading: Reading, s: Swings) -> Finding:
        size = f"{percent(s.relative)} of the level" if reading.positive else short(s.amplitude)
        summary = (
            f"{metric} keeps swinging by ±{size} ({s.reversals} reversals after the first seventh of the run) "
            f"and does not settle: the last third swings {short(s.decay)} times as much as the first"
        )
        steps = reading.steps
        unknown = not reading.positive and begins_late(reading)  # beside what it fell before, swings may be small
        return self.finding(
            case,
            metric=metric,
            severity="info" if unknown else self.severity,
            summary=summary,
            confidence=sureness(
                max(s.share, s.late_share if s.late_share < 1e6 else 0.0), case.option(self, "share"), 0.3
            ),
            onset_step=int(steps[max(2, len(steps) // 7)]),
            evidence={
                "amplitude": s.amplitude,
                "relative": s.relative,
                "share_of_drop": s.share,
                "reversals": s.reversals,
                "decay": s.decay,
                "lag1": s.lag1,
            },
            causes=self._causes(case, metric, s),
            actions=(
                Action("reduce_learning_rate", "divide the learning rate by 3"),
                Action("decay_learning_rate", "let it decay, by cosine or by steps"),
                Action("increase_batch_size", "double it, or accumulate gradients over two batches"),
            ),
            explains=("LD204", "LD103", "LD201", "LD108", "LD305"),
        )

    def _causes(self, case: Case, metric: str, s: Swings) -> tuple[Cause, ...]:
        """The causes, weighed: a rate that decayed while the swings went on, a training loss that hardly swings."""
        factors: dict[str, float] = {}
        rate = case.reading("learning_rate")
        late = 1.0 if rate is None or len(rate) < 3 else float(rate.y[len(rate) * 2 // 3 :].max())
        if rate is not None and late < 0.1 * rate.summary.max_value and s.decay > 0.8:
            factors["learning-rate-too-high"] = factors["momentum-too-high"] = 0.3
        train = case.reading("train_loss")
        theirs = swings(train) if train is not None and metric == case.roles.primary("val_loss") else None
        if theirs is not None and theirs.relative < 0.3 * s.relative:
            factors["validation-too-small"] = 5.0
        return weighed(_CAUSES, factors)


_CAUSES = (
    Cause("learning-rate-too-high", 0.6, "lr_trial"),
    Cause("batch-too-small", 0.15, "gradient_noise_scale"),
    Cause("momentum-too-high", 0.1, "lr_trial"),
    Cause("validation-too-small", 0.1, "compare_splits"),
    Cause("bad-data", 0.05, "check_data"),
)


def _calm_validation(case: Case, train: Swings | None) -> bool:
    """Whether validation hardly swings where training does: then training logs single batches, not averages."""
    val = case.reading("val_loss")
    theirs = swings(val) if val is not None else None
    if train is None or theirs is None:
        return False
    return theirs.relative < 0.3 * train.relative or theirs.amplitude < 0.3 * train.amplitude
