"""LD206 learning-rate-decayed-early."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _run(n: int, end: float, rate: np.ndarray, seed: int, noise: float = 0.02, every: int = 1) -> TrainingHistory:
    """A power law in the sum of the learning rate: without a rate nothing is learned."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rate) / rate.max()
    loss = end + 4.0 / (1 + way / 10) ** 0.7
    steps = np.arange(1, n + 1) * every
    return TrainingHistory(
        {"train/loss": (steps, loss * np.exp(rng.normal(0, noise, n))), "train/learning_rate": (steps, rate)}
    )


def _cosine(n: int, length: int) -> np.ndarray:
    t = np.minimum(np.arange(n) / length, 1.0)
    return 3e-4 * (1e-3 + 0.5 * (1 + np.cos(np.pi * t)))


def _on_plateau(seed: int) -> TrainingHistory:
    """The rate is cut after the loss has stalled: the scheduler saw the plateau and did not make it."""
    rng = np.random.default_rng(seed)
    n = 400
    t = np.arange(n)
    loss = 0.5 + 2.0 * np.exp(-t / 12)
    rate = np.where(t < 90, 1e-2, np.where(t < 140, 1e-3, 1e-4))
    return TrainingHistory({"loss": (t, loss * np.exp(rng.normal(0, 0.02, n))), "lr": (t, rate)})


SICK = {
    "a step schedule of a shorter run": lambda: _run(
        2000, 0.4, np.where(np.arange(2000) < 150, 1e-3, 1e-6), 1, every=10
    ),
    "a cosine a tenth as long as the run": lambda: _run(3000, 0.3, _cosine(3000, 300), 2),
    "a cosine a quarter as long, more than is kept raw": lambda: _run(9000, 0.1, _cosine(9000, 2200), 3, noise=0.1),
    "a value per epoch": lambda: _run(120, 0.2, np.where(np.arange(120) < 14, 0.1, 1e-4), 4, noise=0.01),
}
HEALTHY = {
    "a cosine as long as the run": lambda: _run(2000, 0.4, _cosine(2000, 2000), 5),
    "stairs at 50 and 75 %": seeded(shapes.step_schedule, 2),
    "constant rate": lambda: _run(1000, 0.4, np.full(1000, 1e-3), 6),
    "inverse square root": lambda: _run(4000, 0.4, 1e-3 / np.sqrt(np.maximum(np.arange(4000) / 20, 1.0)), 7),
    "exponential decay": lambda: _run(1000, 0.4, 1e-3 * 0.99 ** np.arange(1000), 8),
    "lowered once the loss had stalled": lambda: _on_plateau(9),
    "warm restarts": seeded(shapes.restarts, 4),
}
