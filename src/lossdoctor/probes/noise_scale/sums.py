"""Gradients of many batches in the memory of two: their sum, and a sketch of each that keeps scalar products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- its usual name

Floats = NDArray[np.float64]

WIDTH = 8192  # numbers that are kept of each gradient
CHUNK = 128 * WIDTH  # coordinates that are folded at once, so that no third copy of a gradient is made


class GradientSums:
    """The weighted sum of gradients, the square of each, and their scalar products up to a small error.

    A gradient of more than ``width`` coordinates is folded: each coordinate gets a random sign and is added to one of
    ``width`` places (count sketch; Charikar, Chen, Farach-Colton 2002). Scalar products of folded gradients are those
    of the gradients on average, with a standard error of at most √2 |a||b| / √width: 1.6 %. Shorter gradients are kept
    whole. Nothing is brought from the device before :meth:`gram`.

    Args:
        parameters: what the gradients belong to.
        most: gradients at most.
        width: numbers kept of each.
        seed: of the signs.

    >>> sums = GradientSums([torch.zeros(2)], 2)
    >>> sums.add([torch.tensor([3.0, 4.0])], 1)
    >>> sums.add([torch.tensor([1.0, 0.0])], 2)
    >>> sums.gram().tolist(), round(sums.total(), 4)
    ([[25.0, 3.0], [3.0, 1.0]], 41.0)
    """

    def __init__(self, parameters: Sequence[Tensor], most: int, *, width: int = WIDTH, seed: int = 0) -> None:
        size = sum(p.numel() for p in parameters)
        device = parameters[0].device
        self.folds = size > width
        self.width = width if self.folds else size
        self.sizes: list[int] = []
        wide = [torch.float64 if p.dtype == torch.float64 else torch.float32 for p in parameters]
        self._sum = [torch.zeros(p.shape, dtype=t, device=p.device) for p, t in zip(parameters, wide, strict=True)]
        self._rows = torch.zeros(most, self.width, dtype=torch.promote_types(torch.float32, wide[0]), device=device)
        self._squares = torch.zeros(most, dtype=torch.float64, device=device)
        self._own: list[Tensor] = []
        if self.folds:
            random = torch.Generator().manual_seed(seed)
            signs = torch.randint(0, 2, (size,), generator=random, dtype=torch.int8)
            self._signs = signs.mul_(2).sub_(1).to(device)

    @torch.no_grad()
    def add(self, gradients: Sequence[Tensor], size: int) -> None:
        """Take in the mean gradient of a batch of ``size`` examples; one tensor per parameter."""
        row = len(self.sizes)
        offset = 0
        squares = []
        for total, gradient in zip(self._sum, gradients, strict=True):
            dense = _dense(gradient, total.dtype)
            total.add_(dense, alpha=size)
            squares.append(torch.linalg.vector_norm(dense).to(self._squares.device))
            self._fold(self._rows[row], dense.reshape(-1), offset)
            offset += dense.numel()
        self._squares[row] = torch.stack(squares).double().square().sum()
        self.sizes.append(size)

    @torch.no_grad()
    def again(self, gradients: Sequence[Tensor]) -> None:
        """Take in another gradient of the batch that was added last: what differs is not the examples."""
        other = torch.zeros_like(self._rows[0])
        offset = 0
        for total, gradient in zip(self._sum, gradients, strict=True):
            self._fold(other, _dense(gradient, total.dtype).reshape(-1), offset)
            offset += total.numel()
        apart = (other - self._rows[len(self.sizes) - 1]).double().square().sum() / 2
        self._own.append(apart * self.sizes[-1])

    def own_noise(self) -> float:
        """The variance of one example's gradient that remains with the examples fixed: dropout's; 0 where unknown."""
        return float(torch.stack(self._own).mean()) if self._own else 0.0

    def gram(self) -> Floats:
        """Scalar products of all gradients, those with themselves exact; one transfer."""
        rows = self._rows[: len(self.sizes)].double().cpu().numpy()
        products: Floats = rows @ rows.T
        np.fill_diagonal(products, self._squares[: len(self.sizes)].cpu().numpy())
        return products

    def total(self) -> float:
        """The squared length of the sum of gradients times sizes."""
        lengths = [torch.linalg.vector_norm(t).double().square().cpu() for t in self._sum]
        return float(torch.stack(lengths).sum())

    def _fold(self, row: Tensor, flat: Tensor, offset: int) -> None:
        if not self.folds:
            row[offset : offset + len(flat)] = flat
            return
        for start in range(0, len(flat), CHUNK):
            piece = flat[start : start + CHUNK]
            here = offset + start
            signed = piece.to(row.device) * self._signs[here : here + len(piece)]
            before = here % self.width
            padded = F.pad(signed, (before, -(before + len(piece)) % self.width))
            row += padded.view(-1, self.width).sum(0)


def _dense(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """An ordinary tensor of that type; no copy where it is one."""
    return (gradient if gradient.layout == torch.strided else gradient.to_dense()).to(dtype)
