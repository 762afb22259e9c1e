"""A loss on a sample of batches as something that can be differentiated twice, and what other batches say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.probes.batches import examples
from lossdoctor.probes.noise_scale.moments import student
from lossdoctor.probes.noise_scale.passes import adds_up
from lossdoctor.probes.subject import Subject
from lossdoctor.torchkit.hessian import Hessian
from lossdoctor.torchkit.objective import Closure

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


class Sample:
    """Batches that are read once: some to search on, others to hold against what was found.

    Args:
        subject: what is tested; its model is in the mode wanted.
        batches: to search on.
        held_out: others; none where the loader has no more.
        parameters: what to differentiate by.
        keep: keep the graphs of the batches to search on, which spares a forward and a backward pass per product.

    Attributes:
        whole: whether there are no others.
        evaluations: of a batch, with second derivatives.
    """

    def __init__(
        self,
        subject: Subject,
        batches: Sequence[Any],
        held_out: Sequence[Any],
        parameters: Sequence[nn.Parameter],
        *,
        keep: bool,
    ) -> None:
        self.batches, self.held_out, self.parameters = list(batches), list(held_out), list(parameters)
        self.whole = not self.held_out
        self.evaluations, self._keep = 0, keep
        self._parts: list[Closure] = [_closure(subject, b, i) for i, b in enumerate([*batches, *held_out])]
        with _mode_kept(subject.model):
            summed = adds_up(subject, self.batches[0])
        # A loss that adds up examples counts each batch once, as the steps of a run do.
        sizes = [1 if summed else examples(b) for b in [*batches, *held_out]]
        self._weights, self._others = _shares(sizes[: len(batches)]), _shares(sizes[len(batches) :])
        self._kept: dict[int, Hessian] = {}
        self._squares: Floats | None = None
        self._gradient_square = math.nan

    def hessian(self) -> MeanHessian:
        """The Hessian of the mean loss of the batches to search on."""
        mean = MeanHessian(self._alone, self._weights)
        self._gradient_square = float(mean.gradient.double().square().sum())
        return mean

    def along(self, direction: Tensor) -> Floats:
        """The curvature d·Hd along a direction, flat, on each batch; the held-out ones last."""
        wide = direction.double()
        seen = []
        for number in range(len(self._parts)):
            alone = self._alone(number)
            seen.append(torch.stack([wide @ alone.product(direction).double(), alone.gradient.double().square().sum()]))
        found: Floats = torch.stack(seen).cpu().numpy()
        self._squares = found[:, 1]
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
        spread = float(self._weights @ self._squares[:count]) - self._gradient_square
        return math.sqrt(max(0.0, spread) / (count - 1))

    def _alone(self, number: int) -> Hessian:
        """The Hessian of one batch."""
        self.evaluations += 1
        if number in self._kept:
            return self._kept[number]
        alone = Hessian(self._parts[number], self.parameters)
        if self._keep and number < len(self.batches):
            self._kept[number] = alone
        return alone


class MeanHessian:
    """The weighted mean of the Hessians of batches, each of which is made anew or has kept its graph.

    Args:
        part: the Hessian of a batch by its number.
        weights: one per batch, their sum is one.

    Attributes:
        size, dtype, device, loss, gradient, products: as of a :class:`~lossdoctor.torchkit.hessian.Hessian`.
    """

    def __init__(self, part: Callable[[int], Hessian], weights: Floats) -> None:
        self._part, self._weights, self.products = part, weights.tolist(), 0
        for number, weight in enumerate(self._weights):
            alone = part(number)
            if number == 0:
                self.size, self.dtype, self.device = alone.size, alone.dtype, alone.device
                self.loss, self.gradient = 0.0, torch.zeros_like(alone.gradient)
            self.loss += weight * alone.loss
            self.gradient += weight * alone.gradient

    def product(self, vector: Tensor) -> Tensor:
        """H v, for a flat vector."""
        self.products += 1
        total = torch.zeros_like(self.gradient)
        for number, weight in enumerate(self._weights):
            total += weight * self._part(number).product(vector)
        return total

    def along_gradient(self) -> float:
        """gᵀHg / gᵀg; NaN where the gradient is zero."""
        wide = self.gradient.double()
        length = wide.norm()
        if length == 0:
            return math.nan
        unit = wide / length
        return float(unit @ self.product(unit.to(self.dtype)).double())


class Scaled:
    """P^(-1/2) (H + decay) P^(-1/2), whose eigenvalues are those of the preconditioned P⁻¹(H + decay)."""

    def __init__(self, hessian: MeanHessian, scale: Tensor | None = None, decay: Tensor | float = 0.0) -> None:
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
