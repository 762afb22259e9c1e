"""Clipping the gradient of a recurrent net."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, curve, outcomes, tail
from lossdoctor.lab.result import Experiment, Mark


@experiment(
    "Gradient clipping on and off in a recurrent net",
    "a recurrent net whose gradient explodes: without clipping it learns nothing or ends as NaN, with clipping it adds",
    LR,
    Option("clip", "limit of the gradient's norm", low=0, above=True),
    Option("length", "length of the sequences", low=4, high=200),
    Option("gain", "the recurrent matrix of the second pair starts as this times an orthogonal one", low=1, high=3),
    Option("steps", "optimizer steps of each run", low=50, high=20_000),
    SEED,
)
def gradient_clipping(
    *, lr: float = 0.05, clip: float = 1.0, length: int = 16, gain: float = 1.6, steps: int = 600, seed: int = 0
) -> Experiment:
    import numpy as np

    from lossdoctor.lab.experiments.trained.data import adding
    from lossdoctor.lab.experiments.trained.models import Recurrent
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = adding(2000, 200, length=length, seed=seed)
    # Every step is logged, as it was: a mean over steps would hide the one that explodes.
    free = Recipe(steps=steps, lr=lr, optimizer="momentum", log_every=1)
    clipped = replace(free, clip=clip)
    setups = {
        "no clipping": (1.0, free),
        f"clipped at {clip:g}": (1.0, clipped),
        f"gain {gain:g}, no clipping": (gain, free),
        f"gain {gain:g}, clipped at {clip:g}": (gain, clipped),
    }
    histories = {
        name: train(partial(Recurrent, 2, 24, 1, gain=g, activation="relu"), data, recipe, seed=seed, name=name).history
        for name, (g, recipe) in setups.items()
    }
    free_name, clipped_name, wild, tamed = setups
    norms = {name: curve(h, "grad_norm")[1] for name, h in histories.items()}
    typical, largest = float(np.median(norms[free_name])), float(np.max(norms[free_name]))
    worst = int(np.argmax(norms[free_name])) + 1
    finite = int(np.isfinite(curve(histories[wild], "loss")[1]).sum())
    share = float(np.mean(norms[clipped_name] > clip))
    guess = Mark("answering always 1", y=1 / 6)
    calm = {name: histories[name] for name in (free_name, clipped_name)}
    panels = (
        compared(
            "Validation loss",
            {name: h for name, h in histories.items() if name != wild},
            "val_loss",
            "mean squared error",
            log_y=True,
            marks=[guess],
            note="Clipping lets it find the answer; without, it stays with the mean.",
        ),
        compared(
            "Gradient norm before clipping",
            calm,
            "grad_norm",
            "gradient norm",
            log_y=True,
            marks=[Mark("limit", y=clip)],
        ),
        compared(
            f"Training loss from a matrix {gain:g} times as large",
            {name: histories[name] for name in (wild, tamed)},
            "loss",
            "mean squared error",
            log_y=True,
            marks=[guess],
            note="Where a line ends, the loss is no number.",
        ),
    )
    ends = {name: tail(h, "val_loss") for name, h in histories.items()}
    numbers: dict[str, float | str] = {
        "no clipping: final validation loss": ends[free_name],
        "clipped: final validation loss": ends[clipped_name],
        "no clipping: largest over median gradient norm": largest / typical,
        "clipped: share of steps above the limit": share,
        "larger gain, no clipping: steps until the loss is no number": finite,
        "larger gain, clipped: final validation loss": ends[tamed],
        "answering always 1": 1 / 6,
    }
    fate = f"has no finite loss after step {finite}" if finite < steps else f"ends at {ends[wild]:.3f}"
    text = (
        f"A recurrent net of 24 relu units adds two marked numbers of a sequence of {length}. On the way back the "
        f"gradient is multiplied by the recurrent matrix up to {length} times, so that it grows or dies "
        "exponentially, and the loss has walls beside gentle slopes (Pascanu et al. 2013): a step taken at a wall "
        f"throws the weights far away. Without clipping the largest norm (step {worst}) is {largest / typical:.0f} "
        f"times the median, and the run ends at {ends[free_name]:.3f}; answering 1 always gives 0.167, so that it "
        f"has learned next to nothing. With the norm limited to {clip:g} (its direction kept; {share:.0%} of the "
        f"steps are cut) it ends at {ends[clipped_name]:.3f}. Started with a recurrent matrix {gain:g} times as "
        f"large the net without clipping {fate}; with clipping it ends at {ends[tamed]:.3f}. Log the norm *before* "
        "clipping, or nothing shows how often it acts."
    )
    return found(
        text,
        panels=panels,
        tables=(outcomes("Where the runs ended", histories),),
        numbers=numbers,
        runs=histories,
        sources=("Pascanu, Mikolov, Bengio 2013, On the difficulty of training RNNs, arXiv:1211.5063",),
    )
