"""LD202 stuck-at-chance."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

_RNG = np.random.default_rng(10)
_AT_LN10 = [float(v) for v in 2.3026 + _RNG.normal(0, 0.004, 60)]
_AT_LN2 = [float(v) for v in 0.6931 + _RNG.normal(0, 0.001, 60)]


def _given() -> TrainingHistory:
    h = losses(*_AT_LN10)
    h.context = RunContext(classes=10)
    return h


def _learned() -> TrainingHistory:
    h = losses(*[float(v) for v in 2.3 * np.exp(-np.linspace(0, 3, 60))])
    h.context = RunContext(classes=10)
    return h


SICK = {
    "both losses at ln 2 all along": lambda: losses(
        *[0.6985 - 0.0006 * i for i in range(18)], val_loss=[0.6964 - 0.0003 * i for i in range(18)]
    ),
    "ten classes, given": _given,
    "ten classes by the constant digits": lambda: losses(6.6433, 6.4086, 4.5437, *[2.3026] * 7),
    "two classes by accuracy": lambda: losses(*_AT_LN2, val_accuracy=[0.5 + 0.01 * (i % 2) for i in range(60)]),
}
HEALTHY = {
    "training at ln 2, validation below it": lambda: losses(
        *_AT_LN2, val_loss=[float(v) for v in 0.69 - 0.001 * np.arange(60)]
    ),
    "learned": _learned,
    "classes unknown": lambda: losses(*_AT_LN10),
    "epochs": seeded(shapes.epochs, 2),
}
