"""Learning-rate schedules on a noisy bowl: the floor that noise sets, and how each schedule gets below it."""

from __future__ import annotations

import numpy as np

from lossdoctor import lab
from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import LR, SEED, STEPS, Option, experiment, found
from lossdoctor.lab.result import Experiment, Mark, Table

NAMES = ("constant", "step", "cosine", "inverse_time", "warmup_cosine")
SHOWN = ("constant", "cosine", "constant, a tenth")  # single runs: more would hide one another


@experiment(
    "Learning-rate schedules",
    "With noisy gradients a constant rate stalls at a floor in proportion to it; a falling rate, or averaging, does "
    "not.",
    LR,
    STEPS,
    Option("noise", "standard deviation of the gradient noise", low=0, above=True),
    Option("names", "schedules to compare"),
    Option("repeats", "runs that each curve is the mean of", low=10, high=10_000),
    SEED,
)
def schedules(
    *, lr: float = 0.3, steps: int = 400, noise: float = 2.0, names: tuple[str, ...] = NAMES, repeats: int = 500,
    seed: int = 0,
) -> Experiment:  # fmt: skip
    """(w − 3)² with Gaussian gradient noise, from w = 0; every curve is the mean over many runs."""
    starts = np.zeros((repeats, 1))

    def run(rate: float, schedule: str) -> lab.Descent:
        return lab.descend("quadratic", "sgd", lr=rate, starts=starts, steps=steps, noise=noise, schedule=schedule,
                           seed=seed)  # fmt: skip

    runs = {name: run(lr, name) for name in names}
    constant = runs.get("constant") or run(lr, "constant")
    low = run(lr / 10, "constant")
    runs["constant, a tenth"] = low
    loss = {name: r.losses.mean(axis=1) for name, r in runs.items()}
    swa = ((constant.averaged() - 3.0) ** 2).mean(axis=(1, 2))
    loss["averaged weights (SWA)"] = swa
    law = _floor(lr, noise)
    floors = float(constant.losses[steps // 2 :].mean()), float(low.losses[3 * steps // 4 :].mean())
    rows = tuple(
        (name, float(v[-1]), float(v[-1] / law), next((i for i, x in enumerate(v.tolist()) if x < 0.5), None))
        for name, v in sorted(loss.items(), key=lambda item: float(item[1][-1]))
    )
    single = {
        name: TrainingHistory(
            {"loss": (np.arange(steps + 1), r.losses[:, 0]), "learning_rate": (np.arange(steps), r.learning_rates)},
            name=name,
        )
        for name, r in runs.items()
    }
    return found(
        f"Noise of standard deviation σ keeps the loss at lr·σ²/(4(1 − lr)) = {law:.3f} for a constant rate of {lr:g} "
        f"(measured: {floors[0]:.3f}), however long it trains; at a tenth of the rate it is "
        f"{_floor(lr / 10, noise):.4f} (measured: {floors[1]:.4f}), reached ten times later. A curve that has stalled "
        "at this floor wants a smaller rate, one that is flat from the start a larger: “flat” alone does not say "
        f"which. Schedules take the large rate first and the small one last: {rows[0][0]} ends lowest here, at "
        f"{rows[0][1]:.4f}. Averaging the weights of the last quarter at the full rate ends at {swa[-1]:.4f}, "
        f"1/{law / swa[-1]:.0f} of the floor. Warmup does not speed up a slow descent: it only delays it, which pays "
        "where early steps would go astray.",
        panels=(
            paths.over_steps("Learning rate", "learning rate", {k: r.learning_rates for k, r in runs.items()},
                             log_y=False),
            paths.over_steps("Mean loss", "loss", loss, marks=(Mark("floor of the constant rate", y=law),), floor=1e-6,
                             note=f"Mean over {repeats} runs."),
            paths.over_steps("Single runs", "loss", {k: runs[k].losses[:, 0] for k in SHOWN if k in runs}, floor=1e-6),
        ),
        tables=(Table(f"After {steps} steps", ("schedule", "mean loss", "share of the floor", "first step below 0.5"),
                      rows),),
        numbers={
            "floor, law": law, "floor, measured": floors[0], "floor at a tenth, law": _floor(lr / 10, noise),
            "floor at a tenth, measured": floors[1],
            **{f"mean loss, {name}": float(v[-1]) for name, v in loss.items()},
        },
        runs=single,
        descents=dict(runs),
        sources=(
            "Robbins and Monro, A Stochastic Approximation Method (1951): the inverse-time rate",
            "Loshchilov and Hutter, SGDR (2017)", "Smith and Topin, Super-Convergence (2018)",
            "Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (2018)",
            "Goyal et al., Accurate, Large Minibatch SGD (2017): warmup",
        ),
    )  # fmt: skip


def _floor(lr: float, noise: float) -> float:
    """E (w − 3)² in the long run of w ← w − lr(2(w − 3) + noise): lr²σ²/(1 − (1 − 2·lr)²)."""
    return lr * noise**2 / (4 * (1 - lr)) if lr < 1 else float("inf")
