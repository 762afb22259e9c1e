"""A narrow valley: how the condition number sets the pace of plain descent, and what momentum makes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lossdoctor import lab
from lossdoctor.lab.experiments import paths
from lossdoctor.lab.experiments.base import Option, experiment, found
from lossdoctor.lab.result import Experiment, Line, Panel, Table

TARGET = 1e-6  # the loss is to fall to this share of its first value
ADAM_STEPS = 400


@experiment(
    "Down a ravine",
    "½(x² + κy²): plain descent needs steps in proportion to κ, the best momentum to √κ.",
    Option("conditions", "condition numbers κ", low=1, high=1e5, above=True),
    Option("adam_lr", "learning rate of Adam", low=0, above=True),
    Option("patience", "how many times the steps by its factor the heavy ball may take", low=1, high=100),
)
def ravine(
    *, conditions: tuple[float, ...] = (10.0, 100.0, 1000.0), adam_lr: float = 0.3, patience: float = 2.5
) -> Experiment:
    """Plain descent and the heavy ball, each at the rate that is best for this κ, and Adam at one rate."""
    rows, shown, numbers = [], {}, dict[str, float | str]()
    needs: dict[str, list[float]] = {"plain": [], "momentum": [], "Adam": []}
    for k in conditions:
        root = math.sqrt(k)
        ball = ((root - 1) / (root + 1)) ** 2
        plans: dict[str, tuple[str, float, dict[str, Any], float]] = {
            "plain": ("sgd", 2 / (1 + k), {}, (k - 1) / (k + 1)),
            "momentum": ("momentum", 4 / (1 + root) ** 2, {"momentum": ball}, (root - 1) / (root + 1)),
            "Adam": ("adam", adam_lr, {}, math.nan),
        }
        for label, (name, lr, options, factor) in plans.items():
            law = math.log(TARGET) / (2 * math.log(factor)) if factor > 0 else math.nan
            # Plain descent keeps to its factor; the heavy ball only in the long run.
            patient = patience if name == "momentum" else 1.1
            steps = ADAM_STEPS if name == "adam" else math.ceil(patient * law) + 20
            run = lab.descend(
                "ravine", name, lr=lr, starts=[[10.0, 1.0]], steps=steps, surface_options={"condition": k}, **options
            )
            need = run.steps_to(TARGET * run.losses[0, 0])
            rows.append((k, label, lr, _known(factor), need, _known(law)))
            needs[label].append(math.nan if need is None else float(need))
            numbers[f"steps, {label}, κ = {k:g}"] = math.inf if need is None else float(need)
            if math.isfinite(law):
                numbers[f"law, {label}, κ = {k:g}"] = law
            if k == conditions[min(1, len(conditions) - 1)]:
                shown[f"{label}, lr {lr:.3g}"] = (run, 0)
    middle = conditions[min(1, len(conditions) - 1)]
    kappa = np.array(conditions)
    return found(
        "Across the valley the critical rate is 2/κ; along it that rate is tiny. At the best rate, 2/(λmin + λmax), "
        "every step keeps (κ − 1)/(κ + 1) of the distance, zigzagging across; the heavy ball at its best rate and "
        "momentum keeps (√κ − 1)/(√κ + 1). Steps to a millionth of the loss at κ = "
        + "; ".join(
            f"{k:g}: {_word(p)} plain, {_word(m)} with momentum, {_word(a)} with Adam"
            for k, p, m, a in zip(conditions, *needs.values(), strict=True)
        )
        + ". The heavy ball takes more than its factor says: at its best parameters both roots of a coordinate "
        "coincide, and the distance falls as t times the factor to the power of t. Adam, coordinate by coordinate, "
        "hardly minds a ravine along the axes. Scaling the inputs makes κ small, which is better than any of this.",
        panels=(
            paths.over_surface(f"Paths at κ = {middle:g}", shown),
            paths.over_steps(f"Loss at κ = {middle:g}", "loss", paths.losses(shown),
                             floor=1e-12, log_x=True),
            Panel("Steps to a millionth of the loss", "condition number κ", "steps",
                  tuple(Line(name, kappa, np.array(need)) for name, need in needs.items()), log_x=True, log_y=True),
        ),
        tables=(Table("Down ravines from (10, 1)", ("κ", "optimizer", "lr", "factor per step", "steps", "steps by the "
                                                    "factor"), tuple(rows)),),
        numbers=numbers,
        runs=paths.histories(shown),
        descents={label: run for label, (run, _) in shown.items()},
        sources=("Polyak (1964)", "Goh, Why Momentum Really Works, Distill (2017)"),
    )  # fmt: skip


def _word(need: float) -> str:
    return "too many" if math.isnan(need) else f"{need:.0f}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
