"""One module per code: SICK and HEALTHY, each a name -> function that returns a history."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import numpy as np

from lossdoctor.core.history import TrainingHistory
from tests.rules import shapes

Make = Callable[[], TrainingHistory]


def load(code: str) -> ModuleType:
    """The cases of a code."""
    return importlib.import_module(f"tests.rules.cases.{code.lower()}")


def seeded(family: shapes.Family, seed: int, **options: object) -> Make:
    """A case drawn from a family of curves."""
    return lambda: shapes.history(family(np.random.default_rng([seed, 1])), **options)


def losses(*values: float, **more: list[float]) -> TrainingHistory:
    """A history of one training loss at steps 1, 2, … and other curves of the same steps."""
    curves = {"loss": list(values), **more}
    return TrainingHistory({k: (np.arange(1, len(v) + 1), np.array(v, dtype=float)) for k, v in curves.items()})
