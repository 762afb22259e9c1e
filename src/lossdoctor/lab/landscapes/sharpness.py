"""How sharp a minimum is, in numbers: ε-sharpness, the largest Hessian eigenvalue, the trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.landscapes.evaluate import Progress, looking_at
from lossdoctor.lab.landscapes.weights import parameters_of
from lossdoctor.torchkit.hessian import Hessian, twice_differentiable
from lossdoctor.torchkit.objective import Objective, objective
from lossdoctor.torchkit.spectrum import Eigenvalue, Estimate, extreme_eigenvalue, trace


@dataclass(frozen=True, eq=False)
class Sharpness:
    """Sharpness of the loss at a state.

    Attributes:
        loss: there.
        epsilon: half width of the box of ``epsilon_sharpness``, relative to each weight.
        epsilon_sharpness: (largest loss found in the box - loss) / (1 + loss), in percent (Keskar et al. 2017,
            equation 4). A lower bound, since the largest loss is found by ascent.
        eigenvalue: largest of the Hessian, with its error.
        trace: of the Hessian, with its standard error.
    """

    loss: float
    epsilon: float
    epsilon_sharpness: float
    eigenvalue: Eigenvalue
    trace: Estimate

    @property
    def critical_lr(self) -> float:
        """2 / λmax: beyond this rate plain gradient descent leaves a quadratic of this curvature; inf when λmax ≤ 0."""
        return 2 / self.eigenvalue.value if self.eigenvalue.value > 0 else math.inf


def sharpness(
    model: nn.Module,
    loss_fn: Callable[..., Tensor],
    batches: Iterable[Any] | None = None,
    *,
    epsilon: float = 1e-3,
    ascent_steps: int = 10,
    probes: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """Measure the sharpness at the model's state, in evaluation mode; the model is left as it was.

    Sharpness depends on the scale of the weights: rescaling the layers of a ReLU net changes it without changing the
    function (Dinh et al. 2017). Compare nets of one architecture, trained alike but for the one thing in question.

    Args:
        model: float32 or float64.
        loss_fn: ``loss_fn(model)``, or with batches ``loss_fn(output, target)``; a scalar tensor.
        batches: pairs (x, y), read once.
        epsilon: each weight w may move by ``epsilon * (|w| + 1)``.
        ascent_steps: steps of the search for the largest loss in that box, each one gradient.
        probes: of the trace.
        seed: of the eigenvalue's start and the probes.
        progress: called with (products, planned) of the Hessian.

    Raises:
        UsageError: a model without parameters, an option out of range, a loss that is not finite.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> found = sharpness(model, lambda m: (m.weight * torch.tensor([1.0, 3.0])).square().sum())
    >>> round(found.eigenvalue.value, 3), round(found.trace.value, 3), round(found.critical_lr, 4)
    (18.0, 20.0, 0.1111)
    """
    if not (epsilon > 0 and ascent_steps >= 1 and probes >= 1):
        found = f"{epsilon}, {ascent_steps}, {probes}"
        raise UsageError(f"epsilon must be above 0, ascent_steps and probes at least 1; got {found}")
    parameters = list(parameters_of(model).values())
    goal = objective(model, loss_fn, batches)
    with looking_at(model):
        for parameter in parameters:
            parameter.requires_grad_(True)
        hessian = Hessian(goal, parameters)
        top = extreme_eigenvalue(hessian, seed=seed, progress=progress)
        spread = trace(hessian, probes, seed=seed, progress=progress)
        loss = hessian.loss
        del hessian  # its graph holds the weights that the ascent is about to change
        largest = _largest(goal, parameters, epsilon, ascent_steps)
    rise = 100 * (largest - loss) / (1 + loss)
    return Sharpness(loss, epsilon, rise, top, spread)


def _largest(goal: Objective, parameters: list[Tensor], epsilon: float, steps: int) -> float:
    """The largest loss met by signed gradient ascent within the box, with a step that shrinks to a tenth."""
    centers = [p.detach().clone() for p in parameters]
    widths = [epsilon * (c.abs() + 1) for c in centers]
    largest = -math.inf
    for step in range(steps + 1):
        with twice_differentiable():
            value, gradients = _gradient(goal, parameters)
        if math.isnan(value):
            return math.inf
        largest = max(largest, value)
        rate = 1.0 - 0.9 * step / steps
        with torch.no_grad():
            for p, g, c, w in zip(parameters, gradients, centers, widths, strict=True):
                p.data.copy_(torch.clamp(p + rate * w * g.sign(), c - w, c + w))
    return largest


def _gradient(goal: Objective, parameters: list[Tensor]) -> tuple[float, list[Tensor]]:
    total, sums = 0.0, [torch.zeros_like(p) for p in parameters]
    for part, weight in zip(goal.parts, goal.weights, strict=True):
        value = part()
        total += weight * float(value.detach())
        found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        for s, g in zip(sums, found, strict=True):
            s += weight * g.to_dense()
    return total, sums
