"""LD101 loss-nonfinite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.evidence import sharpened
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading


class LossNonfinite(Rule):
    """A loss became NaN or infinite.

    ## What it sees
    Any NaN or Inf in any loss of the run. It says whether it came suddenly (the points before lie within their
    usual noise) or gradually (the loss or the gradient norm rose first), and whether the loss came back. A NaN
    before the first number, or NaN cells between healthy numbers all along, are holes in the log and not reported
    as an explosion.

    ## Why it matters
    NaN times anything is NaN: one NaN weight poisons the whole model, and no further step repairs it. Everything
    after the first non-finite step is lost compute unless a checkpoint from before is restored.

    ## When it is wrong
    A logger that writes NaN where a metric was not measured. Isolated Inf values under a dynamic loss scale,
    which skips those steps: they are reported as a warning when the loss goes on as before.

    ## What to try
    Restore the last checkpoint before the onset. Sudden: look at the batch of that step, at log(0) and 0/0 in the
    loss, and at fp16 overflow (65,504). Gradual: divide the learning rate by 10, clip gradients, add warmup.

    ## References
    Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740.
    """

    code = "LD101"
    name = "loss-nonfinite"
    severity = "critical"
    per_segment = True
    needs = "a loss"
    options = (
        Option(
            "sudden_noise", 3.0, "the last points before the onset lie within this many noise units", "sigma", 1, 20
        ),
        Option(
            "hole_share", 0.02, "share of finite values after the onset from which NaNs count as holes", "share", 0, 1
        ),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        every = [*case.losses(), *_adversarial(case)]
        if not every:
            yield self.abstain()
            return
        found = [f for metric, reading in every if (f := self._judge_one(case, metric, reading)) is not None]
        if found:
            yield _first_of(found)

    def _judge_one(self, case: Case, metric: str, reading: Reading) -> Finding | None:
        s = reading.summary
        bad = s.n - s.n_finite
        if bad == 0 or s.first_nonfinite_step is None or s.first_nonfinite_index is None:
            return None
        if s.n_finite == 0 and s.n < 3:
            return None
        finite_before = s.first_nonfinite_index
        finite_after = s.n_finite - finite_before
        after = s.n - finite_before
        if s.n_finite and finite_before == 0 and finite_after > 2 and _leading_only(reading):
            return None  # a placeholder before the first measurement
        came_back = finite_after / after > case.option(self, "hole_share") and _ends_finite(reading)
        if came_back and bad > 2 and finite_after > 0.3 * after and s.n_nan == bad:
            return None  # holes: NaN cells between healthy numbers all along
        return self._describe(case, metric, reading, came_back)

    def _describe(self, case: Case, metric: str, reading: Reading, came_back: bool) -> Finding:
        s = reading.summary
        onset = int(s.first_nonfinite_step or 0)
        bad = s.n - s.n_finite
        kind = "NaN" if s.n_nan == bad else "infinite" if s.n_nan == 0 else "NaN and infinite"
        sudden, rise = _before(case, reading, case.option(self, "sudden_noise"))
        how = "suddenly" if sudden else f"after rising {short(rise)}-fold"
        tail = "and came back" if came_back else "and did not come back"
        summary = f"{metric} became {kind} {how} at {case.step_unit} {onset} ({bad} of {s.n} points) {tail}"
        causes = sharpened(case, _SUDDEN if sudden else _GRADUAL, reading, onset)
        last_good = reading.last_good_step()
        where = (
            f"from before {case.step_unit} {onset}"
            if last_good is None
            else f"of {case.step_unit} {last_good} or earlier"
        )
        actions = [Action("restore_checkpoint", f"restore the checkpoint {where}")]
        remedies = [
            Action("reduce_learning_rate", "divide the peak learning rate by 10"),
            Action("clip_gradients", "clip the gradient norm at 1.0, or at its 90th percentile when it is logged"),
        ]
        data = Action("clean_data", f"look for NaN, Inf and extreme values in the batch of {case.step_unit} {onset}")
        actions = [*remedies, *actions, data] if not sudden else [*actions, data, *remedies]
        return self.finding(
            case,
            metric=metric,
            severity="warning" if came_back else "critical",
            summary=summary,
            confidence=0.7 if came_back else 0.98,
            onset_step=onset,
            evidence={"nonfinite_points": bad, "points": s.n, "kind": kind, "sudden": sudden, "rise_before": rise},
            causes=causes,
            actions=actions,
            explains=(
                "LD102",
                "LD103",
                "LD104",
                "LD105",
                "LD108",
                "LD110",
                "LD204",
                "LD201",
                "LD207",
                "LD303",
                "LD305",
                "LD306",
                "LD307",
            ),
        )


_SUDDEN = (
    Cause("precision-overflow", 0.35, "check_gradients"),
    Cause("bad-batch", 0.35, "check_data"),
    Cause("learning-rate-too-high", 0.2, "lr_range_test"),
    Cause("loss-misused", 0.1, "check_gradients"),
)
_GRADUAL = (
    Cause("learning-rate-too-high", 0.6, "lr_range_test"),
    Cause("no-warmup", 0.15, "lr_trial"),
    Cause("gradients-explode", 0.15, "check_gradients"),
    Cause("inputs-unscaled", 0.1, "check_data"),
)


def _first_of(found: list[Finding]) -> Finding:
    """One finding for the run: the worst loss, the earliest of those; the others are named in it."""
    order = sorted(found, key=lambda f: (f.severity != "critical", f.onset_step or 0))
    first, rest = order[0], order[1:]
    if not rest:
        return first
    names = [f.metric for f in rest]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return replace(first, summary=f"{first.summary}; so did {shown}", evidence={**first.evidence, "also": names[:20]})


def _adversarial(case: Case) -> list[tuple[str, Reading]]:
    return [(n, case.readings[n]) for n in case.roles.adversarial if n in case.readings and "loss" in n.lower()]


def _leading_only(reading: Reading) -> bool:
    """Whether all non-finite values come before the first finite one."""
    s = reading.summary
    bad = ~np.isfinite(s.head_values)
    if not bad.any():
        return False
    first_good = int(np.argmin(bad))
    return first_good > 0 and int(bad.sum()) == first_good and s.n - s.n_finite == first_good


def _ends_finite(reading: Reading) -> bool:
    return bool(np.isfinite(reading.summary.tail_values[-3:]).any())


def _before(case: Case, reading: Reading, limit: float) -> tuple[bool, float]:
    """Whether the non-finite value came suddenly, and by which factor the loss had risen above its lowest level."""
    onset = reading.summary.first_nonfinite_step
    y = reading.y[reading.steps < onset] if onset is not None else reading.y
    if len(y) < 3:
        return True, 1.0
    low = float(reading.level[: len(y)].min())
    last = float(np.max(y[-3:]))
    scale = max(reading.sigma, 0.01 * abs(low))
    rise = last / low if low > 0 else 1.0 + max(last - low, 0.0) / max(scale, 1e-300)
    usual = median(y[-20:])
    norms = case.reading("grad_norm")
    grew = False
    if norms is not None and len(norms) >= 4 and onset is not None:
        g = norms.y[norms.steps <= onset]
        grew = len(g) >= 4 and float(np.max(g[-3:])) > 10 * median(g)
    return bool(last - usual <= limit * max(scale, 1e-300) and rise < 2 and not grew), float(max(rise, 1.0))
