"""From the gradients of single batches to the gradient noise scale and its confidence interval: the arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ROUNDING = 1e-6  # of the gradients' squares: a variance between batches that single precision leaves of none


@dataclass(frozen=True)
class Moments:
    """What batches tell of the gradient of one example.

    Attributes:
        signal: |G|², the squared length of the true gradient; unbiased, so it may come out below zero.
        variance: tr Σ, the total variance of one example's gradient; unbiased.
        inverse: signal / variance, one over the noise scale.
        error: its standard error by the jackknife over batches.
        low, high: confidence interval of the noise scale in examples; ``high`` is infinite where a gradient of zero
            cannot be excluded.
    """

    signal: float
    variance: float
    inverse: float
    error: float
    low: float
    high: float

    @property
    def scale(self) -> float:
        """The noise scale tr Σ / |G|², in examples; infinite where the signal is not above zero."""
        return 1 / self.inverse if self.inverse > 0 else math.inf


def moments(
    sizes: ArrayLike,
    gram: ArrayLike,
    total: float | None = None,
    *,
    exhausted: float = 0.0,
    confidence: float = 0.95,
) -> Moments:
    """Signal and noise from the scalar products of batch gradients.

    With batches of B examples each, g their mean gradients, N all examples and ḡ the mean over all:
    E Σ B|g|² = N|ḡ|² + (n - 1) tr Σ and E|ḡ|² = |G|² + (1 - f) tr Σ / N, which two equations give both, without bias
    (McCandlish et al. 2018, appendix A.1, here for batches that differ in size, drawn without replacement). The
    interval is taken for |G|² / tr Σ, which behaves where |G|² is near zero, and turned over: Student's t on the
    jackknife's standard error, whose part from the draw of examples shrinks as the pass ends. The jackknife's variance
    of |G|² is up to twice the true one where noise prevails: the interval is wide then rather than narrow.

    Args:
        sizes: examples of each of n >= 3 batches.
        gram: n × n scalar products of their mean gradients.
        total: |Σ B g|² where it is known better than by ``gram``.
        exhausted: f, the share of the noise that cannot come anew: that of all examples which were read. 0 for fresh
            draws, 1 for a whole pass over the training set without dropout, whose ḡ is G itself.
        confidence: of the interval, between 0 and 1.

    >>> rows = np.array([[2.0, 1.0], [2.0, -1.0], [2.0, 1.0], [2.0, -1.0]])
    >>> found = moments([1, 1, 1, 1], rows @ rows.T)
    >>> round(found.variance, 3), round(found.signal, 3)
    (1.333, 3.667)
    """
    weights = np.asarray(sizes, dtype=np.float64)
    products = np.asarray(gram, dtype=np.float64)
    count, examples = len(weights), weights.sum()
    squares, dots = np.diag(products), products @ weights
    own = weights @ dots
    signal, variance = _solved(examples, count, weights @ squares, own if total is None else total, exhausted)
    if variance <= ROUNDING * float(weights @ squares) / count:
        return Moments(float(signal), 0.0, math.inf, 0.0, 0.0, 0.0)
    # Each batch left out in turn, from the same sums.
    rest = examples - weights
    lean_squares, lean_total = weights @ squares - weights * squares, own - 2 * weights * dots + weights**2 * squares
    lean_signal, lean_variance = _solved(rest, count - 1, lean_squares, lean_total, exhausted * rest / examples)
    inverse = float(signal / variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = _jackknife(lean_signal / lean_variance)
        cut = inverse**2 * _jackknife(lean_variance) / variance**2
    error = float(np.sqrt((1 - exhausted) * drawn + exhausted * cut))
    reach = student(confidence, count - 1) * error
    low, high = inverse - reach, inverse + reach
    return Moments(
        float(signal),
        float(variance),
        inverse,
        error,
        low=1 / high if high > 0 else math.inf,
        high=1 / low if low > 0 else math.inf,
    )


def student(confidence: float, freedom: float) -> float:
    """How many standard errors a two-sided interval reaches.

    >>> round(student(0.95, 10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _solved(examples: Any, count: int, squares: Any, total: Any, exhausted: Any) -> tuple[Any, Any]:
    """(|G|², tr Σ) of the two equations."""
    variance = (squares - total / examples) / (count - 1)
    return total / examples**2 - (1 - exhausted) * variance / examples, variance


def _jackknife(replicas: Floats) -> float:
    """The variance of an estimate from its values with each batch left out."""
    return float((len(replicas) - 1) / len(replicas) * ((replicas - replicas.mean()) ** 2).sum())
