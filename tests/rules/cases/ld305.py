"""LD305 validation-noisy."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _scatter(sigma: float, gain: float, n: int = 40) -> TrainingHistory:
    rng = np.random.default_rng(6)
    fall = np.exp(-np.arange(n) / 6)
    train = (0.2 + 1.8 * fall) * np.exp(rng.normal(0, 0.01, n))
    return losses(*train, val_loss=(1.0 + gain * fall + rng.normal(0, sigma, n)).tolist())


SICK = {
    "a third of what it gained": lambda: _scatter(0.15, 0.5),
    "it hides the trend": lambda: _scatter(0.3, 0.05),
    "few evaluations": lambda: _scatter(0.2, 0.5, n=14),
}
HEALTHY = {
    "a little scatter": lambda: _scatter(0.01, 1.0),
    "level from the start, scatter far below a percent": lambda: _scatter(0.002, 0.0),
    "one noisy evaluation": lambda: losses(
        *[2 * 0.93**i + 0.1 for i in range(40)],
        val_loss=[(2 * 0.93**i + 0.3) * (1.5 if i == 33 else 1) for i in range(40)],
    ),
    "nothing is learned": seeded(shapes.flat, 1),
    "epochs": seeded(shapes.epochs, 3),
    "pretraining": seeded(shapes.pretraining, 2),
    "negative log-density": seeded(shapes.log_density, 1),
}
