"""LD405 loss-negative."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

_T = np.arange(200)


SICK = {
    "a log-density": seeded(shapes.log_density, 2),
    "a cross-entropy with targets of 0 to 255": lambda: TrainingHistory(
        {"train/CrossEntropyLoss": (_T, 2.0 - 0.05 * _T + 0.1 * np.sin(_T))}
    ),
    "a long loss that dips below zero in the middle": lambda: TrainingHistory(
        {"loss": (np.arange(20000), 1.0 - 1.5 * np.exp(-(((np.arange(20000) - 9000) / 2000.0) ** 2)))}
    ),
    "a validation loss alone": lambda: losses(*(1 / (1 + _T)), val_mse=(1 / (1 + _T) - 0.01).tolist()),
}
HEALTHY = {
    "pretraining": seeded(shapes.pretraining, 1),
    "falls to exactly zero": lambda: losses(*np.maximum(1 - _T / 100, 0.0)),
    "rounding below zero": lambda: losses(*(np.exp(-_T / 5.0) - 1e-9)),
    "one placeholder": lambda: losses(*(1 / (1 + _T)).tolist(), -1.0),
    "a negative score that is no loss": lambda: losses(*(1 / (1 + _T)), log_likelihood=(-1 / (1 + _T)).tolist()),
}
