"""One pass over batches: the gradient of each, or of its pieces where a loader has few."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import LossdoctorError, UsageError
from lossdoctor.probes.batches import examples, mapped, tensors
from lossdoctor.probes.noise_scale.sums import Floats, GradientSums
from lossdoctor.probes.progress import Progress
from lossdoctor.probes.subject import Subject

WANTED = 32  # gradients; a loader with fewer batches has them cut into so many pieces
AGAIN = 4  # gradients that are taken twice, to see dropout's noise
SMALLEST = 4  # examples of a piece: batch norm needs more than one


@dataclass(frozen=True, eq=False)
class Pass:
    """The gradients of a pass.

    Attributes:
        loaded: examples of each of the loader's batches.
        sizes: examples of each gradient.
        gram: scalar products of the gradients of the mean loss.
        total: |Σ size · gradient|².
        summed: whether the loss adds up examples; the gradients were divided by the size then.
        population: examples of a whole pass, where the loader knows its length or was read to its end.
        own_noise: share of the variance that is not from the examples but from the model's own randomness (dropout).
    """

    loaded: tuple[int, ...]
    sizes: tuple[int, ...]
    gram: Floats
    total: float
    summed: bool
    population: int | None
    own_noise: float

    @property
    def exhausted(self) -> float:
        """The share of the noise that could not come anew: that of all examples which were read."""
        return 0.0 if self.population is None else (1 - self.own_noise) * sum(self.sizes) / self.population

    @property
    def nonfinite(self) -> tuple[int, ...]:
        """Numbers of gradients that hold a NaN or an infinity."""
        return tuple(i for i in range(len(self.sizes)) if not math.isfinite(self.gram[i, i]))


def read_pass(
    subject: Subject, parameters: Sequence[nn.Parameter], most: int, training: bool, progress: Progress
) -> Pass:
    """Gradients of at most so many batches; the model's mode is changed, the caller restores it.

    Raises:
        UsageError: a loss without a gradient, a loader without batches.
        UserCodeError: the model, the loss or the loader raised.
    """
    there = _length(subject.loader)
    expected = most if there is None else max(1, min(most, there))
    # A loader that does not know its length may have few batches as well, but that shows too late to cut them.
    parts = math.ceil(WANTED / expected) if there is not None else 1
    sums = GradientSums(parameters, expected * parts)
    loaded: list[int] = []
    summed = False
    for number, batch in enumerate(subject.batches):
        if number == 0:
            summed = adds_up(subject, batch)
            subject.model.train(training)
        loaded.append(examples(batch))
        for piece in pieces(batch, parts):
            size = examples(piece)
            divisor = size if summed else 1
            sums.add(_gradient(subject, parameters, piece, number, divisor), size)
            if training and len(sums.sizes) <= AGAIN:
                sums.again(_gradient(subject, parameters, piece, number, divisor))
        progress(number + 1, expected)
        if number + 1 >= expected:
            break
    return _passed(sums, loaded, summed, _population(subject.loader, there, expected, loaded))


def _passed(sums: GradientSums, loaded: list[int], summed: bool, population: int | None) -> Pass:
    gram, total, examples_read = sums.gram(), sums.total(), sum(sums.sizes)
    own_noise = 0.0
    if len(gram) > 1:
        variance = (float(gram.diagonal() @ sums.sizes) - total / examples_read) / (len(gram) - 1)
        own_noise = min(1.0, sums.own_noise() / variance) if variance > 0 else 0.0
    return Pass(tuple(loaded), tuple(sums.sizes), gram, total, summed, population, own_noise)


def _population(loader: Any, there: int | None, expected: int, loaded: list[int]) -> int | None:
    """Examples of a pass that are all different, where that can be told."""
    if getattr(getattr(loader, "sampler", None), "replacement", False):
        return None
    if len(loaded) == there or len(loaded) < expected:
        return sum(loaded)
    return None if there is None else max(loaded) * there  # the last batch may be smaller, by less than one batch


def pieces(batch: Any, parts: int) -> Iterator[Any]:
    """The batch in so many consecutive pieces of nearly equal size; whole where it cannot be cut.

    Every tensor is cut along its first dimension, if all of them have the batch's length there. No piece gets fewer
    than four examples.

    >>> [p[0].tolist() for p in pieces((torch.arange(9), torch.zeros(9, 2)), 2)]
    [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    """
    size = examples(batch)
    parts = min(parts, size // SMALLEST)
    if parts < 2 or any(t.dim() == 0 or len(t) != size for t in tensors(batch)):
        yield batch
        return
    edges = [(size * k + parts - 1) // parts for k in range(parts + 1)]
    for k in range(parts):
        yield _cut(batch, edges[k], edges[k + 1])


@torch.no_grad()
def adds_up(subject: Subject, batch: Any) -> bool:
    """Whether the loss of a batch is the sum over its examples (``reduction="sum"``) and not their mean.

    Told by the loss of the batch and of its halves, in evaluation mode; the caller restores the mode. A mean is assumed
    where the batch cannot be cut or the model draws random numbers.
    """
    declared = getattr(subject.loss_fn, "reduction", None)
    if declared in ("mean", "sum"):
        return bool(declared == "sum")
    halves = list(pieces(batch, 2))
    if len(halves) < 2:
        return False
    subject.model.eval()
    try:
        whole, first, second = torch.stack([subject.loss(b) for b in (batch, *halves)]).tolist()
    except LossdoctorError:
        return False  # the loss of whole batches only; what else is wrong shows when the batch itself is run
    share = examples(halves[0]) / examples(batch)
    off_sum, off_mean = abs(first + second - whole), abs(share * first + (1 - share) * second - whole)
    return bool(off_sum < 1e-3 * abs(whole) and off_sum < off_mean)


def _gradient(
    subject: Subject, parameters: Sequence[nn.Parameter], batch: Any, number: int, divisor: int
) -> Sequence[Tensor]:
    """The gradient of the mean loss, one tensor per parameter; ``.grad`` is left alone."""
    with torch.enable_grad():
        loss = subject.loss(batch, number)
    if not loss.requires_grad:
        raise UsageError(
            f"the loss of batch {number} has no gradient: it is cut off from the parameters, by detach(), .item(),"
            " torch.no_grad() or an operation without a gradient; check_gradients says where"
        )
    try:
        return torch.autograd.grad(loss / divisor, parameters, allow_unused=True, materialize_grads=True)
    except RuntimeError as error:
        if "checkpoint" not in str(error).lower():
            raise
        raise UsageError("this test needs activation checkpointing with use_reentrant=False") from error


def _length(loader: Any) -> int | None:
    """How many batches a pass has, where the loader knows it."""
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # a DataLoader over an iterable data set
        return None


def _cut(batch: Any, start: int, end: int) -> Any:
    return mapped(batch, lambda tensor: tensor[start:end])
