"""Which of several short runs did better, and what that says of the run they were taken from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lossdoctor.probes.learning_rate.trial_numbers import Start, fall

ALPHA = 0.05  # shared among the comparisons
RELEVANT = 0.1  # of what the run gains meanwhile: less would change little
AUDIBLE = 0.25  # of the noise from batch to batch: less is there on the same batches, and hardly matters


class Compared(Protocol):
    """What is needed of a run; see :class:`lossdoctor.probes.learning_rate.trial.Trial`."""

    @property
    def factor(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def losses(self) -> tuple[float, ...]: ...
    @property
    def difference(self) -> float: ...
    @property
    def p(self) -> float: ...
    @property
    def validation_difference(self) -> float | None: ...
    @property
    def validation_p(self) -> float: ...
    @property
    def diverged(self) -> bool: ...


@dataclass(frozen=True)
class Opinion:
    """See :class:`lossdoctor.probes.learning_rate.trial.LRTrialResult`."""

    better: str
    best: float
    outcome: str
    verdict: str
    causes: dict[str, float] = field(default_factory=dict)


def judged(trials: Sequence[Compared], start: Start, *, fresh: bool | None, by_validation: bool) -> Opinion:
    """Compare the runs with the one at the present rate.

    Args:
        trials: with one of factor 1.
        start: of all runs.
        fresh: whether the optimizer has not taken a step yet; None where it keeps no state to tell.
        by_validation: whether the validation losses decide.
    """
    base = next(t for t in trials if t.factor == 1.0)
    if base.diverged:
        return _diverging(trials, base, fresh)
    gain = fall(np.array(base.losses))
    least = max(RELEVANT * abs(gain), AUDIBLE * start.noise)
    gains = {t.factor: -_difference(t, by_validation) for t in trials if _better(t, least, len(trials), by_validation)}
    lower = {f: g for f, g in gains.items() if f < 1}
    higher = {f: g for f, g in gains.items() if f > 1}
    if lower and higher:
        return _unclear(lower, higher)
    if lower:
        return _lower(trials, lower, gain < least, fresh, by_validation)
    if higher:
        return _higher(trials, higher, gain, by_validation)
    return _same(trials, base, gain)


def _difference(trial: Compared, by_validation: bool) -> float:
    if by_validation and trial.validation_difference is not None:
        return trial.validation_difference
    return trial.difference


def _better(trial: Compared, least: float, count: int, by_validation: bool) -> bool:
    if trial.diverged or trial.factor == 1.0:
        return False
    p = trial.validation_p if by_validation else trial.p
    return p < ALPHA / (count - 1) and -_difference(trial, by_validation) > least


def _diverging(trials: Sequence[Compared], base: Compared, fresh: bool | None) -> Opinion:
    kept = [t for t in trials if t.factor < 1 and not t.diverged]
    words = f"At the present rate of {base.rate:.2g} the loss diverges within {len(base.losses)} steps"
    if not kept:
        verdict = (
            f"{words}, and at every lower one that was tried as well: it is not the rate alone. Run check_data and"
            " check_gradients, or try far lower rates."
        )
        causes = {"gradients-explode": 2.0, "bad-data": 1.5, "precision-overflow": 1.5}
        return Opinion("unclear", 1.0, "failed", verdict, causes)
    best = max(kept, key=lambda t: t.factor)
    verdict = f"{words}; at {best.rate:.2g} (×{best.factor:.2g}) it does not: go down to that."
    causes = {"learning-rate-too-high": 8.0, "no-warmup": 3.0 if fresh else 0.5, "learning-rate-too-low": 0.05}
    return Opinion("lower", best.factor, "failed", verdict, causes)


def _unclear(lower: dict[float, float], higher: dict[float, float]) -> Opinion:
    below, above = max(lower, key=lower.__getitem__), max(higher, key=higher.__getitem__)
    verdict = (
        f"Both a lower rate (×{below:.2g}, by {lower[below]:.2g}) and a higher one (×{above:.2g}, by"
        f" {higher[above]:.2g}) come out ahead of the present one, so these runs cannot tell; repeat with more steps."
    )
    return Opinion("unclear", 1.0, "unknown", verdict)


def _lower(
    trials: Sequence[Compared],
    lower: dict[float, float],
    stuck: bool,
    fresh: bool | None,
    by_validation: bool,
) -> Opinion:
    best = max(lower, key=lower.__getitem__)
    chosen = next(t for t in trials if t.factor == best)
    loss = "validation loss" if by_validation else "loss"
    verdict = f"Lower is better: at {chosen.rate:.2g} (×{best:.2g}) the {loss} ends {lower[best]:.2g} lower"
    causes = {
        "learning-rate-too-low": 0.1,
        "momentum-too-high": 1.5,
        "budget-too-short": 0.6,
        "capacity-too-small": 0.7,
    }
    if fresh is None:
        causes |= {"learning-rate-too-high": 3.0, "no-decay": 2.0, "no-warmup": 2.0}
        verdict += ". Decay the rate from here on; at the beginning of a run, lower it or warm up to it."
    elif fresh:
        causes |= {"learning-rate-too-high": 5.0 if stuck else 3.0, "no-warmup": 3.0}
        verdict += ". The run is at its beginning: lower the rate, or warm up to it."
    else:
        # Where the present rate still gains, its noise is what keeps it above; where it gains nothing, both fit.
        causes |= {"learning-rate-too-high": 3.0, "no-decay": 3.0 if stuck else 2.0, "no-warmup": 1.2}
        verdict += ". Decay the rate from here on; a run that was never better should begin with a lower one."
    return Opinion("lower", best, "failed" if stuck else "noted", verdict, causes)


def _higher(trials: Sequence[Compared], higher: dict[float, float], gain: float, by_validation: bool) -> Opinion:
    best = max(higher, key=higher.__getitem__)
    chosen = next(t for t in trials if t.factor == best)
    loss = "validation loss" if by_validation else "loss"
    verdict = (
        f"Higher is better: at {chosen.rate:.2g} (×{best:.2g}) the {loss} ends {higher[best]:.2g} lower, while the"
        f" present rate gains {max(gain, 0.0):.2g}"
    )
    causes = {"learning-rate-too-high": 0.1, "no-decay": 0.3, "saddle-or-plateau": 0.7, "budget-too-short": 1.5}
    if higher[best] > max(gain, 0.0):
        causes |= {"learning-rate-too-low": 5.0, "learning-rate-decayed-early": 3.0}
        return Opinion("higher", best, "failed", f"{verdict}. Raise it towards that.", causes)
    # A run that gets on well gets on faster at a rate that would later keep it from settling.
    causes |= {"learning-rate-too-low": 1.5, "learning-rate-decayed-early": 1.2}
    verdict += ". It gets on well as it is; a higher rate is faster for now, and worth a try only with a decay."
    return Opinion("higher", best, "noted", verdict, causes)


def _same(trials: Sequence[Compared], base: Compared, gain: float) -> Opinion:
    causes = {"learning-rate-too-high": 0.4, "learning-rate-too-low": 0.4, "no-decay": 0.5, "no-warmup": 0.6}
    broken = [t.factor for t in trials if t.diverged]
    edge = f" It diverges from ×{min(broken):.2g} on." if broken else ""
    worse = sum(t.difference > 0 and t.p < ALPHA for t in trials if t.factor != 1.0)
    if gain > 0:
        verdict = (
            f"No other rate is clearly better than {base.rate:.2g}, at which the loss falls by {gain:.2g}"
            f" ({worse} of {len(trials) - 1} are worse).{edge}"
        )
        return Opinion("same", 1.0, "passed", verdict, {**causes, "budget-too-short": 1.5, "saddle-or-plateau": 0.4})
    falls = any(fall(np.array(t.losses)) > 0 for t in trials if not t.diverged)
    if falls or not math.isfinite(base.difference):
        verdict = (
            f"No other rate is clearly better than {base.rate:.2g} ({worse} of {len(trials) - 1} are worse).{edge}"
        )
        return Opinion("same", 1.0, "passed", verdict, causes)
    verdict = (
        f"No other rate is better than {base.rate:.2g}, and within {len(base.losses)} steps the loss falls at none:"
        f" where the run should still learn, it is not the rate.{edge} Then look at check_gradients, overfit_one_batch"
        " and curvature."
    )
    return Opinion("same", 1.0, "noted", verdict, {**causes, "saddle-or-plateau": 1.5, "capacity-too-small": 1.3})
