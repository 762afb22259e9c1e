"""A loss function over the error: value, gradient and curvature, by autograd on what a person would train with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = NDArray[np.float64]
Task = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class LossFunction:
    """One loss function with its parameters set.

    Attributes:
        name, title, formula: as it is called here, in print, and written.
        task: ``"regression"``: the argument is the error, prediction − target. ``"classification"``: it is the margin,
            the score of the true class (over that of the others, where there are several).
        function: float64[...] -> float64[...], element by element.
        pulls: what the best constant prediction under it is ("the mean"), or what it does to the margin.
        suits: which residuals or labels it is for.
        source: where it comes from.
    """

    name: str
    title: str
    formula: str
    task: Task
    function: Callable[[Tensor], Tensor]
    pulls: str
    suits: str
    source: str = ""

    @property
    def argument(self) -> str:
        """What it is a function of, for an axis."""
        return "error (prediction − target)" if self.task == "regression" else "margin (score of the true class)"

    def __call__(self, errors: ArrayLike) -> Array:
        """The loss of each error, of any shape."""
        with torch.no_grad():
            return np.asarray(self.function(torch.as_tensor(np.array(errors, dtype=np.float64))).numpy())

    def curves(self, errors: ArrayLike | None = None) -> LossCurves:
        """Value, gradient and curvature over the errors (by default 601 of them from −5 to 5)."""
        at = np.linspace(-5.0, 5.0, 601) if errors is None else np.array(errors, dtype=np.float64)
        x = torch.from_numpy(at.copy()).requires_grad_(True)
        value = self.function(x)
        gradient = _derivative(value, x)
        curvature = _derivative(gradient, x)
        return LossCurves(self, at, *(part.detach().numpy(force=True) for part in (value, gradient, curvature)))


@dataclass(frozen=True, eq=False)
class LossCurves:
    """A loss over its argument; all float64[n].

    Attributes:
        loss: which.
        x: the errors or margins.
        value, gradient, curvature: the loss, its first and its second derivative by x. At a kink (of |x|, of the hinge)
            the gradient is the one that autograd takes there, and the curvature, which is not defined, is 0.
    """

    loss: LossFunction
    x: Array
    value: Array
    gradient: Array
    curvature: Array


def _derivative(value: Tensor, x: Tensor) -> Tensor:
    """The derivative of each element of ``value`` by its own element of ``x``; zero where there is none to follow."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(value.sum(), x, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found
