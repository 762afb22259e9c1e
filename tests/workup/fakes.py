"""Small tests that say what they are told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from lossdoctor.core.finding import Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.probes.result import ProbeResult
from lossdoctor.workup import Patient, Test


def flat(n: int = 300) -> TrainingHistory:
    """A loss that goes nowhere: nobody can tell why from it."""
    rng = np.random.default_rng(0)
    return TrainingHistory(loss=list(2.3 + 0.01 * rng.normal(size=n)))


def says(causes: dict[str, float], outcome: str = "failed", steps: int = 5, **fields: Any) -> Callable[[Patient], Any]:
    """A run function with that result."""
    found = ProbeResult(outcome=outcome, verdict="It was looked at.", causes=causes, steps=steps, **fields)
    return lambda patient: found  # noqa: ARG005


def measured(name: str, value: float, **detail: Any) -> tuple[Measurement, ...]:
    return (Measurement(name, value, detail=detail),)


def small() -> tuple[nn.Module, torch.optim.Optimizer, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A model that has been trained a little, so that its optimizer has a state."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = [(torch.randn(16, 4), torch.randint(0, 3, (16,))) for _ in range(6)]
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, optimizer, batches


GRADIENTS = Test("check_gradients", says({"frozen-or-detached": 30.0, "learning-rate-too-low": 0.2}), 6)
