"""Overfitting, and three remedies: early stopping, dropout, weight decay."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, last, line, lowest
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table


@experiment(
    "Overfitting and three remedies",
    "one net that learns its examples by heart; with early stopping, dropout or weight decay it does not",
    LR,
    Option("patience", "validations without a new best before early stopping", low=1, high=100),
    Option("dropout", "share of hidden units dropped", low=0, high=0.95),
    Option("weight_decay", "AdamW's decoupled weight decay", low=0, high=10),
    Option("steps", "optimizer steps of each run", low=100, high=20_000),
    SEED,
)
def overfitting_remedies(
    *,
    lr: float = 0.002,
    patience: int = 5,
    dropout: float = 0.5,
    weight_decay: float = 1.0,
    steps: int = 800,
    seed: int = 0,
) -> Experiment:
    from lossdoctor.lab.experiments.trained.data import digits
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, train

    data = digits(1500, 500, noise=0.4, seed=seed)
    base = Recipe(steps=steps, lr=lr, optimizer="adamw")
    setups = {
        "no remedy": (0.0, base),
        "early stopping": (0.0, replace(base, patience=patience)),
        "dropout": (dropout, base),
        "weight decay": (0.0, replace(base, weight_decay=weight_decay)),
    }
    runs = {
        name: train(partial(mlp, [117, 128, 128, 10], dropout=p), data, recipe, seed=seed, name=name)
        for name, (p, recipe) in setups.items()
    }
    histories = {name: run.history for name, run in runs.items()}
    stopped = int(histories["early stopping"]["val_loss"].steps[-1])
    gaps = {name: last(h, "val_loss") - last(h, "loss") for name, h in histories.items()}
    rows = tuple(
        (name, round(run.val_loss, 4), round(run.val_accuracy, 4), run.best_step, round(gaps[name], 4))
        for name, run in runs.items()
    )
    lines: list[Line] = []
    for name, h in histories.items():
        lines += [line(h, "loss", "", group=name, style="dashed"), line(h, "val_loss", name, group=name)]
    panels = (
        compared(
            "Validation loss",
            histories,
            "val_loss",
            "loss",
            marks=[Mark(f"stopped at {stopped}", x=float(stopped))],
            note="Early stopping ends on the way up and hands over the best; the others bend the curve itself.",
        ),
        Panel("Validation solid, training dashed", "step", "loss", tuple(lines), log_y=True),
        compared("Validation accuracy", histories, "val_accuracy", "share right"),
    )
    numbers: dict[str, float | str] = {
        f"{name}: validation loss handed over": run.val_loss for name, run in runs.items()
    }
    numbers |= {f"{name}: gap at the end": gap for name, gap in gaps.items()}
    numbers["early stopping: share of the steps taken"] = stopped / steps
    best_step, best = lowest(histories["no remedy"])
    text = (
        "A net of 33,000 weights learns 1,500 noisy pictures of digits. Without a remedy the validation loss is "
        f"lowest ({best:.2f}) at step {best_step} and ends at {runs['no remedy'].val_loss:.2f}. Early stopping "
        f"(patience {patience}) ends at step {stopped} and hands over the weights of step "
        f"{runs['early stopping'].best_step}, at {runs['early stopping'].val_loss:.2f}: the cheapest remedy, it "
        f"saves {1 - stopped / steps:.0%} of the steps and costs nothing. Dropout ends at "
        f"{runs['dropout'].val_loss:.2f} and weight decay at {runs['weight decay'].val_loss:.2f}: both keep the net "
        "from fitting each example exactly, at the price of a slower fall. With dropout the training loss is "
        "measured with units missing, so that it overstates itself; a validation loss below it is no wonder."
    )
    return found(
        text,
        panels=panels,
        tables=(
            Table(
                "What each run hands over",
                ("run", "validation loss", "validation accuracy", "best step", "gap to training at the end"),
                rows,
                "Early stopping hands over its best weights, the others their last ones.",
            ),
        ),
        numbers=numbers,
        runs=histories,
        sources=(
            "Prechelt 1998, Early Stopping, But When?",
            "Srivastava et al. 2014, Dropout, JMLR 15",
            "Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101",
        ),
    )
