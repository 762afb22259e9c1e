"""Is this set-up sound? Point the active tests at it: ``lossdoctor checkup examples/checkup_target.py:make``.

``make()`` returns what a training needs: a model, its loss, its batches, its optimizer. The data are drawn here: three
classes of points on spirals, two coordinates each, which a straight line cannot part but a small network can. Try
``--set lr=30`` or ``--set scale=1000``, and the checkup says what that breaks.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def spirals(count: int, seed: int, scale: float) -> TensorDataset:
    """``count`` points on each of three arms."""
    generator = torch.Generator().manual_seed(seed)
    along = torch.rand(3, count, generator=generator).sqrt()
    arm = torch.arange(3).repeat_interleave(count)
    angle = 4 * along + 2 * math.pi / 3 * torch.arange(3)[:, None]
    points = torch.stack([along * angle.cos(), along * angle.sin()], dim=-1).reshape(-1, 2)
    points += 0.02 * torch.randn(points.shape, generator=generator)
    return TensorDataset(scale * points / points.std(), arm)


def make(lr: float = 0.003, scale: float = 1.0, batch_size: int = 32) -> dict[str, object]:
    """The training, as it is before its first step."""
    model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    return {
        "model": model,
        "loss_fn": nn.CrossEntropyLoss(),
        "train": DataLoader(spirals(320, seed=0, scale=scale), batch_size=batch_size, shuffle=True, drop_last=True),
        "val": DataLoader(spirals(100, seed=1, scale=scale), batch_size=100),
        "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
    }
