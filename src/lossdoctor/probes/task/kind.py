"""Telling the kind of a task: the loss is asked by outputs that are made up."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.probes.batches import split, tensors
from lossdoctor.probes.subject import Subject
from lossdoctor.probes.task.task import Evaluate, Seen, Task, aligned, counts, known, one_hot, setting, tried

_ENOUGH = 4_000_000  # numbers in the outputs by which a loss is asked; of larger ones the first examples do


def identify(subject: Subject, what: Seen) -> Task:
    """The task of one batch. ``Task()``, of kind unknown, where it cannot be told.

    A loss of ``torch.nn`` is known by its name. Others are asked: a cross-entropy gives ln K for equal outputs and
    next to nothing where the right class stands out; a regression gives nothing for the targets themselves.
    """
    output, target = what.output, what.target
    if output is None or target is None or output.numel() == 0 or target.numel() == 0:
        return Task()
    if subject.loss_fn is None:
        return _own(output, target, float(what.loss))
    if len(output) == len(target):
        few = max(2, _ENOUGH * len(output) // output.numel())
        output, target = output[:few], target[:few]
    loss_fn = subject.loss_fn
    task = Task(loss=known(loss_fn), ignore=setting(loss_fn, "ignore_index", -100), evaluate=loss_fn)
    integers = not target.is_floating_point() and not target.is_complex()
    if integers and task.loss in ("unknown", "cross_entropy", "nll") and target.dtype is not torch.bool:
        found = _categorical(task, output, target)
        if found is not None:
            return replace(found, kind="language") if _is_language(what) else found
    return _numeric(task, output, target)


def _categorical(task: Task, output: Tensor, target: Tensor) -> Task | None:
    """Whole numbers as targets, and outputs with one dimension more: one of K. None where it is not that."""
    axes = [a for a in range(1, output.dim()) if _without(output.shape, a) in (target.shape, target.squeeze(-1).shape)]
    if task.loss != "unknown":
        axes = [a for a in axes if a == 1]  # torch's own losses take the classes there
    if axes and not bool(counts(replace(task, kind="classification"), target).any()):
        return replace(task, kind="classification", classes=output.shape[axes[-1]], axis=axes[-1])  # all are masked
    best: Task | None = None
    lowest = math.inf
    for axis in axes:
        classes = output.shape[axis]
        asked = replace(task, kind="classification", classes=classes, axis=axis)
        if classes < 2:
            continue
        for probabilities in (False, True):
            asked = replace(asked, probabilities=probabilities)
            uniform, right = _asked(asked, output, target)
            if uniform is None or right is None or not right < uniform:
                continue
            if right / uniform < lowest:
                lowest, best = right / uniform if uniform > 0 else -1.0, asked
            break
    if best is not None and best.loss == "unknown":
        best = replace(best, loss=_categorical_loss(best, output, target))
    return best


def _asked(task: Task, output: Tensor, target: Tensor) -> tuple[float | None, float | None]:
    """The loss where all classes are equal, and where the right one stands out."""
    assert task.classes is not None
    shares = one_hot(task, target, output)
    sure = 0.3 * shares + 0.7 / task.classes  # not too sure: smoothed labels would punish it
    even = torch.full_like(output, 1.0 / task.classes)
    told = [task.at(x if task.probabilities else x.log(), target) for x in (even, sure)]
    return tuple(v if v is not None and math.isfinite(v) else None for v in told)  # type: ignore[return-value]


def _categorical_loss(task: Task, output: Tensor, target: Tensor) -> str:
    zero, uniform = task.at(torch.zeros_like(output), target), _asked(task, output, target)[0]
    if task.probabilities or zero is None or uniform is None or task.classes is None:
        return "unknown"
    if abs(zero) <= 1e-6 * abs(uniform):
        return "nll"
    valid = int(counts(task, target).sum())
    multiples = (1.0, float(len(target)), float(valid), valid / len(target))  # a mean, or a sum over what there is
    near = any(abs(zero / (m * math.log(task.classes)) - 1) < 1e-3 for m in multiples if m)
    return "cross_entropy" if near and abs(zero / uniform - 1) < 1e-3 else "unknown"


def _is_language(what: Seen) -> bool:
    """One of K at every position of a sequence of whole numbers."""
    inputs, target = tensors(split(what.batch)[0]), what.target
    return (
        target is not None
        and target.dim() == 2
        and any(x.shape == target.shape and not x.is_floating_point() for x in inputs)
    )


def _without(shape: torch.Size, axis: int) -> torch.Size:
    return torch.Size([*shape[:axis], *shape[axis + 1 :]])


def _numeric(task: Task, output: Tensor, target: Tensor) -> Task:
    """Targets that are numbers beside outputs that are as many."""
    if target.numel() != output.numel():
        return replace(task, kind="unknown", loss="unknown")
    y = aligned(output, target)
    if task.loss == "cross_entropy" or (task.loss == "unknown" and _is_soft(task, output, target, y)):
        axis = 1 if task.loss == "cross_entropy" or output.dim() == 2 else output.dim() - 1
        if output.dim() < 2:
            return replace(task, kind="unknown")
        return replace(
            task, kind="classification", loss="cross_entropy", classes=output.shape[axis], axis=axis, soft=True
        )
    if task.loss in ("bce", "bce_logits"):
        return replace(task, kind="binary", probabilities=task.loss == "bce")
    if task.loss in ("mse", "mae", "huber"):
        return replace(task, kind="regression", broadcast=_is_broadcast(task, output, target, y))
    inside = bool(((y >= 0) & (y <= 1)).all())
    if inside:  # asked first, and at no number that is no probability: on CUDA that would end the process
        for probabilities, at in ((False, 0.0), (True, 0.5)):
            even = torch.full_like(output, at)
            told = [task.at(even, t) for t in (target, (1 - target.to(y.dtype)).to(target.dtype))]
            if all(v is not None and _is_multiple(v, math.log(2), y) for v in told):
                loss = "bce" if probabilities else "bce_logits"
                return replace(task, kind="binary", loss=loss, probabilities=probabilities)
    return _regression(task, output, target, y)


def _is_multiple(value: float, unit: float, y: Tensor) -> bool:
    """Whether it is the unit as a mean, or summed over all numbers or over those of one example."""
    return any(abs(value / (m * unit) - 1) < 1e-3 for m in (1, y.numel(), y.numel() / max(len(y), 1), len(y)))


def _is_soft(task: Task, output: Tensor, target: Tensor, y: Tensor) -> bool:
    """Shares of classes as targets, and a loss that does not mind a constant added to all outputs."""
    axis = 1 if output.dim() == 2 else output.dim() - 1
    if output.dim() < 2 or output.shape[axis] < 2 or bool((y < 0).any()):
        return False
    if not torch.allclose(y.sum(axis), torch.ones_like(y.sum(axis)), atol=1e-3):
        return False
    zero, half = (task.at(torch.full_like(output, v), target) for v in (0.0, 0.5))
    return (
        zero is not None
        and half is not None
        and abs(zero - half) <= 1e-4 * abs(zero)
        and any(abs(zero / (m * math.log(output.shape[axis])) - 1) < 1e-3 for m in (1, len(y)))
    )


def _regression(task: Task, output: Tensor, target: Tensor, y: Tensor) -> Task:
    spread = float(y.std(unbiased=False)) or 1.0
    exact, off, twice = (task.at(y + k * spread, target) for k in (0, 1, 2))
    if exact is None or off is None or twice is None or not (off > 0 and math.isfinite(off)):
        return Task(evaluate=task.evaluate)
    if abs(exact) > 1e-5 * off:
        crossed = output.shape != target.shape and _is_crossed(exact, y)
        return (
            replace(task, kind="regression", loss=crossed, broadcast=True) if crossed else Task(evaluate=task.evaluate)
        )
    below = task.at(y - spread, target)
    if below is None or abs(below / off - 1) > 1e-2:
        return replace(task, kind="regression")  # errors on one side cost more, as of a quantile
    loss = "mse" if abs(twice / off - 4) < 1e-2 else "mae" if abs(twice / off - 2) < 1e-2 else "huber"
    return replace(task, kind="regression", loss=loss)


def _is_crossed(exact: float, y: Tensor) -> str:
    """The loss, if the value is that of every number against every other one; else nothing."""
    flat = y.reshape(-1)[:4096].double()
    apart = flat[:, None] - flat
    values = {"mse": float((apart**2).mean()), "mae": float(apart.abs().mean())}
    return next((name for name, v in values.items() if v > 0 and abs(exact / v - 1) < 1e-2), "")


def _is_broadcast(task: Task, output: Tensor, target: Tensor, y: Tensor) -> bool:
    exact = task.at(y, target)
    return output.shape != target.shape and exact is not None and exact > 1e-5 * float(y.double().var())


def _own(output: Tensor, target: Tensor, loss: float) -> Task:
    """A model with a loss of its own: the usual ones are tried on its logits, and that which gives the loss is it."""
    integers = not target.is_floating_point()
    if integers and output.dim() == target.dim() + 1 and output.shape[:-1] == target.shape:
        kind = "language" if target.dim() == 2 else "classification"
        named = Task(kind, "cross_entropy", output.shape[-1], output.dim() - 1)
        ways: tuple[Evaluate, ...] = (_cross_entropy,) if target.dim() < 2 else (_cross_entropy, _shifted)
        fits = (replace(named, evaluate=f, shifted=f is _shifted) for f in ways)
        return next((task for task in fits if _same(task.at(output, target), loss)), named)
    if not integers and target.numel() == output.numel():
        usual = (("regression", "mse", _squared), ("binary", "bce_logits", _binary))
        return next((Task(k, n, evaluate=f) for k, n, f in usual if _same(tried(f, output, target), loss)), Task())
    return Task()


def _same(value: float | None, loss: float) -> bool:
    return value is not None and math.isfinite(value) and abs(value - loss) <= 1e-3 * max(abs(loss), 1e-6)


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def _shifted(output: Tensor, target: Tensor) -> Tensor:
    """The next token's label against what is said at this one."""
    return _cross_entropy(output[:, :-1], target[:, 1:])


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output, aligned(output, target))


def _binary(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, aligned(output, target))
