"""What the losses of a learning-rate sweep say: where they fall, where that ends, where they explode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH = 0.08  # decades over which the weight of a neighbour falls by e when a fine sweep is smoothed
COARSE = 0.25  # the same for a coarse one, whose steps lie farther apart
SURE = 4.0  # standard errors: the lowest of many smoothed points is chosen, so two would often be reached by chance
FLOOR = 0.05  # share of the fall; so near to its least, beside its error, the smoothed loss is on the valley's floor
FAR_ABOVE = 4.0  # times the noise: a loss so far above the start is no accident of its batch
REBOUND = 0.3  # share of the fall that is lost again where a sweep is no longer stable


@dataclass(frozen=True)
class Sweep:
    """Losses over rates.

    Attributes:
        rates: of each step, rising by one factor.
        losses: of each step's batch, before that step; infinite from where the sweep was stopped.
        taken: steps that were really taken.
    """

    rates: Floats
    losses: Floats
    taken: int

    @property
    def spacing(self) -> float:
        """Decades from one rate to the next."""
        return float(np.log10(self.rates[1] / self.rates[0]))


@dataclass(frozen=True)
class Head:
    """The losses before any rate matters: their level, and the spread from batch to batch."""

    level: float
    noise: float
    error: float  # of the level


@dataclass(frozen=True)
class Reading:
    """The places of a sweep.

    Attributes:
        smoothed: of the same length as the sweep.
        depth: how far the smoothed loss falls below the start.
        error: standard error of a smoothed loss, from the noise of the batches.
        sure: from this depth on a fall is one.
        steepest: the rate at which the smoothed loss falls fastest over the logarithm of the rate.
        valley: the lowest rate at which the smoothed loss is nearly at its least. Where a valley has a broad floor, as
            when little is left to learn, that is where the floor begins.
        stable: the largest rate before a considerable share of the fall is lost again.
        diverges: where the loss is back above its start, or no longer finite; None when it never is.
    """

    smoothed: Floats
    depth: float
    error: float
    sure: float
    steepest: float
    valley: float
    stable: float
    diverges: float | None

    @property
    def falls(self) -> bool:
        """Whether the loss fell by more than its noise explains."""
        return self.depth > self.sure


def head_of(sweep: Sweep) -> Head:
    """Level and noise of the first quarter of a sweep that begins far below every rate that matters."""
    first = sweep.losses[: max(5, len(sweep.losses) // 4)]
    first = first[np.isfinite(first)]
    if not len(first):
        return Head(math.nan, math.nan, math.nan)
    # The median: where a sweep begins too high, the first losses explode.
    level = float(np.median(first))
    spread = float(np.mean(np.abs(first - level))) * math.sqrt(math.pi / 2)
    noise = max(spread, 1e-7 * abs(level))
    return Head(level, noise, 1.25 * noise / math.sqrt(len(first)))  # a median's error is 1.25 times a mean's


def smooth(values: Floats, spacing: float, width: float) -> tuple[Floats, float]:
    """Means over neighbours on both sides, with weights that fall exponentially and sum to one.

    Dividing by the sum of the weights is the bias correction of a moving average; looking to both sides, it does not
    lag behind, which would move every place to higher rates.

    Args:
        values: finite.
        spacing: decades from one to the next.
        width: decades over which the weight falls by e.

    Returns:
        The means, and the factor by which their standard error is below that of a single value.

    >>> smooth(np.array([3.0, 3.0, 3.0]), 0.1, 0.1)[0].round(6).tolist()
    [3.0, 3.0, 3.0]
    """
    at = np.arange(len(values)) * spacing
    weight = np.exp(-np.abs(at[:, None] - at[None, :]) / width)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(weight @ values), float(np.median(np.sqrt((weight**2).sum(axis=1))))


def read(sweep: Sweep, head: Head, width: float = WIDTH) -> Reading:
    """Find the places.

    Losses above the start count at most as twice as high over the valley as that lies below the start, or one that
    explodes would hide the valley beside it.
    """
    losses, rates = sweep.losses, sweep.rates
    finite = losses[np.isfinite(losses)]
    cap = head.level + max(head.level - float(finite.min(initial=head.level)), FAR_ABOVE * head.noise)
    capped = np.where(np.isfinite(losses), np.minimum(losses, cap), cap)
    smoothed, shrink = smooth(capped, sweep.spacing, width)
    error = head.noise * shrink
    sure = SURE * math.hypot(error, head.error)  # the start is known no better than its few losses allow
    lowest = np.minimum.accumulate(smoothed)
    fallen = head.level - lowest
    deep = (fallen > sure) & (fallen > fallen.max() / 2)  # the bumps of a beginning fall are no edge
    lost = deep & (smoothed - lowest > REBOUND * fallen + error)
    stable = max(int(np.argmax(lost)) - 1, 0) if lost.any() else max(sweep.taken - 1, 0)
    least = int(np.argmin(smoothed[: stable + 1]))
    depth = head.level - float(smoothed[least])
    floor = float(smoothed[least]) + max(FLOOR * depth, 0.0) + error / 4
    valley = int(np.argmax(smoothed[: least + 1] <= floor))
    slope = np.gradient(smoothed, np.log(rates))
    above = np.flatnonzero(smoothed[least:] > head.level + sure)
    return Reading(
        smoothed=smoothed,
        depth=depth,
        error=error,
        sure=sure,
        steepest=float(rates[int(np.argmin(slope[: valley + 1]))]),
        valley=float(rates[valley]),
        stable=float(rates[stable]),
        diverges=float(rates[least + above[0]]) if len(above) else None,
    )


# A sweep passes quickly through each rate; a training stays at it, and bears only a share of what the sweep bears. This
# one is for steps without momentum. It was chosen on the 22 tasks on which benchmarks.lr_range tunes.
SHARE = 0.5


def suggested(reading: Reading, momentum: float, normalized: bool) -> float:
    """The rate for a training of constant rate.

    Args:
        reading: of a sweep that falls.
        momentum: share of the past in a step: ``momentum`` of SGD, the first beta of Adam; 0 up to but without 1. The
            farther it reaches, the more a sweep is ahead of its effect: by the root of 1 - momentum.
        normalized: whether the optimizer divides the gradient by its size. Where it does not, the largest stable rate
            bounds the training as in a quadratic bowl, and the best rate lies by it as by the valley: the geometric
            mean of both is taken. Where it does, large steps only add noise, and the valley alone tells.
    """
    place = reading.valley if normalized else math.sqrt(reading.valley * reading.stable)
    return SHARE * math.sqrt(1.0 - momentum) * place
