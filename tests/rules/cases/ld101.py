"""LD101 loss-nonfinite."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import losses, seeded

NAN, INF = float("nan"), float("inf")


def _healthy(n: int = 200) -> list[float]:
    rng = np.random.default_rng(1)
    return [float(2.0 * 0.98**i + 0.3 + rng.normal(0, 0.02)) for i in range(n)]


def _one_term_of_five() -> TrainingHistory:
    steps = np.arange(1, 201)
    curves = {f"loss_{k}": (steps, np.array(_healthy())) for k in ("cls", "box", "rpn", "obj")}
    bad = np.array(_healthy())
    bad[150:] = NAN
    return TrainingHistory({"total_loss": (steps, np.array(_healthy())), **curves, "loss_mask": (steps, bad)})


def _adversaries(**curves: list[float]) -> TrainingHistory:
    return TrainingHistory({name: (np.arange(1, len(v) + 1), np.array(v)) for name, v in curves.items()})


SICK = {
    "both players of a GAN": lambda: _adversaries(
        d_loss=[*_healthy()[:12], *[NAN] * 12], g_loss=[*_healthy()[12:24], *[NAN] * 12]
    ),
    "gradual": seeded(shapes.exploding_nan, 1),
    "sudden": lambda: losses(*_healthy(), NAN, NAN, NAN, NAN),
    "infinite": lambda: losses(*_healthy(), INF),
    "seeds: NaN among the last five": lambda: losses(1.0, 0.9, 0.8, 0.7, NAN),
    "one term of five": _one_term_of_five,
    "three points": lambda: losses(30.0, 3000.0, NAN),
    "isolated and back": lambda: losses(*_healthy()[:100], INF, *_healthy()[100:]),
}
HEALTHY = {
    "pretraining": seeded(shapes.pretraining, 1),
    "hole before the first value": lambda: losses(NAN, *_healthy()),
    "holes all along": lambda: losses(*[v if i % 2 else NAN for i, v in enumerate(_healthy())]),
    "a GAN": lambda: _adversaries(d_loss=_healthy(), g_loss=_healthy()[::-1]),
    "diverging but finite": seeded(shapes.diverging, 3),
}
