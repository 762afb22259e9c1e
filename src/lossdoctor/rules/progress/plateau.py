"""LD204 plateau."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.known import far_above_expected
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import Stall, fall, stall


class Plateau(Rule):
    """The loss learned something, then stalled for a long part of the run.

    ## What it sees
    The longest final stretch in which no fall can be told from noise. Most healthy runs end on one, so it is
    information; a warning only when the stall began early, lasted most of the run, and the loss had lost little
    of its starting level: a level reached early and left idle far above what is to be expected.

    ## Why it matters
    Steps spent on a plateau are wasted: either the run is done, or something holds it up.

    ## When it is wrong
    A task whose best possible loss is high (noisy labels, compression of random data) is done early.

    ## What to try
    Try the learning rate both ways (÷3 and ×3) for a few hundred steps. If lower helps, decay it; if higher
    helps, it had decayed too early; if neither does, capacity or data is the limit.

    ## References
    King 2018, dlib: automatic learning-rate scheduling by counting steps without decrease.
    """

    code = "LD204"
    name = "plateau"
    severity = "info"
    needs = "a loss with at least 12 points"
    options = (
        Option("long", 0.3, "share of the run without a significant fall that is worth telling", "share", 0.05, 1),
        Option("idle", 0.7, "share of the run from which an idle stretch can be a warning", "share", 0.2, 1),
        Option("little", 0.25, "fall over the starting level that counts as little", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 12:
            yield self.abstain()
            return
        metric, reading = primary
        s = stall(reading)
        whole = fall(reading)
        if s is None or whole is None or s.share < case.option(self, "long"):
            return
        if whole.z < 3 and not reading.fell:  # what falls within the first steps is no part of an eighth of the run
            return
        warn = (
            reading.positive
            and s.share >= case.option(self, "idle")
            and 0 < s.relative_fall < case.option(self, "little")
            and far_above_expected(case, metric, reading)
            and reading.n >= 20
        )
        yield self._describe(case, metric, reading, s, warn)

    def _describe(self, case: Case, metric: str, reading: Reading, s: Stall, warn: bool) -> Finding:
        lost = f", after losing only {percent(s.relative_fall)} of its starting level" if warn else ""
        return self.finding(
            case,
            metric=metric,
            severity="warning" if warn else "info",
            summary=(
                f"{metric} stopped improving at {case.step_unit} {s.onset_step}: level at {short(reading.end.value)} "
                f"for the last {percent(s.share)} of the run{lost}"
            ),
            confidence=0.75,
            onset_step=s.onset_step,
            evidence={"level": reading.end.value, "share": s.share, "relative_fall": s.relative_fall},
            causes=(
                Cause("normal", 0.35, None),
                Cause("learning-rate-too-high", 0.25, "lr_trial"),
                Cause("learning-rate-decayed-early", 0.15, "lr_trial"),
                Cause("capacity-too-small", 0.15, "overfit_one_batch"),
                Cause("saddle-or-plateau", 0.1, "curvature"),
            )
            if not warn
            else (
                Cause("learning-rate-too-high", 0.35, "lr_trial"),
                Cause("learning-rate-too-low", 0.2, "lr_trial"),
                Cause("capacity-too-small", 0.2, "overfit_one_batch"),
                Cause("labels-uninformative", 0.15, "shuffled_label"),
                Cause("saddle-or-plateau", 0.1, "curvature"),
            ),
            actions=(
                Action("decay_learning_rate", "divide by 3 and see whether the loss falls within a few hundred steps"),
                Action("increase_learning_rate", "multiply by 3 if lowering it did nothing"),
                Action("increase_capacity", "if one batch cannot be overfitted"),
            ),
            explains=("LD302",),
        )
