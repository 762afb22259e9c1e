"""LD102 loss-divergence."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _training_stops_validation_explodes() -> TrainingHistory:
    """The training loss is filled only for the first hundred steps; validation goes on and explodes."""
    rng = np.random.default_rng(2)
    steps = np.arange(100)
    loss = 30 * np.exp(-steps / 20) + 7 + rng.normal(0, 0.5, 100)
    at = np.array([0, 2000, 4000, 6000, 8000, 10000])
    return TrainingHistory(
        {"loss": (steps, loss), "validation/ctc_loss": (at, np.array([30, 9, 40, 900, 3300, 3358.0]))}
    )


def _kl_settles() -> TrainingHistory:
    """The KL term of a variational autoencoder rises from zero and settles: that is what it should do."""
    rng = np.random.default_rng(3)
    t = np.linspace(0, 1, 300)
    steps = np.arange(300)
    total = 100 * np.exp(-t * 10) + 60 + rng.normal(0, 1, 300)
    return TrainingHistory(
        {"loss": (steps, total), "kl_loss": (steps, 12 * (1 - np.exp(-t * 8)) + rng.normal(0, 0.1, 300))}
    )


SICK = {
    "blows up": seeded(shapes.diverging, 1),
    "by factors, far beyond": lambda: losses(*(3.0 * 1.96**i for i in range(101))),
    "blows up, other scale": seeded(shapes.diverging, 2),
    "drifts up for good": seeded(shapes.drifting_up, 1),
    "drifts up, longer": seeded(shapes.drifting_up, 5),
    "training stops, validation explodes": _training_stops_validation_explodes,
    "six evaluations": lambda: losses(31.0, 3300.0, 3350.0, 3351.0, 3352.0, 3353.0),
}
HEALTHY = {
    "pretraining": seeded(shapes.pretraining, 2),
    "warm restarts": seeded(shapes.restarts, 1),
    "re-weighted during warmup": seeded(shapes.reweighted, 1),
    "noise swamps the trend": seeded(shapes.noisy, 1),
    "negative log-density": seeded(shapes.log_density, 1),
    "a KL term settles above zero": _kl_settles,
    "level tail": seeded(shapes.level_tail, 3),
}
