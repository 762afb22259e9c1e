"""Every how many steps norms are measured: as often as their share of the training time allows."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, median
from time import perf_counter

SHARE = 0.002  # of the training time; the rest of 1 % is for every step's row, which is recorded and judged
LEAST_OFTEN = 50  # steps, however dear a measurement is
_FIRST = 5  # steps apart until the durations of a few are known
_KNOWN = 3


class Pace:
    """Decides at every step whether it is one to measure.

    Args:
        every: a fixed distance in steps; None chooses it from 1 to :data:`LEAST_OFTEN`.
        share: part of the training time that measurements may take.

    >>> pace = Pace(every=2)
    >>> [pace.due() for _ in range(5)]
    [True, False, True, False, True]
    """

    def __init__(self, every: int | None = None, share: float = SHARE) -> None:
        self.every = every
        self.interval = every or 1
        self.count = 0  # measurements so far
        self._share = share
        self._since: int | None = None
        self._last: float | None = None
        self._own = 0.0
        self._steps: deque[float] = deque(maxlen=31)
        self._costs: deque[float] = deque(maxlen=9)

    def due(self) -> bool:
        """Called once per step: whether to measure it."""
        now = perf_counter()
        if self._last is not None:
            self._steps.append(max(now - self._last - self._own, 0.0))
        self._last, self._own = now, 0.0
        self._since = 1 if self._since is None else self._since + 1
        if self.count and self._since < self.interval:
            return False
        self._since = 0
        self.count += 1
        return True

    def paid(self, seconds: float, *, own: float | None = None) -> None:
        """What a measurement cost, and how much of that was spent in the training thread (all of it, if not given)."""
        self._own += seconds if own is None else own
        self._costs.append(seconds)
        self._choose()

    def on_device(self, seconds: float) -> None:
        """What the last measurement took on a GPU, known when its numbers have arrived: the longer time counts."""
        if self._costs and seconds > self._costs[-1]:
            self._costs[-1] = seconds
            self._choose()

    def _choose(self) -> None:
        if self.every is not None:
            return
        if len(self._steps) < _KNOWN:
            self.interval = _FIRST
            return
        allowed = self._share * median(self._steps)
        wanted = fmean(self._costs) / allowed if allowed > 0 else LEAST_OFTEN
        self.interval = max(1, math.ceil(min(wanted, LEAST_OFTEN)))
