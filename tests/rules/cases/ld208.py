"""LD208 loss-collapsed."""

from __future__ import annotations

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _gone_in_the_first_epoch() -> TrainingHistory:
    h = losses(*[2.3 * 0.5**i + 1e-5 for i in range(60)])
    h.context = RunContext(steps_per_epoch=40)
    return h


def _slow_enough() -> TrainingHistory:
    h = losses(*[2.3 * 0.97**i + 1e-5 for i in range(300)])
    h.context = RunContext(steps_per_epoch=40)
    return h


SICK = {
    "exactly zero": lambda: losses(*[0.18 + 0.001 * (i % 3) for i in range(30)], *[0.0] * 30),
    "zero from the start": lambda: losses(*[0.0] * 20),
    "gone in the first epoch": _gone_in_the_first_epoch,
}
HEALTHY = {
    "epochs": seeded(shapes.epochs, 8),
    "converged to zero by itself": lambda: losses(*[9.0 * 0.1**i for i in range(30)], *[0.0] * 30),
    "one zero": lambda: losses(*[2.0 * 0.9**i for i in range(40)], 0.0),
    "small after many epochs": _slow_enough,
    "negative log-density": seeded(shapes.log_density, 4),
}
