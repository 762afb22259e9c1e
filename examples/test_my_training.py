"""A test of one's own training: it fails, and says why, when the run is not healthy.

Run it with ``pytest examples/test_my_training.py``.
"""

from __future__ import annotations

import math
import random

from lossdoctor import TrainingHistory, assert_healthy


def train(steps: int = 400, seed: int = 0) -> TrainingHistory:
    """Logistic regression by stochastic gradient descent on two separable blobs, without any framework."""
    rng = random.Random(seed)
    history = TrainingHistory(name="logistic")
    w = [0.0, 0.0, 0.0]
    for step in range(1, steps + 1):
        loss = 0.0
        gradient = [0.0, 0.0, 0.0]
        for _ in range(32):
            label = rng.random() < 0.5
            centre = 1.0 if label else -1.0
            x = [rng.gauss(centre, 1.0), rng.gauss(centre, 1.0), 1.0]
            p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(w, x, strict=True))))
            loss -= math.log(p if label else 1 - p) / 32
            gradient = [g + (p - label) * xi / 32 for g, xi in zip(gradient, x, strict=True)]
        w = [wi - 0.05 * g for wi, g in zip(w, gradient, strict=True)]
        history.record(loss=loss, step=step)
    return history


def test_training_is_healthy() -> None:
    assert_healthy(train())
