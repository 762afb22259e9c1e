"""Differences against their own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Difference:
    """A mean difference: how large, and how likely by chance.

    Attributes:
        mean: positive where the second is larger.
        error: its standard error; NaN where there are fewer than two.
        p: the chance of one at least as large where there is none; one-sided.
        upper: end of the one-sided 95 % confidence interval: it is hardly larger than this.
        count: differences, or repeats, that it rests on.
    """

    mean: float
    error: float
    p: float
    upper: float
    count: int

    def in_words(self) -> str:
        """The chance, for a verdict."""
        return "p < 0.0001" if self.p < 1e-4 else f"p = {self.p:.2g}"


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Second minus first, pair by pair.

    ``p`` is twice the smaller of Student's and Wilcoxon's signed-rank: the one sees a level difference in few pairs,
    the other an unlevel one that has always the same sign; twice, since the better one was taken.

    >>> paired([1.0, 2.0, 3.0], [2.1, 3.0, 3.9]).p < 0.01
    True
    """
    apart = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    apart = apart[np.isfinite(apart)]
    mean = float(apart.mean()) if len(apart) else math.nan
    error = float(apart.std(ddof=1) / math.sqrt(len(apart))) if len(apart) > 1 else math.nan
    found = _judged(mean, error, len(apart) - 1, len(apart))
    if not math.isfinite(found.p) or error == 0:
        return found
    from scipy.stats import wilcoxon

    ranked = float(wilcoxon(apart, alternative="greater").pvalue)
    return replace(found, p=min(1.0, 2 * min(found.p, ranked)))


def above(value: float, others: Sequence[float]) -> Difference:
    """How far one value lies below some repeats, of which it could be another (a prediction interval).

    >>> above(1.0, [2.0, 2.1, 1.9, 2.0]).p < 0.01, above(2.0, [2.0, 2.1, 1.9, 2.0]).p > 0.3
    (True, True)
    """
    values = np.asarray([v for v in others if math.isfinite(v)], dtype=float)
    mean = float(values.mean()) - value if len(values) else math.nan
    error = float(values.std(ddof=1)) * math.sqrt(1 + 1 / len(values)) if len(values) > 1 else math.nan
    return _judged(mean, error, len(values) - 1, len(values))


def _judged(mean: float, error: float, degrees: int, count: int) -> Difference:
    if not math.isfinite(mean) or not math.isfinite(error) or degrees < 1:
        return Difference(mean, error, math.nan, math.nan, count)
    if error == 0:
        return Difference(mean, 0.0, 0.0 if mean > 0 else 1.0, mean, count)
    from scipy.stats import t  # 0.5 s: only where it is needed

    return Difference(
        mean, error, float(t.sf(mean / error, degrees)), mean + error * float(t.ppf(0.95, degrees)), count
    )
