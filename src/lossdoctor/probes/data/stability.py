"""Up to which learning rate a linear model on these inputs trains: computed from their second moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.probes.data.table import Part, Table

_FULL = 512  # up to so many inputs the matrix is formed; beyond, its largest eigenvalue comes from products
_BEND = 0.5  # the largest eigenvalue that diag(p) − p pᵀ, the curvature of the cross-entropy, can have


@dataclass(frozen=True)
class Stability:
    """Up to which rate gradient descent on a linear model is stable.

    With the mean squared error of ``torch.nn.MSELoss`` the Hessian is 2·E[x xᵀ], x with a 1 for the bias (over the
    number of outputs, since that loss averages over them); gradient descent is stable below 2 / λmax of it. The
    cross-entropy curves at most half as much as E[x xᵀ] (Böhning 1992): below ``cross_entropy`` = 4 / λmax it cannot
    diverge. A network's first layer sees the same inputs, behind weights that change the number, not its order.

    Attributes:
        largest: the largest eigenvalue of the inputs' second-moment matrix, bias included.
        squared_error, cross_entropy: critical rates as the data are.
        standardized: that of the squared error on standardised inputs.
        standardized_cross_entropy: that of the cross-entropy.
    """

    largest: float
    squared_error: float
    cross_entropy: float
    standardized: float
    standardized_cross_entropy: float

    @property
    def gain(self) -> float:
        """How much larger a rate standardised inputs allow."""
        return self.standardized / self.squared_error

    def critical(self, classified: bool) -> tuple[float, float]:
        """(as they are, standardised), for the loss that goes with the target."""
        if classified:
            return self.cross_entropy, self.standardized_cross_entropy
        return self.squared_error, self.standardized


def stability_of(table: Table) -> Stability | None:
    """The critical rates of these inputs; None where there are no quantities."""
    if not table.numeric:
        return None
    held = [_filled(p) for p in table.numeric]
    if len(held) == 1 and table.numeric[0].kind == "sequence":  # one layer serves all places
        held = [held[0].reshape(-1, table.numeric[0].features)]
    raw = largest_eigenvalue(held, None)
    centre = [(x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)) for x in held]
    unit = max(1.0, largest_eigenvalue(held, centre))
    target = table.target
    outputs = target.outputs if target is not None and target.kind == "numbers" else 1
    return Stability(raw, outputs / raw, 2.0 / (_BEND * raw), outputs / unit, 2.0 / (_BEND * unit))


def _filled(part: Part) -> NDArray[np.floating]:
    """``(examples, inputs)`` with gaps at their feature's mean."""
    x = part.flat()
    bad = ~np.isfinite(x)
    if not bad.any():
        return x
    mean = np.where(bad, 0.0, x).sum(axis=0, dtype=np.float64) / np.maximum(1, (~bad).sum(axis=0))
    filled: NDArray[np.floating] = np.where(bad, mean, x).astype(x.dtype)
    return filled


def largest_eigenvalue(
    blocks: list[NDArray[np.floating]], centre: list[tuple[NDArray[np.float64], NDArray[np.float64]]] | None
) -> float:
    """Largest eigenvalue of E[x xᵀ] over the blocks side by side and a 1 for the bias; with ``centre`` standardised.

    To a relative 1e-3 where there are more than 512 inputs (Lanczos on products), exactly below.
    """
    n, width = len(blocks[0]), sum(b.shape[1] for b in blocks)
    mean, over = np.zeros(width), np.ones(width)
    if centre is not None:
        mean = np.concatenate([m for m, _ in centre])
        std = np.concatenate([s for _, s in centre])
        steady = ~(std > 1e-12 * np.maximum(1e-300, np.abs(mean)))  # constants vanish
        over = np.where(steady, 0.0, 1.0 / np.where(steady, 1.0, std))
    if width <= _FULL:
        x = (np.column_stack(blocks).astype(np.float64) - mean) * over
        x = np.column_stack([x, np.ones(n)])
        return float(np.linalg.eigvalsh(x.T @ x / n)[-1])
    from scipy.sparse.linalg import LinearOperator, eigsh

    edges = np.cumsum([0, *(b.shape[1] for b in blocks)])
    step = max(1, 2_000_000 // width)

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        """E[x xᵀ] v, without standardised copies: (x − mean)·over has the same products up to what is known of mean."""
        v = v.ravel()
        inner = v[:-1] * over
        offset = v[-1] - inner @ mean
        out, total = np.zeros(width), 0.0
        for start in range(0, n, step):
            held = [b[start : start + step].astype(np.float64) for b in blocks]
            along = np.full(len(held[0]), offset)
            for x, a, z in zip(held, edges, edges[1:], strict=False):
                along += x @ inner[a:z]
            for x, a, z in zip(held, edges, edges[1:], strict=False):
                out[a:z] += x.T @ along
            total += along.sum()
        return np.append((out - mean * total) * over, total) / n

    operator = LinearOperator((width + 1, width + 1), matvec=product, dtype=np.float64)
    start_at = np.random.default_rng(0).normal(size=width + 1)
    return float(eigsh(operator, k=1, which="LA", tol=1e-3, ncv=8, v0=start_at, return_eigenvectors=False)[0])
