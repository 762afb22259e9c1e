"""LD204 plateau. HEALTHY: runs that fall to their end."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded


def _idle() -> TrainingHistory:
    """Loses a tenth in the first fifth and idles for the rest."""
    rng = np.random.default_rng(11)
    t = np.linspace(0, 1, 300)
    loss = 10.0 - 0.9 * np.minimum(t / 0.15, 1) + rng.normal(0, 0.05, 300)
    return TrainingHistory({"train/CrossEntropyLoss": (np.arange(1, 301), loss)})


def _at_once() -> TrainingHistory:
    """All that is learned is learned in the first steps of many; then it idles."""
    rng = np.random.default_rng(11)
    return losses(*(2.3 + 2.0 * np.exp(-np.arange(600) / 4.0) + 0.05 * rng.standard_normal(600)))


SICK = {
    "over within the first steps": _at_once,
    "idles high": _idle,
    "converged early": seeded(shapes.level_tail, 4),
}
HEALTHY = {
    "crawling": seeded(shapes.crawling, 3),
    "still falling": lambda: losses(*[3.0 * 0.97**i + 0.001 * ((i * 7) % 5 - 2) for i in range(100)]),
}
