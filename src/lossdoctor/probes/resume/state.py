"""All state of a training run by name; a state as a fresh process has it; what differs between two."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lossdoctor.core.numbers import short
from lossdoctor.probes.subject import Subject

State = dict[str, dict[str, Any]]
PARTS = {
    "weights": "the weights",
    "buffers": "the buffers (statistics of normalisations)",
    "mode": "training mode",
    "optimizer": "the optimizer's state",
    "groups": "the optimizer's settings",
    "scheduler": "the scheduler",
    "scaler": "the gradient scaler",
}
_IGNORED = ("_step_count", "_get_lr_called_within_step", "_is_initial", "verbose")  # bookkeeping that changes no step


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was saved.

    Attributes:
        part: a key of :data:`PARTS`.
        name: of the value in that part.
        saved, resumed: numbers and short texts as they are, tensors in words.
    """

    part: str
    name: str
    saved: str
    resumed: str


def state_of(subject: Subject) -> State:
    """Copies of everything that the next steps depend on, by part and name."""
    model, optimizer = subject.model, subject.optimizer
    names = {id(p): n for n, p in model.named_parameters()}
    state: State = {
        "weights": {n: p.detach().clone() for n, p in model.named_parameters()},
        "buffers": {n: b.detach().clone() for n, b in model.named_buffers()},
        "mode": {n or "the model": m.training for n, m in model.named_modules()},
    }
    if optimizer is not None:
        state["optimizer"] = {
            f"{key} of {names.get(id(p), f'parameter {i}')}": _copy(value)
            for i, (p, values) in enumerate(optimizer.state.items())
            for key, value in values.items()
        }
        state["groups"] = {
            f"{key} of group {i}": _copy(value)
            for i, group in enumerate(optimizer.param_groups)
            for key, value in group.items()
            if key != "params"
        }
    for part in ("scheduler", "scaler"):
        owner = getattr(subject, part)
        if owner is not None and hasattr(owner, "state_dict"):
            state[part] = _flat(owner.state_dict())
    return state


def differences(saved: State, resumed: State) -> list[Difference]:
    """What is not the same, bit for bit."""
    found = []
    for part, values in saved.items():
        here = resumed.get(part, {})
        for name, value in values.items():
            if name not in here:
                found.append(Difference(part, name, _said(value), "missing"))
            elif not _same(value, here[name]):
                found.append(Difference(part, name, _said(value), _said(here[name])))
        found += [Difference(part, n, "missing", _said(v)) for n, v in here.items() if n not in values]
    return found


@torch.no_grad()
def make_fresh(subject: Subject, before: State, saved: State) -> None:
    """Put everything that a checkpoint has to bring back into the state of a process that has just begun.

    Trainable weights and the buffers that training changes get random values, the optimizer forgets, schedules stand at
    their beginning. Buffers that are no part of ``state_dict`` are as their constructor makes them: as they were
    ``before`` the first steps.
    """
    model, optimizer = subject.model, subject.optimizer
    kept = set(model.state_dict(keep_vars=True))
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.requires_grad:
            parameter.copy_(0.05 * torch.randn_like(parameter))
    for name, buffer in model.named_buffers():
        if name not in kept:
            buffer.copy_(before["buffers"][name])
        elif _same(before["buffers"].get(name), saved["buffers"][name]):
            continue
        elif buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
        else:
            buffer.zero_()
    if optimizer is not None:
        optimizer.state.clear()
        for group in optimizer.param_groups:
            if "initial_lr" in group:
                _set_rate(group, float(group["initial_lr"]))
    _restart(subject.scheduler)
    scaler = subject.scaler
    if scaler is not None and scaler.is_enabled():
        scaler.load_state_dict({**scaler.state_dict(), "scale": float(scaler._init_scale), "_growth_tracker": 0})


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _restart(scheduler: Any) -> None:
    """A schedule at its beginning, with the schedules inside it."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler._reset()
    if isinstance(scheduler, LRScheduler):
        scheduler.last_epoch = 0
        if hasattr(scheduler, "base_lrs"):
            scheduler._last_lr = list(scheduler.base_lrs)
    for inner in getattr(scheduler, "_schedulers", ()):
        _restart(inner)


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return type(value)(map(_copy, value)) if isinstance(value, list | tuple) else value


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested containers as one mapping of plain values by path."""
    if isinstance(value, Mapping) and not isinstance(value, Counter):
        items = [(str(k), v) for k, v in value.items() if k not in _IGNORED]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in value):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {path: _copy(value)}
    return {k: v for name, inner in items for k, v in _flat(inner, f"{path}.{name}" if path else name).items()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dtype is not b.dtype or a.shape != b.shape:
            return False
        a, b = a.cpu(), b.cpu()
        return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return _number(a) is not None and _number(a) == _number(b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, int | float) else None


def _said(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() > 1:
        norm = short(float(value.double().norm())) if value.is_floating_point() else ""
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" + (f" of norm {norm}" if norm else "")
    number = _number(value)
    if number is not None and not isinstance(value, bool):
        return short(number)
    return str(value)[:60]
