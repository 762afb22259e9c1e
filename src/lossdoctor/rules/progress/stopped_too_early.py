"""LD205 stopped-too-early."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import fall, straightness


class StoppedTooEarly(Rule):
    """The run ended while the loss was still falling.

    ## What it sees
    A significant fall over the last part of the run, with the best level in its last quarter. It is a warning
    only when the fall at the end is steep: nearly as steep as the whole run's, after a substantial descent.

    ## Why it matters
    The cheapest improvement there is: the same run, longer.

    ## When it is wrong
    Nearly every healthy run still falls a little, which is why this is information unless the fall is steep.
    Training loss may fall for ever while validation does not: with a validation loss, that decides.

    ## What to try
    Train on, or double the budget and stretch the schedule with it.

    ## References
    Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409.
    """

    code = "LD205"
    name = "stopped-too-early"
    severity = "info"
    needs = "a loss with at least 12 points"
    options = (
        Option("points", 40.0, "points needed for a warning", "count", 12, 1000),
        Option("steep", 0.6, "slope of the last third over the mean slope that makes it a warning", "ratio", 0.1, 2),
        Option("least_gain", 0.005, "fall over the last tenth worth telling, over the level", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        decisive = case.reading("val_loss") or case.reading("train_loss")
        metric = case.roles.primary("val_loss") if case.reading("val_loss") else case.roles.primary("train_loss")
        if decisive is not None and len(decisive) < 12 and case.primary is not None:
            metric, decisive = case.primary
        if decisive is None or metric is None or len(decisive) < 12:
            yield self.abstain()
            return
        k = len(decisive)
        late = fall(decisive, k - max(6, k // 5))
        if late is None or late.z < 3 or late.trend_z > -1.9 or decisive.fraction(decisive.best_step) < 0.75:
            return
        if decisive.positive and late.relative < case.option(self, "least_gain"):
            return
        line = straightness(decisive)
        lost = decisive.drop / abs(decisive.start.value) if decisive.positive and decisive.start.value else 0.0
        far = lost >= 0.35 and not begins_late(decisive)  # a straight line that had been steep before is no sign
        warn = far and line >= case.option(self, "steep") and decisive.n >= case.option(self, "points")
        yield self._describe(case, metric, decisive, late.relative if decisive.positive else float("nan"), line, warn)

    def _describe(self, case: Case, metric: str, reading: Reading, gain: float, line: float, warn: bool) -> Finding:
        pace = f", at {short(line)} of its mean slope" if warn else ""
        amount = f" (another {percent(gain)} in the last fifth)" if math.isfinite(gain) else ""
        return self.finding(
            case,
            metric=metric,
            severity="warning" if warn else "info",
            summary=f"{metric} was still falling when the run ended{amount}{pace}",
            confidence=0.8,
            onset_step=int(reading.steps[-1]),
            evidence={"late_gain": gain, "straightness": line},
            causes=(Cause("budget-too-short", 0.8, "lr_trial"), Cause("learning-rate-too-low", 0.2, "lr_range_test")),
            actions=(Action("train_longer", "double the budget and stretch the schedule with it"),),
        )
