"""LD209 plateau-then-drop."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _saddle(n: int, at: float, scale: float, seed: int, shift: float = 0.0) -> TrainingHistory:
    """Falls a little, sits on a saddle until ``at`` of the run, falls on."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, n)
    loss = 1.0 + 0.8 * np.exp(-t * 60) - 0.7 / (1 + np.exp(-(t - at) * 40)) + shift
    return TrainingHistory({"loss": (np.arange(1, n + 1) * 5, scale * (loss + rng.normal(0, 0.03, n)))})


def _rate_cut(seed: int) -> TrainingHistory:
    rng = np.random.default_rng(seed)
    t = np.arange(400)
    loss = np.where(t < 200, 0.5 + 2 * np.exp(-t / 10), 0.3) * np.exp(rng.normal(0, 0.03, 400))
    return TrainingHistory({"loss": (t, loss), "lr": (t, np.where(t < 200, 0.1, 0.01))})


SICK = {
    "a saddle in the first half": lambda: _saddle(600, 0.4, 1.0, 1),
    "a saddle, other scale, long": lambda: _saddle(6000, 0.6, 1e-3, 2),
    "a saddle of a log-density": lambda: _saddle(300, 0.5, 1.0, 3, shift=-1.2),
    "level from the start, one value per epoch": lambda: losses(
        *(0.69 + 0.001 * (i % 3) for i in range(15)), *(0.1 + 0.55 * 0.8**i for i in range(30))
    ),
}
HEALTHY = {
    "pretraining": seeded(shapes.pretraining, 4),
    "noise swamps the trend": seeded(shapes.noisy, 2),
    "stairs of the learning rate": lambda: _rate_cut(4),
    "level tail": seeded(shapes.level_tail, 1),
    "a spike that decays": seeded(shapes.big_spikes, 2),
    "restarts that are logged": seeded(shapes.restarts, 2),
}
