"""Critical points: which one lies next to a point, of what kind it is, and which learning rate it bears."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.surfaces import Surface

Array = NDArray[np.float64]
Kind = Literal["minimum", "saddle", "maximum", "none"]

# A point counts as being at a critical point within this share of the domain's longest side.
NEAR = 1e-3
_ITERATIONS = 80
# Newton's iteration has arrived when its step is this share of the width and the gradient this share of the usual one.
_ARRIVED = 1e-9
_FLAT_GRADIENT = 1e-7
# An eigenvalue below this share of the largest counts as zero; then the neighbourhood is asked.
_FLAT_CURVATURE = 1e-7
_DIRECTIONS = 64


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """The critical point next to a point.

    Attributes:
        point: float64[dim], where Newton's iteration went; meaningful when ``near``.
        near: whether there is a critical point within reach.
        kind: ``"minimum"``, ``"saddle"``, ``"maximum"``, or ``"none"`` when none is near.
        curvatures: float64[dim], the eigenvalues of the Hessian there, rising; directions: float64[dim, dim], its
            eigenvectors as columns.
    """

    point: Array
    near: bool
    kind: Kind
    curvatures: Array
    directions: Array


@dataclass(frozen=True, eq=False)
class CriticalPoints:
    """The critical points next to n points: the fields of :class:`CriticalPoint` with a leading axis n."""

    points: Array
    near: NDArray[np.bool_]
    kinds: tuple[Kind, ...]
    curvatures: Array
    directions: Array
    width: float

    def at(self, i: int) -> CriticalPoint:
        """The one next to point ``i``."""
        return CriticalPoint(self.points[i], bool(self.near[i]), self.kinds[i], self.curvatures[i], self.directions[i])

    @cached_property
    def distinct_minima(self) -> Array:
        """The different minima among them, in the order of first sight; float64[k, dim]."""
        found: list[Array] = []
        for i, kind in enumerate(self.kinds):
            if kind == "minimum" and all(np.linalg.norm(self.points[i] - m) > 1e-6 * self.width for m in found):
                found.append(self.points[i])
        return np.array(found).reshape(-1, self.points.shape[1])


def critical_points(surface: Surface, x: ArrayLike, reach: float | Array = NEAR) -> CriticalPoints:
    """The critical point next to each point, by Newton's iteration from it, with its kind by the Hessian.

    Newton's iteration finds minima, saddles and maxima alike, each from nearby; one that leads out of reach finds none.
    A minimum at a kink (as of |x|) has no second derivative to follow and is not found.

    Args:
        surface: the surface.
        x: float64[n, dim].
        reach: how far a critical point may lie, as a share of the domain's longest side; a number or float64[n].

    >>> from lossdoctor.lab import surface
    >>> found = critical_points(surface("himmelblau"), [[2.999, 2.001], [0.0867, 2.8842], [1.0, 1.0]])
    >>> found.kinds, found.near.tolist()
    (('minimum', 'saddle', 'none'), [True, True, False])
    """
    start = np.array(x, dtype=np.float64)
    if start.ndim != 2 or start.shape[1] != surface.dim:
        raise UsageError(f"surface {surface.name!r} takes points of shape (n, {surface.dim}), got {start.shape}")
    limit = np.broadcast_to(np.asarray(reach, dtype=np.float64) * surface.width, len(start))
    at = start.copy()
    live = np.array(np.isfinite(at).all(axis=1), dtype=np.bool_)
    arrived = np.zeros(len(at), dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):  # steps to nowhere are infinite
        for _ in range(_ITERATIONS):
            index = np.flatnonzero(live & ~arrived)
            if not len(index):
                break
            move = _newton(surface, at[index])
            at[index] += move
            length = np.linalg.norm(move, axis=1)
            gone = ~(np.linalg.norm(at[index] - start[index], axis=1) <= 2.0 * limit[index])
            live[index[gone]] = False
            arrived[index[~gone & (length <= _ARRIVED * surface.width)]] = True
        apart = np.linalg.norm(at - start, axis=1)
    near = np.zeros(len(at), dtype=np.bool_)
    index = np.flatnonzero(arrived & (apart <= limit))
    if len(index):
        near[index] = np.linalg.norm(surface.gradient(at[index]), axis=1) <= _FLAT_GRADIENT * surface.usual_slope
    return _described(surface, at, near)


def _newton(surface: Surface, at: Array) -> Array:
    """Newton's step at each point; along directions without curvature and without slope it stays."""
    gradient, hessian = surface.gradient(at), surface.hessian(at)
    broken = ~(np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2)))
    gradient[broken], hessian[broken] = 0.0, 0.0
    curvatures, directions = np.linalg.eigh(hessian)
    along = np.einsum("nij,ni->nj", directions, gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.where(along == 0.0, 0.0, -along / curvatures)
    # Without any curvature the next critical point is nowhere near: an infinite step says so.
    length = np.where(np.isfinite(length), length, np.inf)
    move = np.einsum("nij,nj->ni", directions, np.clip(length, -1e300, 1e300))
    move[broken] = np.inf
    return np.asarray(move)


def _described(surface: Surface, at: Array, near: NDArray[np.bool_]) -> CriticalPoints:
    n, dim = at.shape
    curvatures, directions = np.full((n, dim), np.nan), np.tile(np.eye(dim), (n, 1, 1))
    kinds: list[Kind] = ["none"] * n
    index = np.flatnonzero(near)
    if len(index):
        curvatures[index], directions[index] = np.linalg.eigh(surface.hessian(at[index]))
        usual = surface.usual_slope / surface.width
        for i in index:
            kinds[i] = _kind(surface, at[i], curvatures[i], usual)
    return CriticalPoints(at, near, tuple(kinds), curvatures, directions, surface.width)


def _kind(surface: Surface, point: Array, curvatures: Array, usual: float) -> Kind:
    flat = _FLAT_CURVATURE * max(float(np.abs(curvatures).max()), usual)
    up, down = bool((curvatures > flat).any()), bool((curvatures < -flat).any())
    if up and down:
        return "saddle"
    if bool((np.abs(curvatures) > flat).all()):
        return "minimum" if up else "maximum"
    # Some eigenvalue is zero: the Hessian does not tell, a ring of neighbours does.
    ring = point + NEAR * surface.width * _ring(surface.dim)
    centre = float(surface.shown(surface(point[None]))[0])
    rise = surface.shown(surface(ring)) - centre
    rounding = 64.0 * np.finfo(np.float64).eps * max(abs(centre), 1e-300)
    lower, higher = bool((rise < -rounding).any()), bool((rise > rounding).any())
    return "saddle" if lower and (higher or up) else "maximum" if lower else "minimum"


def _ring(dim: int) -> Array:
    """Unit vectors in many directions; float64[k, dim]."""
    if dim == 1:
        return np.array([[-1.0], [1.0]])
    if dim == 2:
        angle = 2.0 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    drawn = np.random.default_rng(0).normal(size=(_DIRECTIONS * dim, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def critical_lr(surface: Surface, point: ArrayLike, *, momentum: float = 0.0, nesterov: bool = False) -> float:
    """The learning rate beyond which a descent cannot stay at a minimum, by the largest curvature there.

    2/λmax for gradient descent; 2(1 + β)/λmax with momentum β; 2(1 + β)/((1 + 2β)λmax) with Nesterov's. Below it the
    linearised descent contracts, beyond it the sharpest direction grows (Polyak 1964; Cohen et al., arXiv:2103.00065).

    Args:
        surface: the surface.
        point: float64[dim], the minimum.
        momentum: β, from 0 up to 1.
        nesterov: whether the momentum is Nesterov's, as ``torch.optim.SGD`` has it.

    Returns:
        The rate; Inf where the surface does not curve upwards.

    >>> from lossdoctor.lab import surface
    >>> critical_lr(surface("quadratic"), [3.0]), critical_lr(surface("quadratic"), [3.0], momentum=0.9)
    (1.0, 1.9)
    """
    if not 0.0 <= momentum < 1.0:
        raise UsageError(f"momentum is {momentum}; it lies from 0 up to 1")
    sharpest = float(np.linalg.eigvalsh(surface.hessian(np.reshape(point, (1, surface.dim)))).max())
    if not sharpest > 0.0:
        return float("inf")
    limit = 2.0 * (1.0 + momentum) / sharpest
    return limit / (1.0 + 2.0 * momentum) if nesterov else limit
