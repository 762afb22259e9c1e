"""LD108 clipping-saturated."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.rules.stability.evidence import weighed
from lossdoctor.rules.stability.loss_divergence import has_turned
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Floats, Reading
from lossdoctor.signal.shape import turn

_EXACT = 1e-3  # a clipped norm equals its limit but for rounding (and the 1e-6 that libraries add)


class ClippingSaturated(Rule):
    """Gradient clipping is at work on most steps.

    ## What it sees
    The limit is known (the run's configuration or the context's ``clip_norm``) and the logged norm, taken before
    clipping, is above it on more than half of the steps; or the norm is logged after clipping and sits exactly at
    its ceiling on more than half of them. A warning when the run is in trouble too (the loss rises or does not
    fall), when the norm is far above the limit and keeps growing, or when plain SGD is known to be used with a norm
    ten times the limit; information otherwise.

    ## Why it matters
    Clipping is a safety net. At work on every step it is a hidden learning-rate schedule: with SGD the step is
    limit over norm times as long as asked for, and a growing norm behind a fixed limit hides an instability.

    ## When it is wrong
    Adam does not care for the scale of the gradient, and fine-tuning with the customary limit of 1 often clips
    every step and is fine: it is then only information.

    ## What to try
    Divide the learning rate by 3 where the norm grows; else raise the limit to about the 90th percentile of the
    norm.

    ## References
    Seetharaman et al. 2020, AutoClip, arXiv:2007.14469. Zhang et al. 2020, arXiv:1905.11881.
    """

    code = "LD108"
    name = "clipping-saturated"
    severity = "warning"
    per_segment = True
    needs = "the gradient norm before clipping and the limit (context clip_norm)"
    options = (
        Option("share", 0.5, "share of the steps that are clipped", "share", 0.1, 1),
        Option("far", 3.0, "median norm of the later half over the limit, from which it is far above", "ratio", 1, 100),
        Option("growth", 2.0, "median norm of the later half over that of the first half", "ratio", 1, 100),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        names = [n for n in case.roles.names.get("grad_norm", ()) if n in case.readings]
        readings = {n: case.readings[n] for n in names if case.readings[n].n >= 20}
        if not readings:
            yield self.abstain()
            return
        ceilings = {n: c for n, r in readings.items() if (c := self._ceiling(case, r)) is not None}
        free = [n for n in readings if n not in ceilings]
        limit = case.context.clip_norm if case.context.clip_norm is not None else max(ceilings.values(), default=None)
        if limit is None:
            yield self.abstain("the limit of gradient clipping (context clip_norm)")
        elif free and _share(readings[free[0]], limit) > case.option(self, "share"):
            yield self._before(case, free[0], readings[free[0]], limit)
        elif ceilings:
            name = next(iter(ceilings))
            yield self._after(case, name, readings[name], ceilings[name])

    def _ceiling(self, case: Case, norms: Reading) -> float | None:
        """The value that most points equal and none exceeds, or None: a norm logged after clipping."""
        top, values = norms.summary.max_value, _points(norms)
        if not top > 0:
            return None
        at_top = float(np.mean(values >= top * (1 - _EXACT)))
        if at_top <= case.option(self, "share"):
            return None
        # A norm that never moves is a model that never moves, unless the loss does.
        primary = case.primary
        if at_top == 1.0:
            return top if primary is not None and len(primary[1]) >= 8 and primary[1].fell else None
        # A norm that froze once and for all (dead units, nothing left to learn) is not clipped: it must come and go.
        below = values < 0.97 * top
        return top if below.mean() > 0.02 and np.count_nonzero(below[1:] != below[:-1]) >= 4 else None

    def _before(self, case: Case, metric: str, norms: Reading, limit: float) -> Finding:
        half = len(norms) // 2
        early, late = median(norms.y[:half]), median(norms.y[half:])
        growing = late > case.option(self, "growth") * early and late > case.option(self, "far") * limit
        optimizer = (case.context.optimizer or "").lower()
        slowed = optimizer in ("sgd", "momentum", "nesterov") and late > 10 * limit
        why = (
            f", and grew {short(late / early)}-fold"
            if growing
            else f": with {case.context.optimizer} every step is {short(late / limit)} times shorter than asked for"
            if slowed
            else ""
        )
        share = _share(norms, limit)
        return self._describe(
            case,
            metric,
            f"{metric} is above the clipping limit of {short(limit)} on {percent(share)} of the steps "
            f"(median {short(late)} in the later half{why})",
            growing or slowed or _troubled(case),
            {"limit": limit, "share": share, "early": early, "late": late},
            weighed(_CAUSES, {"learning-rate-too-high": 2.0} if growing else {}),
        )

    def _after(self, case: Case, metric: str, norms: Reading, limit: float) -> Finding:
        share = float(np.mean(_points(norms) >= limit * (1 - _EXACT)))
        return self._describe(
            case,
            metric,
            f"{metric} sits at its ceiling of {short(limit)} on {percent(share)} of the steps: "
            "it is logged after clipping, and clipped on most of them",
            _troubled(case),
            {"limit": limit, "share": share},
            _CAUSES,
        )

    def _describe(
        self,
        case: Case,
        metric: str,
        summary: str,
        serious: bool,
        evidence: dict[str, object],
        causes: tuple[Cause, ...],
    ) -> Finding:
        lower = Action("reduce_learning_rate", "divide the learning rate by 3")
        raise_it = Action("clip_gradients", "raise the limit to about the 90th percentile of the norm before clipping")
        return self.finding(
            case,
            metric=metric,
            severity="warning" if serious else "info",
            summary=summary,
            confidence=0.75,
            onset_step=case.readings[metric].summary.first_step,
            evidence=evidence,
            causes=causes,
            actions=(lower, raise_it) if serious else (raise_it, lower),
        )


_CAUSES = (
    Cause("clipping-too-tight", 0.5, "log_more"),
    Cause("learning-rate-too-high", 0.4, "lr_trial"),
    Cause("outliers", 0.1, "check_data"),
)


def _points(norms: Reading) -> Floats:
    """The finite raw points that the summary kept: all of a short curve, both ends of a long one."""
    s = norms.summary
    raw = s.raw()
    values = raw[1] if raw is not None else np.concatenate((s.head_values, s.tail_values))
    return values[np.isfinite(values)]


def _share(norms: Reading, limit: float) -> float:
    """The share of steps above the limit: of single points where all are kept, else of the binned medians."""
    values = _points(norms) if norms.summary.raw() is not None else norms.y
    return float(np.mean(values > limit * (1 + _EXACT)))


def _troubled(case: Case) -> bool:
    """Whether the loss does not fall, or turned and rose."""
    primary = case.primary
    if primary is None or len(primary[1]) < 8:
        return False
    loss = primary[1]
    t = turn(loss)
    rises = t is not None and has_turned(t, 3.5, 0.6) and (t.relative > 0.06 if loss.positive else t.share > 0.25)
    return not loss.fell or rises
