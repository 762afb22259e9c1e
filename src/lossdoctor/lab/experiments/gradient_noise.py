"""The noise of mini-batch gradients: how much there is, where it points, and what isotropic noise does instead."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import regression
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Panel, Table

ROWS = 2048
SCALES = np.array([2.0, 0.5])  # a sharp and a flat direction: their curvatures differ sixteenfold


@experiment(
    "The noise of mini-batch gradients",
    "Its variance falls as 1/B, it is largest where the loss is curved most, and Langevin noise is not like it.",
    Option("batch_sizes", "rows of a batch", low=1, high=ROWS),
    LR,
    Option("draws", "batches drawn per size", low=50, high=100_000),
    SEED,
)
def gradient_noise(
    *, batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), lr: float = 0.02,
    draws: int = 1000, seed: int = 0,
) -> Experiment:  # fmt: skip
    """Linear regression with inputs of standard deviation 2 and ½, studied at its least-squares weights."""
    rng = np.random.RandomState(seed)
    x = rng.randn(ROWS, 2) * SCALES
    y = x @ np.array([1.0, -1.0]) + rng.randn(ROWS)
    at = regression.best(x, y)
    spread = {b: regression.gradient_spread(at, x, y, b, draws, rng) for b in sorted(set(batch_sizes))}
    variance = {b: float((s**2).sum(axis=1).mean()) for b, s in spread.items()}
    single = 2 * x * (x @ at - y)[:, None]  # the gradient of every row; their mean is zero here
    covariance = single.T @ single / (ROWS - 1)
    # Batches drawn without repetition: the variance of a mean from a finite population.
    law = {b: float(np.trace(covariance)) / b * (1 - b / ROWS) for b in spread}
    small = [b for b in spread if b <= ROWS // 16]
    slope = float(np.polyfit(np.log(small), np.log([variance[b] for b in small]), 1)[0]) if len(small) > 1 else np.nan
    hessian = regression.hessian(x)
    curved, axes = np.linalg.eigh(hessian)
    along = np.einsum("ij,jk,ki->i", axes.T, covariance, axes)  # noise variance along each eigenvector
    walks = _walks(x, y, at, covariance, lr, rng)
    excess = {name: _excess(walk - at, axes, curved) for name, walk in walks.items()}
    table = Table(
        "Variance of a batch gradient",
        ("rows", "measured", "law: tr C/B·(1 − B/n)", "standard deviation against one row"),
        tuple((b, v, law[b], float(np.sqrt(v / np.trace(covariance)))) for b, v in variance.items()),
    )
    position = Table(
        "Where the weights end up wandering",
        ("noise", "spread along the sharp direction", "spread along the flat direction", "mean loss above the least"),
        tuple((name, *values) for name, values in excess.items()),
        "Both noises have the same total variance.",
    )
    batch, langevin = excess["mini-batch noise (1 row)"], excess["isotropic noise"]
    return found(
        f"The variance of a batch gradient falls as B to the power of {slope:.2f}: larger batches are less noisy, not "
        "more (halving the standard deviation takes four times the rows). At the minimum the covariance of single-row "
        f"gradients follows the Hessian: its variance along the sharp direction is {along[1] / along[0]:.1f} times "
        f"that along the flat one, the curvature {curved[1] / curved[0]:.1f} times. Isotropic (Langevin) noise of "
        f"equal total variance lets the weights wander {langevin[1] / batch[1]:.1f} times as far along the flat "
        "direction: noise is not just noise.",
        panels=(
            Panel(
                "Variance against batch size", "rows in a batch", "variance of the gradient",
                (Line("measured", np.array(list(variance)), np.array(list(variance.values())), "points"),
                 Line("tr C/B·(1 − B/n)", np.array(list(law)), np.array(list(law.values())))),
                log_x=True, log_y=True,
            ),
            Panel(
                "Gradients of batches at the minimum", "∂loss/∂w₁ (sharp)", "∂loss/∂w₂ (flat)",
                tuple(Line(f"{b} row{'s' if b > 1 else ''}", spread[b][:400, 0], spread[b][:400, 1], "points")
                      for b in list(spread)[:: max(1, len(spread) // 3)][:4]),
                note="All scatter around zero, the gradient of all rows.",
            ),
            Panel(
                "Where the weights wander", "w₁ (sharp)", "w₂ (flat)",
                tuple(Line(name, walk[::20, 0], walk[::20, 1], "points") for name, walk in walks.items()),
            ),
        ),
        tables=(table, position),
        numbers={
            "exponent": slope,
            "noise ratio sharp to flat": float(along[1] / along[0]),
            "curvature ratio sharp to flat": float(curved[1] / curved[0]),
            "largest deviation from the law": float(max(abs(variance[b] / law[b] - 1) for b in spread if b < ROWS)),
            "flat spread, isotropic to mini-batch": langevin[1] / batch[1],
        },
        sources=(
            "Smith, Kindermans, Ying and Le, Don't Decay the Learning Rate, Increase the Batch Size (2018)",
            "Zhu, Wu, Yu, Wu and Ma, The Anisotropic Noise in Stochastic Gradient Descent (2019)",
            "Welling and Teh, Bayesian Learning via Stochastic Gradient Langevin Dynamics (2011)",
        ),
    )  # fmt: skip


def _walks(
    x: Array, y: Array, at: Array, covariance: Array, lr: float, rng: np.random.RandomState, steps: int = 20_000
) -> dict[str, Array]:
    """Long walks around the minimum: single rows drawn, and the full gradient plus isotropic noise as strong."""
    hessian, level = regression.hessian(x), float(np.sqrt(np.trace(covariance) / len(at)))
    rows, kicks = rng.randint(len(y), size=steps), rng.randn(steps, len(at)) * level
    out = {}
    for name in ("mini-batch noise (1 row)", "isotropic noise"):
        w, walk = at.copy(), np.empty((steps, len(at)))
        for i in range(steps):
            if name == "isotropic noise":
                slope = hessian @ (w - at) + kicks[i]
            else:
                row = x[rows[i]]
                slope = 2 * row * (row @ w - y[rows[i]])
            w = w - lr * slope
            walk[i] = w
        out[name] = walk[steps // 10 :]
    return out


def _excess(offsets: Array, axes: Array, curved: Array) -> tuple[float, float, float]:
    """Spread along the sharp and the flat direction, and the mean loss above the least: ½ Σ λᵢ·varianceᵢ."""
    variance = ((offsets @ axes) ** 2).mean(axis=0)
    return float(np.sqrt(variance[1])), float(np.sqrt(variance[0])), float(0.5 * curved @ variance)
