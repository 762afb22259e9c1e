"""What a peer says of a run, in our words, so that all can be counted alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import ACTIONS

THREE = 3  # pieces of advice that are looked at


@dataclass(frozen=True)
class Opinion:
    """One peer on one run.

    Attributes:
        alarm: whether it says that something is wrong.
        advice: what it would do, first to last, as actions of our vocabulary; at most three are counted.
        onset: the step at which it says that it began, or None.
        score: how sure it is that something is wrong, where it says so; else 1 for an alarm and 0 for none.
        told: which of its checks spoke, in its own words.
    """

    alarm: bool
    advice: tuple[str, ...] = ()
    onset: int | None = None
    score: float = math.nan
    told: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.advice) - set(ACTIONS)
        if unknown:
            raise ValueError(f"no such action: {', '.join(sorted(unknown))}; there are {', '.join(ACTIONS)}")
        if math.isnan(self.score):
            object.__setattr__(self, "score", float(self.alarm))


def distinct(actions: Iterable[str]) -> tuple[str, ...]:
    """The first three different actions.

    >>> distinct(["train_longer", "none", "train_longer", "clip_gradients", "check_data"])
    ('train_longer', 'none', 'clip_gradients')
    """
    return tuple(dict.fromkeys(actions))[:THREE]


def points(history: TrainingHistory, role: str) -> tuple[list[int], list[float]]:
    """Steps and values of a role as a recorder would have passed them on; empty when it is not logged."""
    curve = history.curve(role)
    if curve is None:
        return [], []
    return [int(s) for s in curve.steps], [float(v) for v in curve.values]


def merged(history: TrainingHistory, *roles: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Rows in the order of their steps, each with the roles logged at that step."""
    rows: dict[int, dict[str, float]] = {}
    for role in roles:
        for step, value in zip(*points(history, role), strict=True):
            rows.setdefault(step, {})[role] = value
    yield from sorted(rows.items())


def first_not_finite(steps: list[int], values: list[float]) -> int | None:
    """The step of the first NaN or infinite value, or None."""
    bad = np.flatnonzero(~np.isfinite(np.asarray(values, dtype=float)))
    return steps[int(bad[0])] if len(bad) else None
