"""LD309 batchnorm-mismatch."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

_T = np.arange(60)
_TRAIN = 0.3 + 1.7 * np.exp(-_T / 8)


def _run(evaluated: object, name: str = "train_eval_loss", noise: float = 0.01) -> TrainingHistory:
    rng = np.random.default_rng(11)
    train = _TRAIN * np.exp(rng.normal(0, noise, len(_T)))
    other = np.asarray(evaluated) * np.exp(rng.normal(0, noise, len(_T)))
    return losses(*train, **{name: other.tolist()})


SICK = {
    "evaluation mode at three times training mode": lambda: _run(3 * _TRAIN),
    "evaluation mode does not learn": lambda: _run(np.full(len(_T), 2.0)),
    "another name": lambda: _run(_TRAIN + 0.8, name="eval/train_loss"),
}
HEALTHY = {
    "evaluation mode a little better: dropout": lambda: _run(0.9 * _TRAIN),
    "the same": lambda: _run(_TRAIN),
    "a tenth worse": lambda: _run(1.1 * _TRAIN),
    "a validation loss says nothing of modes": lambda: _run(3 * _TRAIN, name="val_loss"),
    "not measured": seeded(shapes.pretraining, 2),
    "epochs": seeded(shapes.epochs, 3),
}
