"""Decay the learning rate, or let the batch grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import Array, curve, tail
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

EXAMPLES = 1024


@experiment(
    "A batch that grows in mid-training",
    "dividing the learning rate and multiplying the batch end alike; the growing batch needs far fewer updates",
    LR,
    Option("factor", "the rate is divided, or the batch multiplied, by this, twice", low=2, high=8),
    Option("batch_size", "examples per step at the start", low=1, high=64),
    Option("epochs", "passes over the data, in three equal parts", low=3, high=300),
    SEED,
)
def growing_batch(
    *, lr: float = 0.2, factor: int = 4, batch_size: int = 8, epochs: int = 15, seed: int = 0
) -> Experiment:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import teacher
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = teacher(EXAMPLES, 512, dim=4, noise=0.5, seed=seed)
    part = epochs * EXAMPLES / 3  # examples seen between two changes

    def plan(sizes: tuple[int, ...]) -> tuple[Array, list[int]]:
        """Examples seen before each step, and its batch size, until the budget of examples is spent."""
        seen, batches, done = [], [], 0
        while done < epochs * EXAMPLES:
            size = sizes[min(2, int(done / part))]
            seen.append(done)
            batches.append(size)
            done += size
        return np.array(seen, dtype=np.float64), batches

    constant = (batch_size,) * 3
    growing = tuple(batch_size * factor**k for k in range(3))
    setups: dict[str, tuple[tuple[int, ...], Callable[[int], float]]] = {
        "constant": (constant, lambda _: 1.0),
        "rate decays": (constant, lambda phase: float(factor) ** -phase),
        "batch grows": (growing, lambda _: 1.0),
    }
    histories: dict[str, TrainingHistory] = {}
    seen_by: dict[str, Array] = {}
    for name, (sizes, rate) in setups.items():
        seen, batches = plan(sizes)
        rates = [rate(int(phase)) for phase in np.minimum(2, seen // part)]
        recipe = Recipe(
            steps=len(batches),
            lr=lr,
            optimizer="sgd",
            batch_size=batch_size,
            schedule=rates.__getitem__,
            batch_at=batches.__getitem__,
            log_every=4,
            val_every=10,
        )
        run = train(lambda: mlp([4, 32, 1], activation=nn.Tanh), data, recipe, seed=seed, name=name)
        histories[name], seen_by[name] = run.history, np.append(seen, seen[-1] + batches[-1])

    def by_epoch(name: str) -> Line:
        steps, values = curve(histories[name], "val_loss")
        return Line(name, seen_by[name][steps.astype(int)] / EXAMPLES, values, group=name)

    ends = {name: tail(h, "val_loss") for name, h in histories.items()}
    updates = {name: len(seen) - 1 for name, seen in seen_by.items()}
    turns = tuple(Mark("change", x=epochs * k / 3) for k in (1, 2))
    panels = (
        Panel(
            "Validation loss over the examples seen",
            "epoch",
            "mean squared error",
            tuple(by_epoch(n) for n in histories),
            log_y=True,
            marks=(*turns, Mark("the noise of the target", y=0.25)),
            note="Rate divided or batch multiplied: the curves drop alike.",
        ),
        Panel(
            "The same over the updates made",
            "update",
            "mean squared error",
            tuple(Line(n, *curve(h, "val_loss"), group=n) for n, h in histories.items()),
            log_y=True,
            note="The growing batch is done first: larger batches run in parallel.",
        ),
    )
    rows = tuple((n, updates[n], round(ends[n], 4), round(tail(h, "loss"), 4)) for n, h in histories.items())
    table = Table("What the three runs cost and reach", ("run", "updates", "validation loss", "training loss"), rows)
    numbers: dict[str, float | str] = {f"{name}: final validation loss": end for name, end in ends.items()}
    numbers["updates saved by the growing batch"] = 1 - updates["batch grows"] / updates["rate decays"]
    text = (
        "Near a minimum, small steps on few examples are a random walk whose size grows with rate / batch size. At "
        f"a constant rate of {lr:g} and batches of {batch_size} it keeps the validation loss at "
        f"{ends['constant']:.3f} (the noise of the target alone is 0.25). Dividing the rate by {factor} after a "
        f"third and after two thirds ends at {ends['rate decays']:.3f}; multiplying the batch by {factor} instead, "
        f"at the full rate, at {ends['batch grows']:.3f}: the same drop for the same reason, with "
        f"{updates['batch grows']} updates in place of {updates['rate decays']}. The work is the same (every run "
        f"sees {epochs} × {EXAMPLES:,} examples), but larger batches run in parallel. It works only while the batch "
        "is far smaller than the data and the rate far below 2/λmax: the noise can be averaged away, the curvature "
        "cannot."
    )
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs=histories,
        sources=(
            (
                "Smith, Kindermans, Ying, Le 2018, Don't Decay the Learning Rate, Increase the Batch Size, "
                "arXiv:1711.00489"
            ),
        ),
    )
