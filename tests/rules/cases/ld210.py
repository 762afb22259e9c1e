"""LD210 dead-units. What active tests measure is tested in test_log_rules.py."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

N = 200
_FALLING = [2.0 / (1 + i / 20) + 0.3 for i in range(N)]
_STUCK = [2.0 / (1 + min(i, 60) / 20) + 0.3 + 0.01 * (-1) ** i for i in range(N)]
_NORM = [1.0 + 0.1 * (i % 7) for i in range(N)]


def _layers(loss: list[float], dead: dict[int, int], layers: int = 6) -> TrainingHistory:
    """Gradient norms of layers, some of which are zero from a point on."""
    steps = np.arange(1, N + 1)
    curves = {"loss": (steps, np.array(loss))}
    for k in range(layers):
        norm = np.array(_NORM) / (k + 1)
        norm[dead.get(k, N) :] = 0.0
        curves[f"grad_norm/layers.{k}.weight"] = (steps, norm)
    return TrainingHistory(curves)


SICK = {
    "the first layers die": lambda: _layers(_STUCK, {0: 61, 1: 61, 2: 61, 3: 64}),
    "all but the last never live, and nothing is learned": lambda: _layers(
        [2.3 + 0.01 * (-1) ** i for i in range(N)], dict.fromkeys(range(5), 0)
    ),
    "frozen below, learning above": lambda: _layers(_FALLING, dict.fromkeys(range(4), 0)),
    "no gradient at all from a step on": lambda: losses(*_STUCK, grad_norm=[*_NORM[:60], *[0.0] * (N - 60)]),
}


def _bowl() -> TrainingHistory:
    """Exact descent into a bowl: the gradient fades to nothing because there is nothing left to learn."""
    w = 0.6 ** np.arange(3000)
    return losses(*(1.0 + w**2), grad_norm=list(2.0 * w))


HEALTHY = {
    "an exact minimum is reached": _bowl,
    "all layers live": lambda: _layers(_FALLING, {}),
    "one of six is frozen": lambda: _layers(_FALLING, {0: 0}),
    "a norm that is not written": lambda: losses(*_FALLING, grad_norm=[0.0] * N),
    "written for the first steps only": lambda: losses(*_FALLING, grad_norm=[*_NORM[:60], *[0.0] * (N - 60)]),
    "everything is right, hinge loss at zero": lambda: losses(
        *np.maximum(1 - np.arange(N) / 80, 0.0), grad_norm=[*_NORM[:80], *[0.0] * (N - 80)]
    ),
    "no norms": seeded(shapes.pretraining, 3),
}
