"""A surface to descend: a function with its domain and its exact critical points, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Field, Line

Array = NDArray[np.float64]
Function = Callable[[Tensor], Tensor]


def points(rows: ArrayLike, dim: int) -> Array:
    """Rows of coordinates as float64[k, dim]; an empty list gives k = 0."""
    return np.asarray(rows, dtype=np.float64).reshape(-1, dim)


def check_ranges(ranges: tuple[tuple[float, float], ...], name: str) -> None:
    """Raises UsageError on a range that is not finite or not rising."""
    for low, high in ranges:
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise UsageError(
                f"the domain of {name!r} has the range ({low:g}, {high:g}); give finite low < high for each"
            )


@dataclass(frozen=True, eq=False)
class Surface:
    """A function of ``dim`` coordinates.

    Attributes:
        name: what ``descend()`` and the command line call it.
        title: its name in print; formula: as a person writes it; about: what it is good to see on it.
        dim: the number of coordinates.
        function: float64[n, dim] -> float64[n], torch operations only, row by row.
        domain: (low, high) of every coordinate: starts are drawn from it, pictures show it.
        minima, saddles, maxima: float64[k, dim], all critical points inside the domain of the *loss* (see
            ``maximised``); empty when unknown (a user's function). The monkey saddle is among the saddles.
        maximised: the function is to be made large. The loss that is descended is its negative; what is shown is the
            function itself.
        axes: the names of the coordinates; value_name: the name of the value.
        levels: how contours are best spaced, ``"log"`` or ``"linear"``.
        noise: standard deviation of the Gaussian noise on every coordinate of the gradient.
        parameters: the parameters it was made with.
        source: where it comes from.

    >>> from lossdoctor.lab import surface
    >>> bowl = surface("quadratic")
    >>> bowl([[0.0], [3.0]]).tolist(), bowl.gradient([[0.0]]).tolist(), bowl.minima.tolist()
    ([9.0, 0.0], [[-6.0]], [[3.0]])
    """

    name: str
    title: str
    formula: str
    dim: int
    function: Function
    domain: tuple[tuple[float, float], ...]
    minima: Array
    saddles: Array
    maxima: Array
    about: str = ""
    maximised: bool = False
    axes: tuple[str, ...] = ()
    value_name: str = "loss"
    levels: Literal["log", "linear"] = "linear"
    noise: float = 0.0
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""

    def __post_init__(self) -> None:
        check_ranges(self.domain, self.name)
        if len(self.domain) != self.dim:
            raise UsageError(
                f"the domain of {self.name!r} has {len(self.domain)} ranges for {self.dim} coordinates; give one each"
            )
        if not (np.isfinite(self.noise) and self.noise >= 0.0):
            raise UsageError(f"the noise of {self.name!r} is {self.noise}; it is a standard deviation, 0 or more")
        if not self.axes:
            default = ("x",) if self.dim == 1 else ("x", "y") if self.dim == 2 else None
            object.__setattr__(self, "axes", default or tuple(f"x{i + 1}" for i in range(self.dim)))

    # values and derivatives

    def loss(self, x: Tensor) -> Tensor:
        """What is descended: the function, or its negative when it is maximised. float64[n, dim] -> float64[n]."""
        value = self.function(x)
        return -value if self.maximised else value

    def __call__(self, x: ArrayLike) -> Array:
        """The function as shown, at float64[n, dim]; float64[n]."""
        with torch.no_grad():
            return np.asarray(self.function(self._tensor(x)).numpy(), dtype=np.float64)

    def shown(self, loss: Array) -> Array:
        """Losses as they are shown: the negative when the function is maximised."""
        return -loss if self.maximised else loss

    def gradient(self, x: ArrayLike) -> Array:
        """The gradient of the loss by autograd, noise left out; float64[n, dim]."""
        at = self._tensor(x).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.loss(at).sum(), at)
        return gradient.numpy()

    def hessian(self, x: ArrayLike) -> Array:
        """The second derivatives of the loss by autograd; float64[n, dim, dim]."""
        at = self._tensor(x).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.loss(at).sum(), at, create_graph=True)
        if gradient.grad_fn is None:  # a linear function: no second derivative to follow
            return np.zeros((len(at), self.dim, self.dim))
        rows = []
        for axis in range(self.dim):
            (row,) = torch.autograd.grad(gradient[:, axis].sum(), at, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(at) if row is None else row)
        found = torch.stack(rows, dim=1).detach().numpy()
        return np.asarray((found + found.transpose(0, 2, 1)) / 2.0, dtype=np.float64)

    def _tensor(self, x: ArrayLike) -> Tensor:
        array = np.array(x, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise UsageError(f"surface {self.name!r} takes points of shape (n, {self.dim}), got {array.shape}")
        return torch.from_numpy(array)

    # the domain

    @cached_property
    def low(self) -> Array:
        """The least value of each coordinate in the domain; float64[dim]."""
        return np.array([low for low, _ in self.domain])

    @cached_property
    def high(self) -> Array:
        """The greatest value of each coordinate in the domain; float64[dim]."""
        return np.array([high for _, high in self.domain])

    @cached_property
    def width(self) -> float:
        """The longest side of the domain: the scale against which distances are judged."""
        return float((self.high - self.low).max())

    @cached_property
    def lowest(self) -> float | None:
        """The least loss at a known minimum; None when no minimum is known."""
        if not len(self.minima):
            return None
        return float(self.shown(self(self.minima)).min())

    @cached_property
    def usual_slope(self) -> float:
        """The median norm of the gradient over the domain: the scale against which a slope is judged; above 0."""
        norms = np.linalg.norm(self.gradient(self.random_starts(256)), axis=1)
        norms = norms[np.isfinite(norms) & (norms > 0.0)]
        return float(np.median(norms)) if len(norms) else 1.0

    def inside(self, x: Array) -> NDArray[np.bool_]:
        """Whether each point of float64[..., dim] lies in the domain."""
        return np.asarray(((x >= self.low) & (x <= self.high)).all(axis=-1))

    def random_starts(self, count: int, seed: int = 0) -> Array:
        """``count`` points drawn evenly from the domain by a generator of their own; float64[count, dim]."""
        return np.random.default_rng(seed).uniform(self.low, self.high, size=(count, self.dim))

    # for pictures

    def grid(self, resolution: int = 201, margin: float = 0.0) -> Field:
        """The function over its domain as a plane of ``resolution`` points a side, with its critical points.

        Args:
            resolution: points along each side, 2 or more.
            margin: how far to reach beyond the domain, as a share of its sides.

        Raises:
            UsageError: when the surface has not two coordinates.
        """
        if self.dim != 2:
            raise UsageError(f"surface {self.name!r} has {self.dim} coordinate(s); a plane needs two")
        pad = (self.high - self.low) * margin
        x, y = (np.linspace(a, b, resolution) for a, b in zip(self.low - pad, self.high + pad, strict=True))
        mesh = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        values = self(mesh).reshape(resolution, resolution)
        minima, maxima = (self.maxima, self.minima) if self.maximised else (self.minima, self.maxima)
        return Field(x, y, values, minima, self.saddles, maxima, levels=self.levels, label=self.value_name)

    def profile(self, resolution: int = 401, margin: float = 0.0) -> Line:
        """The function of one coordinate over its domain, as a line. Raises UsageError when it has more coordinates."""
        if self.dim != 1:
            raise UsageError(f"surface {self.name!r} has {self.dim} coordinates; a profile needs one")
        pad = self.width * margin
        x = np.linspace(self.low[0] - pad, self.high[0] + pad, resolution)
        return Line(self.formula, x, self(x[:, None]))

    def with_noise(self, noise: float) -> Surface:
        """The same surface with Gaussian noise of this standard deviation on each coordinate of its gradient."""
        return replace(self, noise=noise)

    def __repr__(self) -> str:
        noisy = f", noise {self.noise:g}" if self.noise else ""
        return f"<Surface {self.name!r}: {self.formula}{noisy}>"
