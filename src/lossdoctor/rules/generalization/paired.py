"""Training and validation loss at the same moments: what rules that compare their levels rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.rules.base import Case
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paired:
    """Both losses at the evaluations that lie within the training curve.

    Attributes:
        train, val: the readings they come from.
        steps: float64[m], the steps of the evaluations.
        above: float64[m], validation minus the smoothed training loss at the same state of the model.
        at: float64[m], that training loss. One averaged over an epoch shows the model of half an epoch before, so it
            is moved back by half an epoch.
        noise: standard deviation of one value of ``above``.
    """

    train: Reading
    val: Reading
    steps: Floats
    above: Floats
    at: Floats
    noise: float

    @property
    def drop(self) -> float:
        """How far the training loss fell, in units of the loss."""
        return self.train.drop

    def gap(self, first: int, last: int | None = None) -> float:
        """The median of validation minus training over a stretch of evaluations."""
        return median(self.above[first:last])


def pair(case: Case, least: int) -> Paired | None:
    """Both losses paired; None when they measure different things or share fewer than ``least`` evaluations."""
    train, val = case.reading("train_loss"), case.reading("val_loss")
    if train is None or val is None or not case.roles.comparable or len(train) < 4 or len(val) < least:
        return None
    shift = 0.5 * float(np.median(np.diff(train.steps))) / train.width if case.epoch_averaged else 0.0
    inside = (val.steps >= train.steps[0]) & (val.steps <= train.steps[-1])
    if inside.sum() < least:
        return None
    steps = val.steps[inside]
    at = np.interp(steps + shift, train.steps, train.level)
    noise = float(np.hypot(val.noise_between(0, len(val)), train.sigma * 0.6))
    return Paired(train, val, steps, val.y[inside] - at, at, noise)
