"""LD102 loss-divergence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import in_noise, short, sureness, up_by
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.evidence import gradient_led, jump_step, sharpened
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import Turn, clear_rise, turn


class LossDivergence(Rule):
    """The loss turned, rose clearly beyond its noise and did not come back.

    ## What it sees
    The level of the last tenth of the run stands above the lowest level by more than the noise explains (allowing
    for the lowest one having been chosen among many), most of the largest rise is still there, and the curve is
    not on its way back. Critical when it rose by more than it had fallen, or blew up by a factor; a warning when
    it is mild.

    ## Why it matters
    The optimizer is undoing what it had learned: every further step makes the model worse.

    ## When it is wrong
    A loss whose definition changes during the run (re-weighted terms, a curriculum, longer sequences), a schedule
    that raises the learning rate and was cut off before it came down again, reinforcement learning.

    ## What to try
    Go back to the checkpoint of the lowest level and divide the learning rate by 10 (by 3 when the rise is mild),
    clip gradients, check that inputs are scaled, add warmup when it began in the first tenth of the run.

    ## References
    Cohen et al. 2021, Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability,
    arXiv:2103.00065.
    """

    code = "LD102"
    name = "loss-divergence"
    severity = "critical"
    per_segment = True
    needs = "a loss with at least 5 points"
    options = (
        Option("z", 3.5, "rise above the lowest level in standard errors", "sigma", 2, 20),
        Option("relative", 0.06, "least rise over the lowest level, for positive losses", "share", 0.0, 10),
        Option("kept", 0.6, "share of the largest late rise that is still there at the end", "share", 0.1, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 4:
            yield self.abstain()
            return
        metric, reading = primary
        measured = self._measured(case, reading)
        only_validation = case.roles.primary("train_loss") is None
        if measured is not None and self._diverged(case, reading, measured):
            strong = is_blow_up(reading, measured)
            if strong or not only_validation:
                yield self._describe(case, metric, reading, measured, strong)
        yield from self._auxiliary(case, reading)

    def _measured(self, case: Case, reading: Reading) -> Turn | None:
        t, few = turn(reading), clear_rise(reading)
        sure = few is not None and len(reading) >= 8 and few.relative >= 2.5 * case.option(self, "relative")
        if sure and few is not None and (t is None or not self._diverged(case, reading, t)):
            return few
        return t

    def _diverged(self, case: Case, reading: Reading, t: Turn) -> bool:
        kept = case.option(self, "kept")
        if is_blow_up(reading, t) and t.late_z > 0:
            kept *= 0.5  # far above where it started and rising: what blew up may swing widely
            if reading.positive and t.relative > 10 and t.kept > 0:
                # It may grow by factors within the last tenth: what is kept of the rise is told in logarithms.
                t = replace(t, kept=math.log1p(t.relative) / math.log1p(t.relative / t.kept))
        few = len(reading) < 12
        if few and _one_low_start(reading, t):
            return False
        if few and reading.positive and min(t.relative, t.share) > 3 and t.kept >= kept and t.bins_after >= 2:
            return True  # a few points cannot show their noise, but no noise is so large
        if not has_turned(t, case.option(self, "z"), kept):
            return False
        if reading.positive:
            return t.relative >= case.option(self, "relative")
        return t.share >= 0.25

    def _auxiliary(self, case: Case, primary: Reading) -> Iterable[Finding]:
        """Only a term that outgrew the whole primary loss: a KL term that settles above zero is no divergence."""
        for metric in case.roles.auxiliary:
            reading = case.readings.get(metric)
            if reading is None or len(reading) < 8 or metric in case.roles.names.get("val_loss", ()):
                continue
            t = turn(reading)
            if t is None or not has_turned(t, 2 * case.option(self, "z"), case.option(self, "kept")):
                continue
            if (
                t.rise > 10 * reading.drop
                and t.end.value > 10 * abs(reading.start.value)
                and t.end.value > 3 * primary.start.value
            ):
                yield self._describe(case, metric, reading, t, True)

    def _describe(self, case: Case, metric: str, reading: Reading, t: Turn, strong: bool) -> Finding:
        early, jump = reading.fraction(t.onset_step) < 0.1, jump_step(reading, t.onset_step)
        rise = up_by(t.relative) if reading.positive else f"up by {short(t.rise)}"
        summary = (
            f"{metric} rose from its lowest level {short(t.best.value)} at {case.step_unit} {t.onset_step} "
            f"to {short(t.end.value)} at the end ({rise}, {in_noise(t.z)})"
        )
        factor = 10 if strong else 3
        actions = [
            Action("reduce_learning_rate", f"divide the learning rate by {factor}"),
            Action("clip_gradients", "clip the gradient norm at 1.0, or at its 90th percentile when it is logged"),
            Action("normalize_inputs", "scale inputs to zero mean and unit variance"),
        ]
        if early:
            actions.insert(
                1, Action("add_warmup", "raise the learning rate linearly over the first 5 to 10 % of the run")
            )
        actions.append(Action("restore_checkpoint", f"restore {case.step_unit} {t.onset_step}"))
        return self.finding(
            case,
            metric=metric,
            severity="critical" if strong else "warning",
            summary=summary,
            confidence=sureness(t.z, case.option(self, "z"), 0.5),
            onset_step=t.onset_step,
            evidence={
                "lowest": t.best.value,
                "end": t.end.value,
                "rise": t.rise,
                "relative_rise": t.relative,
                "z": t.z,
                "kept": t.kept,
            },
            causes=sharpened(case, _CAUSES_EARLY if early else _CAUSES, reading, jump),
            actions=actions,
            # A gradient that exploded first tells of this; one that followed is told by it.
            explains=(*_EXPLAINS, "LD105") if gradient_led(case, jump) is None else _EXPLAINS,
        )


_EXPLAINS = (
    "LD301",
    "LD103",
    "LD104",
    "LD110",
    "LD108",
    "LD204",
    "LD302",
    "LD203",
    "LD205",
    "LD207",
    "LD303",
    "LD305",
    "LD306",
    "LD307",
)
_CAUSES = (
    Cause("learning-rate-too-high", 0.6, "lr_trial"),
    Cause("gradients-explode", 0.15, "check_gradients"),
    Cause("inputs-unscaled", 0.1, "check_data"),
    Cause("momentum-too-high", 0.05, "lr_trial"),
    Cause("bad-data", 0.1, "check_data"),
)
_CAUSES_EARLY = (
    Cause("learning-rate-too-high", 0.5, "lr_range_test"),
    Cause("no-warmup", 0.15, "lr_trial"),
    Cause("inputs-unscaled", 0.15, "check_data"),
    Cause("bad-initialization", 0.1, "initial_loss"),
    Cause("gradients-explode", 0.1, "check_gradients"),
)


def _one_low_start(reading: Reading, t: Turn) -> bool:
    """Whether the lowest level is one value at the start that the scatter of the others may explain."""
    if t.bins_after != len(reading) - 1 or (reading.positive and t.relative > 20):
        return False
    two_low = float(reading.y[1]) - t.best.value < 0.25 * t.rise
    apart = float(reading.y[1:].min()) - t.best.value > 0.75 * t.rise
    return not (two_low or apart or t.trend_z > 2)


def has_turned(t: Turn, z: float, kept: float) -> bool:
    """Whether a rise is beyond noise, still there, going on or level, and seen in more than one bin."""
    if t.z < z or t.rise <= 0 or t.kept < kept or t.bins_after < 1:
        return False
    if t.bins_after < 4:  # too few bins for a trend test: the rise must be gross
        return t.share > 2 or t.relative > 1
    coming_back = t.recovered > 0.5 or (t.late_z < -2.5 and t.kept < 0.9 and t.kept_of_all < 0.6)
    return not coming_back and (t.trend_z > 1.0 or t.kept > 0.8)


def is_blow_up(reading: Reading, t: Turn) -> bool:
    """Whether the rise undid all that was learned or multiplied the loss."""
    if t.share > 2 and (not reading.positive or t.relative > 0.5):
        return True
    return bool(reading.positive and t.relative > 2 and t.share > 0.5)
