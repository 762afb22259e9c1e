"""The four loss curves everybody knows, really trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import last, lowest, outcomes, tail, train_and_val
from lossdoctor.lab.result import Experiment, Mark


@experiment(
    "Four loss curves, and what makes them",
    "healthy, overfitting, underfitting and a learning rate too high, each from a net that was trained that way",
    LR,
    Option("factor", "the rate of the oscillating run over that of the healthy one", low=1),
    Option("few", "training examples of the overfitting run", low=20, high=600),
    Option("steps", "optimizer steps of each run", low=200, high=20_000),
    SEED,
)
def four_patterns(
    *, lr: float = 0.05, factor: float = 6.0, few: int = 100, steps: int = 1000, seed: int = 0
) -> Experiment:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import spirals
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data, scarce = spirals(600, 400, seed=seed), spirals(few, 400, noise=0.18, seed=seed)
    tangled = spirals(600, 400, turns=1.5, seed=seed)
    recipe = Recipe(steps=steps, lr=lr, optimizer="momentum")
    setups = {
        "healthy": ([2, 32, 32, 3], data, recipe),
        "overfitting": ([2, 128, 128, 3], scarce, recipe),
        "underfitting": ([2, 2, 3], tangled, replace(recipe, batch_size=64)),
        "learning rate too high": ([2, 32, 32, 3], data, replace(recipe, lr=factor * lr)),
    }
    runs = {
        name: train(partial(mlp, sizes, activation=nn.Tanh), found_data, its, seed=seed, name=name)
        for name, (sizes, found_data, its) in setups.items()
    }
    histories = {name: run.history for name, run in runs.items()}
    best_step, best = lowest(histories["overfitting"])
    notes = {
        "healthy": "Both fall and level off together; the small gap is what generalisation costs.",
        "overfitting": f"{few} noisy examples, 17,000 weights: validation turns at step {best_step}.",
        "underfitting": "Two hidden units cannot bend round a spiral: both stay high, and close together.",
        "learning rate too high": f"Net and data of the healthy run, rate × {factor:g}: it does not settle.",
    }
    panels = tuple(
        train_and_val(
            name.capitalize(),
            history,
            note=notes[name],
            marks=[Mark("lowest validation loss", x=float(best_step))] if name == "overfitting" else (),
            log_y=name == "overfitting",
        )
        for name, history in histories.items()
    )
    numbers: dict[str, float | str] = {
        "healthy: final validation loss": tail(histories["healthy"], "val_loss"),
        "healthy: final training loss": tail(histories["healthy"], "loss"),
        "overfitting: lowest validation loss": best,
        "overfitting: its step": best_step,
        "overfitting: final validation loss": last(histories["overfitting"], "val_loss"),
        "overfitting: final training loss": tail(histories["overfitting"], "loss"),
        "underfitting: final training loss": tail(histories["underfitting"], "loss"),
        "underfitting: final validation loss": tail(histories["underfitting"], "val_loss"),
        "too high: final validation loss": tail(histories["learning rate too high"], "val_loss"),
        "too high: lowest validation loss": lowest(histories["learning rate too high"])[1],
    }
    text = (
        "Three arms of a spiral are told apart by small tanh nets, by SGD with momentum; only what the heading "
        "names differs. The healthy run ends at a validation loss of "
        f"{numbers['healthy: final validation loss']:.3f}. With {few} noisy examples the validation loss is lowest "
        f"({best:.2f}) at step {best_step} and ends at {numbers['overfitting: final validation loss']:.2f}, while "
        f"the training loss falls to {numbers['overfitting: final training loss']:.2f}: the net learns the noise by "
        f"heart. A net of two hidden units stays at {numbers['underfitting: final training loss']:.2f} (guessing "
        "costs ln 3 = 1.10), on training and validation data alike: there is nothing to regularise, it needs "
        f"capacity. At {factor:g} times the rate the loss swings around "
        f"{numbers['too high: final validation loss']:.2f} for good: the steps are too long for the curvature, and "
        "no amount of time helps; a lower rate does at once."
    )
    return found(
        text,
        panels=panels,
        tables=(outcomes("Where the four runs ended", histories),),
        numbers=numbers,
        runs=histories,
        sources=("Goodfellow, Bengio, Courville 2016, Deep Learning, chapters 5 and 8",),
    )
