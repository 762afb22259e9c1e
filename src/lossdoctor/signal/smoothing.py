"""Smoothers. Non-finite values are gaps: they leave a NaN at their place and do not touch what follows."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, as_floats, windows

_CELLS = 1 << 20  # window entries sorted at once: 8 MB


def ema(values: ArrayLike, factor: float = 0.9) -> Floats:
    """Exponential moving average with bias correction: the first value has no more weight than any other.

    Args:
        values: n values.
        factor: share kept of the past at each finite value, 0 (no smoothing) up to but without 1.

    >>> ema([2.0, float("nan"), 4.0], 0.5).round(3).tolist()
    [2.0, nan, 3.333]
    """
    _check(factor)
    v = as_floats(values)
    out = np.full(len(v), np.nan)
    keep = np.isfinite(v)
    k = np.arange(1, int(keep.sum()) + 1)
    gain = (1.0 - factor) / (1.0 - factor**k)  # the weights of k values sum to 1
    gain[:1] = 1.0
    current, means = 0.0, []
    for value, share in zip(v[keep].tolist(), gain.tolist(), strict=True):
        if value != current:  # equal values must stay exact
            current = current * (1.0 - share) + value * share
        means.append(current)
    out[keep] = means
    return out


def ema_from_first(values: ArrayLike, factor: float = 0.9) -> Floats:
    """The plain exponential moving average ``c = factor * c + (1 - factor) * value``, with c the first value to start.

    A first value far off pulls the curve for long; :func:`ema` does not have this flaw.

    >>> ema_from_first([2.0, 4.0], 0.75).tolist()
    [2.0, 2.5]
    """
    _check(factor)
    out: list[float] = []
    current = math.nan
    for value in as_floats(values).tolist():
        if math.isfinite(value):
            current = factor * (value if math.isnan(current) else current) + (1 - factor) * value
            out.append(current)
        else:
            out.append(math.nan)
    return np.array(out, dtype=np.float64)


def _check(factor: float) -> None:
    if not 0.0 <= factor < 1.0:
        raise UsageError(f"a smoothing factor is at least 0 and below 1, got {factor!r}")


def rolling_median(values: ArrayLike, window: int) -> Floats:
    """Median of the finite values in a centred window, which is cut off at the ends; NaN at gaps.

    Args:
        values: n values.
        window: width in points, odd; an even one counts as one more. Raises UsageError below 1.

    >>> rolling_median([1.0, 9.0, 2.0, 3.0], 3).tolist()
    [5.0, 2.0, 3.0, 2.5]
    """
    if window < 1:
        raise UsageError(f"a window is at least 1 point wide, got {window!r}")
    v = as_floats(values)
    half = window // 2
    if half == 0 or len(v) == 0:
        return np.where(np.isfinite(v), v, np.nan)
    if half > 64:
        return _sliding_median(v, half)
    width = 2 * half + 1
    known = np.isfinite(v)
    whole = np.count_nonzero(known) == len(v)
    padded = np.full(len(v) + 2 * half, np.inf)
    padded[half : half + len(v)] = v if whole else np.where(known, v, np.inf)
    every_window = windows(padded, width)
    count = np.zeros(len(padded) + 1, np.intp)
    count[half + 1 : half + 1 + len(v)] = known.cumsum()
    count[half + 1 + len(v) :] = count[half + len(v)]
    number = count[width:] - count[:-width]
    out = np.empty(len(v))
    rows = max(_CELLS // width, 1)
    for low in range(0, len(v), rows):
        part, n = np.sort(every_window[low : low + rows], axis=1), number[low : low + rows]
        every = np.arange(len(part))
        upper = np.minimum(n // 2, width - 1)
        out[low : low + rows] = part[every, np.maximum(n - 1, 0) // 2] * 0.5 + part[every, upper] * 0.5
    return out if whole else np.where(known, out, np.nan)


def _sliding_median(v: Floats, half: int) -> Floats:
    """For wide windows: one sorted list, from which a value leaves as another enters."""
    ordered: list[float] = []
    out = np.full(len(v), np.nan)
    x = v.tolist()
    for enter in range(len(x) + half):
        if enter < len(x) and math.isfinite(x[enter]):
            insort(ordered, x[enter])
        centre = enter - half
        if centre < 0:
            continue
        leave = centre - half - 1
        if leave >= 0 and math.isfinite(x[leave]):
            del ordered[bisect_left(ordered, x[leave])]
        if math.isfinite(x[centre]):
            n = len(ordered)
            out[centre] = ordered[(n - 1) // 2] * 0.5 + ordered[n // 2] * 0.5
    return out
