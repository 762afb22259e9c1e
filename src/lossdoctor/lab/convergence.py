"""What became of a descent, computed from its dynamics: never from its settings, never from a label.

The states:

=====================  ======================================================================================
monotone               within reach of a minimum, and walked to it from one side
damped oscillation     crosses the minimum again and again, by less each time (there already, or on the way)
limit cycle            keeps swinging by the same amount, for ever
diverged               not finite, or swings by more each time, or has left the domain far behind
stalled at a saddle    within reach of a point with no gradient, where the Hessian shows a way down
stalled at a maximum   the same, where every way leads down
hovering               chance keeps it moving about one place, with no trend (only where there is noise)
still moving           none of these yet: on its way, crawling, or stopped short by a rate that went to zero
=====================  ======================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.lab.critical import NEAR, CriticalPoint
from lossdoctor.lab.surfaces import Surface

Array = NDArray[np.float64]

MONOTONE = "monotone"
DAMPED = "damped oscillation"
CYCLE = "limit cycle"
DIVERGED = "diverged"
SADDLE = "stalled at a saddle"
MAXIMUM = "stalled at a maximum"
HOVERING = "hovering"
MOVING = "still moving"
STATES = (MONOTONE, DAMPED, CYCLE, DIVERGED, SADDLE, MAXIMUM, HOVERING, MOVING)

# Beyond this many widths outside the domain a path will not come back.
_FAR = 10.0
# Crossings of the minimum that count must be this share of the way that was come; so many make an oscillation.
_SEEN = 1e-4
_CROSSINGS = 2
# The tail swings when its ends lie closer together than this share of the way between them.
_STRAIGHT = 0.5
# A swing is the same when it changes by less than this a period; or, where no period is plain and its span is a matter
# of where it is caught, by less than this over half of the tail.
_SAME = 1e-4
_SAME_SPAN = 0.25
# Growth that is below this share of what it was a moment ago dies away: it is no divergence.
_SLACKENS = 0.9
# Two stretches are of one period when they differ by less than this share of the swing.
_PERIODIC = 0.2
# Swings below this share of the domain's width are rounding.
_STILL = 1e-9
# Chance hovers when its place drifts by less than this many times its wandering; a steady drift makes √12 of it.
_DRIFT = 1.5
_SHORTEST = 6
_LONGEST = 100


@dataclass(frozen=True)
class Verdict:
    """The state of one descent.

    Attributes:
        state: one of :data:`STATES`.
        detail: one sentence with its numbers.
        converged: whether it ended within reach of a minimum, and stays.
        crossings: how often it crossed the minimum, in the direction that crossed most (None: no minimum is near).
        growth: the factor by which the swing of its second half grows a period (``period`` steps), or None.
        period: steps after which the swing repeats, where it does.
    """

    state: str
    detail: str
    converged: bool = False
    crossings: int | None = None
    growth: float | None = None
    period: int | None = None


def judge(path: Array, losses: Array, surface: Surface, critical: CriticalPoint, *, noisy: bool = False) -> Verdict:
    """The state of one descent.

    Args:
        path: float64[steps + 1, dim]; losses: float64[steps + 1], what was descended.
        surface: where.
        critical: the critical point next to the end.
        noisy: whether chance had a hand in it.

    >>> from lossdoctor.lab import descend
    >>> for lr in (0.45, 0.95, 1.0, 1.05):
    ...     print(lr, descend("quadratic", "sgd", lr=lr, starts=[[0.0]], steps=60).state())
    0.45 monotone
    0.95 damped oscillation
    1.0 limit cycle
    1.05 diverged
    """
    lost = _lost(path, losses, surface)
    if lost:
        return Verdict(DIVERGED, lost)
    if noisy:
        return _by_chance(path, surface, critical)
    swing = _swing(path, surface.width)
    if critical.near and critical.kind != "minimum":
        return _stalled(path, critical)
    if swing is not None and swing.growth > 1.0 + swing.same:
        more = f"by {100.0 * (swing.growth - 1.0):.3g} % more every {swing.every}"
        runs_away = _rising(losses) and (_above_start(losses) or not swing.slackens)
        state, detail = (DIVERGED, f"swings {more}") if runs_away else (CYCLE, f"swings {more}, but ever less so")
        return Verdict(state, detail, growth=swing.growth, period=swing.period)
    if swing is not None and abs(swing.growth - 1.0) <= swing.same:
        how = f"repeats every {swing.every}" if swing.period else "stays bounded without repeating"
        return Verdict(CYCLE, f"swings over {swing.span:.3g} and {how}", growth=swing.growth, period=swing.period)
    if critical.near:
        return _arrived(path, critical, swing)
    if swing is not None and swing.growth < 1.0:
        detail = f"swings by {100.0 * (1.0 - swing.growth):.3g} % less every {swing.every}, not there yet"
        return Verdict(DAMPED, detail, growth=swing.growth, period=swing.period)
    return _under_way(path, losses, surface)


def _lost(path: Array, losses: Array, surface: Surface) -> str:
    finite = np.isfinite(path).all(axis=1) & np.isfinite(losses)
    if not finite.all():
        step = int(np.argmin(finite))
        return f"not finite from step {step} on"
    beyond = np.maximum(surface.low - path[-1], path[-1] - surface.high).max()
    if beyond > _FAR * surface.width:
        return f"{beyond / surface.width:.3g} widths outside the domain"
    return ""


def _stalled(path: Array, critical: CriticalPoint) -> Verdict:
    state = SADDLE if critical.kind == "saddle" else MAXIMUM
    apart = float(np.linalg.norm(path[-1] - critical.point))
    curves = ", ".join(f"{v:.4g}" for v in critical.curvatures)
    return Verdict(state, f"{apart:.2g} from a {critical.kind}; curvatures there {curves}")


def _arrived(path: Array, critical: CriticalPoint, swing: _Swing | None) -> Verdict:
    crossings = _crossings(path, critical)
    state = DAMPED if crossings >= _CROSSINGS else MONOTONE
    apart = float(np.linalg.norm(path[-1] - critical.point))
    came = f"crossed it {crossings} times" if crossings >= _CROSSINGS else "came from one side"
    growth, period = (swing.growth, swing.period) if swing is not None else (None, None)
    return Verdict(
        state,
        f"{apart:.2g} from the minimum, {came}",
        converged=True,
        crossings=crossings,
        growth=growth,
        period=period,
    )


def _crossings(path: Array, critical: CriticalPoint) -> int:
    """Changes of side of the minimum, along that axis of its bowl that has most; the way there does not count."""
    offset = path - critical.point
    distance = np.linalg.norm(offset, axis=1)
    farthest = float(distance.max())
    if farthest == 0.0:
        return 0
    outside = np.flatnonzero(distance > 0.5 * farthest)
    # The last far point belongs to the approach, unless it swings out there from the start.
    first = int(outside[-1]) if len(outside) and outside[-1] < len(path) - 1 else 0
    if len(outside) > 0.5 * len(path):
        first = 0
    coordinates = offset[first:] @ critical.directions
    most = 0
    for column in coordinates.T:
        sides = np.sign(column[np.abs(column) > _SEEN * farthest])
        most = max(most, int((sides[1:] != sides[:-1]).sum()))
    return most


@dataclass(frozen=True)
class _Swing:
    """How the second half of a path swings: by what span, growing by what factor a period."""

    span: float
    growth: float
    period: int | None
    same: float
    slackens: bool

    @property
    def every(self) -> str:
        return f"{self.period} steps" if self.period else "quarter of the run"


def _rising(losses: Array) -> bool:
    """Whether the loss is higher in the last quarter than in the one before."""
    tail = losses[len(losses) // 2 :]
    middle = len(tail) // 2
    return bool(tail[middle:].max() > tail[:middle].max())


def _above_start(losses: Array) -> bool:
    return bool(losses[len(losses) // 2 :].max() > losses[0])


def _swing(path: Array, width: float) -> _Swing | None:
    """The swing of the second half, or None where it goes one way or stands still."""
    tail = path[len(path) // 2 :]
    if len(tail) < _SHORTEST:
        return None
    span = float(np.linalg.norm(np.ptp(tail, axis=0)))
    moves = np.diff(tail, axis=0)
    way = float(np.linalg.norm(moves, axis=1).sum())
    if span <= _STILL * width or float(np.linalg.norm(tail[-1] - tail[0])) > _STRAIGHT * way:
        return None
    period, growth = _period(moves)
    if period is not None:
        return _Swing(span, growth, period, _SAME, _slackens(moves, period))
    half = len(tail) // 2
    first, second = (float(np.linalg.norm(np.ptp(part, axis=0))) for part in (tail[:half], tail[-half:]))
    return _Swing(span, second / first if first > 0.0 else np.inf, None, _SAME_SPAN, slackens=False)


def _period(moves: Array) -> tuple[int | None, float]:
    """The shortest period at which the moves repeat up to a factor, and that factor; (None, 1) when they do not."""
    for period in range(1, min(len(moves) // 2, _LONGEST) + 1):
        before, after = moves[:-period], moves[period:]
        power = float((before * before).sum())
        if power == 0.0:
            return None, 1.0
        factor = float((after * before).sum()) / power
        rest = float(((after - factor * before) ** 2).sum())
        if factor > 0.0 and rest <= _PERIODIC**2 * float((after * after).sum()):
            return period, factor
    return None, 1.0


def _slackens(moves: Array, period: int) -> bool:
    """Whether the growth a period is less in the second half of the moves than in the first."""
    half = len(moves) // 2
    factors = []
    for part in (moves[:half], moves[half:]):
        before, after = part[:-period], part[period:]
        power = float((before * before).sum())
        if power == 0.0:
            return False
        factors.append(float((after * before).sum()) / power)
    return factors[1] - 1.0 < _SLACKENS * (factors[0] - 1.0)


def _by_chance(path: Array, surface: Surface, critical: CriticalPoint) -> Verdict:
    quarter = max(1, len(path) // 4)
    last, before = path[-quarter:], path[-2 * quarter : -quarter]
    if len(before) < 2:
        return Verdict(MOVING, "too few steps to tell noise from movement")
    wander = float(np.sqrt(((last - last.mean(axis=0)) ** 2).sum(axis=1).mean()))
    drift = float(np.linalg.norm(last.mean(axis=0) - before.mean(axis=0)))
    if drift > max(_DRIFT * wander, NEAR * surface.width):
        return Verdict(MOVING, f"drifts by {drift:.3g} in a quarter of the run, wandering by {wander:.3g}")
    if not critical.near:
        return Verdict(HOVERING, f"wanders by {wander:.3g} where no critical point is near")
    if critical.kind != "minimum":
        return _stalled(path, critical)
    return Verdict(HOVERING, f"wanders by {wander:.3g} about a minimum", converged=True)


def _under_way(path: Array, losses: Array, surface: Surface) -> Verdict:
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    if steps[-1] <= _STILL * surface.width and steps.max() > 1e3 * steps[-1]:
        return Verdict(MOVING, f"its steps shrank to {steps[-1]:.2g} before it reached a minimum")
    trend = "falling" if losses[-1] < losses[len(losses) // 2] else "not falling"
    return Verdict(MOVING, f"steps of {steps[-1]:.3g}, the loss {trend}")
