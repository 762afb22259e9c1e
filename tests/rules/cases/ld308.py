"""LD308 epoch-staircase. Runs whose log holds the epoch are in test_epoch_staircase.py."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def staircase(levels: object, noise: float = 0.03, *, told: str = "context", epochs: int = 4) -> TrainingHistory:
    """Levels of 200 steps an epoch: a function of (epoch, share of the epoch gone)."""
    per = 200
    steps = np.arange(1, per * epochs + 1)
    gone = (steps - 1) / per
    base = levels(np.floor(gone), gone % 1.0)  # type: ignore[operator]
    loss = base * np.exp(np.random.default_rng(10).normal(0, noise, len(steps)))
    curves = {"loss": (steps, loss)}
    if told == "epoch":
        curves["epoch"] = (steps, gone + 1 / per)
    if told == "whole":
        curves["epoch"] = (steps, np.floor(gone))
    context = RunContext(steps_per_epoch=per) if told == "context" else None
    return TrainingHistory(curves, context=context)


def stairs(epoch: object, _: object) -> object:
    return 1.6 * 0.7 ** np.asarray(epoch)


def _level(epoch: object, _: object) -> object:
    return 1.0 + 0 * np.asarray(epoch)


def smooth(epoch: object, gone: object) -> object:
    return 0.4 + 1.6 * np.exp(-(np.asarray(epoch) + np.asarray(gone)) / 1.5)


def _first_epoch_falls(epoch: object, gone: object) -> object:
    return 1.6 * 0.75 ** np.asarray(epoch) + np.where(np.asarray(epoch) == 0, 0.8 * np.exp(-np.asarray(gone) * 6), 0)


def _sawtooth(epoch: object, gone: object) -> object:
    return 1.0 + 0.3 * np.asarray(gone) - 0.01 * np.asarray(epoch)


def _only_once(epoch: object, _: object) -> object:
    return np.where(np.asarray(epoch) < 2, 1.6, 1.0)


SICK = {
    "stairs": lambda: staircase(stairs),
    "the first epoch falls, then stairs": lambda: staircase(_first_epoch_falls),
    "strong noise, more epochs": lambda: staircase(stairs, noise=0.15, epochs=6),
}
HEALTHY = {
    "a smooth fall": lambda: staircase(smooth),
    "level": lambda: staircase(_level),
    "falls at boundaries and climbs back within": lambda: staircase(_sawtooth),
    "one step of a schedule": lambda: staircase(_only_once),
    "stairs, epochs unknown": lambda: staircase(stairs, told="nothing"),
    "one value per epoch": seeded(shapes.epochs, 3),
    "pretraining": seeded(shapes.pretraining, 2),
}
