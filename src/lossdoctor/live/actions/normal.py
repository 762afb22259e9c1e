"""What is normal for a run: its gradient norms and its losses, judged against their own noise. No unit matters."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from itertools import pairwise

from lossdoctor.signal.noise import TO_SIGMA

_WINDOW = 64  # normal values that say what is normal
_FEW = 16  # with fewer, nothing is known


class Window:
    """Median and noise of the last values, kept sorted so that each costs microseconds."""

    def __init__(self, size: int = _WINDOW) -> None:
        self.values: deque[float] = deque(maxlen=size)
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self.values)

    def add(self, value: float) -> None:
        """Take in a finite value."""
        if len(self.values) == self.values.maxlen:
            del self._sorted[bisect_left(self._sorted, self.values[0])]
        self.values.append(value)
        insort(self._sorted, value)

    @property
    def median(self) -> float:
        """The middle one; NaN of nothing."""
        return _middle(self._sorted) if self._sorted else math.nan

    @property
    def sigma(self) -> float:
        """Noise as a standard deviation, by the median distance from the median."""
        middle = self.median
        return TO_SIGMA * _middle(sorted(abs(v - middle) for v in self._sorted)) if self._sorted else math.nan


class GradientLevel:
    """Says whether a gradient norm is out of all proportion to those before it.

    It is when its logarithm lies ``z`` standard deviations above the median of the last 64 normal ones *and* it is
    ``ratio`` times that median: in some runs norms differ a hundredfold from batch to batch, in others by a tenth.

    >>> level = GradientLevel()
    >>> for i in range(40):
    ...     level.accept(1.0 + 0.1 * (i % 3))
    >>> level.is_high(1.4), level.is_high(30.0)
    (False, True)
    """

    def __init__(self, z: float = 6.0, ratio: float = 4.0) -> None:
        self.z, self.ratio = z, ratio
        self._window = Window()

    def is_high(self, norm: float) -> bool:
        """Whether this norm is far out; never of the first 16."""
        if len(self._window) < _FEW or not 0 < norm < math.inf:
            return False
        excess = math.log(norm) - self._window.median
        return excess > math.log(self.ratio) and excess > self.z * max(self._window.sigma, 0.02)

    @property
    def usual(self) -> float:
        """The median norm; NaN at first."""
        return math.exp(self._window.median)

    def accept(self, norm: float) -> None:
        """Take in a norm as normal; zeros and what is not finite say nothing."""
        if norm > 0 and math.isfinite(norm):
            self._window.add(math.log(norm))

    def forget(self) -> None:
        """The level has changed for good: learn it anew."""
        self._window = Window()


class LossLevel:
    """Says whether a loss has left its level for the worse, and for good.

    It has *diverged* when the median of the last 8 lies ``z`` standard deviations of the noise above the lowest level
    that the run ever had (medians of 64 losses), and has given back ``share`` of all that was gained since the start;
    or when each of the last 3 lies twice as many above and all of the gain is gone. Single spikes do not count, however
    high. A rise in standard deviations alone is no divergence: a learning rate that restarts, a new epoch and a harder
    part of the data all make one, and it heals.
    """

    def __init__(self, z: float = 5.0, share: float = 0.3) -> None:
        self.z, self.share = z, share
        self._first: list[float] = []
        self._normal = Window()
        self._last: deque[float] = deque(maxlen=8)  # not yet taken for normal
        self._lowest = math.inf
        self._count = 0
        self._noise_there = math.nan  # at the lowest level
        self._noise = math.nan  # now; of single losses; of the median of a few it is less, which is left as a margin

    def add(self, loss: float) -> str:
        """Take in a loss: ``"normal"``, ``"high"``, ``"diverged"`` or ``"nonfinite"``."""
        if not math.isfinite(loss):
            return "nonfinite"
        self._count += 1
        if len(self._first) < 8:
            self._first.append(loss)
        if len(self._last) == self._last.maxlen:
            self._settle(self._last[0])
        self._last.append(loss)
        return self._judge()

    def is_far(self, loss: float) -> bool:
        """Whether one loss is as far up as one of a run that has diverged."""
        if len(self._normal) < _FEW:
            return False
        level = self._normal.median
        gained = _middle(sorted(self._first)) - min(self._lowest, level)
        return loss - level > max(self.z * self._noise, self.share * gained)

    def cut(self) -> None:
        """The run was put back: what came last does not count."""
        self._last.clear()

    def _settle(self, loss: float) -> None:
        self._normal.add(loss)
        if len(self._normal) < _FEW:
            return
        if self._count % 4 == 0 or math.isnan(self._noise):
            level = self._normal.median
            self._noise = max(self._normal.sigma, _by_steps(self._normal), 1e-9 * abs(level), 5e-324)
            if level < self._lowest:
                self._lowest, self._noise_there = level, self._noise

    def _judge(self) -> str:
        if len(self._normal) < _FEW:
            return self._judge_early()
        recent = list(self._last)
        noise = self._noise_there
        gained = max(_middle(sorted(self._first)) - self._lowest, noise)
        up = _middle(sorted(recent)) - self._lowest if len(recent) == 8 else -math.inf
        all_up = min(recent[-3:]) - self._lowest if len(recent) >= 3 else -math.inf
        if up > max(self.z * noise, self.share * gained) or all_up > max(2.0 * self.z * noise, gained):
            return "diverged"
        high = _middle(sorted(recent[-3:])) - self._normal.median > self.z * self._noise
        return "high" if len(recent) >= 3 and high else "normal"

    def _judge_early(self) -> str:
        """Before anything is known of the noise: a loss that is only ever rising, and many times what it was."""
        known = [*self._normal.values, *self._last]
        if len(known) < 8:
            return "normal"
        start, now = _middle(sorted(known[:4])), _middle(sorted(known[-3:]))
        spread = max(max(known[:4]) - min(known[:4]), 1e-3 * abs(start))
        return "diverged" if now - start > 10 * spread and now - start > 2 * abs(start) else "normal"


def _by_steps(window: Window) -> float:
    """Noise by the differences of neighbours, which a window on a slope does not enlarge nor a level one hide."""
    values = list(window.values)
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    return TO_SIGMA * _middle(steps) / math.sqrt(2.0)


def _middle(ordered: list[float]) -> float:
    """Median of sorted values."""
    n = len(ordered)
    return 0.5 * ordered[(n - 1) // 2] + 0.5 * ordered[n // 2]
