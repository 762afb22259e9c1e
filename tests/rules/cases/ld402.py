"""LD402 step-axis-broken."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _resumed() -> TrainingHistory:
    """Resumed from step 60 after step 100."""
    steps = np.concatenate([np.arange(1, 101), np.arange(60, 200)])
    return TrainingHistory({"loss": (steps, 2 * np.exp(-steps / 60))})


def _out_of_order() -> TrainingHistory:
    steps = np.arange(1, 101)
    steps[[50, 51]] = steps[[51, 50]]
    return TrainingHistory({"loss": (steps, 2 * np.exp(-steps / 60))})


SICK = {"resumed": _resumed, "resumed with a restart's loss": _resumed}
HEALTHY = {"pretraining": seeded(shapes.pretraining, 8), "two rows out of order": _out_of_order}
