"""Fewer points that look the same: for plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import ArrayLike, Floats, Ints, as_floats, power_scaled

_RATIO = 4  # candidates per point kept: minima and maxima of twice as many buckets


def downsample(x: ArrayLike, values: ArrayLike, m: int) -> Ints:
    """Indices, ascending, of at most ``m`` points that keep the look of the curve.

    Largest-triangle-three-buckets over the minima and maxima of small buckets. The first and last point, the minimum
    and the maximum are always kept, and the first and last point of every non-finite stretch (evenly thinned when these
    are more than a quarter of ``m``).

    Args:
        x: n positions, ascending.
        values: n values.
        m: how many points to keep, at least 8.

    References:
        Steinarsson, "Downsampling time series for visual representation" (2013); Van Der Donckt et al., "MinMaxLTTB"
        (2023).

    >>> downsample(range(1000), [0.0] * 500 + [9.0] + [0.0] * 499, 20).tolist().count(500)
    1
    """
    if m < 8:
        raise UsageError(f"at least 8 points are needed to keep the look of a curve, got {m!r}")
    a, v = as_floats(x), as_floats(values)
    if a.shape != v.shape:
        raise UsageError(f"x and values need one length, got {len(a)} and {len(v)}")
    n = len(v)
    if n <= m:
        return np.arange(n)
    good = np.isfinite(v)
    forced = [np.array([0, n - 1]), _thinned(_edges(~good), m // 4)]
    where = np.flatnonzero(good)
    if len(where):
        forced.append(where[[0, -1, int(np.argmin(v[where])), int(np.argmax(v[where]))]])
    kept: Ints = np.unique(np.concatenate(forced))
    room = m - len(kept)
    open_ = good.copy()
    open_[kept] = False
    rest = np.flatnonzero(open_)
    if len(rest) > room:
        # the triangle needs a point at either side: these are among the forced ones and cost nothing
        open_[where[[0, -1]]] = True
        path = np.flatnonzero(open_)
        y, _ = power_scaled(v[path])
        fewer = path[_candidates(y, _RATIO * room)]
        y, _ = power_scaled(v[fewer])
        rest = fewer[_triangles(a[fewer], y, room + 2)]
    return np.union1d(kept, rest).astype(np.int64)


def _edges(bad: NDArray[np.bool_]) -> Ints:
    """First and last index of every stretch of True."""
    turns = np.flatnonzero(np.diff(np.concatenate(([False], bad, [False]))))
    return np.unique(np.concatenate((turns[::2], turns[1::2] - 1))) if len(turns) else turns


def _thinned(index: Ints, most: int) -> Ints:
    if len(index) <= most:
        return index
    return index[np.linspace(0, len(index) - 1, max(most, 1)).astype(np.int64)]


def _candidates(y: Floats, most: int) -> Ints:
    """First, last, and the minimum and maximum of each bucket: at most about ``most`` indices."""
    n = len(y)
    if n <= most:
        return np.arange(n)
    width = -(-n // max(most // 2, 1))
    full = n // width * width
    rows = y[:full].reshape(-1, width)
    base = np.arange(len(rows)) * width
    found = [np.array([0, n - 1]), base + rows.argmin(axis=1), base + rows.argmax(axis=1)]
    if full < n:
        found.append(full + np.array([int(y[full:].argmin()), int(y[full:].argmax())]))
    return np.unique(np.concatenate(found))


def _triangles(x: Floats, y: Floats, m: int) -> Ints:
    """Largest-triangle-three-buckets: m of the n points, first and last included."""
    n = len(y)
    if n <= m or m < 3:
        return np.arange(n)
    bounds = 1 + (np.arange(m - 1) * (n - 2) / (m - 2)).astype(np.int64)
    picked = [0]
    for k in range(m - 2):
        low, high = int(bounds[k]), int(bounds[k + 1])
        ahead = slice(high, int(bounds[k + 2]) if k + 2 < len(bounds) else n)
        mean_x, mean_y = float(x[ahead].mean()), float(y[ahead].mean())
        left = picked[-1]
        area = np.abs((x[left] - mean_x) * (y[low:high] - y[left]) - (x[left] - x[low:high]) * (mean_y - y[left]))
        picked.append(low + int(np.argmax(area)))
    return np.array([*picked, n - 1])
