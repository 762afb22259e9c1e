"""Warmup of the learning rate, where it matters: a transformer that normalises after each sum."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, lowest, outcomes, tail
from lossdoctor.lab.result import Experiment, Mark


@experiment(
    "Warmup on and off",
    "a small transformer under Adam that learns only when its learning rate is warmed up, or its norms come first",
    LR,
    Option("warmup", "steps over which the learning rate rises to lr", low=1, high=10_000),
    Option("depth", "blocks of the transformer", low=1, high=24),
    Option("steps", "optimizer steps of each run", low=50, high=10_000),
    SEED,
)
def warmup(*, lr: float = 0.02, warmup: int = 100, depth: int = 8, steps: int = 220, seed: int = 0) -> Experiment:
    import numpy as np

    from lossdoctor.lab.experiments.trained.data import characters
    from lossdoctor.lab.experiments.trained.models import Transformer
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = characters(500, 60, length=16, seed=seed)
    codes = data.classes or 0
    cold = Recipe(steps=steps, lr=lr, batch_size=16, val_every=10)
    warm = replace(cold, warmup=warmup, schedule=lambda step: min(1.0, (step + 1) / warmup))
    setups = {
        "without warmup": (False, cold),
        f"warmup of {warmup} steps": (False, warm),
        "without warmup, norms first": (True, cold),
    }
    histories = {
        name: train(
            partial(Transformer, codes, 16, width=16, heads=2, depth=depth, norm_first=first),
            data,
            recipe,
            seed=seed,
            name=name,
        ).history
        for name, (first, recipe) in setups.items()
    }
    counts = np.bincount(data.y.flatten().numpy(), minlength=codes)
    share = counts[counts > 0] / counts.sum()
    letters = float(-(share * np.log(share)).sum())
    ends = [tail(h, "val_loss") for h in histories.values()]
    panels = (
        compared(
            "Validation loss",
            histories,
            "val_loss",
            "loss (nats per character)",
            marks=[Mark("knows only how frequent each letter is", y=letters)],
            note="Without warmup the net never gets past the frequencies of the letters.",
        ),
        compared("Learning rate", histories, "learning_rate", "learning rate"),
        compared("Gradient norm", histories, "grad_norm", "gradient norm", log_y=True),
    )
    numbers: dict[str, float | str] = {
        "entropy of the letters": letters,
        "without warmup: final validation loss": ends[0],
        "with warmup: final validation loss": ends[1],
        "norms first, without warmup: final validation loss": ends[2],
        "with warmup: lowest validation loss": lowest(histories[f"warmup of {warmup} steps"])[1],
    }
    text = (
        f"A transformer of {depth} blocks predicts the next character, by Adam at {lr:g}. Started at the full rate "
        f"it ends at {ends[0]:.2f} nats, the entropy of the letters being {letters:.2f}: it has learned how frequent "
        "each letter is, and nothing about what comes before. In its first steps Adam moves every weight by about "
        "the full rate, whatever the size of its gradient (the running averages hold one sample), and with layer "
        "norm after each sum the gradients near the output are large at the start (Xiong et al. 2020): the first "
        f"steps wreck what the blocks pass on. The same net, the same data and the same rate reached over {warmup} "
        f"steps end at {ends[1]:.2f}. Putting the norms before the attention and the linear layers removes the need: "
        f"{ends[2]:.2f} without any warmup. A rate several times lower needs no warmup either: it matters where the "
        "rate is to be high."
    )
    return found(
        text,
        panels=panels,
        tables=(outcomes("Where the runs ended", histories),),
        numbers=numbers,
        runs=histories,
        sources=(
            "Xiong et al. 2020, On Layer Normalization in the Transformer Architecture, arXiv:2002.04745",
            "Liu et al. 2020, Understanding the Difficulty of Training Transformers, arXiv:2004.08249",
            "Goyal et al. 2017, Accurate, Large Minibatch SGD, arXiv:1706.02677",
        ),
    )
