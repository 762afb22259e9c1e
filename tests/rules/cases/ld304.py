"""LD304 validation-below-training."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _below(share: float, n: int = 40, noise: float = 0.02) -> TrainingHistory:
    rng = np.random.default_rng(4)
    base = 0.5 + 1.5 * np.exp(-np.arange(n) / 8)
    train, val = base * np.exp(rng.normal(0, noise, n)), base * (1 - share) * np.exp(rng.normal(0, noise, n))
    return losses(*train, val_loss=val.tolist())


def _half_an_epoch() -> TrainingHistory:
    """The same loss on both sides; only that training is the mean over the epoch that the evaluation ends."""
    epochs = np.arange(30)
    ends = 0.2 + 2 * np.exp(-(epochs + 1) / 10)
    means = 0.2 + 2 * 10 * (np.exp(-epochs / 10) - np.exp(-(epochs + 1) / 10))
    return losses(*means, val_loss=ends.tolist())


def _dense() -> TrainingHistory:
    steps = np.arange(1, 2001)
    rng = np.random.default_rng(5)
    base = 0.6 + 2 * np.exp(-steps / 300)
    at = steps[99::100]
    return TrainingHistory(
        {
            "train_loss": (steps, base * np.exp(rng.normal(0, 0.1, len(steps)))),
            "val_loss": (at, 0.8 * base[at - 1] * np.exp(rng.normal(0, 0.01, len(at)))),
        }
    )


SICK = {
    "dropout in training": lambda: _below(0.25),
    "a tenth below, with noise": lambda: _below(0.1),
    "mini-batches and twenty evaluations": _dense,
}
HEALTHY = {
    "equal but for the mean over the epoch": _half_an_epoch,
    "equal": lambda: _below(0.0),
    "above": lambda: _below(-0.1),
    "a hair below, within the noise": lambda: _below(0.02, n=12, noise=0.05),
    "pretraining": seeded(shapes.pretraining, 2),
    "overfitted": seeded(shapes.overfitted, 1),
    "negative log-density": seeded(shapes.log_density, 1),
}
