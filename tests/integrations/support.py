"""What the tests of all frameworks share: reading a run back, a monitor that fails, and data to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossdoctor
from lossdoctor.core.history import TrainingHistory

Floats = NDArray[np.float64]


def run_in(folder: Path) -> TrainingHistory:
    """The one run that a folder holds, as ``lossdoctor diagnose`` reads it."""
    (history,) = lossdoctor.read(folder)
    return history


def steps_of(history: TrainingHistory, name: str) -> list[int]:
    return [int(s) for s in history[name].steps]


def values_of(history: TrainingHistory, name: str) -> list[float]:
    return [float(v) for v in history[name].values]


def kinds(history: TrainingHistory) -> list[str]:
    """What happened to a run, in order."""
    return [e["kind"] for e in history.events]


class Broken:
    """A monitor of which everything fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} here")

    def log(self, step: int | None = None, **metrics: Any) -> None:
        raise RuntimeError("cannot log")

    def watch(self, *models: Any, **how: Any) -> None:
        raise RuntimeError("cannot watch")


class Recording:
    """A monitor that only remembers, and asks for the end after some rows."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.watched: list[Any] = []
        self.stop_after = stop_after
        self.finished = 0

    step: int | None = None

    @property
    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.rows) >= self.stop_after

    def log(self, /, step: int | None = None, **metrics: Any) -> None:
        self.step = step
        self.rows.append((step, {k: float(v) for k, v in metrics.items()}))

    def watch(self, model: Any, optimizer: Any = None, **how: Any) -> None:
        self.watched.append((model, optimizer, how))

    def finish(self) -> None:
        self.finished += 1


def line(n: int = 256, features: int = 8, noise: float = 0.1, seed: int = 0) -> tuple[Floats, Floats]:
    """A linear regression: inputs of unit variance, so that plain SGD diverges beyond a rate of about 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features))
    return x, x @ rng.normal(size=features) + noise * rng.normal(size=n)
