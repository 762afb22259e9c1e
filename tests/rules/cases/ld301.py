"""LD301 overfitting."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _one_noisy_evaluation() -> TrainingHistory:
    train = [2 * 0.93**i + 0.1 for i in range(40)]
    val = [2 * 0.93**i + 0.3 for i in range(40)]
    val[-4] *= 1.3
    return losses(*train, val_loss=val)


def _validation_only() -> TrainingHistory:
    return TrainingHistory({"val_loss": (np.arange(40), np.array([abs(i - 15) * 0.02 + 0.5 for i in range(40)]))})


def _five_evaluations() -> TrainingHistory:
    steps = np.arange(100, 600, 5)
    at = np.array([100, 200, 300, 400, 500, 595])
    return TrainingHistory(
        {
            "loss": (steps, 2 * np.exp(-(steps - 100) / 150)),
            "eval_loss": (at, np.array([1.10, 0.92, 0.85, 0.93, 1.04, 1.19])),
        }
    )


SICK = {
    "turns and rises": seeded(shapes.overfitted, 1),
    "another": seeded(shapes.overfitted, 7),
    "six evaluations": _five_evaluations,
    "validation only": _validation_only,
}
HEALTHY = {
    "both rise: a divergence": seeded(shapes.diverging, 4),
    "one noisy evaluation": _one_noisy_evaluation,
    "epochs": seeded(shapes.epochs, 3),
    "done early and level": seeded(shapes.level_tail, 7),
    "pretraining": seeded(shapes.pretraining, 6),
    "negative log-density": seeded(shapes.log_density, 3),
}
