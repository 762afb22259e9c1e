"""A loss against a metric: the validation loss rises while the accuracy still does, too."""

from __future__ import annotations

import numpy as np

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import curve, lowest, train_and_val
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "A loss against a metric",
    "the validation loss turns up long before the accuracy stops rising, because wrong answers become surer",
    LR,
    Option("examples", "training examples", low=50, high=5000),
    Option("steps", "optimizer steps", low=100, high=20_000),
    SEED,
)
def loss_vs_metric(*, lr: float = 0.002, examples: int = 1500, steps: int = 1000, seed: int = 0) -> Experiment:
    import torch
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import digits
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = digits(examples, 1000, noise=0.4, seed=seed)
    kept: list[tuple[float, ...]] = []

    @torch.no_grad()
    def watch(step: int, model: nn.Module) -> None:
        output = model(data.x_val)
        each = nn.functional.cross_entropy(output, data.y_val, reduction="none")
        top, answer = output.softmax(dim=1).max(dim=1)
        right = answer == data.y_val
        parts = [float(v) for v in (each[right].mean(), each[~right].mean(), top[right].mean(), top[~right].mean())]
        kept.append((float(step), *parts))

    recipe = Recipe(steps=steps, lr=lr)
    run = train(lambda: mlp([117, 128, 128, 10]), data, recipe, seed=seed, name="loss against metric", watch=watch)
    history = run.history
    steps_, right, wrong, sure_right, sure_wrong = np.array(kept).T
    best_step, best = lowest(history)
    at, accuracies = curve(history, "val_accuracy")
    then = float(accuracies[at == best_step][0])
    top_step, top = int(at[np.argmax(accuracies)]), float(accuracies.max())
    final = float(accuracies[-max(1, len(accuracies) // 10) :].mean())
    turn = Mark("lowest validation loss", x=float(best_step))
    panels = (
        train_and_val("Loss", history, marks=[turn], note="Judged by this curve, training should stop at the mark."),
        Panel(
            "Accuracy",
            "step",
            "share right",
            (Line("training", *curve(history, "accuracy")), Line("validation", at, accuracies)),
            marks=(turn,),
            note="Judged by the accuracy, nothing is lost after it.",
        ),
        Panel(
            "Validation loss of right and of wrong answers",
            "step",
            "cross-entropy",
            (Line("right", steps_, right), Line("wrong", steps_, wrong)),
            log_y=True,
            marks=(turn,),
            note="What rises is the price of the wrong answers.",
        ),
        Panel(
            "Mean confidence",
            "step",
            "probability",
            (Line("of right answers", steps_, sure_right), Line("of wrong answers", steps_, sure_wrong)),
            marks=(turn,),
        ),
    )
    where = int(np.searchsorted(steps_, best_step))
    numbers: dict[str, float | str] = {
        "step of the lowest validation loss": best_step,
        "lowest validation loss": best,
        "final validation loss": run.val_loss,
        "accuracy at the lowest validation loss": then,
        "accuracy at the end (mean of the last tenth)": final,
        "highest accuracy": top,
        "step of the highest accuracy": top_step,
        "loss of wrong answers at the lowest validation loss": float(wrong[where]),
        "loss of wrong answers at the end": float(wrong[-1]),
        "confidence of wrong answers at the lowest validation loss": float(sure_wrong[where]),
        "confidence of wrong answers at the end": float(sure_wrong[-1]),
    }
    text = (
        f"The validation loss is lowest ({best:.2f}) at step {best_step} and ends at {run.val_loss:.2f}; the "
        f"accuracy is {then:.1%} there, and {final:.1%} at the end (highest at step {top_step}). Cross-entropy "
        "punishes a wrong answer by its confidence, without limit; the accuracy counts it once. After step "
        f"{best_step} the net gets surer of everything: its wrong answers cost {wrong[where]:.1f} nats each there "
        f"and {wrong[-1]:.1f} at the end, at a confidence of {sure_wrong[where]:.0%} and {sure_wrong[-1]:.0%}. Both "
        "curves are right: the decisions are no worse, the probabilities are (Guo et al. 2017). If probabilities "
        "are used, stop at the lowest loss, or calibrate with a temperature afterwards; if only the decision "
        "counts, choose the checkpoint by the metric. A loss must be differentiable to be descended; a metric need "
        "not be, and is what the decision to deploy rests on."
    )
    table = Table(
        "Two ways to choose the checkpoint",
        ("chosen by", "step", "validation accuracy"),
        (("lowest validation loss", best_step, round(then, 4)), ("highest accuracy", top_step, round(top, 4))),
        "The highest of many noisy accuracies flatters: it was chosen for being high.",
    )
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs={"the run": history},
        sources=("Guo, Pleiss, Sun, Weinberger 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599",),
    )
