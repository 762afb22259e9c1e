"""Counting evaluations that brought nothing new: what the stopping callbacks share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """Where a patience rule stops, and where its best value was. ``at`` and ``best`` are indices of evaluations."""

    at: int
    best: int


def stops(values: list[float], patience: int, min_delta: float = 0.0, *, spares_first: bool = False) -> Stop | None:
    """The first evaluation after which a rule of patience stops, or None when it never does.

    A value is an improvement when it lies below the best by more than ``min_delta``; NaN never is. ``spares_first``
    is Keras's ``epoch > 0``: the first evaluation cannot stop a run.

    >>> stops([3.0, 2.0, 2.5, 2.4, 2.3], patience=3)
    Stop(at=4, best=1)
    >>> stops([3.0, 2.0, 1.0], patience=1) is None
    True
    """
    best, best_at, wait = float("inf"), 0, 0
    for i, value in enumerate(values):
        wait += 1
        if value < best - min_delta:
            best, best_at, wait = value, i, 0
            continue
        if wait >= patience and (i > 0 or not spares_first):
            return Stop(i, best_at)
    return None
