"""What Hessian-vector products tell of the spectrum: an extreme eigenvalue with its own error check, and the trace."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.hessian import Hessian, Progress

Floats = NDArray[np.float64]

BASIS = 6  # products before convergence is looked at
DENSE = 64  # up to so many parameters the whole matrix is as cheap, and exact


@dataclass(frozen=True, eq=False)
class Eigenvalue:
    """An extreme eigenvalue of a Hessian.

    Attributes:
        value: the Rayleigh quotient of ``vector``.
        vector: unit vector, float64, shape (n,), on the CPU.
        residual: |H v - value v|. Some eigenvalue of H lies within this of ``value``, always.
        error: the estimate residual² / gap (Kato and Temple), with the least gap to the next value that the products
            allow; at most ``residual``. That nothing lies beyond no iteration can know: on nets of about a hundred
            parameters one start in a hundred was nearly blind to the extreme eigenvector and found the next one.
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

    Memory: two vectors per product in the parameters' dtype, and up to 24 float64 vectors of ARPACK.

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
    if hessian.size <= min(DENSE, max_products):
        seen = _Products(hessian, which, 0.0, hessian.size, progress)
        with suppress(_Done):
            for column in np.eye(hessian.size):
                seen.apply(column)
        return seen.best()
    seen = _Products(hessian, which, tolerance, max_products, progress)
    random = np.random.default_rng(seed)
    start = _unit(random.standard_normal(hessian.size)) + _unit(hessian.gradient.double().cpu().numpy())
    with suppress(_Done):
        _lanczos(seen, start)
    return seen.best()


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


class _Done(Exception):
    """Converged, or the products allowed are used up: leaves ARPACK from within its operator."""


class _Products:
    """Every vector asked for and its product, so that the best pair in their span is known at any time."""

    def __init__(
        self, hessian: Hessian, which: str, tolerance: float, max_products: int, progress: Progress | None
    ) -> None:
        self.hessian, self.which, self.tolerance = hessian, which, tolerance
        self.max_products, self.progress = max_products, progress
        self.inputs: list[NDArray[Any]] = []
        self.outputs: list[NDArray[Any]] = []
        self.gram = np.empty((max_products, max_products))  # scalar products of inputs with inputs
        self.cross = np.empty((max_products, max_products))  # and of inputs with outputs

    def apply(self, vector: Floats) -> Floats:
        # A copy, because ARPACK writes the next vector into the same memory.
        given = torch.from_numpy(vector.reshape(-1)).to(self.hessian.dtype, copy=True)
        product = self.hessian.product(given).cpu()
        if not torch.isfinite(product).all():
            raise UsageError("a Hessian-vector product is not finite at these parameters")
        self._keep(given.numpy(), product.numpy())
        count = len(self.inputs)
        if self.progress is not None:
            self.progress(count, self.max_products)
        # Before a whole basis is there, a Ritz value may rest at a lower eigenvalue for a while.
        if count >= self.max_products or (count >= BASIS and self.best().converged):
            raise _Done
        return product.numpy().astype(np.float64)

    def _keep(self, given: NDArray[Any], product: NDArray[Any]) -> None:
        k = len(self.inputs)
        self.inputs.append(given)
        self.outputs.append(product)
        wide, wide_product = given.astype(np.float64), product.astype(np.float64)
        for i in range(k + 1):
            self.gram[i, k] = self.gram[k, i] = wide @ self.inputs[i]
            self.cross[i, k] = wide_product @ self.inputs[i]
            self.cross[k, i] = wide @ self.outputs[i]

    def best(self) -> Eigenvalue:
        """Rayleigh and Ritz over all products: the extreme pair of H within the span of the inputs."""
        k = len(self.inputs)
        squares, axes = np.linalg.eigh(self.gram[:k, :k])
        kept = squares > squares[-1] * 1e-9  # restarts ask for vectors that are nearly in the span already
        basis = axes[:, kept] / np.sqrt(squares[kept])
        small = basis.T @ self.cross[:k, :k] @ basis
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        order = values.argsort()[:: -1 if self.which == "largest" else 1]
        value, vector, residual = self._pair(values[order[0]], basis @ vectors[:, order[0]])
        error = residual
        if len(values) > 1:
            second, _, off = self._pair(values[order[1]], basis @ vectors[:, order[1]])
            gap = abs(value - second) - off  # the next eigenvalue may be as much nearer as its own residual
            error = min(residual, residual**2 / gap) if gap > 0 else residual
        # What rounding leaves of a zero Hessian must count as converged.
        noise = float(np.finfo(self.inputs[0].dtype).eps) * max(float(np.abs(v).max()) for v in self.outputs)
        return Eigenvalue(
            value=value,
            vector=torch.from_numpy(vector),
            residual=residual,
            error=error,
            products=k,
            converged=int(kept.sum()) == self.hessian.size or error <= max(self.tolerance * abs(value), noise),
        )

    def _pair(self, value: float, weights: Floats) -> tuple[float, Floats, float]:
        """A Ritz value, its unit vector and the norm of its residual."""
        vector = _combined(self.inputs, weights)
        length = float(np.linalg.norm(vector))
        residual = float(np.linalg.norm(_combined(self.outputs, weights) - value * vector))
        return float(value), vector / length, residual / length


def _lanczos(seen: _Products, start: Floats) -> None:
    """Let ARPACK ask for products until :class:`_Products` has enough."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    size = seen.hessian.size
    operator = LinearOperator((size, size), matvec=seen.apply, dtype=np.float64)
    end = "LA" if seen.which == "largest" else "SA"
    # ARPACK errs where the start spans an invariant subspace: the products so far then say all there is.
    with suppress(ArpackError):
        eigsh(
            operator, k=1, which=end, ncv=min(seen.max_products, size, 24), tol=0, v0=start, return_eigenvectors=False
        )


def _combined(vectors: list[NDArray[Any]], weights: Floats) -> Floats:
    total = np.zeros(len(vectors[0]))
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * vector
    return total


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
