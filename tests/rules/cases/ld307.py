"""LD307 loss-accuracy-disagree."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

_T = np.arange(50)
_FALL = 0.4 + 1.5 * np.exp(-_T / 8)
_TURNS = 0.5 + 1.4 * np.exp(-_T / 4) + 0.015 * np.clip(_T - 12, 0, None)
_LEARNS = 0.9 - 0.6 * np.exp(-_T / 15)


def _run(loss: object, accuracy: object, noise: float = 0.004) -> TrainingHistory:
    rng = np.random.default_rng(9)
    n = len(_T)
    val = np.asarray(loss) * np.exp(rng.normal(0, noise, n))
    acc = np.asarray(accuracy) + rng.normal(0, noise, n) * (np.ptp(np.asarray(accuracy)) > 0)
    train = 0.05 + 1.9 * np.exp(-_T / 8)
    return losses(*train, val_loss=val.tolist(), accuracy=_LEARNS.tolist(), val_accuracy=acc.tolist())


SICK = {
    "loss and accuracy both rise": lambda: _run(_TURNS, _LEARNS),
    "the loss falls, the accuracy never moves": lambda: _run(_FALL, np.full(50, 0.62)),
    "the loss falls, the accuracy falls too": lambda: _run(_FALL, 0.7 - 0.004 * _T),
    "accuracies in percent": lambda: _run(_TURNS, 100 * _LEARNS),
}
HEALTHY = {
    "the loss falls, the accuracy rises": lambda: _run(_FALL, _LEARNS),
    "the loss rises, the accuracy falls": lambda: _run(_TURNS, 0.8 - 0.003 * _T),
    "as good as it gets": lambda: _run(_FALL, np.full(50, 0.99)),
    "accuracy early, then level with noise": lambda: _run(_FALL, 0.8 - 0.4 * np.exp(-_T / 2), noise=0.01),
    "no accuracy": seeded(shapes.epochs, 3),
    "pretraining": seeded(shapes.pretraining, 2),
}
