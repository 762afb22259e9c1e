"""LD106 gradient-vanishing."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _layers(ratio: float, *, learns: bool, biases: bool = False) -> TrainingHistory:
    """Ten layers whose gradient norms shrink by a ratio from the last to the first."""
    rng = np.random.default_rng(1)
    steps = np.arange(0, 2000, 20)
    t = np.linspace(0, 1, 100)
    loss = (2.3 * np.exp(-4 * t) if learns else 2.3 - 0.05 * t) + rng.normal(0, 0.01, 100)
    curves = {"loss": (steps, loss)}
    for i in range(10):
        size = ratio ** ((9 - i) / 9)
        curves[f"net.{i}.weight/grad_norm"] = (steps, size * np.exp(rng.normal(0, 0.3, 100)))
        if biases:
            curves[f"net.{i}.bias/grad_norm"] = (steps, np.full(100, 1e-6))
    return TrainingHistory(curves)


def _saturates() -> TrainingHistory:
    """The norm falls by five orders of magnitude within the first steps; the loss stays high."""
    rng = np.random.default_rng(2)
    t = np.arange(200)
    norm = (2 * np.exp(-t / 8) + 1e-5) * np.exp(rng.normal(0, 0.2, 200))
    return losses(*(2.2 + 0.1 * np.exp(-t / 5) + rng.normal(0, 0.003, 200)), grad_norm=norm.tolist())


def _tiny() -> TrainingHistory:
    rng = np.random.default_rng(3)
    return losses(*(2.3026 + rng.normal(0, 0.002, 200)), grad_norm=(3e-7 * np.exp(rng.normal(0, 0.2, 200))).tolist())


def _learned_all() -> TrainingHistory:
    """The norm vanishes with the loss: there is nothing left to learn."""
    rng = np.random.default_rng(4)
    t = np.arange(300)
    loss = 2.3 * np.exp(-t / 20) * np.exp(rng.normal(0, 0.1, 300))
    return losses(*loss, grad_norm=(loss * np.exp(rng.normal(0, 0.2, 300))).tolist())


def _flat_with_gradients() -> TrainingHistory:
    """Flat for another reason: the norm is what it always was."""
    rng = np.random.default_rng(5)
    return losses(*(2.3 + rng.normal(0, 0.01, 200)), grad_norm=np.exp(rng.normal(0, 0.2, 200)).tolist())


SICK = {
    "first layers get nothing": lambda: _layers(1e-6, learns=False),
    "the norm collapses": _saturates,
    "tiny from the start": _tiny,
}
HEALTHY = {
    "first layers get less": lambda: _layers(0.05, learns=False, biases=True),
    "first layers get little, and it learns": lambda: _layers(1e-5, learns=True),
    "everything is learned": _learned_all,
    "flat with healthy gradients": _flat_with_gradients,
    "no norms": seeded(shapes.flat, 4),
}
