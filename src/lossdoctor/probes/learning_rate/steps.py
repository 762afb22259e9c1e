"""Training steps at a learning rate that a test sets: any optimizer and groups, accumulation, mixed precision."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import described
from lossdoctor.probes.subject import Subject


class Steps:
    """The user's own training step, repeated; nothing is transferred from the device.

    Args:
        subject: with its optimizer, and its scaler where the run has one.
        accumulate: batches per step; their gradients are averaged.
        autocast: the dtype of mixed precision, or None.
        clip: largest norm of the gradient, or None.

    Raises:
        UsageError: no optimizer, or an option out of range.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        accumulate: int = 1,
        autocast: torch.dtype | None = None,
        clip: float | None = None,
    ) -> None:
        optimizer = subject.optimizer
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(f"the optimizer is {_named(optimizer)}; expected a torch.optim.Optimizer, as the run uses")
        self.subject, self.optimizer = subject, optimizer
        self.accumulate = whole("accumulate", accumulate, 1)
        self.clip = None if clip is None else positive("clip", clip)
        if autocast is not None and not (isinstance(autocast, torch.dtype) and autocast.is_floating_point):
            raise UsageError(f"autocast is {autocast!r}; expected a floating dtype such as torch.bfloat16, or None")
        self.autocast = autocast
        self.shares = group_shares(optimizer)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        owned = {id(p) for p in self.parameters}
        if not any(id(p) in owned for p in subject.parameters):
            raise UsageError(
                "the optimizer holds none of the model's trainable parameters: it was made for another model; build"
                " it from model.parameters()"
            )
        self.closed = _needs_closure(optimizer)
        scaler = subject.scaler
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        if self.scaler is not None and self.closed:
            raise UsageError(f"{type(optimizer).__name__} steps by a closure, with which no gradient scaler works")

    def set_rate(self, rate: float) -> None:
        """The rate of the group with the largest one; the others keep their ratio to it."""
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def step(self, batches: Sequence[Any], number: int) -> Tensor:
        """One optimizer step on the mean over these batches; returns their mean loss, without its graph.

        Gradients must be on: where they may be off, take the steps under ``torch.enable_grad()``.
        """
        if self.closed:
            first: list[Tensor] = []

            def closure() -> Tensor:
                value = self._gradients(batches, number)
                first.append(value)
                return value

            self.optimizer.step(closure)  # type: ignore[arg-type]
            return first[0]
        loss = self._gradients(batches, number)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        return loss

    def _gradients(self, batches: Sequence[Any], number: int) -> Tensor:
        self.optimizer.zero_grad()
        parts: list[Tensor] = []
        for at, batch in enumerate(batches, number * self.accumulate):
            if self.autocast is None:
                loss = self.subject.loss(batch, at)
            else:
                with self.cast():
                    loss = self.subject.loss(batch, at)
            if not loss.requires_grad:
                raise UsageError(
                    f"the loss of batch {at} does not depend on any trainable parameter: it was detached, computed"
                    " under no_grad, or everything is frozen; there is nothing to train"
                )
            share = loss if len(batches) == 1 else loss / len(batches)
            if self.scaler is not None:
                share = self.scaler.scale(share)
            share.backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
        if self.clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        return parts[0] if len(parts) == 1 else torch.stack(parts).mean()

    def cast(self) -> AbstractContextManager[Any]:
        """Mixed precision, where the run uses it."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.subject.device.type, dtype=self.autocast)


class Kept:
    """Losses on their device, fetched a few at a time: a GPU is not made to wait at every step.

    Args:
        device: where they come from. On the CPU each is fetched at once, which is free there.
        every: how many are fetched together elsewhere.
    """

    def __init__(self, device: torch.device, every: int = 10) -> None:
        self.values: list[float] = []
        self._waiting: list[Tensor] = []
        self._every = 1 if device.type == "cpu" else every

    def __len__(self) -> int:
        return len(self.values) + len(self._waiting)

    def add(self, loss: Tensor) -> bool:
        """Keep one; whether ``values`` has grown."""
        self._waiting.append(loss)
        return len(self._waiting) >= self._every and self.fetch()

    def fetch(self) -> bool:
        """Bring ``values`` up to date."""
        if not self._waiting:
            return False
        if len(self._waiting) == 1:
            self.values.append(float(self._waiting[0]))
        else:
            self.values += torch.stack(self._waiting).double().tolist()
        self._waiting.clear()
        return True


def group_shares(optimizer: torch.optim.Optimizer) -> list[float]:
    """Each group's rate over the largest one: what a schedule began with where it is known, for a warmup starts at 0.

    >>> layers = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    >>> groups = [{"params": layers[0].parameters(), "lr": 0.05}, {"params": layers[1].parameters()}]
    >>> group_shares(torch.optim.SGD(groups, lr=0.1))
    [0.5, 1.0]
    """
    for key in ("lr", "initial_lr"):
        rates = [float(group.get(key, 0.0)) for group in optimizer.param_groups]
        if max(rates, default=0.0) > 0:
            return [rate / max(rates) for rate in rates]
    return [1.0] * len(optimizer.param_groups)


def present_rate(optimizer: torch.optim.Optimizer) -> float:
    """The rate of the group with the largest one."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def momentum_of(optimizer: torch.optim.Optimizer) -> float:
    """The share of the past in a step: SGD's ``momentum``, Adam's first beta; 0 without either.

    >>> momentum_of(torch.optim.Adam(torch.nn.Linear(1, 1).parameters()))
    0.9
    """
    group = optimizer.param_groups[0]
    betas = group.get("betas")
    value = float(betas[0]) if betas else float(group.get("momentum", 0.0) or 0.0)
    return min(max(value, 0.0), 0.999)


def normalizes(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it divides the gradient by its size, as Adam and RMSprop do; SGD's steps are as large as the gradient.

    >>> normalizes(torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1))
    False
    """
    plain = (torch.optim.SGD, torch.optim.ASGD, torch.optim.LBFGS)
    return not (isinstance(optimizer, plain) or "sgd" in type(optimizer).__name__.lower())


def whole(name: str, value: Any, least: int) -> int:
    """An option that counts."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}; expected a whole number from {least}")
    return value


def positive(name: str, value: Any) -> float:
    """An option that is a size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"{name} is {value!r}; expected a number above 0")
    return float(value)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _named(value: Any) -> str:
    return "missing" if value is None else described(value)
