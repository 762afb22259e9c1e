"""The patterns beyond the four: explosion, flat line, slow descent; each really trained."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import last, outcomes, tail, train_and_val
from lossdoctor.lab.result import Experiment


@experiment(
    "Explosion, flat line, slow descent",
    "one regression at a rate that explodes, at one too low, without an optimizer step, and at a good one",
    LR,
    Option("high", "the rate of the exploding run over the good one", low=1),
    Option("low", "the rate of the slow run over the good one", low=0, high=1, above=True),
    Option("steps", "optimizer steps of each run", low=100, high=20_000),
    SEED,
)
def more_patterns(
    *, lr: float = 0.1, high: float = 20.0, low: float = 0.002, steps: int = 600, seed: int = 0
) -> Experiment:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import teacher
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = teacher(600, 300, dim=4, noise=0.3, seed=seed)
    good = Recipe(steps=steps, lr=lr, optimizer="sgd")
    setups = {
        "healthy": good,
        "explosion": replace(good, lr=high * lr),
        # A rate of zero is what a forgotten optimizer step, frozen weights or a schedule stuck at zero come to.
        "flat line": replace(good, schedule=lambda _: 0.0),
        "slow descent": replace(good, lr=low * lr),
    }
    histories = {
        name: train(lambda: mlp([4, 32, 1], activation=nn.Tanh), data, recipe, seed=seed, name=name).history
        for name, recipe in setups.items()
    }
    notes = {
        "healthy": "A quick fall, a slow one, a level.",
        "explosion": f"Rate × {high:g}: each step overshoots by more than the last.",
        "flat line": "No update reaches the weights, though the gradient is there: look at the loop.",
        "slow descent": f"Rate × {low:g}: a nearly straight fall that would take many times the budget.",
    }
    panels = tuple(
        train_and_val(name.capitalize(), h, note=notes[name], log_y=name == "explosion")
        for name, h in histories.items()
    )
    ends = {name: tail(h, "loss") for name, h in histories.items()}
    numbers: dict[str, float | str] = {f"{name}: final training loss": end for name, end in ends.items()}
    numbers["explosion: rows logged"] = len(histories["explosion"]["loss"])
    numbers["flat line: gradient norm"] = tail(histories["flat line"], "grad_norm")
    numbers["slow descent: final validation loss"] = last(histories["slow descent"], "val_loss")
    text = (
        f"One regression, one net, plain SGD; only the rate differs. At {lr:g} the training loss ends at "
        f"{ends['healthy']:.3f} (the noise of the target is 0.09). At {high * lr:g} it is no number after "
        f"{numbers['explosion: rows logged']} logged rows: divide the rate by ten, and clip. At zero (what a "
        f"forgotten optimizer step comes to) it stays at {ends['flat line']:.2f} although the gradient norm is "
        f"{numbers['flat line: gradient norm']:.2f}, so that neither vanishing gradients nor the data are to blame. "
        f"At {low * lr:g} it falls steadily and has come to {ends['slow descent']:.2f} when the budget ends: the "
        "rate is too low, and no level was reached that could tell of the model. A flat line and a slow descent "
        "look alike on a short run; what tells them apart is whether the slope is more than the noise."
    )
    return found(
        text,
        panels=panels,
        tables=(outcomes("Where the four runs ended", histories),),
        numbers=numbers,
        runs=histories,
        sources=("Smith 2018, A disciplined approach to neural network hyper-parameters, arXiv:1803.09820",),
    )
