"""LD403 log-truncated. That what readers note is understood is tested in test_log_notes.py."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _stops(at: int, planned: int | None, every: int = 10, unit: str = "step") -> TrainingHistory:
    steps = np.arange(every, at + 1, every)
    loss = 1.0 + 2.0 * np.exp(-steps / 300.0)
    return TrainingHistory({"loss": (steps, loss)}, context=RunContext(planned_steps=planned), step_unit=unit)


SICK = {
    "stops at two thirds": lambda: _stops(660, 1000),
    "stops at nine tenths": lambda: _stops(9000, 10000),
    "stops after 12 of 100 epochs": lambda: _stops(12, 100, every=1, unit="epoch"),
}
HEALTHY = {
    "runs to the end": lambda: _stops(1000, 1000),
    "the last interval is not logged": lambda: _stops(960, 1000, every=80),
    "goes on beyond its plan": lambda: _stops(1500, 1000),
    "no plan is known": lambda: _stops(660, None),
    "pretraining": seeded(shapes.pretraining, 6),
}
