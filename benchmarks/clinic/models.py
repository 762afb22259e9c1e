"""The models of the tasks: small, plain, and open to the changes that faults make (width, depth, activation)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


@dataclass(frozen=True)
class Shape:
    """What may be changed of a model. ``cell`` is for recurrent ones: ``"gru"``, ``"rnn_tanh"`` or ``"rnn_relu"``."""

    width: int = 64
    depth: int = 2
    dropout: float = 0.0
    activation: str = "relu"
    cell: str = "gru"


def mlp(inputs: int, outputs: int, shape: Shape) -> nn.Sequential:
    """A stack of linear layers: ``shape.depth`` hidden ones."""
    layers: list[nn.Module] = []
    size = inputs
    for _ in range(shape.depth):
        layers += [nn.Linear(size, shape.width), ACTIVATIONS[shape.activation]()]
        if shape.dropout:
            layers.append(nn.Dropout(shape.dropout))
        size = shape.width
    layers.append(nn.Linear(size, outputs))
    return nn.Sequential(*layers)


def cnn(outputs: int, shape: Shape) -> nn.Sequential:
    """Convolutions with batch normalisation on 1×8×8 images, averaged at the end."""
    layers: list[nn.Module] = []
    size = 1
    for i in range(shape.depth):
        layers += [nn.Conv2d(size, shape.width, 3, padding=1, stride=2 if i == 1 else 1)]
        layers += [nn.BatchNorm2d(shape.width), ACTIVATIONS[shape.activation]()]
        size = shape.width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    if shape.dropout:
        layers.append(nn.Dropout(shape.dropout))
    layers.append(nn.Linear(size * 4, outputs))
    return nn.Sequential(*layers)


def autoencoder(inputs: int, shape: Shape, code: int = 8) -> nn.Sequential:
    """A bottleneck of ``code`` numbers between two halves."""
    return nn.Sequential(mlp(inputs, code, shape), ACTIVATIONS[shape.activation](), mlp(code, inputs, shape))


def attention_blocks(shape: Shape) -> nn.TransformerEncoder:
    """``shape.depth`` pre-norm transformer layers of two heads, batch first."""
    block = {"d_model": shape.width, "nhead": 2, "dim_feedforward": 2 * shape.width, "dropout": shape.dropout}
    layer = nn.TransformerEncoderLayer(**block, batch_first=True, norm_first=True)  # type: ignore[arg-type]
    return nn.TransformerEncoder(layer, shape.depth, enable_nested_tensor=False)


def recurrent_cell(inputs: int, shape: Shape) -> nn.RNNBase:
    """``shape.depth`` layers of the cell that ``shape.cell`` names, batch first."""
    if shape.cell == "gru":
        return nn.GRU(inputs, shape.width, shape.depth, batch_first=True)
    kind = shape.cell.removeprefix("rnn_")
    return nn.RNN(inputs, shape.width, shape.depth, nonlinearity=kind, batch_first=True)


class CharTransformer(nn.Module):
    """Causal transformer (pre-norm) over codes int64[batch, length] -> logits [batch, length, vocabulary]."""

    def __init__(self, vocabulary: int, length: int, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, shape.width)
        self.place = nn.Parameter(0.02 * torch.randn(length, shape.width))
        self.blocks = attention_blocks(shape)
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, codes: Tensor) -> Tensor:
        hidden = self.blocks(self.embed(codes) + self.place, mask=self.mask, is_causal=True)
        out: Tensor = self.head(self.norm(hidden))
        return out


class CharRNN(nn.Module):
    """Recurrent model over codes int64[batch, length] -> logits [batch, length, vocabulary]."""

    def __init__(self, vocabulary: int, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, shape.width)
        self.cell = recurrent_cell(shape.width, shape)
        self.drop = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, vocabulary)

    def forward(self, codes: Tensor) -> Tensor:
        hidden, _ = self.cell(self.embed(codes))
        out: Tensor = self.head(self.drop(hidden))
        return out


class CouplingFlow(nn.Module):
    """RealNVP in the plane: points [batch, 2] -> log-density [batch]."""

    def __init__(self, shape: Shape, couplings: int = 4) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 2, shape) for _ in range(couplings))

    def forward(self, points: Tensor) -> Tensor:
        fixed, moved = points[:, :1], points[:, 1:]
        log_volume = torch.zeros(len(points), dtype=points.dtype)
        for net in self.nets:
            shift, scale = net(fixed).chunk(2, dim=1)
            scale = 2.0 * torch.tanh(scale / 2.0)  # bounded, as is usual, or the first steps can overflow
            moved = moved * scale.exp() + shift
            log_volume = log_volume + scale[:, 0]
            fixed, moved = moved, fixed
        square = (fixed**2 + moved**2)[:, 0]
        return log_volume - 0.5 * square - math.log(2.0 * math.pi)
