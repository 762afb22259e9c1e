"""What kind of task a loss, its outputs and its targets make: by the loss's name where torch gave it one, else by what
the loss does on outputs that we make up."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import LossdoctorError
from lossdoctor.probes.batches import split
from lossdoctor.probes.subject import Subject
from lossdoctor.torchkit.objective import scalar

Evaluate = Callable[[Tensor, Tensor], Any]

# The losses of torch by function and by class.
_FUNCTIONS = {
    F.cross_entropy: "cross_entropy",
    F.nll_loss: "nll",
    F.binary_cross_entropy: "bce",
    F.binary_cross_entropy_with_logits: "bce_logits",
    F.mse_loss: "mse",
    F.l1_loss: "mae",
    F.smooth_l1_loss: "huber",
    F.huber_loss: "huber",
}
_CLASSES: dict[type, str] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "nll",
    nn.BCELoss: "bce",
    nn.BCEWithLogitsLoss: "bce_logits",
    nn.MSELoss: "mse",
    nn.L1Loss: "mae",
    nn.SmoothL1Loss: "huber",
    nn.HuberLoss: "huber",
}
WORDS = {
    "cross_entropy": "cross-entropy",
    "nll": "negative log-likelihood",
    "bce": "binary cross-entropy of probabilities",
    "bce_logits": "binary cross-entropy of logits",
    "mse": "squared error",
    "mae": "absolute error",
    "huber": "Huber-like error",
    "unknown": "a loss of a kind that could not be told",
}
CATEGORICAL = ("classification", "language")


@dataclass(frozen=True)
class Task:
    """The kind of a task, as far as it can be told.

    Attributes:
        kind: ``"classification"`` (one of K), ``"language"`` (one of K at every position), ``"binary"`` (yes or no,
            one or many), ``"regression"``, or ``"unknown"``.
        loss: a key of ``WORDS``.
        classes: K of a classification or a language model.
        axis: dimension of the outputs along which the classes lie.
        probabilities: the loss takes probabilities; else logits or their logarithms.
        soft: the targets are probabilities of classes, not the class.
        ignore: the label that does not count.
        shifted: the output at a position is judged by the label of the next one.
        broadcast: outputs and targets have as many numbers but other shapes, and the loss compares each with each.
        evaluate: the loss of (output, target), with the output as a tensor; None where outputs cannot be made up.
    """

    kind: str = "unknown"
    loss: str = "unknown"
    classes: int | None = None
    axis: int = 1
    probabilities: bool = False
    soft: bool = False
    ignore: int = -100
    shifted: bool = False
    broadcast: bool = False
    evaluate: Evaluate | None = field(default=None, repr=False, compare=False)

    @property
    def categorical(self) -> bool:
        return self.kind in CATEGORICAL

    def at(self, output: Tensor, target: Tensor) -> float | None:
        """The loss of an output that was made up; None where the loss does not take it."""
        if self.evaluate is None:
            return None
        return tried(self.evaluate, output, target)

    def described(self) -> str:
        """In words.

        >>> Task("classification", "cross_entropy", classes=10).described()
        'classification of 10 classes by cross-entropy'
        """
        if self.kind == "unknown":
            return "a task of unknown kind"
        name = {"classification": "classification", "language": "a language model"}.get(self.kind, self.kind)
        many = f" of {self.classes} {'tokens' if self.kind == 'language' else 'classes'}" if self.classes else ""
        return f"{name}{many} by {WORDS[self.loss]}" if self.loss != "unknown" else name + many


# What only gives the numbers another form, between the last operation and the output.
_FORMS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Slice", "Select", "ToCopy", "Transpose", "Permute", "T")


@dataclass(frozen=True)
class Seen:
    """One batch and what the model gives for it.

    Attributes:
        batch: on the model's device.
        output, target: as tensors, or None where they are none.
        loss: without its graph.
        ending: the operation that made the output, in lower case (``"sigmoid"``, ``"addmm"``); empty where unknown.
    """

    batch: Any
    output: Tensor | None
    target: Tensor | None
    loss: Tensor
    ending: str = ""


def seen(subject: Subject, batch: Any, number: int = 0) -> Seen:
    """A batch through the model and its loss, once; of the first batch also how the output came about."""
    with torch.set_grad_enabled(number == 0):
        if subject.forward is not None:
            return Seen(batch, None, None, subject.loss(batch, number).detach())
        output = subject.output(batch, number)
        loss = subject.loss_of(output, batch, number).detach()
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    try:
        target = split(batch, number)[1]
    except LossdoctorError:
        target = None
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        return Seen(batch, None, target if isinstance(target, Tensor) else None, loss)
    return Seen(batch, logits.detach(), target if isinstance(target, Tensor) else None, loss, _ending(logits))


def _ending(output: Tensor) -> str:
    node: Any = output.grad_fn
    while node is not None:
        name = node.name().split("Backward")[0].removeprefix("Unsafe")
        if name not in _FORMS or not node.next_functions:
            return str(name).lower()
        node = node.next_functions[0][0]
    return ""


def known(loss_fn: Any) -> str:
    """The name of a loss of torch, also inside ``functools.partial``; ``"unknown"`` for all others.

    >>> known(F.mse_loss), known(functools.partial(F.cross_entropy, label_smoothing=0.1)), known(lambda o, t: 0)
    ('mse', 'cross_entropy', 'unknown')
    """
    while isinstance(loss_fn, functools.partial):
        loss_fn = loss_fn.func
    if isinstance(loss_fn, nn.Module):
        return _CLASSES.get(type(loss_fn), "unknown")
    try:
        return _FUNCTIONS.get(loss_fn, "unknown")
    except TypeError:  # a callable that cannot be hashed
        return "unknown"


def counts(task: Task, target: Tensor) -> Tensor:
    """Which targets take part in the loss: True where the label is not the one that is ignored."""
    if target.is_floating_point() or not task.categorical:
        return torch.ones_like(target, dtype=torch.bool)
    return (target != task.ignore) & (target >= 0)


def aligned(output: Tensor, target: Tensor) -> Tensor:
    """The target in the output's shape, where it has as many numbers; in the output's dtype."""
    shaped = target.reshape(output.shape) if target.numel() == output.numel() else target
    return shaped.to(output.dtype)


def one_hot(task: Task, target: Tensor, output: Tensor) -> Tensor:
    """The targets as probabilities of classes, in the output's shape; equal shares where the label does not count."""
    if task.soft or task.classes is None:
        return aligned(output, target)
    moved = output.movedim(task.axis, -1)
    flat = target.reshape(moved.shape[:-1])
    valid = counts(task, flat) & (flat < task.classes)
    shares = F.one_hot(flat.clamp(0, task.classes - 1).long(), task.classes).to(output.dtype)
    shares = torch.where(valid[..., None], shares, torch.full_like(shares, 1.0 / task.classes))
    return shares.movedim(-1, task.axis)


def setting(loss_fn: Any, name: str, default: Any) -> Any:
    """An argument of a loss, from its attributes or the keywords of a partial."""
    while isinstance(loss_fn, functools.partial):
        if name in loss_fn.keywords:
            return loss_fn.keywords[name]
        loss_fn = loss_fn.func
    return getattr(loss_fn, name, default) if isinstance(loss_fn, nn.Module) else default


def tried(function: Evaluate, output: Tensor, target: Tensor) -> float | None:
    """A loss may refuse what we make up, or warn of it: that is no fault of the user's."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(scalar(function(output, target)))
        except Exception:
            return None
