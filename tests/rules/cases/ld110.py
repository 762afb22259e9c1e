"""LD110 warmup-instability."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _run(
    warmup: float, *, bump: float = 0.0, at: float = 0.1, wide: float = 0.03, seed: int = 1, n: int = 500
) -> TrainingHistory:
    """A run with a linear warmup (none when 0) and cosine decay; a bump of the loss about a place of the run."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, n)
    rate = 0.5 * (1 + np.cos(np.pi * t))
    if warmup:
        rate = np.minimum(t / warmup, 1) * rate
    loss = 1 + 2 / (1 + 40 * t) + bump * np.exp(-(((t - at) / wide) ** 2))
    return TrainingHistory(
        {
            "loss": (np.arange(n), loss * np.exp(rng.normal(0, 0.02, n))),
            "learning_rate": (np.arange(n), 3e-4 * rate + 1e-7),
        }
    )


def _reweighted() -> TrainingHistory:
    """A detection loss whose terms are weighted up while the rate warms up: it rises from the first step."""
    curves = shapes.reweighted(np.random.default_rng(4))
    steps, loss = curves["total_loss"]
    t = np.linspace(0, 1, len(loss))
    return TrainingHistory({"total_loss": (steps, loss), "lr": (steps, np.minimum(t / 0.05, 1) * 0.1 + 1e-6)})


def _jumps_at_once() -> TrainingHistory:
    """The third step throws the loss to thirty times its start; it comes back, but the units are dead."""
    history = _run(0.0, seed=2)
    loss = history["loss"].values.copy()
    loss[2] *= 30
    return TrainingHistory({"loss": (history["loss"].steps, loss), "lr": (history["loss"].steps, np.full(500, 0.1))})


SICK = {
    "no warmup, jumps at once": _jumps_at_once,
    "no warmup, jumps for a while": lambda: _run(0.0, bump=30, at=0.02, wide=0.01),
    "rises at the peak": lambda: _run(0.1, bump=1.0, at=0.12),
    "rises at the peak, few points": lambda: _run(0.15, bump=2.0, at=0.18, wide=0.06, n=100),
}
HEALTHY = {
    "warmup and calm": lambda: _run(0.1),
    "no warmup and calm": lambda: _run(0.0),
    "re-weighted during warmup": _reweighted,
    "warm restarts": seeded(shapes.restarts, 2),
    "steps": seeded(shapes.step_schedule, 2),
    "a bump long after the peak": lambda: _run(0.05, bump=1.0, at=0.6),
    "no rate logged": seeded(shapes.diverging, 3),
}
