"""A scalar loss of a model that can be evaluated again and again, in one piece or as a mean over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError

Closure = Callable[[], Tensor]


def unwrapped(model: nn.Module) -> nn.Module:
    """The module below ``torch.compile`` and data-parallel wrappers, whose parameter names are the plain ones."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@dataclass(frozen=True)
class Objective:
    """A loss as closures and their weights; its value is the weighted mean.

    Attributes:
        parts: each returns a scalar tensor that depends on the model's present parameters.
        weights: one per part, they sum to one.
    """

    parts: tuple[Closure, ...]
    weights: tuple[float, ...]

    @torch.no_grad()
    def value(self) -> float:
        """The loss at the present parameters, accumulated in float64; NaN and infinity are values."""
        return sum(w * float(part()) for part, w in zip(self.parts, self.weights, strict=True))


def objective(model: nn.Module, loss_fn: Callable[..., Tensor], batches: Iterable[Any] | None = None) -> Objective:
    """The loss of a model: ``loss_fn(model)``, or with batches the mean of ``loss_fn(model(x), y)`` over all examples.

    The batches are read once and kept, so that a shuffling or augmenting loader gives one fixed loss. Tensors are
    brought to the model's device when they are used.

    Args:
        model: any module.
        loss_fn: takes the model when there are no batches, otherwise (output, target); returns a scalar tensor, the
            mean over the examples.
        batches: pairs (x, y), for example a ``DataLoader``.

    Raises:
        UsageError: no batch, or a batch that is not a pair.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> pairs = [(torch.ones(2, 1), torch.zeros(2, 1)), (torch.ones(1, 1), torch.ones(1, 1))]
    >>> objective(model, nn.functional.mse_loss, pairs).value()
    3.0
    """
    if batches is None:
        return Objective((lambda: scalar(loss_fn(model)),), (1.0,))
    pairs = [_pair(batch, number) for number, batch in enumerate(batches)]
    if not pairs:
        raise UsageError("there are no batches: the loader is empty or was read to its end; give a fresh one or a list")
    sizes = [_examples(y, number) for number, (_, y) in enumerate(pairs)]
    parts = tuple(_on_batch(model, loss_fn, x, y) for x, y in pairs)
    return Objective(parts, tuple(size / sum(sizes) for size in sizes))


def scalar(loss: Any) -> Tensor:
    """The loss as a tensor without dimensions; raises UsageError when it is anything else than one real number."""
    if not isinstance(loss, Tensor):
        raise UsageError(f"the loss function returned {type(loss).__name__}; it must return a scalar tensor")
    if loss.numel() != 1:
        shape = tuple(loss.shape)
        raise UsageError(f"the loss has shape {shape}; it must be a scalar: take its mean (reduction='mean')")
    if not loss.is_floating_point():
        raise UsageError(f"the loss has dtype {loss.dtype}; it must be a real floating-point number")
    return loss if loss.dim() == 0 else loss.reshape(())  # a reshape is one more node of the graph


def _pair(batch: Any, number: int) -> tuple[Any, Any]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    found = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else "")
    raise UsageError(
        f"batch {number} is {found}, expected a pair (x, y); for other batches give a loss_fn(model) that reads them"
    )


def _examples(target: Any, number: int) -> int:
    size = len(target) if isinstance(target, Tensor) and target.dim() else 1
    if size == 0:
        raise UsageError(f"batch {number} is empty (its target has shape {tuple(target.shape)})")
    return size


def _on_batch(model: nn.Module, loss_fn: Callable[..., Tensor], x: Any, y: Any) -> Closure:
    first = next(model.parameters(), None)

    def part() -> Tensor:
        there = [v.to(first.device) if isinstance(v, Tensor) and first is not None else v for v in (x, y)]
        return scalar(loss_fn(model(there[0]), there[1]))

    return part
