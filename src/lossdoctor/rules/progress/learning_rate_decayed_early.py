"""LD206 learning-rate-decayed-early."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading, bin_noise
from lossdoctor.signal.shape import kendall_z

Floats = NDArray[np.float64]
_LEAST = 4  # points of the loss needed before the rate was gone


class LearningRateDecayedEarly(Rule):
    """The loss stopped falling just as the learning rate was gone, long before the end of the run.

    ## What it sees
    The logged learning rate falls below a tenth of its peak early in the run and stays there. The loss was still
    falling right up to that step, and from there on gains next to nothing, although far more steps come after it
    than before. A loss that levels off by itself does not do that: each doubling of the steps still brings a good
    part of what the one before it brought.

    ## Why it matters
    All steps after that point are wasted: they are too short to change the model. The schedule was made for a
    shorter run, or counts something else than steps (epochs, micro-batches, every worker's calls).

    ## When it is wrong
    A schedule that reacts to a plateau lowers the rate after the loss has stalled; then the loss was level before,
    and nothing is reported. A loss that reaches the best possible value at that very step looks the same.

    ## What to try
    Run again with a constant rate from the onset on, or stretch the schedule to the length of the run. Check what
    the scheduler counts and how often it is stepped.

    ## References
    Hoffmann et al. 2022, Training Compute-Optimal Large Language Models (a schedule whose length does not fit the
    run), arXiv:2203.15556.
    """

    code = "LD206"
    name = "learning-rate-decayed-early"
    severity = "warning"
    needs = "the learning rate and a loss"
    options = (
        Option("gone", 0.1, "learning rate over its peak below which it counts as gone", "share", 0.001, 0.5),
        Option("early", 0.4, "share of the run before which it is gone", "share", 0.02, 0.8),
        Option(
            "kept", 0.08, "largest gain per doubling of steps afterwards, over that of the one before", "share", 0, 1
        ),
        Option("gain", 0.1, "least gain of that doubling, over the level or 1.5 times over the drop", "share", 0.01, 1),
        Option("z", 3.5, "that gain in standard errors", "sigma", 1, 20),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        rate, primary = case.reading("learning_rate"), case.primary
        if rate is None or primary is None or len(rate) < 8 or len(primary[1]) < 12:
            yield self.abstain()
            return
        metric, reading = primary
        gone = _gone_at(rate, case.option(self, "gone"))
        if gone is None or not 0 < reading.fraction(gone) <= case.option(self, "early"):
            return
        stop = _stop(reading, gone)
        if stop is not None and self._stopped(case, reading, stop):
            yield self._describe(case, metric, reading, gone, stop)

    def _stopped(self, case: Case, reading: Reading, s: Stop) -> bool:
        """Whether the loss fell up to the step, and stood still after it. Judged by difference or by ratio."""
        if s.before <= 0 or s.before < case.option(self, "z") * s.se or not s.falling:
            return False
        kept, gain = case.option(self, "kept") * s.doublings, case.option(self, "gain")
        if max(s.after, 0.0) + s.after_se < kept * s.before and s.before >= 1.5 * gain * reading.drop:
            return True
        if not reading.positive or s.soon <= 0 or s.end <= 0 or s.late <= 0:
            return False
        before = float(np.log(s.early / s.late))
        after = float(np.log(s.soon / s.end)) + s.after_se / s.end
        return before >= gain and after < kept * before

    def _describe(self, case: Case, metric: str, reading: Reading, gone: int, s: Stop) -> Finding:
        left = 1.0 - reading.fraction(gone)
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} stopped falling as the learning rate fell below "
                f"{percent(case.option(self, 'gone'))} of its peak at {case.step_unit} {gone}: from {short(s.early)} "
                f"to {short(s.late)} before it, {short(s.end)} at the end, with {percent(left)} of the run left"
            ),
            confidence=0.8,
            onset_step=gone,
            evidence={
                "gone_step": gone,
                "before": s.early,
                "at": s.late,
                "end": s.end,
                "gain_before": s.before,
                "gain_after": s.after,
                "share_left": left,
            },
            causes=(
                Cause("learning-rate-decayed-early", 0.85, "lr_trial"),
                Cause("capacity-too-small", 0.08, "overfit_one_batch"),
                Cause("normal", 0.07, None),
            ),
            actions=(
                Action(
                    "change_schedule", "stretch the decay to the length of the run; check what the scheduler counts"
                ),
                Action("increase_learning_rate", f"go on from {case.step_unit} {gone} at the rate before the decay"),
                Action("stop_early", "if the schedule is meant to be so short, end the run where it ends"),
            ),
            explains=("LD201", "LD203", "LD204", "LD205", "LD302"),
        )


@dataclass(frozen=True, slots=True)
class Stop:
    """The loss around the step where the rate was gone.

    ``early``, ``late``: levels halfway to it and just before it; ``soon``, ``end``: just after it and at the end;
    ``before`` and ``after`` what was gained between them, with standard errors; ``falling`` whether the fall went on
    to the very step; ``doublings`` of the steps that came after it.
    """

    early: float
    late: float
    soon: float
    end: float
    before: float
    se: float
    after: float
    after_se: float
    falling: bool
    doublings: float


def samples(reading: Reading) -> tuple[Floats, Floats]:
    """Steps and finite values of single points: all that are kept at both ends, the first of each block between."""
    s = reading.summary
    raw = s.raw()
    if raw is not None:
        steps, values = raw
    else:
        between = (s.blocks.first_step > s.head_steps[-1]) & (s.blocks.first_step < s.tail_steps[0])
        steps = np.concatenate((s.head_steps, s.blocks.first_step[between], s.tail_steps))
        values = np.concatenate((s.head_values, s.blocks.first[between], s.tail_values))
    finite = np.isfinite(values)
    return steps[finite].astype(np.float64), values[finite]


def _gone_at(rate: Reading, share: float) -> int | None:
    """The first step from which the rate stays below a share of its peak; None when it does not."""
    steps, values = samples(rate)
    peak = float(values.max()) if len(values) else 0.0
    alive = np.flatnonzero(values >= 0.999 * share * peak)
    if not peak > 0 or len(alive) == 0 or alive[-1] + 1 >= len(values):
        return None
    return int(steps[alive[-1] + 1])


def _stop(reading: Reading, gone: int) -> Stop | None:
    steps, values = samples(reading)
    if not reading.summary.complete and gone > reading.summary.head_steps[-1] // 2:
        steps, values = reading.steps, reading.y  # the same grain on both sides of the step
    first = float(steps[0])
    length = gone - first
    done = (steps - first) / length if length > 0 else np.zeros(len(steps))
    early, late = (done >= 0.25) & (done <= 0.6), (done > 0.7) & (done < 1.0)
    soon = (done >= 1.0) & (done <= 1.5)
    if (done < 1.0).sum() < _LEAST or not early.any() or not late.any() or not soon.any():
        return None
    noise = max(bin_noise(values[done < 1.0]), bin_noise(values[soon]))
    floor = 0.002 * abs(median(values[late]))
    levels = [median(values[part]) for part in (early, late, soon)]
    errors = [max(1.2533 * noise / np.sqrt(part.sum()), floor) for part in (early, late, soon)]
    tail = values[(done >= 0.6) & (done < 1.0)]
    falling = kendall_z(tail[:: max(1, len(tail) // 128)]) < -1.9 if len(tail) >= 6 else bool(np.all(np.diff(tail) < 0))
    return Stop(
        early=levels[0],
        late=levels[1],
        soon=levels[2],
        end=reading.end.value,
        before=levels[0] - levels[1],
        se=float(np.hypot(errors[0], errors[1])),
        after=levels[2] - reading.end.value,
        after_se=float(np.hypot(errors[2], reading.end.se)),
        falling=falling,
        doublings=float(np.log2(done[-1])),
    )
