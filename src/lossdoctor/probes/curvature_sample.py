"""A loss on a sample of batches as something that can be differentiated twice, and what other batches say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import examples
from lossdoctor.probes.noise_scale_moments import student
from lossdoctor.probes.noise_scale_pass import adds_up
from lossdoctor.probes.subject import Subject
from lossdoctor.torchkit.hessian import Hessian, twice_differentiable
from lossdoctor.torchkit.objective import Closure, Objective

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
NOT_TWICE = "this loss cannot be differentiated twice, which curvature needs"
SAME = 1e-5  # relative: what the order of sums on a GPU changes


class Sample:
    """Batches that are read once: some to search on, others to hold against what was found.

    Args:
        subject: what is tested; its model is in the mode wanted.
        batches: to search on.
        held_out: others; none where the loader has no more.
        parameters: what to differentiate by.
    """

    def __init__(
        self, subject: Subject, batches: Sequence[Any], held_out: Sequence[Any], parameters: Sequence[nn.Parameter]
    ) -> None:
        self.batches, self.held_out, self.parameters = list(batches), list(held_out), list(parameters)
        self.whole = not self.held_out
        self.evaluations = 0  # of a batch, with second derivatives
        self._parts: list[Closure] = [_closure(subject, b, i) for i, b in enumerate([*batches, *held_out])]
        with _mode_kept(subject.model):
            summed = adds_up(subject, self.batches[0])
        # A loss that adds up examples counts each batch once, as the steps of a run do.
        sizes = [1 if summed else examples(b) for b in [*batches, *held_out]]
        self._weights, self._others = _shares(sizes[: len(batches)]), _shares(sizes[len(batches) :])
        self._squares: Floats | None = None
        self._products: list[Hessian] = []

    def hessian(self) -> Hessian:
        """The Hessian of the mean loss of the batches to search on."""
        parts = tuple(self._parts[: len(self.batches)])
        hessian = Hessian(Objective(parts, tuple(self._weights.tolist())), self.parameters)
        self._products.append(hessian)
        return hessian

    def along(self, direction: Tensor) -> Floats:
        """The curvature d·Hd along a direction, flat, on each batch; the held-out ones last."""
        wide = direction.double()
        seen = []
        for part in self._parts:
            alone = Hessian(part, self.parameters)
            seen.append(torch.stack([wide @ alone.product(direction).double(), alone.gradient.double().square().sum()]))
        found: Floats = torch.stack(seen).cpu().numpy()
        self._squares = found[:, 1]
        self.evaluations += 2 * len(self._parts)
        return found[:, 0]

    def spread(self, curvatures: Floats, which: str = "largest") -> tuple[float, float, float]:
        """(held-out mean, low, high) of an extreme eigenvalue from the curvatures along its direction."""
        count = len(self.batches)
        own, own_error = _mean(curvatures[:count], self._weights)
        if not self.held_out:
            return math.nan, own, own
        others, others_error = _mean(curvatures[count:], self._others)
        # A single batch shows no spread: it has that of the others.
        if math.isnan(others_error):
            others_error = own_error * math.sqrt(count)
        if math.isnan(own_error):
            own_error = others_error * math.sqrt(len(self.held_out))
        if math.isnan(own_error):
            return others, min(own, others), max(own, others)
        reach, others_reach = _reach(count) * own_error, _reach(len(self.held_out)) * others_error
        # The sample's own extreme value errs outwards only, its direction on other batches inwards only.
        if which == "largest":
            return others, min(own, others - others_reach), max(own + reach, others)
        return others, min(own - reach, others), max(own, others + others_reach)

    def gradient_noise(self) -> float:
        """The standard error of the sample's gradient, as a length; NaN from one batch or before :meth:`along`."""
        count = len(self.batches)
        if self._squares is None or count < 2:
            return math.nan
        mean = float(self._products[0].gradient.double().square().sum())
        spread = float(self._weights @ self._squares[:count]) - mean
        return math.sqrt(max(0.0, spread) / (count - 1))


class Scaled:
    """P^(-1/2) (H + decay) P^(-1/2), whose eigenvalues are those of the preconditioned P⁻¹(H + decay)."""

    def __init__(self, hessian: Hessian, scale: Tensor | None = None, decay: Tensor | float = 0.0) -> None:
        self.hessian, self.scale, self.decay = hessian, scale, decay
        self.size, self.dtype, self.device = hessian.size, hessian.dtype, hessian.device
        self.gradient = self.stretched(hessian.gradient)

    def product(self, vector: Tensor) -> Tensor:
        """The operator's product with a flat vector."""
        along = self.stretched(vector.to(self.device, self.dtype))
        return self.stretched(self.hessian.product(along) + self.decay * along)

    def stretched(self, vector: Tensor) -> Tensor:
        """P^(-1/2) v."""
        return vector if self.scale is None else vector * self.scale.to(vector.dtype)


def draws_random(subject: Subject, batch: Any) -> bool:
    """Whether the loss of a batch draws random numbers of torch's.

    Raises:
        UsageError: it is not finite, or not the same twice from the same random state.
    """
    devices = [subject.device] if subject.device.type == "cuda" else []
    with torch.no_grad():
        with torch.random.fork_rng(devices):
            first = subject.loss(batch)
            later = subject.loss(batch)  # from another random state
        with torch.random.fork_rng(devices):
            second = subject.loss(batch)
    one, two, three = torch.stack([first, second, later]).double().tolist()
    if not math.isfinite(one):
        raise UsageError(
            f"the loss of the first batch is {one:g} at these parameters, so there is no curvature: restore an earlier"
            " checkpoint, or look for its cause with check_data and check_gradients"
        )
    near = SAME * max(abs(one), abs(two))
    if abs(one - two) > near:
        raise UsageError(
            f"the loss of the same batch is {one:.6g} and then {two:.6g}, with the same parameters and the same random"
            " state: something in the model or the loss changes with every call (a counter, a generator of its own,"
            " Python's or NumPy's random numbers, spectral norm in training mode); curvature needs a fixed function:"
            " switch that off"
        )
    return bool(abs(one - three) > near)


def refuse_once(subject: Subject, batch: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Refuse a loss with an autograd function marked ``once_differentiable``.

    Torch cuts it out of second derivatives without a word, since nothing leads on from it: they would come out as if
    it were constant.

    Raises:
        UsageError: there is one.
    """
    with explained(), twice_differentiable():
        found = torch.autograd.grad(subject.loss(batch), parameters, create_graph=True, allow_unused=True)
    todo = [g.grad_fn for g in found if g is not None]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise UsageError(f"{NOT_TWICE}: an autograd function in it is marked once_differentiable")
        seen.add(node)
        todo += [after for after, _ in node.next_functions]


def set_mode(model: nn.Module, mode: str) -> None:
    """Evaluation mode, or training mode with dropout off."""
    model.train(mode == "train")
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0


@contextmanager
def explained() -> Iterator[None]:
    """Torch's ways of saying that something cannot be differentiated twice, in words."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(
            "the device's memory does not hold the second derivatives: give fewer or smaller batches"
        ) from error
    except RuntimeError as error:
        text = str(error)
        if not re.search(r"differentiate|double backward|\.grad\(\)|derivative|does not require grad", text):
            raise
        raise UsageError(
            f"{NOT_TWICE}: an operation in it (or activation checkpointing with use_reentrant=True) has no second"
            f" derivative; torch says: {text.splitlines()[0]}"
        ) from error


def _mean(values: Floats, weights: Floats) -> tuple[float, float]:
    """Weighted mean and its standard error; NaN from one value."""
    mean = float(values @ weights)
    count = len(values)
    if count < 2:
        return mean, math.nan
    return mean, math.sqrt(count / (count - 1) * float((weights**2) @ (values - mean) ** 2))


def _reach(count: int) -> float:
    return student(CONFIDENCE, max(1, count - 1))


def _shares(sizes: Sequence[int]) -> Floats:
    weights = np.array(sizes, dtype=np.float64)
    return weights / weights.sum() if len(sizes) else weights


def _closure(subject: Subject, batch: Any, number: int) -> Closure:
    return lambda: subject.loss(batch, number)


@contextmanager
def _mode_kept(model: nn.Module) -> Iterator[None]:
    modes = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
