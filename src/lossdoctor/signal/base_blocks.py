"""The numbers of base blocks: 64 points each, all blocks of a piece at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.signal.blocks import BLOCK, FLOAT, FLOAT_FIELDS, INT, INT_FIELDS, Floats, Ints, Rows


def tree_sum(x: Floats) -> Floats:
    """Sum over the last axis (a power of two long) by halving: an order that does not depend on the other axes."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]


def sorted_median(ordered: Floats, count: Ints) -> Floats:
    """Median of the first ``count`` entries of each sorted row; NaN where there are none."""
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, ordered.shape[1] - 1)
    rows = np.arange(len(ordered))
    # halves first, so that the largest floats do not overflow; + 0.0 makes -0.0 and 0.0 one
    middle = ordered[rows, low] * 0.5 + ordered[rows, high] * 0.5 + 0.0
    return np.where(count > 0, middle, np.nan)


def base_rows(steps: Ints, values: Floats, present: int, start: int, before: Floats) -> Rows:
    """Summaries of blocks of 64 points.

    Args:
        steps, values: shape (k, 64). Only the last row may be padded.
        present: how many of the k * 64 points are real; the rest is padding.
        start: index of the first point.
        before: the two raw values before the first point, NaN where there are none.
    """
    k = len(values)
    out = Rows(np.empty((len(INT_FIELDS), k), np.int64), np.empty((len(FLOAT_FIELDS), k), np.float64))
    ints, floats = out.ints, out.floats
    real = np.full(k, BLOCK)
    real[-1] = present - (k - 1) * BLOCK
    finite = np.isfinite(values)
    if real[-1] < BLOCK:
        finite[-1, real[-1] :] = False
    every_row = np.arange(k)
    ints[INT["first_step"]] = steps[:, 0]
    ints[INT["last_step"]] = steps[every_row, real - 1]
    floats[FLOAT["first"]] = values[:, 0]
    floats[FLOAT["last"]] = values[every_row, real - 1]
    count = finite.sum(axis=1)
    ints[INT["count"]] = count
    ints[INT["nonfinite"]] = real - count
    _centre(out, values, finite, count)
    _extremes(out, steps, values, finite, count, start)
    _differences(out, values, finite, before)
    return out


def _centre(out: Rows, values: Floats, finite: NDArray[np.bool_], count: Ints) -> None:
    median = sorted_median(np.sort(np.where(finite, values, np.inf), axis=1), count)
    out.floats[FLOAT["median"]] = median
    # Deviations from the median: a constant block's mean is exactly its constant; 1/64 keeps the sum from overflowing.
    filled = np.where(finite, values, median[:, None])
    deviation = tree_sum((filled - median[:, None]) * (1.0 / BLOCK))
    part = deviation * (BLOCK / np.maximum(count, 1))
    mean = np.clip(median + part, _masked(filled.min(axis=1), count), _masked(filled.max(axis=1), count))
    out.floats[FLOAT["mean"]] = mean
    rest = np.where(finite, filled - mean[:, None], 0.0)
    out.floats[FLOAT["m2"]] = _masked(tree_sum(rest * rest), count)
    spread = np.where(finite, np.abs(filled - median[:, None]), np.inf)
    out.floats[FLOAT["mad"]] = sorted_median(np.sort(spread, axis=1), count)


def _masked(x: Floats, count: Ints) -> Floats:
    return np.where(count > 0, x, np.nan)


def _extremes(out: Rows, steps: Ints, values: Floats, finite: NDArray[np.bool_], count: Ints, start: int) -> None:
    every_row = np.arange(len(values))
    for name, fill, pick in (("min", np.inf, np.argmin), ("max", -np.inf, np.argmax)):
        at = pick(np.where(finite, values, fill), axis=1)
        out.floats[FLOAT[name]] = _masked(values[every_row, at], count)
        out.ints[INT[f"{name}_step"]] = np.where(count > 0, steps[every_row, at], steps[:, 0])
        out.ints[INT[f"{name}_index"]] = np.where(count > 0, start + every_row * BLOCK + at, -1)


def _differences(out: Rows, values: Floats, finite: NDArray[np.bool_], before: Floats) -> None:
    k = len(values)
    line = np.empty(2 + k * BLOCK)
    line[:2] = before
    line[2:] = np.where(finite, values, np.nan).ravel()
    ok = np.empty(len(line), bool)
    ok[:2] = np.isfinite(before)
    ok[2:] = finite.ravel()
    pair = ok[1:] & ok[:-1]
    difference = line[1:] - line[:-1]
    turn = pair[1:] & pair[:-1]
    up, down = difference > 0, difference < 0
    changed = (turn & ((up[1:] & down[:-1]) | (down[1:] & up[:-1]))).reshape(k, BLOCK)
    pairs = pair[1:].reshape(k, BLOCK)
    step = np.where(pairs, np.abs(difference[1:].reshape(k, BLOCK)), 0.0)
    n_diff = pairs.sum(axis=1)
    out.ints[INT["n_diff"]] = n_diff
    out.ints[INT["n_turn"]] = turn.reshape(k, BLOCK).sum(axis=1)
    out.ints[INT["sign_changes"]] = changed.sum(axis=1)
    out.floats[FLOAT["sqdiff"]] = tree_sum(step * step)
    out.floats[FLOAT["diff_median"]] = sorted_median(np.sort(np.where(pairs, step, np.inf), axis=1), n_diff)


def partial_row(steps: Ints, values: Floats, start: int, before: Floats) -> Rows:
    """The row of a last block of 1 to 63 points: what :func:`base_rows` makes of it, in a fraction of the time.

    A summary asks for one such row; on a single row the general way spends its time on calls, not on numbers.
    """
    n = len(values)
    if np.isinf(before).any() or not np.isfinite(values).all():
        padded_steps, padded = np.zeros((1, BLOCK), np.int64), np.full((1, BLOCK), np.nan)
        padded_steps[0, :n], padded[0, :n] = steps, values
        return base_rows(padded_steps, padded, n, start, before)
    median = _middle(np.sort(values))
    from_median = values - median
    cells = np.zeros((2, BLOCK))
    cells[0, :n] = from_median * (1.0 / BLOCK)
    at_min, at_max = int(values.argmin()), int(values.argmax())
    low, high = float(values[at_min]), float(values[at_max])
    mean = median + float(tree_sum(cells[0])) * (BLOCK / n)
    mean = min(max(mean, min(low, median)), max(high, median))  # halves of subnormal numbers can lie outside
    line = np.concatenate((before, values))
    difference = line[1:] - line[:-1]
    up, down = difference > 0, difference < 0
    changes = np.count_nonzero(up[1:] & down[:-1]) + np.count_nonzero(down[1:] & up[:-1])
    joined, joined_twice = before[1] == before[1], before[0] == before[0] and before[1] == before[1]  # not NaN
    jumps = np.abs(difference[1 if joined else 2 :])
    cells[0, :n] = values - mean
    cells[1, n - len(jumps) : n] = jumps
    m2, sqdiff = tree_sum(cells * cells).tolist()
    ints = {
        "first_step": steps[0],
        "last_step": steps[-1],
        "count": n,
        "nonfinite": 0,
        "n_diff": len(jumps),
        "n_turn": (n - 2 if n > 1 else 0) + (joined and n > 1) + joined_twice,
        "sign_changes": changes,
        "min_step": steps[at_min],
        "min_index": start + at_min,
        "max_step": steps[at_max],
        "max_index": start + at_max,
    }
    floats = {
        "mean": mean,
        "m2": m2,
        "sqdiff": sqdiff,
        "min": low,
        "max": high,
        "median": median,
        "mad": _middle(np.sort(np.abs(from_median))),
        "diff_median": _middle(np.sort(jumps)) if len(jumps) else np.nan,
        "first": values[0],
        "last": values[-1],
    }
    return Rows(
        np.array([[ints[name]] for name in INT_FIELDS], np.int64),
        np.array([[floats[name]] for name in FLOAT_FIELDS], np.float64),
    )


def _middle(ordered: Floats) -> float:
    n = len(ordered)
    return ordered.item((n - 1) // 2) * 0.5 + ordered.item(n // 2) * 0.5 + 0.0
