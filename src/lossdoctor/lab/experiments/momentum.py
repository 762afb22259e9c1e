"""Momentum: a sum, not an average; the rate it really steps at, its critical rate, and its two ways of writing."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, STEPS, Option, experiment, found
from lossdoctor.lab.experiments.regression import Array
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "What momentum does to the learning rate",
    "v ← βv + ∇L sums gradients: at β = 0.9 steps grow tenfold; the critical rate grows only to 2(1 + β)/λmax.",
    LR,
    Option("beta", "share of the velocity that is kept", low=0, high=0.999),
    STEPS,
    Option("drop_at", "step from which the rate is a tenth, for the two ways of writing", low=1),
)
def momentum(*, lr: float = 0.02, beta: float = 0.9, steps: int = 120, drop_at: int = 20) -> Experiment:
    """Heavy-ball descent on (w − 3)²."""
    gain = 1 / (1 - beta)
    velocity = _velocity(beta, steps)
    runs = {
        f"plain, lr {lr:g}": (lab.descend("quadratic", "sgd", lr=lr, starts=[[0.0]], steps=steps), 0),
        f"momentum {beta:g}, lr {lr:g}": (_heavy(lr, beta, steps), 0),
        f"momentum {beta:g}, lr {lr / gain:g}": (_heavy(lr / gain, beta, steps), 0),
    }
    measured, law = _critical(beta), 2 * (1 + beta) / 2
    kept, dropped = np.full(steps, lr), np.where(np.arange(steps) < drop_at, lr, lr / 10)
    same = float(np.abs(_rate_outside(kept, beta) - _rate_inside(kept, beta)).max())
    outside, inside = _rate_outside(dropped, beta), _rate_inside(dropped, beta)
    apart = float(np.abs(outside - inside).max())
    return found(
        f"With v ← βv + ∇L and w ← w − lr·v the velocity is a sum of past gradients, not their average: under a steady "
        f"gradient of 1 it grows to {velocity[-1]:.3f} = 1/(1 − β), as if the rate were {gain:g} times as large. "
        f"Switching momentum on without lowering the rate changes the rate. The critical rate rises only to "
        f"2(1 + β)/λmax = {law:g} (measured: {measured:.4f}). Written as v ← βv + lr·∇L, w ← w − v it is the same "
        f"while the rate is constant (largest difference {same:.0e}); when the rate drops tenfold at step {drop_at}, "
        f"the first form brakes at once and the second runs on with its old velocity (they part by {apart:.3f}). "
        "PyTorch has the first, Keras and the original heavy ball the second.",
        panels=(
            Panel("Velocity under a steady gradient of 1", "step", "velocity",
                  (Line(f"β = {beta:g}", paths.steps_of(velocity), velocity),), marks=(Mark("1/(1 − β)", y=gain),)),
            paths.over_steps("Loss on (w − 3)²", "loss", paths.losses(runs), floor=1e-16),
            paths.over_steps(f"The rate drops tenfold at step {drop_at}", "w",
                             {"lr outside: w − lr·v": outside, "lr inside: v ← βv + lr·∇L": inside}, log_y=False,
                             marks=(Mark("drop", x=float(drop_at)), Mark("minimum", y=3.0))),
        ),
        tables=(
            Table(f"{steps} steps from w = 0", ("run", "last loss", "state", "critical rate"),
                  tuple((k, float(r.losses[-1, 0]), r.state(0), r.critical_lr) for k, (r, _) in runs.items())),
        ),
        numbers={
            "gain": gain, "velocity under a steady gradient": float(velocity[-1]), "critical rate, law": law,
            "critical rate, measured": measured, "difference of the forms, constant rate": same,
            "difference of the forms, after a drop": apart,
        },
        runs=paths.histories(runs),
        descents={label: run for label, (run, _) in runs.items()},
        sources=("Polyak, Some methods of speeding up the convergence of iteration methods (1964)",
                 "Sutskever et al., On the importance of initialization and momentum in deep learning (2013)"),
    )  # fmt: skip


def _heavy(lr: float, beta: float, steps: int) -> lab.Descent:
    return lab.descend("quadratic", "momentum", lr=lr, starts=[[0.0]], steps=steps, momentum=beta)


def _velocity(beta: float, steps: int) -> Array:
    """Of v ← βv + 1 from 0."""
    return np.asarray((1 - beta ** np.arange(steps + 1)) / (1 - beta))


def _rate_outside(rates: Array, beta: float) -> Array:
    w, v, out = 0.0, 0.0, [0.0]
    for lr in rates:
        v = beta * v + 2 * (w - 3)
        w -= lr * v
        out.append(w)
    return np.array(out)


def _rate_inside(rates: Array, beta: float) -> Array:
    w, v, out = 0.0, 0.0, [0.0]
    for lr in rates:
        v = beta * v + lr * 2 * (w - 3)
        w -= v
        out.append(w)
    return np.array(out)


def _critical(beta: float) -> float:
    """The rate at which the heavy ball stops coming nearer, by bisection on runs of 2,000 steps."""
    low, high = 0.01, 8.0
    for _ in range(30):
        middle = (low + high) / 2
        with np.errstate(all="ignore"):
            tail = np.abs(_rate_outside(np.full(2000, middle), beta) - 3)[-50:]
        low, high = (middle, high) if np.all(tail < 3) else (low, middle)
    return high
