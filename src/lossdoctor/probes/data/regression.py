"""The target of a regression: its scale, its tails, where it was capped, and whether the inputs tell anything of it."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.baseline import Baseline
from lossdoctor.probes.data.case import Case, rows_of
from lossdoctor.probes.data.finding import DataFinding, of
from lossdoctor.probes.data.loss_choice import LossSuggestion
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.statistics import Values
from lossdoctor.probes.data.table import Table

_LARGE = 100.0  # mean or spread of a target from which standardising it pays
_STANDARDIZE = Remedy(
    what="Train on the standardised target, and scale predictions back.",
    code=(
        "mean, std = y_train.mean(), y_train.std()\n"
        "loss = loss_fn(model(x), (y - mean) / std)\n"
        "prediction = model(x) * std + mean"
    ),
)


def check(case: Case, base: Baseline | None, suggestion: LossSuggestion | None) -> list[DataFinding]:
    """A target far from 0 or widely spread, capped values, heavy tails, and targets that inputs do not explain."""
    table, target = case.train, case.train.target
    if target is None:
        return []
    found: list[DataFinding] = []
    if target.kind == "numbers":
        for k in range(min(target.outputs, 10)):
            y = target.values[:, k]
            name = "target" if target.outputs == 1 else f"target {k}"
            if np.isfinite(y).sum() >= 20:
                found += [*_scale(name, y[np.isfinite(y)]), *_capped(table, name, y)]
        found += _tails(suggestion)
    return found + _explained(base)


def _scale(name: str, y: Values) -> list[DataFinding]:
    mean, spread = float(y.mean()), float(y.std())
    size = max(abs(mean), spread)
    if size < _LARGE or spread == 0:
        return []
    summary = (
        f"{name!r} has mean {short(mean)} and spread {short(spread)}: a model that starts near 0 has a squared error of"
        f" {short(float((y**2).mean()))}, and Adam at 1e-3, which moves a weight by about 1e-3 a step, needs about"
        f" {short(size / 1e-3)} steps for its bias alone"
    )
    severity = "warning" if size >= 100 * _LARGE else "info"
    return [
        DataFinding(
            check="target-scale",
            severity=severity,
            summary=summary,
            feature=name,
            value=size,
            numbers={"mean": mean, "spread": spread},
            remedy=_STANDARDIZE,
            causes={"inputs-unscaled": 1.5, "learning-rate-too-low": 1.5, "gradients-explode": 1.5},
        )
    ]


def _capped(table: Table, name: str, y: Values) -> list[DataFinding]:
    """A pile of exact ties at the largest or smallest value of a target that hardly ever ties elsewhere."""
    finite = y[np.isfinite(y)]
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) < 50:
        return []
    found = []
    for end, words in ((-1, "largest"), (0, "smallest")):
        others = np.delete(counts, end)
        if counts[end] < max(10, 0.01 * len(finite)) or counts[end] < 10 * np.sort(others)[-2]:
            continue
        value = float(distinct[end])
        rows = np.flatnonzero(y == value)
        told = of(len(rows), table.examples)
        summary = f"{name!r} equals its {words} value, {short(value)}, in {told}: it seems capped there"
        found.append(
            DataFinding(
                check="target-capped",
                severity="info",
                summary=summary,
                feature=name,
                value=len(rows) / len(y),
                count=len(rows),
                rows=rows_of(table, rows),
                causes={"label-noise": 1.3},
                remedy=Remedy(
                    what="Leave these rows out, or use a loss for censored targets; a zero may be a true one."
                ),
            )
        )
    return found


def _tails(suggestion: LossSuggestion | None) -> list[DataFinding]:
    if suggestion is None or suggestion.loss not in ("Huber", "MAE"):
        return []
    variance = min(suggestion.huber_variance, suggestion.mae_variance)
    strong = variance < 0.5
    summary = f"the target has heavy tails: {suggestion.reason}"
    return [
        DataFinding(
            check="target-tails",
            severity="info",
            summary=summary,
            feature="target",
            value=suggestion.kurtosis,
            numbers={"huber_variance": suggestion.huber_variance, "tail_index": suggestion.tail_index},
            causes={"outliers": 2.0, "loss-misused": 1.5} if strong else {"outliers": 1.3},
            remedy=Remedy(what=f"Use the {suggestion.loss} loss.", code=suggestion.code),
        )
    ]


def _explained(base: Baseline | None) -> list[DataFinding]:
    """Whether a linear baseline does better than guessing."""
    if base is None or not base.linear:
        return []
    classified = not len(base.residuals)
    score = (
        f"{percent(base.score)} right ({percent(base.chance)} by guessing)"
        if classified
        else (f"{percent(max(0.0, base.score))} of the variance")
    )
    numbers = {"score": base.score, "chance": base.chance, "z": base.z, "examples": float(base.examples)}
    if base.z >= 2.5 or base.examples < 500:
        return []
    summary = (
        f"a linear baseline {'gets' if classified else 'explains'} {score} of {base.examples:,} held-out examples, no"
        " better than guessing: the target may depend on the inputs in another way, or not at all"
    )
    return [
        DataFinding(
            check="baseline",
            severity="info",
            summary=summary,
            value=base.score,
            numbers=numbers,
            causes={"labels-uninformative": 1.8},
        )
    ]
