"""LD104 oscillation."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _validation_swings() -> TrainingHistory:
    """Training is fine; the validation loss swings by a factor until the end."""
    rng = np.random.default_rng(5)
    t = np.linspace(0, 1, 300)
    train = 2 * np.exp(-t * 4) + 0.8 + rng.normal(0, 0.02, 300)
    val = 2.5 * np.exp(rng.normal(0, 0.6, 300)) + 1
    return losses(*train, val_loss=list(val))


def _beyond_the_edge() -> TrainingHistory:
    """Gradient descent beyond the stable rate on a valley with a floor: it jumps from wall to wall."""
    rng = np.random.default_rng(6)
    e = np.arange(100)
    return losses(*(3 * np.exp(-e / 8) + 1 + 0.6 * (-1.0) ** e + rng.normal(0, 0.05, 100)))


SICK = {
    "seeds: both swing": seeded(shapes.oscillating, 1),
    "seeds: both swing, other seed": seeded(shapes.oscillating, 2),
    "validation swings": _validation_swings,
    "from wall to wall": _beyond_the_edge,
}
HEALTHY = {
    "mini-batch noise": seeded(shapes.noisy, 2),
    "fine-tuning noise": seeded(shapes.fine_tuning, 3),
    "warm restarts": seeded(shapes.restarts, 2),
    "epochs": seeded(shapes.epochs, 4),
    "a single batch's noise on 100 points": seeded(shapes.level_tail, 6),
}
