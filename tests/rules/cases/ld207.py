"""LD207 initial-loss-wrong."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded

NAME = "train/CrossEntropyLoss"


def _run(start: float, quick: float, classes: int | None, seed: int, end: float = 0.3, at: int = 1) -> TrainingHistory:
    """A fast fall from the start to about chance, then learning."""
    rng = np.random.default_rng(seed)
    n = 400
    t = np.arange(n)
    chance = math.log(classes or 100)
    loss = (start - chance) * np.exp(-t / quick) + end + (chance - end) * np.exp(-t / 80)
    loss[1:] *= np.exp(rng.normal(0, 0.02, n - 1))
    return TrainingHistory({NAME: (t + at, loss)}, context=RunContext(classes=classes))


SICK = {
    "inputs a hundred times too large": lambda: _run(150.0, 3.0, 10, 1),
    "twice chance": lambda: _run(5.1, 5.0, 10, 2),
    "summed over four accumulation steps": lambda: _run(4 * math.log(50), 1e9, 50, 3),
    "worse than guessing among any vocabulary": lambda: _run(40.0, 4.0, None, 4),
}
HEALTHY = {
    "starts at ln 10": lambda: _run(math.log(10), 5.0, 10, 5),
    "a little above": lambda: _run(1.3 * math.log(10), 5.0, 10, 6),
    "continued from a trained model": lambda: _run(0.4, 5.0, 10, 7),
    "ten yes-or-no decisions, summed": lambda: _run(10 * math.log(2), 50.0, 10, 8),
    "the log begins late": lambda: _run(30.0, 5.0, 10, 9, at=500),
    "unknown unit": seeded(shapes.pretraining, 1),
    "epochs of an unknown unit": seeded(shapes.epochs, 1),
}
