"""The same training from many seeds."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import spread
from lossdoctor.lab.result import Experiment, Line, Panel, Table


@experiment(
    "The variance over seeds",
    "one recipe trained from several seeds: how far the results lie apart, and whether start or order is to blame",
    LR,
    Option("seeds", "runs of each kind", low=3, high=100),
    Option("steps", "optimizer steps of each run", low=50, high=20_000),
)
def seed_variance(*, lr: float = 0.05, seeds: int = 8, steps: int = 300) -> Experiment:
    from lossdoctor.lab.experiments.trained.data import spirals
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, Run, train

    data = spirals(300, 300, seed=0)
    recipe = Recipe(steps=steps, lr=lr, optimizer="momentum", batch_size=16)

    def run(start: int, order: int) -> Run:
        name = f"start {start}, order {order}"
        return train(lambda: mlp([2, 32, 32, 3]), data, recipe, seed=start, order_seed=order, name=name)

    kinds = {
        "both change": [run(k, k) for k in range(seeds)],
        "only the start": [run(k, 0) for k in range(seeds)],
        "only the order": [run(0, k) for k in range(seeds)],
    }
    bands = {
        kind: (spread(kind, [r.history for r in runs], "val_loss"), spread(kind, [r.history for r in runs], "loss"))
        for kind, runs in kinds.items()
    }
    accuracies = {kind: np.array([r.val_accuracy for r in runs]) for kind, runs in kinds.items()}
    losses = {kind: np.array([r.val_loss for r in runs]) for kind, runs in kinds.items()}
    both = accuracies["both change"]
    sampling = float(np.sqrt(both.mean() * (1 - both.mean()) / len(data.x_val)))
    panels = (
        _banded("Validation loss", "loss", {k: b[0] for k, b in bands.items()}),
        _banded("Training loss", "loss", {k: b[1] for k, b in bands.items()}),
        Panel(
            "Final validation accuracy of each run",
            "seed",
            "share right",
            tuple(Line(k, np.arange(float(seeds)), a, "points") for k, a in accuracies.items()),
        ),
    )
    rows = tuple(
        (
            kind,
            round(float(losses[kind].mean()), 4),
            round(float(losses[kind].std(ddof=1)), 4),
            round(float(a.mean()), 4),
            round(float(a.std(ddof=1)), 4),
            round(float(a.min()), 4),
            round(float(a.max()), 4),
        )
        for kind, a in accuracies.items()
    )
    table = Table(
        f"What {seeds} runs give",
        ("what changes", "mean loss", "SD of the loss", "mean accuracy", "SD of the accuracy", "worst", "best"),
        rows,
        "All on the validation part, at the end.",
    )
    deviation = float(both.std(ddof=1))
    resolvable = 2 * deviation * float(np.sqrt(2 / seeds))
    numbers: dict[str, float | str] = {
        "accuracy: mean": float(both.mean()),
        "accuracy: SD": deviation,
        "accuracy: best minus worst": float(both.max() - both.min()),
        "accuracy: sampling error of the validation set": sampling,
        "smallest difference of means that these runs resolve": resolvable,
        **{f"{kind}: SD of the validation loss": float(v.std(ddof=1)) for kind, v in losses.items()},
    }
    text = (
        f"One recipe, {seeds} seeds: the accuracy at the end is {both.mean():.1%} on average, with a standard "
        f"deviation of {deviation:.1%}; the best run is {numbers['accuracy: best minus worst']:.1%} above the worst. "
        "Whoever compares two recipes by one run each compares such draws: from these runs, two means are told "
        f"apart only when they differ by about {resolvable:.1%} (two standard errors of a difference). The "
        f"validation set of {len(data.x_val)} examples adds its own error of {sampling:.1%}, which is shared by all "
        "the runs and so does not show in their spread. With the order of the examples fixed, the standard "
        f"deviation of the loss is {numbers['only the start: SD of the validation loss']:.3f}, with the start fixed "
        f"{numbers['only the order: SD of the validation loss']:.3f}, with both free "
        f"{numbers['both change: SD of the validation loss']:.3f}: both matter, so that fixing one seed hides only "
        "part of the noise. Report the mean and the spread; the best of several seeds says mostly how many were "
        "tried."
    )
    runs: dict[str, TrainingHistory] = {r.history.name: r.history for r in kinds["both change"]}
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs=runs,
        sources=(
            "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, arXiv:2103.03098",
            "Picard 2021, torch.manual_seed(3407) is all you need, arXiv:2109.08203",
        ),
    )


def _banded(title: str, y_label: str, drawn: dict[str, tuple]) -> Panel:  # type: ignore[type-arg]
    return Panel(
        title,
        "step",
        y_label,
        tuple(line for line, _ in drawn.values()),
        tuple(band for _, band in drawn.values()),
        note="Line: mean over the seeds; band: one standard deviation to either side.",
    )
