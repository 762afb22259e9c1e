"""LD201 flat-line."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _continued(n: int = 300) -> TrainingHistory:
    """Continued from a trained checkpoint: starts late and low and stays level."""
    rng = np.random.default_rng(7)
    return TrainingHistory({"loss": (np.arange(50_000, 50_000 + n), 0.31 + rng.normal(0, 0.01, n))})


def _accurate() -> TrainingHistory:
    """Fine-tuned: the accuracy is high from the first epoch on."""
    rng = np.random.default_rng(8)
    return losses(*(0.21 + rng.normal(0, 0.004, 20)), val_accuracy=[0.94] * 20)


def _no_gradient() -> TrainingHistory:
    rng = np.random.default_rng(9)
    return losses(*(2.31 + rng.normal(0, 0.03, 100)), grad_norm=[0.0] * 100)


SICK = {
    "noise around a level": seeded(shapes.flat, 1),
    "ten epochs": lambda: losses(0.8327, 0.8342, 0.8394, 0.8360, 0.8362, 0.8349, 0.8338, 0.8321, 0.8346, 0.8344),
    "constant": lambda: losses(*[0.71] * 120),
    "fell once": seeded(shapes.fell_once, 1),
    "no gradient": _no_gradient,
}
HEALTHY = {
    "continued from a checkpoint": _continued,
    "accurate from the start": _accurate,
    "noise swamps the trend": seeded(shapes.noisy, 3),
    "fine-tuning": seeded(shapes.fine_tuning, 16),
    "done early": seeded(shapes.level_tail, 1),
    "six points, each below the one before": lambda: losses(0.6908, 0.6874, 0.6849, 0.6823, 0.6801, 0.6776),
    "sums of varied size that begin with a zero": lambda: losses(
        0.0, *np.random.default_rng(3).uniform(8000.0, 15000.0, 30)
    ),
    "negative log-density": seeded(shapes.log_density, 2),
}
