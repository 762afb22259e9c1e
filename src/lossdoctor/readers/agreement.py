"""Whether two logs tell of the same run: their curves must agree, to float32 or to the digits that were printed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve, Values
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse

# Agreement on these proves nothing: every run of a sweep has the same schedule.
NO_EVIDENCE = frozenset({"learning_rate", "epoch", "batch_size", "loss_scale", "other"})
_FLOAT32 = 2e-6
_ENOUGH = 3  # distinct values that must agree
Key = tuple[str, tuple[str, ...]]


def key_of(name: str) -> Key:
    """A name without its way of writing: ``train/loss`` and ``loss`` are one, so are ``eval_loss`` and ``val/loss``.

    >>> key_of("train/loss") == key_of("loss"), key_of("eval/loss") == key_of("val_loss")
    (True, True)
    """
    parsed = parse(name)
    return parsed.split or "train", tuple(sorted(set(parsed.bare)))


def keyed(history: TrainingHistory) -> dict[Key, list[str]]:
    """The names of a history's curves by key; several names may share one (a step and an epoch average)."""
    out: dict[Key, list[str]] = {}
    for name in history.curves:
        out.setdefault(key_of(name), []).append(name)
    return out


def same_run(a: TrainingHistory, b: TrainingHistory) -> bool:
    """Whether two histories show the same run: enough of their shared curves agree, and none disagrees."""
    shared = [pair for pair in shared_names(a, b) if parse(pair[0]).kind not in NO_EVIDENCE]
    distinct = 0
    for left, right in shared:
        agreed = agreeing(a[left], b[right])
        if agreed is not None:
            distinct += agreed
        elif left == right or len(shared) == 1:
            return False
    return distinct >= _ENOUGH


def shared_names(a: TrainingHistory, b: TrainingHistory) -> list[tuple[str, str]]:
    """Pairs of names that mean the same quantity: equal names, else equal keys where these are unambiguous."""
    equal = [(n, n) for n in a.curves if n in b]
    taken = {n for n, _ in equal}
    left, right = keyed(a), keyed(b)
    for key, names in left.items():
        others = [n for n in right.get(key, []) if n not in taken]
        mine = [n for n in names if n not in taken]
        if len(mine) == len(others) == 1:
            equal.append((mine[0], others[0]))
    return equal


def agreeing(a: Curve, b: Curve) -> int | None:
    """How many distinct values two curves share where they overlap; None when they contradict one another.

    They are laid over one another by step, else (the axes differ: rows in one file, steps in the other) by order.
    """
    if len(a) == 0 or len(b) == 0:
        return 0
    by_step = _overlap(a, b)
    if by_step is not None and len(by_step[0]) >= min(_ENOUGH, len(a), len(b)):
        if _close(*by_step):
            return _distinct(by_step[0])
        if len(a) != len(b):
            return None
    if len(a) == len(b) and len(a) >= _ENOUGH and _close(a.values, b.values):
        return _distinct(a.values)
    return None if by_step is not None else 0


def _overlap(a: Curve, b: Curve) -> tuple[Values, Values] | None:
    """The values of both at the steps that both have (the last value where a step repeats); None without such steps."""
    steps, at_a, at_b = np.intersect1d(a.steps[::-1], b.steps[::-1], return_indices=True)
    if len(steps) == 0:
        return None
    return a.values[::-1][at_a], b.values[::-1][at_b]


def _close(a: Values, b: Values) -> bool:
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not finite.any():
        return not finite.any() and np.array_equal(np.isnan(a), np.isnan(b))
    a, b = a[finite], b[finite]
    allowed = np.maximum(_FLOAT32 * np.maximum(np.abs(a), np.abs(b)), 1e-12)
    gap = np.abs(a - b)
    if np.all(gap <= allowed):
        return True
    return bool(np.all(gap <= np.maximum(allowed, np.maximum(_printed(a), _printed(b)))))


def _printed(values: Values) -> Values:
    """Half a unit of the last digit to which each value seems to have been rounded; 0 when it was not rounded.

    Both ways of printing are met: a fixed number of decimals (``.4f``) and of significant digits (``.4g``).
    """
    out = np.zeros_like(values)
    digits = next((d for d in range(2, 7) if _same(values, _to_significant(values, d))), None)
    if digits is not None:
        out = 0.5001 * 10.0 ** (_magnitude(values) - digits + 1)
    decimals = next((d for d in range(7) if _same(values, np.round(values, d))), None)
    return out if decimals is None else np.maximum(out, 0.5001 * 10.0**-decimals)


def _same(a: Values, b: Values) -> bool:
    return bool(np.all(np.abs(a - b) <= 1e-9 * np.abs(a)))


def _magnitude(values: Values) -> Values:
    out = np.zeros_like(values)
    some = values != 0
    out[some] = np.floor(np.log10(np.abs(values[some])))
    return out


def _to_significant(values: Values, digits: int) -> Values:
    scale = 10.0 ** (digits - 1 - _magnitude(values))
    return np.round(values * scale) / scale


def _distinct(values: NDArray[np.float64]) -> int:
    return len(np.unique(values[np.isfinite(values)]))


def is_prefix(short: TrainingHistory, long: TrainingHistory) -> bool:
    """Whether every curve of one history is the beginning of the other's curve of that name (summary points aside)."""
    compared = False
    for name, curve in short.curves.items():
        if name not in long:
            if len(curve) > 1:
                return False
            continue
        other = long[name]
        n = len(curve)
        if n > len(other) or not curve.same_points(other.take(slice(0, n))):
            return False
        compared = compared or n > 0
    return compared
