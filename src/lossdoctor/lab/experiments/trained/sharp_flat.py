"""Sharp and flat minima by batch size, with the sharpness measured."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, tail
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "Sharp and flat minima by batch size",
    "the largest curvature of the loss while a net is trained with small batches and with large ones",
    LR,
    Option("batch_sizes", "examples per step, one run each; 0 means all", low=0, high=256),
    Option("steps", "optimizer steps of each run", low=100, high=20_000),
    SEED,
)
def sharp_flat(
    *, lr: float = 0.25, batch_sizes: tuple[int, ...] = (4, 16, 64, 0), steps: int = 1000, seed: int = 0
) -> Experiment:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import teacher
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train
    from lossdoctor.torchkit.hessian import Hessian
    from lossdoctor.torchkit.spectrum import extreme_eigenvalue

    data = teacher(256, 512, dim=4, noise=0.1, seed=seed)
    histories: dict[str, TrainingHistory] = {}
    sharpness: dict[str, list[tuple[int, float]]] = {}
    for size in batch_sizes:
        name = f"batch {size}" if 0 < size < len(data) else f"all {len(data)}"
        measured: list[tuple[int, float]] = []

        def watch(step: int, model: nn.Module, measured: list[tuple[int, float]] = measured) -> None:
            hessian = Hessian(lambda: nn.functional.mse_loss(model(data.x), data.y), model.parameters())
            measured.append((step, extreme_eigenvalue(hessian, tolerance=0.01, seed=seed).value))

        recipe = Recipe(steps=steps, lr=lr, optimizer="sgd", batch_size=size, log_every=4, val_every=50)
        run = train(lambda: mlp([4, 32, 32, 1], activation=nn.Tanh), data, recipe, seed=seed, name=name, watch=watch)
        histories[name], sharpness[name] = run.history, measured
    ends = {name: float(np.mean([v for _, v in found_[-5:]])) for name, found_ in sharpness.items()}
    limit = 2 / lr
    lines = tuple(
        Line(n, np.array([s for s, _ in m]), np.array([v for _, v in m]), group=n) for n, m in sharpness.items()
    )
    panels = (
        Panel(
            "Largest curvature of the training loss",
            "step",
            "λmax",
            lines,
            marks=(Mark(f"2/lr = {limit:g}", y=limit),),
            note="Without noise the curvature grows until the rate is just too large for it, and hovers there.",
        ),
        compared("Training loss", histories, "loss", "mean squared error", log_y=True),
        compared("Validation loss", histories, "val_loss", "mean squared error", log_y=True),
    )
    rows = tuple(
        (n, round(ends[n], 3), round(ends[n] / limit, 3), round(tail(h, "loss"), 5), round(tail(h, "val_loss"), 5))
        for n, h in histories.items()
    )
    table = Table(
        "Where each batch size ended",
        ("run", "λmax (mean of the last 5)", "over 2/lr", "training loss", "validation loss"),
        rows,
    )
    numbers: dict[str, float | str] = {f"{n}: λmax at the end": v for n, v in ends.items()}
    numbers |= {f"{n}: final validation loss": tail(h, "val_loss") for n, h in histories.items()}
    numbers["2/lr"] = limit
    numbers["λmax at the start"] = next(iter(sharpness.values()))[0][1]
    flattest, sharpest = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    losses = {n: tail(h, "val_loss") for n, h in histories.items()}
    edge = (
        f"The sharpest has climbed to the limit of stability 2/lr = {limit:g} and hovers there (Cohen et al. 2021): "
        "its loss no longer falls at every step, though it falls in the long run. "
        if ends[sharpest] > 0.9 * limit
        else f"None has come to the limit of stability 2/lr = {limit:g} yet (Cohen et al. 2021). "
    )
    text = (
        "The largest eigenvalue of the Hessian of the whole training loss, by Lanczos on exact Hessian-vector "
        f"products, while one net is trained at one rate ({lr:g}) with batches of different size. It starts at "
        f"{numbers['λmax at the start']:.2f} for all and ends at "
        f"{', '.join(f'{v:.1f} ({n})' for n, v in ends.items())}. The noise of small batches keeps the weights out "
        f"of sharp places, as Keskar et al. (2017) saw. {edge}Whether flat means good is disputed: rescaling weights "
        "changes the sharpness and not the net (Dinh et al. 2017), and the rate matters as much as the batch. Here "
        f"the flattest run ({flattest}) has a validation loss of {losses[flattest]:.3f} and the sharpest "
        f"({sharpest}) one of {losses[sharpest]:.3f}: with equal steps the small batch is still held up by its "
        "noise. Lower its rate at the end before comparing."
    )
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs=histories,
        sources=(
            "Keskar et al. 2017, On Large-Batch Training for Deep Learning, arXiv:1609.04836",
            (
                "Cohen et al. 2021, Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability, "
                "arXiv:2103.00065"
            ),
            "Dinh et al. 2017, Sharp Minima Can Generalize For Deep Nets, arXiv:1703.04933",
        ),
    )
