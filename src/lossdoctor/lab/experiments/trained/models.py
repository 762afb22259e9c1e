"""The small models of the trained experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], *, activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Flatten, then linear layers of the given widths with an activation (and dropout) between them.

    >>> mlp([2, 8, 3])(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (wide_in, wide_out) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(wide_in, wide_out))
        if i < len(sizes) - 2:
            layers.append(activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class Recurrent(nn.Module):
    """A plain recurrent net (Elman 1990) that reads a sequence (n, length, inputs) and answers once, at its end.

    Args:
        gain: the recurrent matrix starts as this multiple of a random orthogonal one; above 1, gradients tend to grow
            with the length of the sequence.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, gain: float = 1.0, activation: str = "tanh") -> None:
        super().__init__()
        self.cell = nn.RNN(inputs, hidden, batch_first=True, nonlinearity=activation)
        self.head = nn.Linear(hidden, outputs)
        nn.init.orthogonal_(self.cell.get_parameter("weight_hh_l0"), gain)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)
        answer: Tensor = self.head(states[:, -1])
        return answer


class Block(nn.Module):
    """One transformer block: causal attention and two linear layers, normalised after each sum or before each part."""

    def __init__(self, width: int, heads: int, *, norm_first: bool) -> None:
        super().__init__()
        self.norm_first, self.heads = norm_first, heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def _attend(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        found: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return found

    def _think(self, x: Tensor) -> Tensor:
        found: Tensor = self.narrow(torch.relu(self.wide(x)))
        return found

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.norms
        if self.norm_first:
            x = x + self._attend(first(x))
            return x + self._think(second(x))
        x = first(x + self._attend(x))
        normed: Tensor = second(x + self._think(x))
        return normed


class Transformer(nn.Module):
    """A causal transformer over codes (n, length) -> (n, length, codes).

    Args:
        norm_first: normalise before each part (as GPT-2 does) instead of after each sum (Vaswani et al. 2017).
    """

    def __init__(
        self, codes: int, length: int, *, width: int = 32, heads: int = 4, depth: int = 4, norm_first: bool = False
    ) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(codes, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, norm_first=norm_first) for _ in range(depth)))
        self.head = nn.Linear(width, codes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.letters(x) + self.places.weight[: x.shape[1]]))
        return out
