"""LD302 underfitting."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _seeds() -> TrainingHistory:
    """The seeds' third pattern: both stay high and barely decrease."""
    rng = np.random.default_rng(42)
    e = np.arange(1, 51)
    train = 1.5 - 0.005 * e + rng.normal(0, 0.01, 50)
    val = 1.6 - 0.004 * e + rng.normal(0, 0.01, 50)
    return losses(*train, val_loss=list(val))


def _poor_accuracy() -> TrainingHistory:
    t = np.linspace(0, 1, 40)
    train = 2.2 - 0.4 * (1 - np.exp(-t * 8))
    h = losses(*train, val_loss=list(train + 0.03), val_accuracy=list(0.1 + 0.2 * (1 - np.exp(-t * 8))))
    h.context = RunContext(classes=10)
    return h


SICK = {"seeds: both stay high": _seeds, "levelled off with poor accuracy": _poor_accuracy}
HEALTHY = {
    "epochs": seeded(shapes.epochs, 6),
    "overfitted": seeded(shapes.overfitted, 3),
    "fine-tuning": seeded(shapes.fine_tuning, 5),
}
