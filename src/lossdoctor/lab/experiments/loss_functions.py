"""Loss functions over the error: what each charges, how hard each pulls, and how curved each is."""

from __future__ import annotations

import math

import numpy as np

from lossdoctor.lab.experiments.base import Option, experiment, found
from lossdoctor.lab.result import Experiment, Table

ERRORS = (0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
SURE = (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01)


@experiment(
    "Loss functions",
    "Squared, absolute, Huber, log-cosh and quantile loss over the error; cross-entropy, hinge and focal over the "
    "margin.",
    Option("delta", "where Huber's loss turns from squared to absolute", low=0, above=True),
    Option("reach", "largest error in the pictures", low=0, above=True),
)
def loss_functions(*, delta: float = 1.0, reach: float = 5.0) -> Experiment:
    """Value, gradient and curvature of each, and what errors of several sizes cost."""
    from lossdoctor.lab import losses

    chosen = [losses.loss("huber", delta=delta) if name == "huber" else losses.loss(name)
              for name in ("mse", "mae", "huber", "log_cosh", "quantile")]  # fmt: skip
    margins = [losses.loss(name) for name in ("bce", "hinge", "focal")]
    errors = np.linspace(-reach, reach, 601)
    at = np.array(ERRORS)
    values = {one.name: one(at) for one in chosen}
    pulls = {one.name: one.curves(at).gradient for one in chosen}
    cost = tuple((e, *(float(values[one.name][i]) for one in chosen)) for i, e in enumerate(ERRORS))
    slopes = tuple((e, *(float(pulls[one.name][i]) for one in chosen)) for i, e in enumerate(ERRORS))
    # The sigmoid of the margin is the probability given to the true class.
    logits = np.log(np.array(SURE) / (1 - np.array(SURE)))
    sure = tuple((p, *(float(one([z])[0]) for one in margins)) for p, z in zip(SURE, logits, strict=True))
    titles = tuple(one.title for one in chosen)
    suits = tuple((one.title, one.formula, one.pulls, one.suits) for one in (*chosen, *margins))
    ten = {name: float(v[-1]) for name, v in values.items()}
    half = float(values["huber"][0] / values["mse"][0])
    return found(
        f"An error of 10 costs {ten['mse']:g} squared, {ten['mae']:g} absolute and {ten['huber']:g} under Huber's "
        f"loss (δ = {delta:g}). Squared error pulls in proportion to the error, so one outlier pulls like many "
        "points; absolute error pulls always alike, and so does not come to rest at its kink; Huber's does the one "
        f"inside δ and the other outside. Inside it is {half:g} times the squared error, not the same: a rate tuned "
        "for one is not tuned for the other. The curvature bounds the learning rate (2 over its largest value). "
        f"Cross-entropy charges a sure and right answer (99 %) {sure[0][1]:.3f}, an undecided one {sure[3][1]:.3f} "
        f"and a sure and wrong one {sure[-1][1]:.3f}.",
        panels=(*losses.panels(list(chosen), errors), *losses.panels(list(margins), errors)),
        tables=(
            Table("What an error costs", ("error", *titles), cost),
            Table("How hard it pulls (gradient)", ("error", *titles), slopes),
            Table("What an answer costs", ("probability of the true class", *(one.title for one in margins)), sure),
            Table("Which for what", ("loss", "formula", "pulls towards", "suits"), suits),
        ),
        numbers={
            **{f"{name} at an error of 10": value for name, value in ten.items()},
            **{f"pull of {name} at an error of 10": float(v[-1]) for name, v in pulls.items()},
            "huber over mse inside δ": half,
            "cross-entropy at a half": sure[3][1],
            "ln 2": math.log(2),
        },
        sources=("Huber, Robust Estimation of a Location Parameter (1964)",
                 "Koenker and Bassett, Regression Quantiles (1978)", "Lin et al., Focal Loss (2017)"),
    )  # fmt: skip
