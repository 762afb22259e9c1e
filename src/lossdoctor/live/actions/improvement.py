"""Is a noisy curve of evaluations still getting better, and which evaluation is the best one?"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cache

from lossdoctor.signal.noise import diff_noise
from lossdoctor.signal.tails import normal_sf, student_quantile

_RECENT = 40  # evaluations from which the noise is taken
_OWN = 0.7  # weight of the newest evaluation in the level; what is left belongs to those before it
_FAR = 5.0  # from so many standard deviations on, a change is no noise, and the level follows it at once
_LEVEL_VARIANCE = _OWN / (2.0 - _OWN)  # of the level, in variances of one evaluation
_FLAT = 15  # evaluations without an improvement; no fewer are flat
_BAD = 3  # evaluations in a row that are not finite


@dataclass(frozen=True, slots=True)
class Judged:
    """What one evaluation means.

    Attributes:
        best: it is the best so far: what the model is now is to be kept.
        stop: why there is nothing more to be expected; empty while there is.
        details: the numbers that it rests on.
    """

    best: bool
    stop: str = ""
    details: dict[str, float] | None = None


class Improvement:
    """Judges evaluations one by one; smaller is better.

    The *level* is a running mean in which the newest evaluation weighs 70 %, or all where the change is beyond the
    noise (5 standard deviations): a single lucky evaluation does not make the best model, and yet the best one is never
    more than an evaluation or two away. There is nothing more to expect

    - when the evaluations since the best level lie above it by ``z`` standard errors and by more than a level chosen
      as the lowest of so many is below the true one, for at least 4 of them and ``turned`` of all so far: the curve
      has turned;
    - or when no better level came for at least 15 evaluations and ``flat`` of all so far: what is gained, if anything,
      is less than the noise shows;
    - or when three in a row were not finite.

    The noise is measured by successive differences of the last 40, so nothing depends on the metric's unit.

    Args:
        z: standard errors of a turn.
        turned, flat: shares of the evaluations so far.
        least: evaluations before which nothing is said.
    """

    def __init__(self, z: float = 2.5, turned: float = 0.1, flat: float = 0.5, least: int = 8) -> None:
        self.z, self.turned, self.flat, self.least = z, turned, flat, least
        self.count = 0
        self.level = math.nan
        self.best = math.inf
        self.best_at = 0  # which evaluation, from 1
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._sum_since = 0.0  # of values over the best level, so that large levels cost no digits
        self._number_since = 0
        self._bad = 0

    def add(self, value: float) -> Judged:
        """Take in one evaluation."""
        self.count += 1
        if not math.isfinite(value):
            self._bad += 1
            stop = f"{self._bad} evaluations in a row were not finite" if self._bad >= _BAD else ""
            return Judged(False, stop if self.count >= self.least else "")
        self._bad = 0
        self._recent.append(value)
        sigma = diff_noise(list(self._recent)) if len(self._recent) >= 4 else 0.0
        plain = not abs(value - self.level) <= _FAR * sigma
        self.level = value if plain else (1.0 - _OWN) * self.level + _OWN * value
        if self.level < self.best:
            self.best, self.best_at = self.level, self.count
            self._sum_since, self._number_since = 0.0, 0
            return Judged(True)
        self._sum_since += value - self.best
        self._number_since += 1
        return self._without_improvement(value, sigma)

    def _without_improvement(self, value: float, sigma: float) -> Judged:
        since = self.count - self.best_at
        if self.count < self.least:
            return Judged(False)
        rise = self._sum_since / self._number_since
        chance = sigma * math.sqrt(2.0 * _LEVEL_VARIANCE * math.log(self.count))  # the best level was chosen of many
        sure = _inflated(self.z, len(self._recent))
        margin = sure * sigma / math.sqrt(self._number_since) + sure / self.z * chance
        details = {"evaluations_since": float(since), "rise": rise, "noise": sigma}
        above = value - self.best > sigma  # it is still up, not on its way back
        if since >= max(4, self.turned * self.count) and above and rise > margin:
            return Judged(
                False, f"turned {since} evaluations ago and lies above its best by more than its noise", details
            )
        if since >= max(_FLAT, self.flat * self.count):
            return Judged(False, f"has not improved for {since} of {self.count} evaluations", details)
        return Judged(False)


@cache
def _inflated(z: float, count: int) -> float:
    """A number of standard errors, allowing for noise that was itself measured on so many values.

    Half the range of the middle half is worth a third of the values, and their differences overlap.
    """
    return student_quantile(1.0 - normal_sf(z), max(1.0, 0.25 * (count - 1)))
