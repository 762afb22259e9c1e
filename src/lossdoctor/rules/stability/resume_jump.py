"""LD109 resume-jump."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.evidence import NEAR, WIDE, Jump, jump_at, weighed
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Floats, Reading

_RESUMES = frozenset({"session_start", "resumed", "resume", "restart", "restarted"})


class ResumeJump(Rule):
    """The loss changed its level exactly where the run was resumed.

    ## What it sees
    At each resume (the step axis goes back, or the log notes a new session) the loss before it, carried on along its
    own trend, is compared with the first points after it. A jump far beyond the noise, and beyond any that the same
    comparison finds elsewhere in the run. Upwards it is a warning when it undid much of what had been learned;
    small jumps, and falls (the sampler started over with examples already seen), are information.

    ## Why it matters
    A resume that restores the weights alone forgets the optimizer's moments, the loss scale, the schedule or the
    place in the data: steps are lost at every restart, and short jobs never get beyond it.

    ## When it is wrong
    The run was resumed with other data, another batch size or a new loss on purpose.

    ## What to try
    Save and restore optimizer, scheduler, scaler, sampler and random states with the weights. Save, reload and
    compare the next step's loss and learning rate.

    ## References
    PyTorch, Saving and loading a general checkpoint for inference and resuming training.
    """

    code = "LD109"
    name = "resume-jump"
    severity = "warning"
    needs = "a loss with at least 8 points on either side of a resume"
    options = (
        Option("z", 6.0, "the jump in standard errors", "sigma", 3, 50),
        Option("elsewhere", 2.0, "the jump over the largest one found elsewhere in the run", "ratio", 1, 20),
        Option("share", 0.15, "rise over what had been learned from which it warns", "share", 0, 10),
        Option("least", 0.03, "least jump over the level, for positive losses", "share", 0, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or primary[1].n < 16:
            yield self.abstain()
            return
        metric, reading = primary
        steps, values = _finest(reading)
        found = [j for at in _resumes(case, reading) if (j := self._judge_one(case, reading, steps, values, at))]
        if found:
            yield self._describe(case, metric, reading, max(found, key=lambda j: j.size), len(found))

    def _judge_one(self, case: Case, reading: Reading, steps: Floats, values: Floats, at: int) -> Jump | None:
        place = int(np.searchsorted(steps, at))
        jump = jump_at(values, place)
        if jump is None or jump.z < case.option(self, "z"):
            return None
        if reading.positive and abs(jump.size) < case.option(self, "least") * jump.before:
            return None
        # The same comparison elsewhere, clear of this place: what the curve does without a resume.
        lows = range(8, len(values) - 3, max(1, len(values) // 48))
        others = [jump_at(values, i) for i in lows if not place - NEAR < i <= place + WIDE]
        usual = max((abs(o.size) for o in others if o is not None and o.size * jump.size > 0), default=0.0)
        if abs(jump.size) <= case.option(self, "elsewhere") * usual:
            return None
        return Jump(jump.size, jump.z, jump.before, at)

    def _describe(self, case: Case, metric: str, reading: Reading, j: Jump, count: int) -> Finding:
        learned = max(reading.start.value - j.before, 0.0)
        share = j.size / learned if learned > 0 else float("inf")
        relative = j.size / abs(j.before) if reading.positive else float("nan")
        up = j.size > 0
        matters = up and share >= case.option(self, "share")
        if reading.positive:
            matters = matters and relative >= case.option(self, "share") / 2
        rate = _rate_change(case, j.step)
        told = "" if rate is None or 0.77 <= rate <= 1.3 else f"; the learning rate changed {short(rate)}-fold there"
        how = (
            f"rose by {short(j.size)} ({short(j.z)} standard errors)"
            if up
            else f"fell by {short(-j.size)} ({short(j.z)} standard errors)"
        )
        times = f" (one of {count} such resumes)" if count > 1 else ""
        undone = f", {percent(min(share, 99))} of what had been learned" if matters and learned > 0 else ""
        causes = _CAUSES if up else _CAUSES_DOWN
        return self.finding(
            case,
            metric=metric,
            severity="warning" if matters else "info",
            summary=f"{metric} {how}{undone} exactly where the run was resumed, "
            f"at {case.step_unit} {j.step}{times}{told}",
            confidence=sureness(j.z, case.option(self, "z"), 0.5),
            onset_step=j.step,
            evidence={
                "jump": j.size,
                "z": min(j.z, 1e6),
                "share": min(share, 1e6),
                "resumes": count,
                "learning_rate_change": rate,
            },
            causes=weighed(causes, {"schedule-restart": 4.0} if told else {}),
            actions=(
                Action(
                    "check_training_loop",
                    "restore optimizer, scheduler, loss scaler, sampler and random states with the weights",
                ),
                Action("add_warmup", "where the optimizer's state is lost for good, warm up again after the resume"),
            ),
            explains=("LD103",),
        )


def _finest(reading: Reading) -> tuple[Floats, Floats]:
    """Steps and values as fine as the summary keeps them: raw points, else the medians of its blocks."""
    raw = reading.summary.raw()
    if raw is not None:
        good = np.isfinite(raw[1])
        return raw[0][good].astype(np.float64), raw[1][good]
    b = reading.summary.blocks
    keep = b.count > 0
    return b.first_step[keep].astype(np.float64), b.median[keep]


def _resumes(case: Case, reading: Reading) -> list[int]:
    """The steps at which the run was resumed, inside the curve."""
    at = {s.first_step for s in case.segments[1:]}
    for event in case.events:
        step = event.get("step")
        if event.get("kind") in _RESUMES and isinstance(step, int):
            at.add(step)
    first, last = reading.summary.first_step, reading.summary.last_step
    return sorted(s for s in at if first < s <= last)[:64]


def _rate_change(case: Case, at: int) -> float | None:
    """The learning rate after a step over that before it; None where it is not logged."""
    rate = case.reading("learning_rate")
    if rate is None:
        return None
    steps, values = _finest(rate)
    before, after = values[steps < at][-3:], values[steps >= at][:3]
    if len(before) == 0 or len(after) == 0 or not median(before) > 0:
        return None
    return median(after) / median(before)


_CAUSES = (
    Cause("state-lost-on-resume", 0.65, "resume_test"),
    Cause("schedule-restart", 0.15, "resume_test"),
    Cause("training-loop-bug", 0.1, "resume_test"),
    Cause("data-unshuffled", 0.1, "shuffle_test"),
)
_CAUSES_DOWN = (
    Cause("state-lost-on-resume", 0.5, "resume_test"),
    Cause("data-unshuffled", 0.35, "shuffle_test"),
    Cause("schedule-restart", 0.15, "resume_test"),
)
