"""LD203 slow-descent."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import Fall, fall, straightness


class SlowDescent(Rule):
    """The loss still falls in a straight line at the end, and has not come far.

    ## What it sees
    A significant fall whose last third is nearly as steep as the whole: no diminishing returns yet. It is a
    warning when the whole run lost only a small part of the starting level, and information otherwise.

    ## Why it matters
    A healthy run falls fast first and slows down. A straight, shallow line means that the steps are too short for
    the budget: a higher learning rate gets the same place in a fraction of the time.

    ## When it is wrong
    A very short log of a long run: every curve is straight when you look close enough. Where the first rows are
    missing, nobody knows how far the loss had fallen, and it is only told as information.

    ## What to try
    Run a learning-rate range test, or triple the rate; scale the inputs; check the ratio of update to weight
    (healthy near 1e-3).

    ## References
    Smith 2017, Cyclical Learning Rates, arXiv:1506.01186.
    """

    code = "LD203"
    name = "slow-descent"
    severity = "info"
    needs = "a loss with at least 9 points"
    options = (
        Option("straight", 0.55, "slope of the last third over the mean slope", "ratio", 0.1, 2),
        Option("far", 0.35, "fall over the starting level below which a straight line is a warning", "share", 0.01, 1),
        Option("points", 30.0, "points needed for a warning", "count", 9, 1000),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 9:
            yield self.abstain()
            return
        metric, reading = primary
        whole = fall(reading)
        line = straightness(reading)
        late = fall(reading, len(reading) * 2 // 3)
        if whole is None or late is None or not line >= case.option(self, "straight"):
            return
        falling = whole.z > 4 and whole.trend_z < -3 and (late.trend_z < -2 or late.z > 3)
        if not falling or (reading.positive and whole.relative < 0.015):
            return
        lost = (
            (reading.start.value - reading.end.value) / abs(reading.start.value) if reading.positive else float("nan")
        )
        val = case.reading("val_loss")
        done = val is not None and straightness(val) < 0.3  # validation has levelled off: there is little to gain
        costly = (
            not done
            and not begins_late(reading)  # how far it fell before is not in the log
            and reading.positive
            and lost < case.option(self, "far")
            and reading.n >= case.option(self, "points")
        )
        yield self._describe(case, metric, reading, whole, line, lost, costly)

    def _describe(
        self, case: Case, metric: str, reading: Reading, whole: Fall, line: float, lost: float, costly: bool
    ) -> Finding:
        way = f"only {percent(lost)} below the start" if costly else f"at {short(reading.end.value)}"
        return self.finding(
            case,
            metric=metric,
            severity="warning" if costly else "info",
            summary=f"{metric} falls in a nearly straight line to the end ({short(line)} of its mean slope), {way}",
            confidence=0.75 if costly else 0.8,
            onset_step=int(reading.steps[0]),
            evidence={"straightness": line, "relative_fall": lost, "z": whole.z},
            causes=(
                Cause("learning-rate-too-low", 0.6, "lr_range_test"),
                Cause("budget-too-short", 0.2, "lr_trial"),
                Cause("inputs-unscaled", 0.1, "check_data"),
                Cause("capacity-too-small", 0.1, "overfit_one_batch"),
            ),
            actions=(
                Action("increase_learning_rate", "multiply by 3 to 10, guided by a range test"),
                Action("train_longer", "several times the present budget, if the rate is already at its limit"),
                Action("normalize_inputs", "scale inputs to zero mean and unit variance"),
            ),
            explains=("LD205", "LD302"),
        )
