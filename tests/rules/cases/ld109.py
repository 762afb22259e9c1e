"""LD109 resume-jump."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def resumed(jump: float, *, decay: float = 80.0, n: int = 800, at: int = 500, event: bool = False) -> TrainingHistory:
    """Resumed at a step, where the loss jumps by a factor and comes back over ``decay`` steps."""
    rng = np.random.default_rng(1)
    steps = np.arange(1, n + 1)
    loss = (1 + 3 / (1 + steps / 30)) * np.exp(rng.normal(0, 0.02, n))
    loss[at:] *= 1 + jump * np.exp(-np.arange(n - at) / decay)
    if event:
        return TrainingHistory({"loss": (steps, loss)}, events=[{"kind": "resumed", "step": at + 1}])
    lost = min(60, at - 1)  # the steps after the checkpoint were logged once before
    again = np.concatenate([steps[: at + lost], steps[at:]])
    first = (1 + 3 / (1 + steps[at : at + lost] / 30)) * np.exp(rng.normal(0, 0.02, lost))
    return TrainingHistory({"loss": (again, np.concatenate([loss[:at], first, loss[at:]]))})


def _spike_elsewhere() -> TrainingHistory:
    """A jump, but not where the run was resumed."""
    history = resumed(0.5)
    return TrainingHistory({"loss": (np.arange(1, 801), history["loss"].values[:800])}, events=[])


def _steep() -> TrainingHistory:
    """Resumed in the middle of the steepest fall, on a curve of few epochs."""
    steps = np.concatenate([np.arange(1, 13), np.arange(11, 40)])
    rng = np.random.default_rng(3)
    return TrainingHistory({"loss": (steps, 5 * np.exp(-steps / 6) * np.exp(rng.normal(0, 0.02, len(steps))) + 0.1)})


SICK = {
    "jumps up": lambda: resumed(0.6),
    "jumps up for good": lambda: resumed(0.4, decay=1e9),
    "long run, kept in blocks": lambda: resumed(0.6, n=40_000, at=25_000, decay=8_000),
    "sampler starts over: the loss falls": lambda: resumed(-0.25, decay=400),
}
HEALTHY = {
    "resumes where it was": lambda: resumed(0.0),
    "resumes where it was, noted": lambda: resumed(0.0, event=True),
    "spike elsewhere": _spike_elsewhere,
    "resumed in a steep fall": _steep,
    "never resumed": seeded(shapes.big_spikes, 2),
}
