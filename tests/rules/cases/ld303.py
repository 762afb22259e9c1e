"""LD303 generalization-gap."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

_N = 60
_FALL = 0.2 + 1.8 * np.exp(-np.arange(_N) / 10)


def _noise(seed: int, size: float = 0.01) -> np.ndarray:  # type: ignore[type-arg]
    return np.exp(np.random.default_rng(seed).normal(0, size, _N))


def _pair(train: object, val: object, **more: object) -> TrainingHistory:
    return losses(*np.asarray(train), val_loss=np.asarray(val).tolist(), **more)  # type: ignore[arg-type]


def _memorised(level: float, end: float, **more: object) -> TrainingHistory:
    train = (2.3 - end) * np.exp(-np.arange(_N) / 6) + end
    return _pair(train * _noise(1), (level + (2.3 - level) * np.exp(-np.arange(_N) / 5)) * _noise(2), **more)


def _accuracy(level: float) -> list[float]:
    return [level * (1 - float(np.exp(-i / 6))) for i in range(_N)]


SICK = {
    "a constant gap from the first evaluation on": lambda: _pair(_FALL * _noise(3), (_FALL + 1.3) * _noise(4)),
    "summed instead of averaged: the same factor throughout": lambda: _pair(_FALL * _noise(3), 8 * _FALL * _noise(4)),
    "other preprocessing: never as low as where training began": lambda: _pair(
        _FALL * _noise(3), 5.5 * _noise(4, 0.05)
    ),
    "training 0.01, validation level at 0.85": lambda: _memorised(0.85, 0.01),
    "training accuracy 100 %, validation 56 %": lambda: _memorised(
        0.62, 0.05, accuracy=_accuracy(1.0), val_accuracy=_accuracy(0.56)
    ),
}
HEALTHY = {
    "validation half above training": lambda: _pair(_FALL * _noise(5), (_FALL + 0.1) * _noise(6)),
    "three times training at the end, as a small net on an easy task": lambda: _memorised(0.15, 0.05),
    "a gap of losses but not of accuracies": lambda: _memorised(
        0.85, 0.01, accuracy=_accuracy(1.0), val_accuracy=_accuracy(0.95)
    ),
    "a fine-tuned model that knew its training data": lambda: _pair(
        np.full(_N, 0.004) * _noise(7, 0.1), np.full(_N, 0.047) * _noise(8)
    ),
    "different quantities": lambda: losses(*_FALL, val_perplexity=(_FALL + 9).tolist()),
    "pretraining": seeded(shapes.pretraining, 2),
    "epochs": seeded(shapes.epochs, 5),
    "stairs": seeded(shapes.step_schedule, 2),
    "negative log-density": seeded(shapes.log_density, 1),
}
