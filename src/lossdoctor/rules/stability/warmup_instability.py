"""LD110 warmup-instability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short, sureness
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.continued import begins_late
from lossdoctor.rules.stability.evidence import warmed_up
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading


class WarmupInstability(Rule):
    """The loss jumped because the learning rate reached its peak too soon or too high.

    ## What it sees
    Without a warmup (the learning rate stands at its peak from the first step): an early jump of the loss to several
    times its starting value within the first hundredth of the run (thirtieth, when it lasts). With a
    warmup: a loss that had begun to fall and then rises, well beyond its noise and for more than a moment, while the
    learning rate is near its peak.

    ## Why it matters
    In the first steps the curvature is high and Adam's moments are unknown: full steps throw the weights where the
    rest of the run cannot fetch them back from. Units die, and the final loss is worse although the curve recovers.

    ## When it is wrong
    Losses that are re-weighted while the learning rate warms up rise by design; they do so from the first step,
    before anything was learned, and are left alone.

    ## What to try
    Warm up linearly over 5 to 10 % of the run, or twice as long as now; divide the peak by 3; clip gradients.

    ## References
    Goyal et al. 2017, Accurate, Large Minibatch SGD, arXiv:1706.02677. Gilmer et al. 2021, A Loss Curvature
    Perspective on Training Instability, arXiv:2110.04369.
    """

    code = "LD110"
    name = "warmup-instability"
    severity = "warning"
    per_segment = True
    needs = "a loss and the learning rate"
    options = (
        Option("jump", 4.0, "early peak of the loss over its starting value, without a warmup", "ratio", 2, 1000),
        Option("z", 8.0, "rise near the peak of the learning rate, in noise units of bins", "sigma", 3, 50),
        Option("share", 0.3, "that rise over what had been learned before it", "share", 0.05, 10),
        Option("near", 0.4, "learning rate over its peak from which it is near it", "share", 0.1, 1),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary, rate = case.primary, case.reading("learning_rate")
        if primary is None or rate is None or len(primary[1]) < 8:
            yield self.abstain()
            return
        metric, loss = primary
        if case.index > 0 or begins_late(loss):
            return  # after a resume the loss does not start anew, and a log that begins late shows no warmup
        if warmed_up(case) is False:
            early = self._early(case, loss)
            if early is not None:
                yield self._describe(case, metric, early, False)
        elif warmed_up(case):
            near = self._near_peak(case, loss, rate)
            if near is not None:
                yield self._describe(case, metric, near, True)

    def _early(self, case: Case, loss: Reading) -> _Rise | None:
        """A jump far above the first value, at once or for at least three points of the first tenth."""
        s = loss.summary
        good = np.isfinite(s.head_values)
        values, steps = s.head_values[good][: max(8, s.n // 10)], s.head_steps[good]
        if len(values) < 4 or not good[0]:
            return None
        first, least = float(values[0]), case.option(self, "jump")
        base = abs(first) if loss.positive else loss.drop
        if not base > 0:
            return None
        high = np.flatnonzero(values - first > (least - 1) * base)
        if len(high) == 0 or high[0] >= max(4, s.n // (33 if len(high) >= 3 else 100)):
            return None  # later jumps have other causes
        top = float(values.max())
        sudden = float(values[high[0]]) - first > 3 * (float(values[: high[0]].max()) - first) + (least - 1) * base / 2
        # A loss re-weighted upwards rises step by step, and its start is lower than its end.
        if not sudden and loss.end.value > first:
            return None
        if not _beyond_noise(loss, first, top):
            return None
        return _Rise(int(steps[high[0]]), first, top, (top - first) / base + 1, least, len(high) / s.n)

    def _near_peak(self, case: Case, loss: Reading, rate: Reading) -> _Rise | None:
        """A rise of a loss that had begun to fall, with its onset near the first peak of the learning rate."""
        reached = np.flatnonzero(rate.y >= 0.95 * rate.summary.max_value)
        if len(reached) == 0:
            return None
        at = float(rate.steps[reached[0]])
        share = loss.fraction(at)
        if not 0 < share <= 0.4:
            return None
        window = np.flatnonzero(loss.steps <= loss.summary.first_step + (at - loss.summary.first_step) * 2.5 + 1)
        level = loss.level[: len(window)]
        if len(level) < 6:
            return None
        depth = level - np.minimum.accumulate(level)
        top = int(np.argmax(depth))
        low = int(np.argmin(level[: top + 1]))
        rise, learned = float(depth[top]), float(loss.start.value - level[low])
        now = float(np.interp(loss.steps[top], rate.steps, rate.y)) / rate.summary.max_value
        near = loss.noise_between(max(0, low - 8), min(top + 8, len(loss)))
        noise = max(loss.sigma, near, 0.002 * abs(float(level[low])))
        tall = level[low:] - level[low] > rise / 2
        if now < case.option(self, "near") or int(tall.sum()) < 3 or rise <= 0:
            return None
        # Before anything was learned there is nothing to undo: a loss may be re-weighted during warmup.
        if learned < 3 * noise or rise < case.option(self, "share") * learned or rise < case.option(self, "z") * noise:
            return None
        if loss.positive and rise < 0.1 * abs(float(level[low])):
            return None
        onset = int(loss.steps[low])
        z = rise / noise if noise > 0 else float("inf")
        return _Rise(
            onset, float(level[low]), float(level[top]), z, case.option(self, "z"), int(tall.sum()) / len(loss)
        )

    def _describe(self, case: Case, metric: str, r: _Rise, warmup: bool) -> Finding:
        when = "near its peak" if warmup else "at its peak from the start"
        longer = "twice as long as now" if warmup else "linearly over the first 5 to 10 % of the run"
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} rose from {short(r.low)} to {short(r.top)} after {case.step_unit} {r.step} "
                f"with the learning rate {when} (for {percent(r.lasting)} of the run)"
            ),
            confidence=sureness(r.size, r.limit, 0.4),
            onset_step=r.step,
            evidence={"low": r.low, "top": r.top, "size": min(r.size, 1e9), "share_of_run": r.lasting},
            causes=_CAUSES_WARMUP if warmup else _CAUSES,
            actions=(
                Action("add_warmup", f"warm up {longer}"),
                Action("reduce_learning_rate", "divide the peak learning rate by 3"),
                Action("clip_gradients", "clip the gradient norm at 1.0"),
            ),
            explains=("LD103", "LD104"),
        )


def _beyond_noise(loss: Reading, low: float, top: float) -> bool:
    """Whether noise as it is later in the run (it grows with the level where losses are positive) does not do it."""
    if loss.positive and low > 0:
        return float(np.log(top / low)) > 6 * loss.raw_sigma / abs(median(loss.y[len(loss) // 5 :]))
    return top - low > 8 * loss.raw_sigma


@dataclass(frozen=True, slots=True)
class _Rise:
    """A rise after a step from a low to a top; its size in the unit of its limit; how much of the run it lasted."""

    step: int
    low: float
    top: float
    size: float
    limit: float
    lasting: float


_CAUSES = (
    Cause("no-warmup", 0.4, "lr_trial"),
    Cause("learning-rate-too-high", 0.35, "lr_range_test"),
    Cause("inputs-unscaled", 0.15, "check_data"),
    Cause("bad-initialization", 0.1, "initial_loss"),
)
_CAUSES_WARMUP = (
    Cause("learning-rate-too-high", 0.6, "lr_trial"),
    Cause("no-warmup", 0.3, "lr_trial"),
    Cause("momentum-too-high", 0.1, "lr_trial"),
)
