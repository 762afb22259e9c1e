"""LD105 gradient-explosion."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded


def _run(
    seed: int, *, surge: tuple[int, int, float] | None = None, rise: tuple[int, int, float] | None = None
) -> TrainingHistory:
    """A healthy run of 600 steps; norm and loss multiplied between two steps by a factor (to the end when 600)."""
    rng = np.random.default_rng(seed)
    steps = np.arange(600)
    loss = (1 + 3 / (1 + steps / 20)) * np.exp(rng.normal(0, 0.03, 600))
    norm = (0.5 + 1 / (1 + steps / 30)) * np.exp(rng.normal(0, 0.25, 600))
    for curve, change in ((norm, surge), (loss, rise)):
        if change is not None:
            curve[change[0] : change[1]] *= change[2]
    return TrainingHistory({"loss": (steps, loss), "grad_norm": (steps, norm)})


def _blows_up() -> TrainingHistory:
    history = _run(2, surge=(400, 600, 80))
    steps, loss = history["loss"].steps, history["loss"].values.copy()
    loss[405:] *= np.exp(np.linspace(0.2, 3, 195))
    return TrainingHistory({"loss": (steps, loss), "grad_norm": (steps, history["grad_norm"].values)})


def _layers_explode() -> TrainingHistory:
    """The gradients of the first layers are a thousand times those of the last, and the loss stays where it was."""
    rng = np.random.default_rng(5)
    steps = np.arange(100)
    curves = {"loss": (steps, 2.3 + rng.normal(0, 0.01, 100))}
    for i in range(8):
        curves[f"layers.{i}.weight/grad_norm"] = (steps, 10.0 ** (-i / 2) * np.exp(rng.normal(0, 0.2, 100)))
    return TrainingHistory(curves)


def _fitted() -> TrainingHistory:
    """Late in the run nearly nothing is left to learn: tiny norms, and hard batches that stand far above them."""
    rng = np.random.default_rng(6)
    steps = np.arange(128)
    loss = np.exp(-steps / 15) * np.exp(rng.normal(0, 0.1, 128)) + 1e-4
    norm = 2 * np.exp(-steps / 20) * np.exp(rng.normal(0, 0.3, 128))
    loss[[90, 110]] *= 30
    norm[[90, 110]] *= 30
    return TrainingHistory({"loss": (steps, loss), "grad_norm": (steps, norm)})


SICK = {
    "norm first, then the loss": lambda: _run(1, surge=(300, 360, 50), rise=(310, 380, 3)),
    "blows up": _blows_up,
    "never comes back": lambda: _run(3, surge=(350, 600, 40), rise=(355, 600, 1.5)),
    "norm up, loss unmoved: information": lambda: _run(4, surge=(300, 600, 30)),
    "layers": _layers_explode,
}
HEALTHY = {
    "steady norms": lambda: _run(7),
    "single tall norms": lambda: _run(8, surge=(300, 301, 100)),
    "tiny norms of a fitted model": _fitted,
    "no norms": seeded(shapes.pretraining, 4),
    "norm grows slowly with the model": lambda: _run(9, surge=(200, 600, 3)),
}
