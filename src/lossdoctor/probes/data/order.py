"""The order in which labels come: shuffled, sorted, or in blocks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.case import Case
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.statistics import Values
from lossdoctor.probes.data.table import Table

_SURE = 5.0  # standard errors: one in 3.5 million shuffled orders


def check(case: Case) -> list[DataFinding]:
    """Whether neighbours in the order of reading have like targets more often than in a random order.

    Of classes the equal neighbours are counted (a runs test for K classes, with the exact mean and variance under
    permutation); of numbers it is the correlation of the ranks of neighbours (Wald-Wolfowitz serial correlation). In a
    loader that order is the order of training: a fault. In arrays it is the order of storage: info, since a loader that
    shuffles mends it, but a split without shuffling would not.
    """
    table, target = case.train, case.train.target
    if target is None or target.kind not in ("classes", "numbers") or table.examples < 20:
        return []
    values = target.first
    values = values[np.isfinite(values)]
    if len(values) < 20 or values.min() == values.max():
        return []
    z, like, expected = equal_neighbours(values.astype(np.int64)) if target.classified else serial_correlation(values)
    if z < _SURE:
        return []
    return [_finding(table, values, z, like, expected)]


def equal_neighbours(codes: NDArray[np.int64]) -> tuple[float, float, float]:
    """(standard errors above a random order, share of equal neighbours, share expected)."""
    n = len(codes)
    c = np.unique(codes, return_counts=True)[1].astype(np.float64)
    two = float((c * (c - 1)).sum())
    p2 = two / (n * (n - 1))
    p3 = float((c * (c - 1) * (c - 2)).sum()) / (n * (n - 1) * (n - 2.0))
    four = float((c * (c - 1) * (c - 2) * (c - 3)).sum()) + two**2 - float(((c * (c - 1)) ** 2).sum())
    p4 = four / (n * (n - 1) * (n - 2.0) * (n - 3.0))
    mean = (n - 1) * p2
    # Pairs of places: the same, sharing one place, apart.
    variance = mean + 2 * (n - 2) * p3 + (n - 2) * (n - 3) * p4 - mean**2
    equal = float((codes[1:] == codes[:-1]).sum())
    z = (equal - mean) / math.sqrt(variance) if variance > 1e-9 * max(1.0, mean) else 0.0
    return z, equal / (n - 1), p2


def serial_correlation(values: Values) -> tuple[float, float, float]:
    """(standard errors above a random order, correlation of the ranks of neighbours, correlation expected)."""
    n = len(values)
    order, first, counts = np.unique(values, return_inverse=True, return_counts=True)[0:3]
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[first.ravel()]
    centred = ranks - ranks.mean()
    total = float((centred**2).sum())
    r = float((centred[1:] * centred[:-1]).sum()) / total if total and len(order) > 1 else 0.0
    return (r + 1.0 / n) * math.sqrt(n), r, -1.0 / n


def _finding(table: Table, values: Values, z: float, like: float, expected: float) -> DataFinding:
    classified = table.target is not None and table.target.classified
    if classified:
        words = f"{percent(like)} of neighbours have equal labels, where a shuffled order gives {percent(expected)}"
        runs = len(values) - round(like * (len(values) - 1))
        kinds = len(np.unique(values))
        if runs <= 2 * kinds:
            words = f"the labels come sorted, in {runs:,} blocks of {kinds:,} classes"
    else:
        rising = float(np.mean(np.diff(values) >= 0))
        sorted_words = f"the target comes sorted ({percent(max(rising, 1 - rising))} of its steps go one way)"
        words = f"targets of neighbours go together (rank correlation {short(like)})"
        words = sorted_words if rising > 0.98 or rising < 0.02 else words
    pure = _pure_batches(table) if classified else 0.0
    numbers = {"z": z, "neighbours": like, "expected": expected, "pure_batches": pure}
    summary = f"{words} ({z:,.0f} standard errors from chance)"
    if not table.loader:
        remedy = Remedy(
            what="Shuffle before splitting, and let the loader shuffle.",
            code="order = np.random.default_rng(0).permutation(len(x))\nx, y = x[order], y[order]",
        )
        summary += ": in storage that is no fault, but a split or a loader that does not shuffle would suffer"
        return DataFinding(
            check="order",
            severity="info",
            summary=summary,
            value=z,
            numbers=numbers,
            remedy=remedy,
            causes={"data-unshuffled": 1.5},
        )
    strong = like - expected > 0.2 * (1 - expected) or pure > 0.1
    if pure > 0.1:
        summary += f"; {percent(pure)} of the batches hold one class only"
    summary += ": each batch pulls the model its own way" if strong else ": weakly"
    remedy = Remedy(
        what="Shuffle the training data anew in each epoch.",
        code="loader = DataLoader(dataset, batch_size=..., shuffle=True)",
    )
    severity = "critical" if pure > 0.5 else "warning" if strong else "info"
    ratio = {"critical": 20.0, "warning": 12.0, "info": 3.0}[severity]
    return DataFinding(
        check="order",
        severity=severity,
        summary=summary,
        value=z,
        numbers=numbers,
        remedy=remedy,
        causes={"data-unshuffled": ratio},
    )


def _pure_batches(table: Table) -> float:
    """Share of the batches of at least four examples that hold one class only."""
    if table.target is None or not table.loader:
        return 0.0
    codes = table.target.codes
    edges = np.flatnonzero(np.diff(table.batch)) + 1
    batches = [b[b >= 0] for b in np.split(codes, edges)]
    batches = [b for b in batches if len(b) >= 4]
    return float(np.mean([b.min() == b.max() for b in batches])) if batches else 0.0
