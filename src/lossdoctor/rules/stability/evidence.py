"""What gradient norm and learning rate say about an instability of the loss: who moved first, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Cause
from lossdoctor.rules.base import Case
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Floats, Reading, bin_noise, once
from lossdoctor.signal.shape import median_slope

_BACK = 16  # bins of the rolling median
_LEAST = 5  # bins before a surge can be told
WIDE, NEAR = 24, 6  # points before a place from which the loss is foretold, and after it to compare
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class Surge:
    """A sudden growth of a gradient norm.

    Attributes:
        step: of the first bin that stands out.
        ratio: the highest level within the surge over the rolling median before it.
        kept: the median level of the rest of the run over the rolling median before it.
        bins: how many of the bins after it stay above a third of the threshold, up to the first that does not.
    """

    step: int
    ratio: float
    kept: float
    bins: int


@once
def surge(norms: Reading, factor: float = 10.0) -> Surge | None:
    """The first surge of a gradient norm above ``factor`` times its rolling median; None when there is none.

    It must also stand clear of everything before it: late in a run the norm may be tiny, and one hard batch that
    brings the early norms back is no explosion.
    """
    y, k = norms.y, len(norms)
    if k < _LEAST + 2 or not norms.summary.min_value >= 0:
        return None
    # Few bins stand clear of all before them; the rolling median is taken for those.
    clear = y[_LEAST:] > 3 * np.maximum.accumulate(y)[_LEAST - 1 : -1]
    for i in (np.flatnonzero(clear) + _LEAST).tolist():
        before = y[max(0, i - _BACK) : i]
        usual = median(before)
        if usual <= 0 or y[i] <= factor * usual:
            continue
        high = y[i:] > factor * usual / 3
        bins = int(np.argmin(high)) if not high.all() else k - i
        return Surge(int(norms.steps[i]), float(y[i : i + bins].max() / usual), median(y[i:]) / usual, bins)
    return None


@dataclass(frozen=True, slots=True)
class Response:
    """What the loss did when the gradient norm surged.

    Attributes:
        score: how far it rose, in noise units of the stretch before; 0 when it did not.
        share: the rise over what had been learned.
        bins: how many bins it stayed above a third of the rise; all that are left when it did not come back.
        back: whether it came back.
    """

    score: float = 0.0
    share: float = 0.0
    bins: int = 0
    back: bool = True

    @property
    def brief(self) -> bool:
        """Whether it is a spike that did no harm: soon over, and small against what had been learned."""
        return self.back and self.bins < 3 and self.share < 0.6


def response(loss: Reading, step: int) -> Response:
    """How the loss rises about a step: from a few bins before it to a tenth of the run after it.

    A rise below a tenth of the level (of the drop, where losses may be negative) does not count.
    """
    place = int(np.searchsorted(loss.steps, step))
    start = max(place - 3, min(place, 5))
    before, after = loss.y[max(0, start - _BACK) : start], loss.y[start:]
    near = after[: place - start + max(2, len(loss) // 10) + 1]
    if len(before) < 3 or len(near) == 0:
        return Response()
    level = median(before[-8:])
    rise = float(near.max()) - level
    least = 0.1 * (abs(level) if loss.positive else loss.drop)
    # The noise of the whole curve would include what the explosion did to it.
    noise = max(bin_noise(before), 0.02 * least) if len(before) >= 6 else max(bin_noise(before), loss.sigma)
    if rise <= least:
        return Response()
    rest = after[int(near.argmax()) :]
    low = rest < level + rise / 3
    learned = loss.start.value - level
    return Response(
        score=rise / noise if noise > 0 else float("inf"),
        share=rise / learned if learned > 0 else float("inf"),
        bins=int(low.argmax()) if low.any() else len(rest),
        back=bool(low.any()),
    )


def gradient_led(case: Case, jump_step: int) -> Surge | None:
    """The surge of the gradient norm that came before (or with) a jump of the loss, or None."""
    norms = case.reading("grad_norm")
    found = surge(norms) if norms is not None else None
    return found if found is not None and found.step <= jump_step else None


def jump_step(loss: Reading, onset: int) -> int:
    """The step at which a rise that begins at ``onset`` is half done."""
    after = loss.steps >= onset
    y = loss.y[after]
    if len(y) == 0:
        return onset
    half = (float(y[0]) + float(y.max())) / 2
    return int(loss.steps[after][int(np.argmax(y >= half))])


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate about a step: over its peak, and over what it was a twentieth of the run before."""

    of_peak: float
    grown: float


def rate_at(case: Case, step: int) -> Rate | None:
    """What the logged learning rate was doing at a step; None where it is not logged."""
    rate = case.reading("learning_rate")
    if rate is None or len(rate) < 3 or not rate.summary.max_value > 0:
        return None
    span = float(rate.steps[-1] - rate.steps[0])
    now, back = np.interp([step, step - 0.05 * span], rate.steps, rate.y)
    grown = float(now / back) if back > 0 else float("inf") if now > 0 else 1.0
    return Rate(float(now / rate.summary.max_value), grown)


def warmed_up(case: Case) -> bool | None:
    """Whether the learning rate starts well below its peak; None where it is not logged."""
    rate = case.reading("learning_rate")
    if rate is None or len(rate) < 3 or not rate.summary.max_value > 0:
        return None
    return bool(rate.summary.head_values[0] < 0.7 * rate.summary.max_value)


def weighed(causes: Sequence[Cause], factors: Mapping[str, float]) -> tuple[Cause, ...]:
    """Causes with some likelihoods multiplied, summing to 1 again.

    >>> [round(c.likelihood, 2) for c in weighed((Cause("normal", 0.5, None), Cause("outliers", 0.5, None)),
    ...                                          {"normal": 3.0})]
    [0.75, 0.25]
    """
    raw = [c.likelihood * factors.get(c.name, 1.0) for c in causes]
    total = sum(raw)
    return tuple(Cause(c.name, v / total, c.test) for c, v in zip(causes, raw, strict=True))


def sharpened(case: Case, causes: Sequence[Cause], loss: Reading, at: int) -> tuple[Cause, ...]:
    """The causes of a rise of the loss, weighed by what gradient norm, learning rate and loss scale did at that step.

    Without those curves the causes come back as they are.
    """
    factors: dict[str, float] = {}
    norms, scale = case.reading("grad_norm"), case.reading("loss_scale")
    if norms is not None and len(norms) >= _LEAST + 2:
        factors["gradients-explode"] = 5.0 if gradient_led(case, at) is not None else 0.3
    rate = rate_at(case, at)
    if rate is not None:
        if rate.grown > 1.5:  # it rose just before: too high, or raised too quickly
            factors["no-warmup"], factors["learning-rate-too-high"] = 3.0, 1.5
        elif rate.of_peak < 0.1:  # the same model stood ten times this rate before
            factors["learning-rate-too-high"] = 0.3
        if warmed_up(case) and loss.fraction(at) > 0.2:
            factors["no-warmup"] = 0.3
        elif warmed_up(case) is False and loss.fraction(at) < 0.1:
            factors["no-warmup"] = 3.0
    if scale is not None and len(scale) >= 3 and scale.summary.max_value > 0:
        halved = scale.y[scale.steps <= at][-3:]
        # A scale that was halved again and again overflowed at any scale; one that stood high did not overflow.
        low = len(halved) > 0 and float(halved.min()) < scale.summary.max_value / 64
        factors["precision-overflow"] = 3.0 if low else 0.5
    return weighed(causes, factors)


@dataclass(frozen=True, slots=True)
class Jump:
    """A change of level: its size, the same in standard errors, the level before, and its step."""

    size: float
    z: float
    before: float
    step: int = 0


def jump_at(values: Floats, place: int) -> Jump | None:
    """The change of level at an index, against the trend of the values before it; None with too few values.

    >>> jump_at(np.array([5.0, 4.1, 5.1, 4.0, 5.0, 4.1, 4.9, 4.2, 9.0, 9.1, 9.0]), 8).size > 4
    True
    """
    before, after = values[max(0, place - WIDE) : place], values[place : place + NEAR]
    if len(before) < 8 or len(after) < 3:
        return None
    slope = min(median_slope(before), 0.0)
    x = np.arange(len(before)) - (len(before) - 1)
    level = median(before - slope * x)
    rest = before - slope * x - level
    noise = _NORMAL * median(np.abs(rest))
    ahead = level + slope * (np.arange(len(after)) + 1)
    size = median(after - ahead)
    # A loss that falls ever more slowly is foretold too low: a jump must also show against the last values themselves.
    last = median(after)
    size = max(min(size, last - median(before[-4:])), 0.0) if size > 0 else min(last - float(before[-4:].min()), 0.0)
    se = 1.2533 * noise * float(np.sqrt(1 / len(after) + 4 / len(before)))
    floor = 0.002 * abs(level)
    return Jump(float(size), float(abs(size) / max(se, floor)) if max(se, floor) > 0 else 0.0, float(level))
