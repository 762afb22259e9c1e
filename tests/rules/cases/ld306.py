"""LD306 best-checkpoint-early."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _val(curve: object, noise: float = 0.005) -> TrainingHistory:
    val = np.asarray(curve, float)
    n = len(val)
    rng = np.random.default_rng(8)
    train = 0.3 + 1.7 * np.exp(-np.arange(n) / 5)
    return losses(*train, val_loss=(val * np.exp(rng.normal(0, noise, n))).tolist())


_T = np.arange(60)
SICK = {
    "best at 5 %, then a slow rise": lambda: _val(0.5 + 0.5 * np.exp(-_T) + 0.004 * _T),
    "the first evaluation is the best": lambda: _val(1.0 + 0.3 * (1 - np.exp(-_T / 20))),
    "a rise of a twentieth, then level": lambda: _val(0.8 + 0.4 * np.exp(-_T) + 0.05 * np.clip(_T / 15, 0, 1)),
}
HEALTHY = {
    "done early and level": lambda: _val(0.5 + 0.5 * np.exp(-_T)),
    "done early and level, noisy": lambda: _val(0.5 + 0.5 * np.exp(-_T), noise=0.08),
    "a bump that went": lambda: _val(0.5 + 0.5 * np.exp(-_T) + 0.2 * np.exp(-(((_T - 20) / 5) ** 2))),
    "turns at a third of the run": lambda: _val(0.5 + 0.0005 * (_T - 20) ** 2),
    "level tail": seeded(shapes.level_tail, 7),
    "pretraining": seeded(shapes.pretraining, 2),
    "negative log-density": seeded(shapes.log_density, 1),
}
