"""Label smoothing and augmentation: what they do to the curves and to the confidence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import Row, compared, line, lowest, tail
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@experiment(
    "Label smoothing and augmentation",
    "digits learned as they are, with smoothed labels, with shifted copies, and with both: loss, accuracy, confidence",
    LR,
    Option("smoothing", "share of each label spread over all classes", low=0, high=0.9),
    Option("shift", "largest shift of a picture, pixels", low=0, high=4),
    Option("steps", "optimizer steps of each run", low=100, high=20_000),
    SEED,
)
def smoothing_augmentation(
    *, lr: float = 0.003, smoothing: float = 0.1, shift: int = 2, steps: int = 800, seed: int = 0
) -> Experiment:
    import torch

    from lossdoctor.lab.experiments.trained.data import digits
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = digits(400, 500, noise=0.2, seed=seed)

    def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
        """Each picture moved by a few pixels; what leaves on one side enters on the other."""
        moves = torch.randint(-shift, shift + 1, (2, len(x), 1), generator=generator)
        rows = (torch.arange(x.shape[2]) + moves[0]) % x.shape[2]
        columns = (torch.arange(x.shape[3]) + moves[1]) % x.shape[3]
        each = torch.arange(len(x))[:, None, None]
        return x[:, 0][each, rows[:, :, None], columns[:, None, :]][:, None]

    base = Recipe(steps=steps, lr=lr)
    setups = {
        "plain": base,
        "label smoothing": replace(base, label_smoothing=smoothing),
        "augmentation": replace(base, augment=shifted),
        "both": replace(base, label_smoothing=smoothing, augment=shifted),
    }
    runs = {
        name: train(lambda: mlp([117, 128, 128, 10]), data, recipe, seed=seed, name=name)
        for name, recipe in setups.items()
    }
    histories = {name: run.history for name, run in runs.items()}
    sure = {name: _confidence(run.model(data.x_val).detach(), data.y_val) for name, run in runs.items()}
    floor = smoothed_entropy(smoothing, 10)
    lines: list[Line] = []
    for name, h in histories.items():
        lines += [line(h, "loss", "", group=name, style="dashed"), line(h, "val_loss", name, group=name)]
    panels = (
        Panel(
            "Validation solid, training dashed",
            "step",
            "cross-entropy",
            tuple(lines),
            log_y=True,
            marks=(Mark("entropy of smoothed labels", y=floor),) if smoothing else (),
            note="Smoothed, the training loss cannot go below its labels' entropy; validation is unsmoothed.",
        ),
        compared("Validation accuracy", histories, "val_accuracy", "share right"),
    )
    rows: tuple[Row, ...] = tuple(
        (n, *(round(v, 4) for v in (tail(h, "loss"), lowest(h)[1], runs[n].val_loss, runs[n].val_accuracy, *sure[n])))
        for n, h in histories.items()
    )
    columns = (
        *("run", "training loss", "lowest validation loss", "final validation loss", "accuracy"),
        *("mean confidence", "calibration error"),
    )
    numbers: dict[str, float | str] = {"entropy of smoothed labels": floor}
    for name, run in runs.items():
        numbers |= {
            f"{name}: final training loss": tail(run.history, "loss"),
            f"{name}: final validation loss": run.val_loss,
            f"{name}: accuracy": run.val_accuracy,
            f"{name}: calibration error": sure[name][1],
        }
    ends = {name: f"{run.val_accuracy:.1%} right, loss {run.val_loss:.2f}" for name, run in runs.items()}
    text = (
        f"400 pictures of digits, a net that could learn them by heart. Plain: {ends['plain']}, with a mean "
        f"confidence of {sure['plain'][0]:.0%}: sure and often wrong. Smoothed labels ({smoothing:g} spread over all "
        f"classes): {ends['label smoothing']}, confidence {sure['label smoothing'][0]:.0%}. No logit is rewarded for "
        f"growing without end, and the training loss stops at {numbers['label smoothing: final training loss']:.2f} "
        f"because the labels themselves have an entropy of {floor:.2f}: do not take that floor for underfitting, and "
        f"do not compare it with the loss of a run without smoothing. Pictures shifted by up to {shift} pixels each "
        f"time they are used: {ends['augmentation']}. Augmentation adds knowledge that the labels lack (a shifted "
        "digit is the same digit), and the training loss stays higher, as its examples are harder than those of "
        f"validation. Both: {ends['both']}."
    )
    return found(
        text,
        panels=panels,
        tables=(Table("At the end", columns, rows, "Calibration error: mean |confidence - accuracy| over ten bins."),),
        numbers=numbers,
        runs=histories,
        sources=(
            "Szegedy et al. 2016, Rethinking the Inception Architecture, arXiv:1512.00567, section 7",
            "Müller, Kornblith, Hinton 2019, When Does Label Smoothing Help?, arXiv:1906.02629",
            "Shorten & Khoshgoftaar 2019, A survey on Image Data Augmentation for Deep Learning",
        ),
    )


def smoothed_entropy(smoothing: float, classes: int) -> float:
    """Entropy in nats of a label of which a share is spread over all classes: the least possible training loss.

    >>> round(smoothed_entropy(0.1, 10), 3), smoothed_entropy(0.0, 10)
    (0.5, 0.0)
    """
    other = smoothing / classes
    main = 1 - smoothing + other
    return 0.0 - main * math.log(main) - (classes - 1) * (other * math.log(other) if other else 0.0)


def _confidence(output: Tensor, target: Tensor) -> tuple[float, float]:
    """Mean of the largest probability, and the expected calibration error (Guo et al. 2017) over ten bins."""
    top, answer = output.softmax(dim=1).max(dim=1)
    right = (answer == target).float()
    error = 0.0
    for k in range(10):
        inside = (top > k / 10) & (top <= (k + 1) / 10)
        if inside.any():
            error += float(inside.float().mean()) * abs(float(top[inside].mean()) - float(right[inside].mean()))
    return float(top.mean()), error
