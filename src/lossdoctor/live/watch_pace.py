"""Every how many steps norms are measured: as often as their share of the training time allows."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, median
from time import perf_counter

SHARE = 0.004  # of the training time; the rest of 1 % is for every step's row, which is recorded and judged
LEAST_OFTEN = 50  # steps, however dear a measurement is
_FIRST = 5  # steps apart until the durations of a few are known
_KNOWN = 3
_OFTEN = 5  # steps between measurements that are all thorough
_RAREST = 20  # of the measurements, one takes what is dear


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
        self.rare = 1  # every how many-th measurement also takes what is dear and changes slowly
        self.count = 0  # measurements so far
        self._share = share
        self._since: int | None = None
        self._last: float | None = None
        self._own = 0.0
        self._steps: deque[float] = deque(maxlen=31)
        self._thorough: deque[float] = deque(maxlen=9)
        self._light: deque[float] = deque(maxlen=9)

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

    @property
    def thorough(self) -> bool:
        """Whether this measurement also takes what is dear and changes slowly."""
        return (self.count - 1) % self.rare == 0

    def paid(self, seconds: float, *, own: float | None = None) -> None:
        """What a measurement cost, and how much of that was spent in the training thread (all of it, if not given)."""
        self._own += seconds if own is None else own
        (self._thorough if self.thorough else self._light).append(seconds)
        if self.every is not None:
            return
        if len(self._steps) < _KNOWN:
            self.interval = _FIRST
            return
        self._choose(self._share * median(self._steps), fmean(self._thorough))

    def on_device(self, seconds: float) -> None:
        """What the last measurement took on a GPU, known when its numbers have arrived: the longer time counts."""
        costs = self._thorough if self.thorough else self._light
        if costs and seconds > costs[-1]:
            costs[-1] = seconds

    def _choose(self, allowed: float, full: float) -> None:
        """Distances within ``allowed`` seconds per step: thorough ones are rarer than the others when they are dear."""
        if full <= _OFTEN * allowed:
            self.interval, self.rare = max(1, math.ceil(full / allowed)), 1
            return
        light = min(fmean(self._light) if self._light else full / 2, full)
        left = allowed - (full - light) / LEAST_OFTEN
        if left > 0 and light <= LEAST_OFTEN * left:
            self.interval = max(1, math.ceil(light / left))
            self.rare = max(1, LEAST_OFTEN // self.interval)
            return
        left = LEAST_OFTEN * allowed - light
        self.interval = LEAST_OFTEN
        self.rare = max(1, min(_RAREST, math.ceil((full - light) / left))) if left > 0 else _RAREST
