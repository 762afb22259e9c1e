"""LD404 learning-rate-jump."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.progress.learning_rate_decayed_early import samples

Floats = NDArray[np.float64]
_NEAR = 3  # points looked at on either side of a jump
_MOST = 3  # more jumps than this are a pattern


class LearningRateJump(Rule):
    """The logged learning rate leaves its own schedule.

    ## What it sees
    A place where the rate leaps, against its smooth course before and after, in a way that no usual schedule does:
    up in the middle of a decay to a value that is not its earlier peak; down to nearly nothing and up again, as if
    the warmup began anew; or at a resume, anything but a smooth continuation. Steps downwards, warmup, cyclic rates
    and warm restarts (up to the earlier peak, or at the end of a decay) are schedules.

    ## Why it matters
    The scheduler's state was not restored, or its horizon was computed anew from another number of steps or
    processes. The run no longer trains with the schedule it was planned with.

    ## When it is wrong
    A rate changed by hand, or a second stage of training in the same log.

    ## What to try
    Save and restore the scheduler with the optimizer; give it the total number of steps instead of letting it be
    computed at each start. Save, reload, and compare the next step's learning rate.

    ## References
    PyTorch documentation, torch.optim: the scheduler's state_dict. Loshchilov and Hutter 2017, SGDR,
    arXiv:1608.03983 (restarts that are meant).
    """

    code = "LD404"
    name = "learning-rate-jump"
    severity = "warning"
    needs = "the learning rate"
    options = (
        Option("least", 0.1, "size of the jump over the peak rate", "share", 0.01, 1),
        Option("sudden", 5.0, "size of the jump over the largest change around it", "ratio", 1.5, 100),
        Option("unfinished", 0.1, "rate before the jump over the peak: below it the decay was done", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        metric, rate = case.roles.primary("learning_rate"), case.reading("learning_rate")
        if metric is None or rate is None or rate.n < 8:
            yield self.abstain()
            return
        steps, values = samples(rate)
        peak = float(values.max()) if len(values) else 0.0
        if not peak > 0 or values.min() < 0:
            return
        jumps = _jumps(steps, values / peak, case.option(self, "least"), case.option(self, "sudden"))
        if not 0 < len(jumps) <= _MOST:
            return
        resumes = [s.first_step for s in case.segments[1:]]
        for jump in jumps:
            how = self._how(case, jump, jumps, resumes)
            if how:
                yield self._describe(case, metric, jump, peak, how)
                return

    def _how(self, case: Case, j: Jump, jumps: Sequence[Jump], resumes: Sequence[int]) -> str:
        """In what way the jump is none of a schedule; empty when it is one."""
        if any(j.from_step <= at <= j.step for at in resumes):
            return "where the run was resumed"
        others = [o for o in jumps if o is not j and o.up == j.up]
        if j.before < case.option(self, "unfinished"):
            return ""  # the decay was done: a restart
        if j.up:
            to_the_peak = abs(j.crest - j.earlier_peak) <= 0.1 * j.earlier_peak
            return "" if others or to_the_peak or not j.had_decayed else "in the middle of its decay"
        if others:
            return ""
        climbs = j.after < 0.1 * j.before and j.crest >= 0.5 * j.before
        return "down, and climbs as if the warmup began anew" if climbs else ""

    def _describe(self, case: Case, metric: str, j: Jump, peak: float, how: str) -> Finding:
        resumed = how == "where the run was resumed"
        step_down = resumed and not j.up and j.crest < 1.05 * j.after  # by hand, or a milestone: both are common
        return self.finding(
            case,
            metric=metric,
            severity="info" if step_down else "warning",
            summary=(
                f"{metric} jumps from {short(j.before * peak)} to {short(j.after * peak)} at {case.step_unit} {j.step} "
                f"{how}"
            ),
            confidence=0.85 if resumed else 0.75,
            onset_step=j.step,
            evidence={"before": j.before * peak, "after": j.after * peak, "peak": peak, "at_resume": resumed},
            causes=(
                Cause("state-lost-on-resume", 0.7, "resume_test"),
                Cause("schedule-restart", 0.25, "resume_test"),
                Cause("normal", 0.05, None),
            )
            if resumed
            else (
                Cause("schedule-restart", 0.45, "resume_test"),
                Cause("state-lost-on-resume", 0.4, "resume_test"),
                Cause("normal", 0.15, None),
            ),
            actions=(
                Action(
                    "check_training_loop",
                    "restore the scheduler with the optimizer, and give it the total number of steps",
                ),
            ),
            explains=("LD109",),
        )


@dataclass(frozen=True, slots=True)
class Jump:
    """A leap of the rate; levels are shares of its peak.

    ``crest`` is the highest rate after it (before the next leap), ``earlier_peak`` the highest before it,
    ``had_decayed`` whether the rate was on its way down.
    """

    from_step: int
    step: int
    before: float
    after: float
    crest: float
    earlier_peak: float
    had_decayed: bool

    @property
    def up(self) -> bool:
        return self.after > self.before


def _jumps(steps: Floats, v: Floats, least: float, sudden: float) -> list[Jump]:
    """Leaps that stay, and are far larger than any change of the rate around them."""
    change = np.abs(np.diff(v))
    found: list[int] = []
    for i in np.flatnonzero(change >= least).tolist():
        if i < _NEAR or i + 1 + _NEAR > len(v) - 1:
            continue  # the first steps are warmup, the last rows may be summaries
        around = max(float(change[i - _NEAR : i].max()), float(change[i + 1 : i + 1 + _NEAR].max()))
        if change[i] > sudden * around:
            found.append(i)
    jumps = []
    for n, i in enumerate(found):
        stop = found[n + 1] + 1 if n + 1 < len(found) else len(v)
        start = found[n - 1] + 1 if n else 0
        earlier = float(v[: i + 1].max())
        decayed = v[i] < 0.98 * float(v[start : i + 1].max()) and v[i] < v[max(start, i - max(1, (i - start) // 2))]
        jumps.append(
            Jump(
                from_step=int(steps[i]),
                step=int(steps[i + 1]),
                before=float(v[i]),
                after=float(v[i + 1]),
                crest=float(v[i + 1 : stop].max()),
                earlier_peak=earlier,
                had_decayed=bool(decayed),
            )
        )
    return jumps
