"""Adam's first steps: what the bias correction does, and why warmup helps all the same."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import SEED, STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "Adam's first steps",
    "Bias correction shrinks the first update from 3.16·lr to 1·lr; noise makes the early ones large all the same.",
    Option("beta1", "decay of the mean of the gradients", low=0, high=0.9999),
    Option("beta2", "decay of the mean of their squares", low=0, high=0.999999),
    Option("signal", "mean of the noisy gradient, whose standard deviation is 1", low=-10, high=10),
    STEPS,
    Option("coordinates", "weights whose updates are averaged", low=10, high=100_000),
    SEED,
)
def adam_first_steps(
    *, beta1: float = 0.9, beta2: float = 0.999, signal: float = 0.05, steps: int = 2000, coordinates: int = 500,
    seed: int = 0,
) -> Experiment:  # fmt: skip
    """Updates in units of the learning rate: with and without the correction, for steady and for noisy gradients."""
    steady = np.ones((steps, 1))
    noisy = signal + np.random.default_rng(seed).normal(size=(steps, coordinates))
    with_, without = (np.abs(updates(steady, beta1, beta2, correct))[:, 0] for correct in (True, False))
    size = np.sqrt((updates(noisy, beta1, beta2, True) ** 2).mean(axis=1))
    raw = np.sqrt((updates(noisy, beta1, beta2, False) ** 2).mean(axis=1))
    late = float(size[-max(1, steps // 4) :].mean())
    law = (1 - beta1) / np.sqrt(1 - beta2)
    x = paths.steps_of(size) + 1
    rows = tuple(
        (t, float(with_[t - 1]), float(without[t - 1]), float(size[t - 1]), float(raw[t - 1]))
        for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
        if t <= steps
    )
    return found(
        f"Without bias correction the first update is (1 − β₁)/√(1 − β₂) = {law:.3f} times lr, and under a steady "
        f"gradient it grows to {without.max():.1f} times lr before it settles at 1. The correction makes it 1 from the "
        "first step on: it shrinks early updates, it does not amplify them. What remains is that early updates follow "
        "single noisy gradients: the first one is ±lr in every coordinate, whatever the gradient's size, while later "
        f"ones average the noise away (here to {late:.2f}·lr). The first step is {1 / late:.1f} times as long as a "
        "late one and mostly noise, and that is what warmup tempers.",
        panels=(
            Panel("Steady gradient of 1", "step", "update / lr",
                  (Line("with bias correction", x, with_), Line("without", x, without)), log_x=True,
                  marks=(Mark("lr", y=1.0),)),
            Panel(f"Noisy gradient, {signal:g} ± 1", "step", "update / lr (root mean square)",
                  (Line("with bias correction", x, size), Line("without", x, raw)), log_x=True,
                  marks=(Mark("lr", y=1.0),)),
        ),
        tables=(Table("Update in units of lr", ("step", "steady, corrected", "steady, uncorrected", "noisy, corrected",
                                                "noisy, uncorrected"), rows),),
        numbers={
            "first update, corrected": float(with_[0]), "first update, uncorrected": float(without[0]),
            "law, uncorrected": float(law), "largest update, uncorrected": float(without.max()),
            "first update, noisy": float(size[0]), "late update, noisy": late,
        },
        sources=("Kingma and Ba, Adam (2015), section 3", "Liu et al., On the Variance of the Adaptive Learning Rate "
                 "and Beyond (2020)", "Ma and Yarats, On the Adequacy of Untuned Warmup (2021)"),
    )  # fmt: skip


def updates(gradients: Array, beta1: float, beta2: float, correct: bool) -> Array:
    """Adam's updates over lr (ε = 1e-8), coordinate by coordinate; gradients: float64[steps, n]."""
    m, v, out = np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1]), np.empty_like(gradients)
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        first, second = (1 - beta1**t, 1 - beta2**t) if correct else (1.0, 1.0)
        out[t - 1] = -(m / first) / (np.sqrt(v / second) + 1e-8)
    return out
