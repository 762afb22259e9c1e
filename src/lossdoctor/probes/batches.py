"""Batches of any form: pairs, mappings, tuples; their inputs and targets, their size, their device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError, UserCodeError

LABELS = ("labels", "label", "targets", "target", "y")  # what mappings call the target
FORMS = "a pair (x, y), a tuple whose last part is the target, or a mapping with 'labels'"


class Batches:
    """A loader that is read from the start each time, by an iterator of our own.

    Args:
        loader: a ``DataLoader``, a list of batches, or anything else that can be iterated again and again.
        device: where batches are brought when they are read.

    Raises:
        UsageError: it is an iterator, which would be used up, or cannot be iterated.

    >>> batches = Batches([(torch.ones(2, 1), torch.zeros(2))])
    >>> len(batches.take(3)), len(list(batches.cycle(3)))
    (1, 3)
    """

    def __init__(self, loader: Iterable[Any], device: torch.device | str = "cpu") -> None:
        if isinstance(loader, Iterator):
            raise UsageError(
                f"the loader is a {type(loader).__name__}, which can be read only once: a test would use up your data;"
                " give the DataLoader itself, or a list of batches"
            )
        if not isinstance(loader, Iterable):
            raise UsageError(f"the loader is a {type(loader).__name__}; expected a DataLoader or a list of batches")
        self.loader = loader
        self.device = torch.device(device)

    def __iter__(self) -> Iterator[Any]:
        """One pass, on the device."""
        number = -1
        iterator = self._guarded(lambda: iter(self.loader), "the loader")
        while True:
            number += 1
            try:
                batch = self._guarded(lambda: next(iterator), f"the loader, at batch {number}")
            except StopIteration:
                break
            yield to_device(batch, self.device)
        if number == 0:
            raise UsageError("the loader gave no batch: it is empty or was read to its end; give a fresh one or a list")

    def take(self, count: int) -> list[Any]:
        """The first batches of a pass; fewer where there are fewer."""
        taken: list[Any] = []
        for batch in self:
            taken.append(batch)
            if len(taken) >= count:
                break
        return taken

    def cycle(self, count: int) -> Iterator[Any]:
        """So many batches, in as many passes as that needs; shuffled anew in each where the loader does so."""
        given = 0
        while given < count:
            for batch in self:
                yield batch
                given += 1
                if given >= count:
                    return

    @staticmethod
    def _guarded(call: Callable[[], Any], where: str) -> Any:
        try:
            return call()
        except (StopIteration, UsageError):
            raise
        except Exception as error:
            raise UserCodeError(where, error) from error


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with all its tensors there; no copy where they are there already."""
    if isinstance(batch, Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        # Tokenizers give mappings of their own kind, which cannot all be built from a dict.
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(v, device) for v in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(v, device) for v in batch)
    return batch


def label_key(batch: Mapping[Any, Any]) -> str | None:
    """The key of a mapping's target, or None."""
    return next((k for k in LABELS if k in batch), None)


def split(batch: Any, number: int = 0) -> tuple[Any, Any]:
    """(inputs, target) of a batch; the inputs in the form in which the batch holds them.

    Raises:
        UsageError: the batch has no target that can be told.

    >>> split({"input_ids": 1, "labels": 2})
    ({'input_ids': 1}, 2)
    >>> split((1, 2, 3))
    ((1, 2), 3)
    """
    if isinstance(batch, Mapping) and (key := label_key(batch)) is not None:
        return {k: v for k, v in batch.items() if k != key}, batch[key]
    if isinstance(batch, list | tuple) and len(batch) >= 2:
        return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
    raise UsageError(f"batch {number} is {described(batch)}, whose target cannot be told; expected {FORMS}")


def joined(batch: Any, inputs: Any = None, target: Any = None) -> Any:
    """The batch with other inputs or another target (None keeps them), in its own form.

    >>> joined((1, 2), target=5)
    (1, 5)
    """
    old_inputs, old_target = split(batch)
    inputs = old_inputs if inputs is None else inputs
    target = old_target if target is None else target
    if isinstance(batch, Mapping):
        key = label_key(batch)
        return {k: target if k == key else inputs[k] for k in batch}
    parts = [inputs, target] if len(batch) == 2 else [*inputs, target]
    if hasattr(batch, "_fields"):
        return type(batch)(*parts)
    return type(batch)(parts)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in it, in order."""
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [t for v in inner for t in tensors(v)]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same form with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(v, change) for v in value))
    if isinstance(value, list | tuple):
        return type(value)(mapped(v, change) for v in value)
    return value


def examples(batch: Any) -> int:
    """How many examples a batch holds: the length of its first tensor that has one."""
    return next((len(t) for t in tensors(batch) if t.dim()), 1)


def described(batch: Any) -> str:
    """A batch in words, for messages.

    >>> described((torch.zeros(4, 2), torch.zeros(4)))
    'a tuple of 2 (tensor (4, 2), tensor (4,))'
    """
    kind = type(batch).__name__
    if isinstance(batch, Tensor):
        return f"a tensor of shape {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return f"a {kind} with {', '.join(repr(k) for k in list(batch)[:6]) or 'nothing'}"
    if isinstance(batch, list | tuple):
        parts = [f"tensor {tuple(p.shape)}" if isinstance(p, Tensor) else type(p).__name__ for p in batch[:4]]
        return f"a {kind} of {len(batch)} ({', '.join(parts)})"
    return f"a {kind}"
