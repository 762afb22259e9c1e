"""The closest curve that never rises: what a noisy descent has reached for good."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.signal.arrays import ArrayLike, Floats, as_floats, power_scaled


def decreasing_fit(values: ArrayLike) -> Floats:
    """Least-squares fit that never rises (pool adjacent violators), shape (n,); NaN at gaps.

    Its last value is the level the curve has reached; a curve that rises at the end gets a flat end above its minimum.

    >>> decreasing_fit([3.0, 1.0, 2.0, 0.0]).tolist()
    [3.0, 1.5, 1.5, 0.0]
    """
    v = as_floats(values)
    keep = np.isfinite(v)
    out = np.full(len(v), math.nan)
    y, exponent = power_scaled(v[keep])
    totals: list[float] = []
    counts: list[int] = []
    for value in y.tolist():
        total, count = value, 1
        # pool while the block before has the lower mean
        while totals and totals[-1] * count < total * counts[-1]:
            total += totals.pop()
            count += counts.pop()
        totals.append(total)
        counts.append(count)
    means = np.array(totals) / np.array(counts) if totals else np.empty(0)
    out[keep] = np.ldexp(np.repeat(means, counts), exponent)
    return out
