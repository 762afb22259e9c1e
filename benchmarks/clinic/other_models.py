"""The models of the other tasks: architectures that the first ones do not have, open to the same changes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.clinic.models import ACTIVATIONS, Shape, mlp


def _dropout(shape: Shape) -> nn.Module:
    return nn.Dropout(shape.dropout) if shape.dropout else nn.Identity()


def normed_mlp(inputs: int, outputs: int, shape: Shape, norm: str) -> nn.Sequential:
    """Linear layers with a layer or batch normalisation before each activation."""
    layers: list[nn.Module] = []
    size = inputs
    for _ in range(shape.depth):
        layers.append(nn.Linear(size, shape.width))
        layers.append(nn.LayerNorm(shape.width) if norm == "layer" else nn.BatchNorm1d(shape.width))
        layers += [ACTIVATIONS[shape.activation](), _dropout(shape)]
        size = shape.width
    layers.append(nn.Linear(size, outputs))
    return nn.Sequential(*layers)


class _Block(nn.Module):
    """x + f(x), f of two linear layers."""

    def __init__(self, width: int, inner: int, shape: Shape) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(width, inner), ACTIVATIONS[shape.activation](), _dropout(shape), nn.Linear(inner, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


def residual_mlp(inputs: int, outputs: int, shape: Shape) -> nn.Sequential:
    """A projection, ``shape.depth`` residual blocks, a head; nothing is normalised."""
    blocks = [_Block(shape.width, shape.width, shape) for _ in range(shape.depth)]
    return nn.Sequential(nn.Linear(inputs, shape.width), *blocks, nn.Linear(shape.width, outputs))


class DenseSkip(nn.Module):
    """Every layer sees the inputs and all layers before it (DenseNet's wiring)."""

    def __init__(self, inputs: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        sizes = [inputs + i * shape.width for i in range(shape.depth + 1)]
        self.layers = nn.ModuleList(nn.Linear(size, shape.width) for size in sizes[:-1])
        self.act = ACTIVATIONS[shape.activation]()
        self.drop = _dropout(shape)
        self.head = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, self.drop(self.act(layer(x)))], dim=1)
        out: Tensor = self.head(x)
        return out


class Mixer(nn.Module):
    """MLP-mixer (Tolstikhin 2021) on 8×8 digits as 4 patches of 4×4: mixes over patches, then over channels."""

    def __init__(self, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Linear(16, shape.width)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.width) for _ in range(shape.depth))
        self.over_patches = nn.ModuleList(_Block(4, 16, shape) for _ in range(shape.depth))
        self.over_channels = nn.ModuleList(_Block(shape.width, 2 * shape.width, shape) for _ in range(shape.depth))
        self.head = nn.Linear(shape.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 4, 16)
        hidden: Tensor = self.embed(patches)
        for norm, patch, channel in zip(self.norms, self.over_patches, self.over_channels, strict=True):
            hidden = channel(patch(norm(hidden).transpose(1, 2)).transpose(1, 2))
        out: Tensor = self.head(hidden.mean(dim=1))
        return out


class ResidualConv(nn.Module):
    """Residual convolutions without any normalisation on 1×8×8 images, halved once, averaged at the end."""

    def __init__(self, outputs: int, shape: Shape) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, shape.width, 3, stride=2, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(shape.width, shape.width, 3, padding=1) for _ in range(shape.depth))
        self.act = ACTIVATIONS[shape.activation]()
        self.drop = _dropout(shape)
        self.head = nn.Linear(4 * shape.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.stem(x))
        for conv in self.convs:
            hidden = hidden + self.act(conv(hidden))
        pooled = nn.functional.avg_pool2d(hidden, 2).flatten(1)
        out: Tensor = self.head(self.drop(pooled))
        return out


class SkipDenoiser(nn.Module):
    """What is to be taken away from the noisy input: x − f(x)."""

    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        self.body = mlp(inputs, inputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x - self.body(x)
        return out


class Variational(nn.Module):
    """A variational autoencoder of 64 pixels -> [batch, 64 logits, then means and log-variances of the code]."""

    def __init__(self, shape: Shape, code: int = 6) -> None:
        super().__init__()
        self.encoder = mlp(64, 2 * code, shape)
        self.decoder = mlp(code, 64, shape)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        log_variance = log_variance.clamp(-12.0, 12.0)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return torch.cat([self.decoder(mean + noise * (0.5 * log_variance).exp()), mean, log_variance], dim=1)


class Forecaster(nn.Module):
    """Recurrent model of a window [batch, length] -> the next value [batch, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cell: nn.RNNBase
        if shape.cell == "gru":  # the shape's default; this task's own is the LSTM
            self.cell = nn.LSTM(1, shape.width, shape.depth, batch_first=True)
        else:
            kind = shape.cell.removeprefix("rnn_")
            self.cell = nn.RNN(1, shape.width, shape.depth, nonlinearity=kind, batch_first=True)
        self.drop = _dropout(shape)
        self.head = nn.Linear(shape.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.cell(x[:, :, None])
        out: Tensor = self.head(self.drop(hidden[:, -1]))
        return out


def conv_forecaster(length: int, shape: Shape) -> nn.Sequential:
    """Strided one-dimensional convolutions with batch normalisation over a window -> the next value [batch, 1]."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, length))]
    size, left = 1, length
    for _ in range(shape.depth):
        layers += [nn.Conv1d(size, shape.width, 3, stride=2, padding=1), nn.BatchNorm1d(shape.width)]
        layers.append(ACTIVATIONS[shape.activation]())
        size, left = shape.width, (left + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), _dropout(shape), nn.Linear(size * left, 1))


class MixtureDensity(nn.Module):
    """Mixture density network (Bishop 1994): x [batch, 1] -> weights, means and log-spreads of the mixture."""

    def __init__(self, shape: Shape, parts: int = 4) -> None:
        super().__init__()
        self.body = mlp(1, 3 * parts, shape)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


def mixture_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean negative log-density of the targets [batch, 1] under the mixtures."""
    weights, means, spreads = output.chunk(3, dim=1)
    spreads = 4.0 * torch.tanh(spreads / 4.0)  # bounded, as is usual, or one part narrows to a point
    square = ((target - means) / spreads.exp()) ** 2
    log_density = weights.log_softmax(dim=1) - spreads - 0.5 * square - 0.5 * math.log(2.0 * math.pi)
    return -log_density.logsumexp(dim=1).mean()


def elbo_loss(output: Tensor, target: Tensor) -> Tensor:
    """Negative evidence lower bound, in nats a pixel: cross-entropy of the pixels and the code's divergence."""
    pixels = target.shape[1]
    logits, mean, log_variance = output[:, :pixels], *output[:, pixels:].chunk(2, dim=1)
    reconstruction = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=1)
    return (reconstruction + divergence).mean() / pixels


class CharWindow(nn.Module):
    """Bengio's neural n-gram: some letters, embedded and joined [batch, letters] -> the next [batch, vocabulary]."""

    def __init__(self, vocabulary: int, letters: int, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 8)
        self.body = mlp(8 * letters, vocabulary, shape)

    def forward(self, codes: Tensor) -> Tensor:
        out: Tensor = self.body(self.embed(codes).flatten(1))
        return out


class Adversaries(nn.Module):
    """A generator of points in the plane and a discriminator of them (GAN, Goodfellow 2014)."""

    def __init__(self, shape: Shape, code: int = 4) -> None:
        super().__init__()
        self.code = code
        self.generator = mlp(code, 2, shape)
        self.discriminator = mlp(2, 1, shape)

    def forward(self, noise: Tensor) -> Tensor:
        points: Tensor = self.generator(noise)
        return points
