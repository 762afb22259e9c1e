"""What Hessian-vector products tell of the spectrum: an extreme eigenvalue with its own error check, and the trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.hessian import Hessian, Progress

Floats = NDArray[np.float64]

# Krylov vectors between two restarts of ARPACK. Few for the upper end, so that convergence is looked at early (it is
# not before); more for the lower end, where the eigenvalues of a net lie close together and restarts forget much.
BASIS = {"largest": 6, "smallest": 24}
DENSE = 12  # up to this many parameters the whole matrix costs no more than the iteration


@dataclass(frozen=True, eq=False)
class Eigenvalue:
    """An extreme eigenvalue of a Hessian.

    Attributes:
        value: the Rayleigh quotient of ``vector``.
        vector: unit vector, float64, shape (n,), on the CPU.
        residual: |H v - value v|. Some eigenvalue of H lies within this of ``value``, always.
        error: the estimate residual² / gap (Kato and Temple), with the gap to the next value of the same subspace; at
            most ``residual``. The error of ``value`` as the *extreme* eigenvalue, if the start vector has any part
            of the extreme eigenvector, which a random one has.
        products: Hessian-vector products used.
        converged: whether ``error`` is within the tolerance asked for.
    """

    value: float
    vector: Tensor
    residual: float
    error: float
    products: int
    converged: bool


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes and its standard error (NaN from one probe)."""

    value: float
    standard_error: float
    probes: int


def extreme_eigenvalue(
    hessian: Hessian,
    which: Literal["largest", "smallest"] = "largest",
    *,
    tolerance: float = 1e-3,
    max_products: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> Eigenvalue:
    """The algebraically largest (or smallest) eigenvalue, by ARPACK's Lanczos iteration on Hessian-vector products.

    The iteration starts from the gradient plus a random vector of the same length: the gradient lies mostly in the top
    of the spectrum (Gur-Ari, Roberts, Dyer 2018), which saves products, and the random part leaves nothing out.
    Whether it is done is decided here and not by ARPACK: by the residual of the best vector in the span of all products
    so far, which costs no product more. A small net takes 7 to 13 products to 1e-3.

    Args:
        hessian: the operator.
        which: end of the spectrum.
        tolerance: wanted relative error, above 0.
        max_products: at most so many products; when they are spent, ``converged`` is False.
        seed: of the random vector; torch's and NumPy's global generators are not used.
        progress: called with (products, max_products) after each.

    Memory: two vectors of float32 or float64 per product, and 6 (largest) or 24 (smallest) float64 vectors of ARPACK.

    Raises:
        UsageError: an option out of its range, or a product that is not finite.

    >>> w = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    >>> found = extreme_eigenvalue(Hessian(lambda: (torch.tensor([1.0, 2.0, 5.0]) * w**2).sum(), [w]))
    >>> round(found.value, 4), found.converged
    (10.0, True)
    """
    if which not in ("largest", "smallest"):
        raise UsageError(f"which is 'largest' or 'smallest', not {which!r}")
    if not 0 < tolerance < 1 or max_products < 1:
        raise UsageError(f"needs 0 < tolerance < 1 and max_products >= 1, got {tolerance} and {max_products}")
    seen = _Products(hessian, max_products, progress)
    if hessian.size <= DENSE:
        seen.max_products = hessian.size
        for column in np.eye(hessian.size):
            seen.apply(column)
        return seen.best(which, tolerance)
    random = np.random.default_rng(seed)
    start = _unit(random.standard_normal(hessian.size))
    start = start + _unit(hessian.gradient.double().cpu().numpy())
    arpack_tolerance = 10 * tolerance
    found = None
    try:
        while found is None or not (found.converged or found.products >= max_products):
            start = _lanczos(seen, start, which, arpack_tolerance)
            arpack_tolerance /= 10
            found = seen.best(which, tolerance)
    except _Spent:
        found = seen.best(which, tolerance)
    return found


def trace(hessian: Hessian, probes: int = 16, *, seed: int = 0, progress: Progress | None = None) -> Estimate:
    """Trace of the Hessian by Hutchinson's estimator (1990), the mean of zᵀHz over random signs z.

    Its standard error is computed from the spread of the probes; the exact trace lies within two of them in about 95 %
    of all cases once there are ten or more probes.

    Args:
        hessian: the operator.
        probes: random vectors, at least 1; each costs one product.
        seed: of the signs.
        progress: called with (done, probes) after each.

    Raises:
        UsageError: fewer than one probe, or a product that is not finite.

    >>> w = torch.ones(3, requires_grad=True)
    >>> trace(Hessian(lambda: (w**2).sum(), [w]), probes=4)
    Estimate(value=6.0, standard_error=0.0, probes=4)
    """
    if probes < 1:
        raise UsageError(f"the trace needs at least one probe, got {probes}")
    random = np.random.default_rng(seed)
    seen = np.empty(probes)
    for i in range(probes):
        signs = torch.from_numpy(random.choice([-1.0, 1.0], hessian.size))
        signs = signs.to(hessian.device, hessian.dtype)
        seen[i] = float(signs.double() @ hessian.product(signs).double())
        if not math.isfinite(seen[i]):
            raise UsageError("a Hessian-vector product is not finite at these parameters")
        if progress is not None:
            progress(i + 1, probes)
    error = float(seen.std(ddof=1) / math.sqrt(probes)) if probes > 1 else math.nan
    return Estimate(float(seen.mean()), error, probes)


class _Spent(Exception):
    """The products allowed are used up: leaves ARPACK from within its operator."""


class _Products:
    """Every vector asked for and its product, so that the best pair in their span is known at any time."""

    def __init__(self, hessian: Hessian, max_products: int, progress: Progress | None) -> None:
        self.hessian, self.max_products, self.progress = hessian, max_products, progress
        self.inputs: list[NDArray[Any]] = []
        self.outputs: list[NDArray[Any]] = []

    def apply(self, vector: Floats) -> Floats:
        if len(self.inputs) >= self.max_products:
            raise _Spent
        given = torch.from_numpy(vector.reshape(-1)).to(self.hessian.dtype)
        product = self.hessian.product(given).cpu()
        if not torch.isfinite(product).all():
            raise UsageError("a Hessian-vector product is not finite at these parameters")
        self.inputs.append(given.numpy())
        self.outputs.append(product.numpy())
        if self.progress is not None:
            self.progress(len(self.inputs), self.max_products)
        return product.numpy().astype(np.float64)

    def best(self, which: str, tolerance: float) -> Eigenvalue:
        """Rayleigh and Ritz over all products: the extreme pair of H within the span of the inputs."""
        gram = _inner(self.inputs, self.inputs)
        squares, axes = np.linalg.eigh(gram)
        kept = squares > squares[-1] * 1e-9  # restarts ask for vectors that are nearly in the span already
        basis = axes[:, kept] / np.sqrt(squares[kept])
        small = basis.T @ _inner(self.inputs, self.outputs) @ basis
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        order = values.argsort()[:: -1 if which == "largest" else 1]
        value = float(values[order[0]])
        weights = basis @ vectors[:, order[0]]
        vector = _combined(self.inputs, weights)
        length = float(np.linalg.norm(vector))
        residual = float(np.linalg.norm(_combined(self.outputs, weights) - value * vector)) / length
        gap = abs(value - float(values[order[1]])) if len(values) > 1 else 0.0
        error = min(residual, residual**2 / gap) if gap else residual
        whole = int(kept.sum()) == self.hessian.size
        # What rounding leaves of a zero Hessian must count as converged.
        noise = float(np.finfo(self.inputs[0].dtype).eps) * max(float(np.abs(v).max()) for v in self.outputs)
        return Eigenvalue(
            value=value,
            vector=torch.from_numpy(vector / length),
            residual=residual,
            error=error,
            products=len(self.inputs),
            converged=whole or error <= max(tolerance * abs(value), noise),
        )


def _lanczos(seen: _Products, start: Floats, which: str, tolerance: float) -> Floats:
    """One run of ARPACK; the eigenvector it ends with. Its products are in ``seen``."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    size = seen.hessian.size
    operator = LinearOperator((size, size), matvec=seen.apply, dtype=np.float64)
    end = "LA" if which == "largest" else "SA"
    try:
        _, vectors = eigsh(operator, k=1, which=end, ncv=min(BASIS[which], size), tol=tolerance, v0=start)
    except ArpackError:  # the start vector spans an invariant subspace: the products so far say all there is
        raise _Spent from None
    found: Floats = vectors[:, 0]
    return found


def _inner(left: list[NDArray[Any]], right: list[NDArray[Any]]) -> Floats:
    """All scalar products in float64, without a float64 copy of more than two vectors at a time."""
    wide: Callable[[NDArray[Any]], Floats] = lambda v: v.astype(np.float64)  # noqa: E731
    return np.array([[float(a @ wide(b)) for b in right] for a in map(wide, left)])


def _combined(vectors: list[NDArray[Any]], weights: Floats) -> Floats:
    total = np.zeros(len(vectors[0]))
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * vector
    return total


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
