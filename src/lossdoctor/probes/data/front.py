"""The check of the data: reads them once, runs every check, and says which loss fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.data import (
    balance,
    contradictions,
    duplicates,
    nonfinite,
    order,
    outliers,
    pixels,
    redundant,
    regression,
    scale,
    sentinel,
    size,
)
from lossdoctor.probes.data.arrays import Wish
from lossdoctor.probes.data.baseline import Baseline, baseline
from lossdoctor.probes.data.case import WORST, Case
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.loss_choice import suggest
from lossdoctor.probes.data.result import DataResult
from lossdoctor.probes.data.source import read
from lossdoctor.probes.data.statistics import mad_sigma
from lossdoctor.probes.data.verdict import causes_of, measured, outcome_of, worded
from lossdoctor.probes.progress import Progress, shown

CHECKS: tuple[Callable[[Case], list[DataFinding]], ...] = (
    nonfinite.check,
    sentinel.check,
    pixels.check,
    scale.check,
    outliers.check,
    redundant.check,
    duplicates.check,
    contradictions.check,
    balance.check,
    order.check,
    size.check,
)


def check_data(
    data: Any,
    target: Any = None,
    *,
    val: Any = None,
    lr: float | None = None,
    names: Sequence[str] | None = None,
    kind: str | None = None,
    task: str | None = None,
    max_examples: int = 50_000,
    progress: Progress | bool | None = None,
) -> DataResult:
    """What is wrong with the data that a model is trained on, and which loss fits them.

    It looks for: missing and infinite values; values that stand for missing ones (0, −1, 999); raw pixels; inputs whose
    scale makes training explode or that differ in scale; outliers; constant, duplicated and proportional features, and
    those that give the target away; equal rows, within training and across training and validation; contradicting
    labels; missing, rare and unbalanced classes; labels that come sorted; heavy tails, caps and scale of the target;
    whether a linear model finds anything; and too few examples. Decisions are tests against the data's own
    distribution, corrected for how many features were looked at: sound data pass at the 1 % level.

    Args:
        data: what the model is trained on: a ``DataLoader``, a list of batches, a torch ``Dataset``; or an array, a
            tensor or a data frame (pandas, Polars, PyArrow) of inputs ``(examples, …)``; or a pair ``(x, y)`` of such.
        target: with arrays their target ``(examples, …)``; of a frame also the name of its column.
        val: the validation part, in any of these forms: for leaks and unseen classes.
        lr: the learning rate of plain SGD, > 0: the inputs' scale is held to it. Leave it out for Adam and its like,
            whose steps do not grow with the gradient.
        names: of the features, where the data do not name them.
        kind: what the inputs are, where that is guessed wrongly: ``"table"``, ``"sequence"`` (features last),
            ``"image"``, ``"codes"`` (token ids, categories).
        task: ``"classification"`` or ``"regression"``, where a target of whole numbers is read wrongly; ``"none"``
            where the target is a placeholder.
        max_examples: of each part at most so many are read (and at most 40 million values); it is told where that cuts
            something off. Loaders are read from their start, arrays evenly.
        progress: called with (done, total); False for silence; by default a bar on a terminal.

    Returns:
        Findings with numbers, rows and remedies; the suggested loss; critical learning rates.

    Raises:
        UsageError: the data are of no known form, empty, or can be read only once; an option is out of its range.
        UserCodeError: the loader or the data set raised.

    Nothing is changed: loaders are read through an iterator of their own and every random generator is as before. Cost:
    one pass over the data, and for 50,000 examples of 50 features some seconds.

    >>> x = np.random.default_rng(0).normal(size=(500, 3)) * [1, 1, 5000]
    >>> result = check_data(x, x[:, 0] + x[:, 1], progress=False)
    >>> result.outcome, result.findings[0].check, result.findings[0].feature
    ('failed', 'scale', 'feature 2')
    >>> result.findings[0].remedy.fix(x).transform(x).std(axis=0).round(3).tolist()
    [1.0, 1.0, 1.0]
    """
    started = time.perf_counter()
    if lr is not None and not (isinstance(lr, int | float) and math.isfinite(lr) and lr > 0):
        raise UsageError(f"lr={lr!r}; expected a learning rate above 0, or None")
    wish = Wish(max_examples, names, kind, task)
    with shown("Checking the data", progress) as tell:
        train = read(data, target, wish, tell)
        column = target if isinstance(target, str) else None
        held_out = None if val is None else read(val, column, wish, tell, "val")
        case = Case(train, held_out, lr)
        findings: list[DataFinding] = []
        total = len(CHECKS) + 2
        for done, check in enumerate(CHECKS):
            findings += check(case)
            tell(done + 1, total)
        base = baseline(train)
        suggestion = suggest(train, base)
        findings += regression.check(case, base, suggestion)
        tell(total, total)
    findings.sort(key=lambda f: -f.rank)
    classified = train.target is not None and train.target.kind in ("classes", "labels", "tokens")
    now, then = (math.nan, math.nan) if case.stability is None else case.stability.critical(classified)
    return DataResult(
        outcome=outcome_of(findings),
        verdict=worded(case, findings),
        measurements=measured(case, findings),
        causes=causes_of(case, findings, base),
        steps=int(train.batch[-1]) + 1 if train.loader else 0,
        seconds=time.perf_counter() - started,
        findings=tuple(findings),
        suggestion=suggestion,
        examples=train.examples,
        validation_examples=0 if held_out is None else held_out.examples,
        features=train.features,
        classes=0 if train.target is None or not train.target.classified else len(train.target.classes),
        critical_rate=now,
        critical_rate_standardized=then,
        baseline_score=base.score if base is not None and base.linear else math.nan,
        baseline_chance=base.chance if base is not None and base.linear else math.nan,
        spreads=_worst_spreads(case),
        balance=_balance(case),
        residuals=_quantiles(base),
        notes=(*train.notes, *(f"validation: {n}" for n in (held_out.notes if held_out is not None else ()))),
    )


def _worst_spreads(case: Case) -> dict[str, float]:
    """The ten features whose spread is furthest from the typical one."""
    named: dict[str, float] = {}
    for part in case.train.numeric:
        spread = scale.spreads(part)
        named |= {case.train.named(part, int(j)): float(spread[j]) for j in np.flatnonzero(spread > 0)}
    if not named:
        return {}
    typical = float(np.median(list(named.values())))
    order_of = sorted(named, key=lambda name: -abs(math.log(named[name] / typical)))
    return {name: named[name] for name in order_of[:WORST]}


def _balance(case: Case) -> dict[str, int]:
    """Examples per class: all of up to ten, else of the five most and the five least frequent."""
    of = case.train.target
    if of is None or not of.classified:
        return {}
    counts = np.bincount(of.codes[of.codes >= 0], minlength=len(of.classes))
    by = [int(k) for k in np.argsort(-counts, kind="stable")]
    shown_classes = by if len(by) <= WORST else by[: WORST // 2] + by[-WORST // 2 :]
    return {of.classes[k]: int(counts[k]) for k in shown_classes}


def _quantiles(base: Baseline | None) -> tuple[tuple[float, float], ...]:
    """Sizes of the residuals against those of normal ones: at most 200 places, the largest in full."""
    if base is None or not len(base.residuals):
        return ()
    r = np.sort(np.abs(base.residuals - np.median(base.residuals)))
    sigma = mad_sigma(base.residuals) or float(base.residuals.std())
    if not sigma > 0:
        return ()
    n = len(r)
    places = np.unique(np.concatenate([np.linspace(0, n - 1, 100).astype(np.int64), np.arange(max(0, n - 100), n)]))
    normal = NormalDist()
    return tuple((normal.inv_cdf(0.5 + (int(i) + 0.5) / (2 * n)), float(r[i]) / sigma) for i in places)
