"""LD103 loss-spike. HEALTHY: none at all; recovered rare spikes are information and tested apart."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _unrecovered() -> TrainingHistory:
    rng = np.random.default_rng(4)
    t = np.linspace(0, 1, 600)
    loss = 1.0 + 2.0 * np.exp(-t * 10) + np.where(t > 0.6, 0.5, 0.0) - 0.1 * t
    return losses(*(loss + rng.normal(0, 0.02, 600)))


SICK = {
    "two jumps back to the start": seeded(shapes.big_spikes, 1),
    "the same, other seed": seeded(shapes.big_spikes, 2),
    "unrecovered jump": _unrecovered,
}
HEALTHY = {
    "epochs": seeded(shapes.epochs, 1),
    "stairs of a step schedule": seeded(shapes.step_schedule, 1),
    "re-weighted during warmup": seeded(shapes.reweighted, 2),
    "fine-tuning": seeded(shapes.fine_tuning, 2),
}
