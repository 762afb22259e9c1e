"""Linear regression by mini-batches, in NumPy: what the experiments on batches, rates and scales share."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.history import TrainingHistory

Array = NDArray[np.float64]


def rows(n: int, weights: tuple[float, ...], noise: float, rng: np.random.RandomState) -> tuple[Array, Array]:
    """Standard normal inputs float64[n, d] and y = X w + noise: the tutorials' data when ``rng`` is RandomState(42).

    RandomState, not Generator: it draws what ``np.random.seed(42)`` draws, and leaves the global state alone.
    """
    x = rng.randn(n, len(weights))
    return x, x @ np.asarray(weights) + rng.randn(n) * noise


def mse(w: Array, x: Array, y: Array) -> float:
    """Mean squared error of y ≈ X w."""
    return float(np.mean((x @ w - y) ** 2))


def gradient(w: Array, x: Array, y: Array) -> Array:
    """Of the mean squared error: 2 Xᵀ(X w − y) / n."""
    return np.asarray(2 * x.T @ (x @ w - y) / len(y))


def hessian(x: Array) -> Array:
    """Of the mean squared error: 2 XᵀX / n, the same at every w."""
    return np.asarray(2 * x.T @ x / len(x))


def critical_rate(x: Array) -> float:
    """2 / λmax of the Hessian: full-batch gradient descent converges below it and diverges above it."""
    return float(2 / np.linalg.eigvalsh(hessian(x))[-1])


def best(x: Array, y: Array) -> Array:
    """The least-squares weights."""
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0])


@dataclass(frozen=True, eq=False)
class Fit:
    """A training run of :func:`fit`.

    Attributes:
        weights: float64[steps + 1, d], before the first step and after each one.
        batch_losses, batch_sizes: [steps], the loss of each batch before its step, and its rows.
        steps_per_epoch: int; seconds: of the loop.
    """

    weights: Array
    batch_losses: Array
    batch_sizes: NDArray[np.int64]
    steps_per_epoch: int
    seconds: float

    @property
    def epochs(self) -> int:
        return len(self.batch_losses) // self.steps_per_epoch

    @property
    def rows_seen(self) -> NDArray[np.int64]:
        """Gradients of single rows that were computed, after each epoch."""
        return np.asarray(self.batch_sizes.cumsum()[self.steps_per_epoch - 1 :: self.steps_per_epoch])

    def losses(self, x: Array, y: Array) -> Array:
        """The loss over all of (x, y) at the start and after each epoch: float64[epochs + 1]."""
        return np.array([mse(w, x, y) for w in self.weights[:: self.steps_per_epoch]])

    def mean_of_batches(self) -> Array:
        """Each epoch's batch losses averaged batch by batch: a short last batch weighs as much as a full one."""
        return np.asarray(self.batch_losses.reshape(self.epochs, -1).mean(axis=1))

    def mean_of_rows(self) -> Array:
        """Each epoch's batch losses averaged row by row."""
        sums = (self.batch_losses * self.batch_sizes).reshape(self.epochs, -1).sum(axis=1)
        return np.asarray(sums / self.batch_sizes[: self.steps_per_epoch].sum())

    def history(self, name: str, x: Array, y: Array) -> TrainingHistory:
        """The loss over all rows after each epoch, with the gradient's norm."""
        ends = self.weights[self.steps_per_epoch :: self.steps_per_epoch]
        epochs = np.arange(1, len(ends) + 1)
        norms = [float(np.linalg.norm(gradient(w, x, y))) for w in ends]
        curves = {"loss": (epochs, self.losses(x, y)[1:]), "grad_norm": (epochs, np.array(norms))}
        return TrainingHistory(curves, name=name, step_unit="epoch")


def fit(
    x: Array,
    y: Array,
    *,
    lr: float,
    batch_size: int,
    epochs: int,
    rng: np.random.RandomState,
    start: Array | None = None,
) -> Fit:
    """Gradient descent on the mean squared error, ``batch_size`` rows a step, shuffled every epoch.

    ``batch_size`` of all rows or more is full-batch descent (and draws no permutation); the last batch of an epoch may
    be short. A run that overflows goes on as Inf and NaN: divergence is a result.
    """
    n = len(y)
    w = np.zeros(x.shape[1]) if start is None else np.array(start, dtype=np.float64)
    bounds = [(low, min(low + batch_size, n)) for low in range(0, n, batch_size)]
    weights = np.empty((epochs * len(bounds) + 1, x.shape[1]))
    losses = np.empty(epochs * len(bounds))
    weights[0], step = w, 0
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        for _ in range(epochs):
            order = rng.permutation(n) if batch_size < n else None
            for low, high in bounds:
                xs, ys = (x, y) if order is None else (x[order[low:high]], y[order[low:high]])
                error = xs @ w - ys
                losses[step] = error @ error / len(ys)
                w = w - lr * (2 / len(ys)) * (xs.T @ error)
                step += 1
                weights[step] = w
    seconds = time.perf_counter() - began
    sizes = np.tile([high - low for low, high in bounds], epochs).astype(np.int64)
    return Fit(weights, losses, sizes, len(bounds), seconds)


def first_below(losses: Array, bound: float) -> int | None:
    """The first index whose loss is below the bound."""
    below = np.flatnonzero(losses < bound)
    return int(below[0]) if len(below) else None


def gradient_spread(w: Array, x: Array, y: Array, batch_size: int, draws: int, rng: np.random.RandomState) -> Array:
    """Batch gradients at w minus the full one: float64[draws, d], batches without repetition."""
    whole = gradient(w, x, y)
    out = np.empty((draws, len(w)))
    for i in range(draws):
        rows = rng.choice(len(y), batch_size, replace=False)
        out[i] = gradient(w, x[rows], y[rows]) - whole
    return out


def peak_bytes(x: Array, y: Array, batch_size: int) -> int:
    """The memory that one gradient step allocates beside the data, as tracemalloc measures it."""
    w, order = np.zeros(x.shape[1]), np.arange(len(y))
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    chosen = order[:batch_size].copy()
    gradient(w, x[chosen], y[chosen])
    peak = tracemalloc.get_traced_memory()[1] - before
    if not running:
        tracemalloc.stop()
    return peak
