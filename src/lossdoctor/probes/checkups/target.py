"""What a checkup is told: a model, its loss, its batches, and what else the run has, in any of the usual forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.probes.batches import Batches
from lossdoctor.probes.subject import Subject

# Names that mappings and objects may use for each part; the first is ours.
NAMES: dict[str, tuple[str, ...]] = {
    "model": ("model", "net", "network"),
    "loss_fn": ("loss_fn", "loss", "criterion"),
    "train": ("train", "train_loader", "train_dataloader", "loader"),
    "val": ("val", "val_loader", "val_dataloader", "valid", "valid_loader", "validation"),
    "optimizer": ("optimizer", "optim"),
    "scheduler": ("scheduler", "lr_scheduler"),
    "forward": ("forward",),
}
FORMS = (
    "a mapping or an object with 'model', 'loss_fn' and 'train' (and 'val', 'optimizer', 'scheduler', 'forward'),"
    " or a tuple (model, loss_fn, train[, val[, optimizer]])"
)


@dataclass
class Target:
    """All that a checkup needs of a training.

    Attributes:
        model: freshly made, or as it is in the middle of its training.
        loss_fn: ``loss_fn(output, target)`` -> scalar tensor; None for models that return their loss themselves.
        train: batches it trains on: a ``DataLoader``, or a list of batches: pairs (x, y), tuples whose last part is the
            target, mappings with ``labels``.
        val: the batches of the validation part.
        optimizer, scheduler: of the run, as they are at this point of it.
        forward: ``forward(model, batch)`` -> the loss, in place of ``loss_fn``, for batches of any form.

    Raises:
        UsageError: a part is not what it has to be; the message names it.
    """

    model: nn.Module
    loss_fn: Callable[..., Any] | None = None
    train: Iterable[Any] | None = None
    val: Iterable[Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    scheduler: Any = None
    forward: Callable[[nn.Module, Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.train is None:
            raise UsageError("there is no 'train': give the DataLoader, or a list of batches")
        if self.forward is not None and not callable(self.forward):
            raise UsageError(f"forward is a {type(self.forward).__name__}; expected a function (model, batch) -> loss")
        if self.optimizer is not None and not isinstance(self.optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"the optimizer is a {type(self.optimizer).__name__}; expected a torch.optim.Optimizer of the model's"
                " parameters, or None"
            )
        Subject(self.model, self.loss_fn, self.train, self.optimizer, forward=self.forward)
        if self.val is not None:
            try:
                Batches(self.val)
            except UsageError as error:
                raise UsageError(f"'val': {error}") from None

    @classmethod
    def of(cls, made: Any) -> Target:
        """A target of any accepted form.

        Args:
            made: a Target; a mapping or an object with the parts by name, also by the names in ``NAMES``; or a tuple
                ``(model, loss_fn, train[, val[, optimizer]])``.

        Raises:
            UsageError: it has another form, a key that is not known, or lacks a part.

        >>> layer = nn.Linear(2, 1)
        >>> Target.of((layer, nn.functional.mse_loss, [(torch.ones(4, 2), torch.ones(4, 1))])).model is layer
        True
        """
        if isinstance(made, Target):
            return made
        if isinstance(made, Mapping):
            return cls._named(_parts_of_mapping(made), f"a mapping with {', '.join(map(repr, made)) or 'nothing'}")
        if isinstance(made, list | tuple) and not hasattr(made, "_fields"):
            if not 3 <= len(made) <= 5:
                raise UsageError(f"got a {type(made).__name__} of {len(made)}; expected {FORMS}")
            return cls._named(dict(zip(("model", "loss_fn", "train", "val", "optimizer"), made, strict=False)), "")
        found = {} if isinstance(made, nn.Module | type | None.__class__) else _parts_of_object(made)
        if "model" not in found:
            raise UsageError(f"got {_described(made)}; expected {FORMS}")
        return cls._named(found, _described(made))

    @classmethod
    def _named(cls, parts: dict[str, Any], what: str) -> Target:
        lacking = [name for name in ("model", "train") if parts.get(name) is None]
        if lacking:
            raise UsageError(f"got {what or 'a tuple'} without {lacking[0]!r}; expected {FORMS}")
        return cls(**parts)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """(what, value) for the head of a report."""
        parameters = list(self.model.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        frozen = sum(p.numel() for p in parameters) - trained
        told = [
            ("model", type(self.model).__name__),
            ("parameters", f"{trained:,}" + (f" (and {frozen:,} frozen)" if frozen else "")),
            ("on", str(parameters[0].device)),
        ]
        for name, loader in (("training batches", self.train), ("validation batches", self.val)):
            size = _length(loader)
            if size is not None:
                told.append((name, f"{size:,}"))
        if self.optimizer is not None:
            rates = sorted({float(group["lr"]) for group in self.optimizer.param_groups})
            shown = " to ".join(f"{rate:.3g}" for rate in dict.fromkeys((rates[0], rates[-1])))
            told.append(("optimizer", f"{type(self.optimizer).__name__}, lr {shown}"))
        return tuple(told)


def _parts_of_mapping(made: Mapping[Any, Any]) -> dict[str, Any]:
    known = {name: part for part, names in NAMES.items() for name in names}
    parts: dict[str, Any] = {}
    for key, value in made.items():
        if key not in known:
            raise UsageError(f"unknown key {key!r}; known are {', '.join(NAMES)}{nearest(str(key), known)}")
        if known[key] in parts:
            raise UsageError(f"{known[key]!r} is given twice, also as {key!r}; give it once")
        parts[known[key]] = value
    return parts


def _parts_of_object(made: Any) -> dict[str, Any]:
    """The parts that are attributes of an object (a named tuple, a data class, a namespace)."""
    parts: dict[str, Any] = {}
    for field in fields(Target):
        name = next((n for n in NAMES[field.name] if getattr(made, n, None) is not None), None)
        if name is not None:
            parts[field.name] = getattr(made, name)
    return parts


def _described(made: Any) -> str:
    return "None" if made is None else f"a {type(made).__name__}"


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an iterable data set has none
        return None
