"""LD404 learning-rate-jump."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes
from tests.rules.cases import seeded

N = 600
T = np.arange(N)
L = np.arange(20000)


def _cosine(t: np.ndarray, length: int, peak: float = 3e-4) -> np.ndarray:
    return peak * 0.5 * (1 + np.cos(np.pi * np.minimum(t / length, 1.0)))


def _run(rate: np.ndarray, steps: np.ndarray | None = None) -> TrainingHistory:
    steps = np.arange(1, len(rate) + 1) * 10 if steps is None else steps
    rng = np.random.default_rng(len(rate))
    loss = (0.5 + 2 / (1 + steps / 300)) * np.exp(rng.normal(0, 0.02, len(steps)))
    return TrainingHistory({"train/loss": (steps, loss), "train/learning_rate": (steps, rate)})


def _resumed() -> TrainingHistory:
    """Resumed from step 400 with a fresh scheduler: warmup and decay begin anew."""
    rate = np.minimum((T + 1) / 40, 1.0) * _cosine(T, 700)
    again = np.minimum((np.arange(300) + 1) / 40, 1.0) * _cosine(np.arange(300), 700)
    return _run(np.concatenate((rate[:450], again)), np.concatenate((np.arange(450), 401 + np.arange(300))))


def _gradual_warmup() -> np.ndarray:
    return np.where(T < 100, (T // 20 + 1) / 5.0, 1.0) * 0.1


SICK = {
    "the horizon was computed anew": lambda: _run(np.where(T < 350, _cosine(T, 600), _cosine(T, 1500))),
    "linear decay to another horizon": lambda: _run(1e-3 * np.where(T < 300, 1 - T / 500, 1 - T / 2000)),
    "the warmup began anew": lambda: _run(
        np.where(T < 300, _cosine(T, 900), np.minimum((T - 299) / 50, 1.0) * _cosine(T - 300, 900))
    ),
    "a long log": lambda: _run(np.where(L < 9000, _cosine(L, 15000), _cosine(L, 40000))),
    "resumed without the scheduler": _resumed,
}
HEALTHY = {
    "cosine": lambda: _run(_cosine(T, N)),
    "warmup by epochs": lambda: _run(_gradual_warmup()),
    "three warm restarts": lambda: _run(_cosine(T % 200, 200)),
    "restarts with falling peaks, few points": lambda: _run(_cosine(T[::10] % 200, 200) * 0.5 ** (T[::10] // 200)),
    "one restart to the peak": lambda: _run(_cosine(np.where(T < 400, T, T - 400), 500)),
    "cyclic, triangular": lambda: _run(1e-3 * (0.1 + np.abs((T % 100) / 50 - 1))),
    "cyclic, seen at every seventh step": lambda: _run(1e-3 * (0.1 + np.abs((7 * T % 20) / 10 - 1))),
    "one cycle": lambda: _run(np.where(T < 180, 0.04 + 0.96 * T / 180, 0.5 * (1 + np.cos(np.pi * (T - 180) / 420)))),
    "stairs": seeded(shapes.step_schedule, 1),
    "exponential": lambda: _run(0.1 * 0.99**T),
    "constant": lambda: _run(np.full(N, 1e-4)),
    "a second stage after the first had ended": lambda: _run(
        np.where(T < 300, _cosine(T, 300), _cosine(T - 300, 300, 1e-4))
    ),
}
