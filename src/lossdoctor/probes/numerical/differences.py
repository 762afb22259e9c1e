"""A derivative from values alone, with how far it can be trusted: rounding, curvature and kinks are told apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

EPS = 2.0**-52
_SHRINK = 30.0  # of the step, where a kink or the edge of the domain lies within it
_TRIES = 3
_POINTS = 21  # evaluations from which the noise is estimated


@dataclass(frozen=True)
class Derivative:
    """A numerical derivative at zero.

    Attributes:
        value: by Richardson's extrapolation of two centred differences; its truncation is of the fourth order.
        error: how far rounding and truncation can put it off.
        kink: whether the derivatives from the left and from the right differ, at every step that was tried.
        low, high: these two, in order; at a smooth place ``value`` twice.
    """

    value: float
    error: float
    kink: bool
    low: float
    high: float

    def beyond(self, analytic: float) -> float:
        """How much of the difference to an analytic derivative the numerics do not explain; at a kink any value from
        the left to the right derivative is right.

        >>> derivative(abs, 0.0, 1e-5, 1e-16).beyond(0.3)
        0.0
        """
        if not math.isfinite(analytic):
            return math.inf
        return max(self.low - analytic - self.error, analytic - self.high - self.error, 0.0)


def derivative(function: Callable[[float], float], here: float, step: float, noise: float) -> Derivative | None:
    """The derivative at zero of a function of one number; None where it has no finite values around.

    Args:
        function: of the displacement.
        here: its value at zero.
        step: the first to be tried, above 0; four evaluations lie within twice of it.
        noise: standard deviation of one evaluation, as from :func:`noise_of`.

    >>> import math
    >>> found = derivative(math.exp, 1.0, 6e-6, 1e-16)
    >>> abs(found.value - 1) < 1e-9, found.kink
    (True, False)
    >>> derivative(lambda t: max(t, 0.0), 0.0, 6e-6, 1e-16).high
    1.0
    """
    found = None
    for _ in range(_TRIES):
        values = [function(step * k) for k in (-2, -1, 1, 2)]
        if all(map(math.isfinite, values)):
            found = _from(values, here, step, noise)
            if not found.kink:
                return found
        step /= _SHRINK
    return found


def _from(values: Sequence[float], here: float, h: float, noise: float) -> Derivative:
    left2, left, right, right2 = values
    near, far = (right - left) / (2 * h), (right2 - left2) / (4 * h)
    value = (4 * near - far) / 3
    error = 4 * noise / h + abs(near - far) / 3
    # Left and right derivative disagree by h f'' where it is smooth, which doubles with the step; at a kink by a jump.
    jump, jump2 = (right - 2 * here + left) / h, (right2 - 2 * here + left2) / (2 * h)
    if abs(jump2 - 2 * jump) <= 25 * noise / h + 1e-3 * max(abs(jump), abs(jump2)):
        return Derivative(value, error, False, value, value)
    low, high = sorted(((right - here) / h, (here - left) / h))
    return Derivative((low + high) / 2, error, True, low, high)


def noise_of(values: Sequence[float]) -> float:
    """Standard deviation of what one evaluation is off, from values at evenly spaced places close together.

    By fourth differences, of which a smooth function leaves nothing (Hamming's difference table; Moré and Wild 2011,
    Estimating computational noise), and their median, which a kink among the places does not disturb. Never below what
    float64 leaves of the largest value.

    >>> noise_of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]) < 1e-15
    True
    """
    table = list(values)
    for _ in range(4):
        table = [b - a for a, b in pairwise(table)]
    # 70 is the sum of the squared binomials of order four, 0.6745 the median of a standard normal's size.
    spread = median(map(abs, table)) / (0.6745 * math.sqrt(70))
    return max(spread, EPS * max(map(abs, values)), 1e-300)


def noise_places(step: float) -> list[float]:
    """Displacements at which :func:`noise_of` wants the values: on one side, for the point itself may be a kink."""
    return [step * (k + 1) for k in range(_POINTS)]
