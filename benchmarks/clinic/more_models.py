"""The models of the further tasks to tune on; see :mod:`benchmarks.clinic.models`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from benchmarks.clinic.models import ACTIVATIONS, Shape, attention_blocks, recurrent_cell


def plain_conv(outputs: int, shape: Shape) -> nn.Sequential:
    """Convolutions on 1×8×8 images without any normalisation, halved once, a wide head."""
    layers: list[nn.Module] = []
    size = 1
    for i in range(shape.depth):
        layers += [nn.Conv2d(size, shape.width, 3, padding=1, stride=2 if i == 0 else 1)]
        layers.append(ACTIVATIONS[shape.activation]())
        size = shape.width
    layers.append(nn.Flatten())
    if shape.dropout:
        layers.append(nn.Dropout(shape.dropout))
    return nn.Sequential(*layers, nn.Linear(size * 16, outputs))


class RowReader(nn.Module):
    """Reads rows [batch, length, features] in turn and answers from its last state."""

    def __init__(self, inputs: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.cell = recurrent_cell(inputs, shape)
        self.drop = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        hidden, _ = self.cell(rows)
        out: Tensor = self.head(self.drop(hidden[:, -1]))
        return out


class RowAttention(nn.Module):
    """Rows as tokens through attention (pre-norm), averaged."""

    def __init__(self, inputs: int, outputs: int, shape: Shape, length: int = 8) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, shape.width)
        self.place = nn.Parameter(0.02 * torch.randn(length, shape.width))
        self.blocks = attention_blocks(shape)
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.norm(self.blocks(self.embed(rows) + self.place))
        out: Tensor = self.head(hidden.mean(dim=1))
        return out


def count_loss(output: Tensor, target: Tensor) -> Tensor:
    """Poisson deviance without its constant, from the logarithm of the rate; may be negative."""
    return F.poisson_nll_loss(output, target)


def spread_loss(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a normal with mean and spread of their own at every input."""
    mean, raw = output.chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, target, F.softplus(raw) ** 2 + 1e-4, full=True)
