"""What a loss can be: what guessing gives, and how low a batch lets it go."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import LossdoctorError
from lossdoctor.probes.batches import split, tensors
from lossdoctor.probes.task.task import Seen, Task, aligned, counts, one_hot

_LARGE = 20_000_000  # numbers in the outputs from which they are not made up any more
# How sure the best answer is of itself: less than wholly, where labels are smoothed or wrong answers cost without end.
_DOUBTS = (1e-7, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)


@dataclass(frozen=True)
class Guess:
    """The loss of those who do not look at the inputs.

    Attributes:
        constant: of the best answer that is the same for all examples: the entropy of the labels, the variance of
            the targets (its least squares), their mean absolute deviation; None where it cannot be told.
        uniform: of equal shares for all classes, ln K as the loss counts it; ln 2 of a yes or no; None for other tasks.
        zero: of outputs that are all zero; None where the loss does not take them.
    """

    constant: float | None = None
    uniform: float | None = None
    zero: float | None = None

    @property
    def untrained(self) -> float | None:
        """What an untrained model should start at: it knows the number of classes, but not yet their shares."""
        return self.constant if self.uniform is None else self.uniform


def guess(task: Task, batches: Sequence[Seen]) -> Guess:
    """The loss of guessing over some batches, through the loss itself: weights, smoothing and sums are in it."""
    told = [b for b in batches if b.output is not None and b.target is not None]
    if not told:
        return Guess()
    if task.evaluate is None:
        return Guess(uniform=math.log(task.classes)) if task.categorical and task.classes else Guess()
    weights = _weights(task, told)
    zero = _mean([task.at(torch.zeros_like(_output(b)), _target(b)) for b in told], weights)
    uniform = even = None
    if task.categorical and task.classes:
        even = 1.0 / task.classes if task.probabilities else -math.log(task.classes)
    elif task.kind == "binary":
        even = 0.5 if task.probabilities else 0.0
    if even is not None:
        uniform = _mean([task.at(torch.full_like(_output(b), even), _target(b)) for b in told], weights)
    return Guess(_constant(task, told, weights, uniform), uniform, zero)


def floor(task: Task, batch: Seen) -> float | None:
    """The lowest loss that outputs of any kind can have on this batch; None where it cannot be told.

    Examples with the same inputs must get the same answer, so that contradictory ones raise it; in a language model
    those with the same tokens up to there. Soft and smoothed labels raise it too.
    """
    output, target = batch.output, batch.target
    if output is None or target is None or task.evaluate is None or task.kind == "unknown" or output.numel() > _LARGE:
        return None
    groups = _groups(task, batch, output)
    due = F.pad(target[:, 1:], (0, 1), value=task.ignore) if task.shifted else target
    shares = one_hot(task, due, output) if task.categorical else aligned(output, due)
    middle = _grouped(task, shares, groups, due)
    if task.kind == "regression":
        tries = [middle, _medians(shares, groups)] if groups is not None and task.loss != "mse" else [middle]
        return _least([task.at(t, target) for t in tries])
    even = 0.5 if task.kind == "binary" else 1.0 / (task.classes or 1)

    def doubting(doubt: float) -> float | None:
        mixed = (1 - doubt) * middle + doubt * even
        if task.probabilities:
            return task.at(mixed, target)
        return task.at(mixed.logit() if task.kind == "binary" else mixed.log(), target)

    return _lowest(doubting)


def _lowest(loss: Callable[[float], float | None]) -> float | None:
    """The least over how much the answers doubt: on a grid, then between the neighbours of its best point."""
    values = [loss(d) for d in _DOUBTS]
    if (best := _least(values)) is None:
        return None
    at = values.index(best)
    low, high = _DOUBTS[max(at - 1, 0)], _DOUBTS[min(at + 1, len(_DOUBTS) - 1)]
    for _ in range(10):
        third = (high - low) / 3
        left, right = loss(low + third), loss(high - third)
        best = _least([best, left, right])
        if left is None or right is None:
            break
        low, high = (low, high - third) if left < right else (low + third, high)
    return best


def _constant(task: Task, told: list[Seen], weights: list[float], uniform: float | None) -> float | None:
    """The loss of the best constant answer: tried out where that is cheap, else from the shares of the labels."""
    if task.broadcast:
        return None
    if task.categorical and not task.soft and sum(_output(b).numel() for b in told) > _LARGE:
        if uniform is None or not task.classes or task.loss != "cross_entropy":
            return None
        shares = _shares(task, told)
        return float(-(shares * shares.log()).nansum()) * uniform / math.log(task.classes)
    start = _start(task, told)
    if start is None:
        return None
    if task.loss in ("mse", "mae"):
        return _at_constant(task, start, told, weights)
    return _fitted(task, start, told, weights)


def _start(task: Task, told: list[Seen]) -> Tensor | None:
    """A good constant answer, in the shape of one example's output."""
    shape = _output(told[0]).shape[1:]
    if any(_output(b).shape[1:] != shape for b in told) and not task.categorical:
        return None
    if task.categorical:
        shares = _shares(task, told)
        wide = [1] * _output(told[0]).dim()
        wide[task.axis] = task.classes or 1
        safe = (0.999 * shares + 0.001 / (task.classes or 1)).reshape(wide)
        return (safe if task.probabilities else safe.log()).to(_output(told[0]).dtype)
    if task.kind == "unknown":
        return torch.zeros(1, *shape, dtype=_output(told[0]).dtype, device=_output(told[0]).device)
    y = torch.cat([aligned(_output(b), _target(b)) for b in told])
    if task.kind == "binary":
        shares = y.mean(0, keepdim=True).clamp(1e-3, 1 - 1e-3)
        return shares if task.probabilities else shares.logit()
    return y.median(0, keepdim=True).values if task.loss in ("mae", "huber") else y.mean(0, keepdim=True)


def _shares(task: Task, told: list[Seen]) -> Tensor:
    """How often each class is the right one."""
    total = torch.zeros(task.classes or 1, dtype=torch.float64, device=_output(told[0]).device)
    for b in told:
        if task.soft:
            total += aligned(_output(b), _target(b)).movedim(task.axis, -1).flatten(0, -2).sum(0)
        else:
            labels = _target(b)[counts(task, _target(b))]
            total += torch.bincount(labels.long(), minlength=len(total))[: len(total)]
    return total / total.sum().clamp_min(1)


def _at_constant(task: Task, answer: Tensor, told: list[Seen], weights: list[float]) -> float | None:
    return _mean([task.at(answer.expand_as(_output(b)).contiguous(), _target(b)) for b in told], weights)


def _fitted(task: Task, start: Tensor, told: list[Seen], weights: list[float]) -> float | None:
    """The best constant by L-BFGS through the loss; None where it has no lowest point, as of a density."""
    evaluate = task.evaluate
    assert evaluate is not None
    answer = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([answer], max_iter=60, line_search_fn="strong_wolfe")
    first = _at_constant(task, start, told, weights)

    def loss() -> Tensor:
        optimizer.zero_grad()
        parts = [w * evaluate(answer.expand_as(_output(b)), _target(b)) for b, w in zip(told, weights, strict=True)]
        total = torch.stack([part.reshape(()) for part in parts]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.step(loss)  # type: ignore[no-untyped-call]
    except Exception:
        return first if task.kind != "unknown" else None
    last = _at_constant(task, answer.detach(), told, weights)
    steep = float(answer.grad.norm()) if answer.grad is not None else math.inf
    if task.kind == "unknown":
        settled = last is not None and math.isfinite(last) and steep < 1e-3 * max(abs(last), 1e-3)
        return last if settled else None
    return _least([first, last])


def _groups(task: Task, batch: Seen, output: Tensor) -> Tensor | None:
    """For each example (in a language model for each token) the number of its group of equals; None if all differ."""
    try:
        inputs = split(batch.batch)[0]
    except LossdoctorError:
        return None
    parts = [x for x in tensors(inputs) if x.dim() and len(x) == len(output)]
    if not parts:
        return None
    if task.kind == "language":
        tokens = next((x for x in parts if x.dim() == 2 and not x.is_floating_point()), None)
        return None if tokens is None or tokens.shape != output.shape[:2] else _prefixes(tokens)
    flat = torch.cat([x.reshape(len(x), -1).double() for x in parts], dim=1)
    numbers = torch.unique(flat, dim=0, return_inverse=True)[1]
    return numbers if int(numbers.max()) + 1 < len(numbers) else None


def _prefixes(tokens: Tensor) -> Tensor:
    """The number of the tokens up to each position: equal where all of them are equal."""
    numbers = torch.zeros_like(tokens)
    current = torch.zeros_like(tokens[:, 0])
    for position in range(tokens.shape[1]):
        pairs = torch.stack([current, tokens[:, position]], dim=1)
        current = torch.unique(pairs, dim=0, return_inverse=True)[1]
        numbers[:, position] = current + position * len(tokens)
    return numbers


def _grouped(task: Task, shares: Tensor, groups: Tensor | None, target: Tensor) -> Tensor:
    """Each answer replaced by the mean over its group; labels that do not count have no say in it."""
    if groups is None:
        return shares
    moved = shares.movedim(task.axis, -1) if task.kind == "language" else shares
    rows = moved.reshape(groups.numel(), -1)
    weight = torch.ones(len(rows), dtype=rows.dtype, device=rows.device)
    if task.kind == "language":
        weight = counts(task, target).reshape(-1).to(rows.dtype)
    number = groups.reshape(-1)
    size = int(number.max()) + 1
    total = torch.zeros(size, rows.shape[1], dtype=rows.dtype, device=rows.device)
    total.index_add_(0, number, rows * weight[:, None])
    many = torch.zeros(size, dtype=rows.dtype, device=rows.device).index_add_(0, number, weight)
    mean = torch.where(many[number][:, None] > 0, total[number] / many[number].clamp_min(1e-9)[:, None], rows)
    mean = mean.reshape(moved.shape)
    return mean.movedim(-1, task.axis) if task.kind == "language" else mean


def _medians(values: Tensor, groups: Tensor) -> Tensor:
    out = values.clone()
    for number in set(groups.tolist()):
        out[groups == number] = values[groups == number].median(0, keepdim=True).values
    return out


def _weights(task: Task, told: list[Seen]) -> list[float]:
    sizes = [float(counts(task, _target(b)).sum()) if task.categorical else float(len(_target(b))) for b in told]
    total = sum(sizes)
    return [s / total for s in sizes] if total else [1 / len(told)] * len(told)


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    if any(v is None for v in values):
        return None
    return sum(w * v for w, v in zip(weights, values, strict=True) if v is not None and w)


def _least(values: Sequence[float | None]) -> float | None:
    return min((v for v in values if v is not None and math.isfinite(v)), default=None)


def _output(batch: Seen) -> Tensor:
    assert batch.output is not None
    return batch.output


def _target(batch: Seen) -> Tensor:
    assert batch.target is not None
    return batch.target
