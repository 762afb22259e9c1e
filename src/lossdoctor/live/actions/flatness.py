"""For how long has a noisy curve not been falling?"""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.signal.arrays import median
from lossdoctor.signal.noise import diff_noise
from lossdoctor.signal.stall import steps_without_decrease, steps_without_decrease_robust

_MOST = 512  # values looked at; longer stretches are looked at in means of neighbours
_START = 8  # values that say where the run began
_SEEN = 2.0  # standard errors of a fall that is seen
_PART = 0.2  # of what was gained: a fall that matters
_SOMETIMES = 16  # looks per doubling of the stretch: each costs a fraction of a millisecond


class Flatness:
    """Says when a curve has been flat for a given share of the stretch that it is looked at for; smaller is better.

    By Davis King's count: of how many of the last values can a decrease not be claimed with a probability of 51 %?
    A run on noise alone has a high count soon, a run that falls, however slowly, has a low one: no tolerance is chosen.
    The count must hold with the largest tenth of the values left out too, since a spike looks like a decrease after it.

    Not to see a decrease is no proof that there is none. So the stretch must be long enough for its noise: a fall over
    it of a fifth of all that was gained since the start would have been seen.

    Args:
        share: of the values since :meth:`restart` that must be without a decrease.
        least: number of values that must be.

    >>> flat = Flatness(share=0.5, least=10)
    >>> [i for i in range(40) if flat.add(1.0 if i >= 8 else 2.0 - i / 8)][0]
    17
    """

    def __init__(self, share: float = 0.5, least: int = 20) -> None:
        self.share, self.least = share, least
        self._first: list[float] = []  # of the whole run, not only since the restart
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was before does not count."""
        self._values: list[float] = []
        self._width = 1  # values that one of those stands for
        self._part: list[float] = []
        self._count = 0
        self._next = self.least

    def add(self, value: float) -> bool:
        """Take in a value; True when the curve is flat. What is not finite counts, but says nothing."""
        self._count += 1
        if math.isfinite(value):
            self._part.append(value)
            if len(self._first) < _START:
                self._first.append(value)
        if len(self._part) >= self._width:
            self._values.append(math.fsum(self._part) / len(self._part))
            self._part = []
        if len(self._values) > _MOST:
            self._values = [0.5 * a + 0.5 * b for a, b in zip(self._values[::2], self._values[1::2], strict=False)]
            self._width *= 2
        if self._count < self._next:
            return False
        self._next = self._count + max(1, self._count // _SOMETIMES)
        return self._flat()

    def _flat(self) -> bool:
        wanted = max(self.least, self.share * self._count)
        length = steps_without_decrease(self._values)
        if min(length, steps_without_decrease_robust(self._values)) * self._width < wanted:
            return False
        stretch = self._values[-length:]
        gained = median(np.array(self._first)) - math.fsum(stretch) / length
        return _SEEN * diff_noise(stretch) * math.sqrt(12.0 / length) <= _PART * gained
