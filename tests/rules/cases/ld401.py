"""LD401 epoch-sawtooth."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _run(
    n: int,
    epoch: int,
    height: float,
    seed: int,
    *,
    every: int = 1,
    noise: float = 0.05,
    known: bool = True,
    **more: str,
) -> TrainingHistory:
    """A fall with a saw of the given height on it; ``every`` steps are between two points."""
    rng = np.random.default_rng(seed)
    steps = np.arange(1, n + 1) * every
    saw = (steps % epoch) / epoch - 0.5
    loss = 1.0 + 2.0 / (1 + steps / (20 * every)) + height * saw + rng.normal(0, noise, n)
    context = RunContext(steps_per_epoch=epoch if known else None, **more)  # type: ignore[arg-type]
    return TrainingHistory({"loss": (steps, loss)}, context=context)


def _by_evaluations() -> TrainingHistory:
    h = _run(1200, 60, 0.5, 6, known=False)
    at = np.arange(60, 1201, 60)
    return TrainingHistory({**dict(h.curves), "val_loss": (at, 1.0 + 2.0 / (1 + at / 20.0))})


def _running_mean() -> TrainingHistory:
    """The mean of the epoch so far, reset at each epoch, as progress bars show it."""
    rng = np.random.default_rng(7)
    steps = np.arange(1200)
    plain = 0.5 + 2.0 / (1 + steps / 200) + rng.normal(0, 0.02, 1200)
    rows = plain.reshape(12, 100)
    mean = np.cumsum(rows, axis=1) / np.arange(1, 101)
    return TrainingHistory({"loss": (steps, mean.ravel())}, context=RunContext(steps_per_epoch=100))


def _sorted_like_a_mean() -> TrainingHistory:
    """Data in one order, whose steps shrink within the epoch as those of a running mean do."""
    rng = np.random.default_rng(9)
    steps = np.arange(1500)
    loss = 1.0 + 2.0 / (1 + steps / 20) + 0.3 * np.log(1 + steps % 50) + rng.normal(0, 0.002, 1500)
    return TrainingHistory({"loss": (steps, loss)}, context=RunContext(steps_per_epoch=50))


def _rate_restarts() -> TrainingHistory:
    """The learning rate restarts with each epoch, and the loss follows it."""
    h = _run(1000, 50, 0.0, 8)
    steps = np.arange(1, 1001)
    swing = 0.5 * (1 + np.cos(np.pi * (steps % 50) / 50))
    loss = h.curves["loss"].values + 0.3 * swing
    return TrainingHistory({"loss": (steps, loss), "lr": (steps, 1e-3 * swing)}, context=h.context)


SICK = {
    "a saw through the noise": lambda: _run(1500, 50, 0.3, 1),
    "rising within each epoch, every tenth step": lambda: _run(400, 200, 0.4, 2, every=10),
    "a long run": lambda: _run(60000, 125, 0.5, 3, noise=0.2),
    "epochs longer than what is kept raw": lambda: _run(100000, 9000, 0.3, 4),
    "sorted, with steps that shrink like a mean's": _sorted_like_a_mean,
    "the evaluations tell the epochs": _by_evaluations,
}
HEALTHY = {
    "shuffled": lambda: _run(1500, 50, 0.0, 11),
    "shuffled, a long run": lambda: _run(60000, 125, 0.0, 12),
    "a running mean that is reset": _running_mean,
    "the rate restarts with the epochs": _rate_restarts,
    "too few points in an epoch": lambda: _run(400, 25, 0.4, 13, every=10),
    "too few epochs": lambda: _run(150, 50, 0.4, 14),
    "one value per epoch": seeded(shapes.epochs, 3),
    "oscillation without epochs": seeded(shapes.oscillating, 1),
}
