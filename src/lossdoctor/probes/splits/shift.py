"""Shift between two splits, feature by feature and of the target: each tested, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.probes.data.pixels import is_pixels
from lossdoctor.probes.data.statistics import Comparison, Values, holm, mad_sigma, two_sample
from lossdoctor.probes.data.table import Part, Table

_TOKENS = 50  # codes of a text that are compared one by one: the most frequent


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One feature compared.

    Attributes:
        name: the feature, or what was taken of it ("… missing", "mean of channel 0").
        distance: between the distributions, 0 to 1: Kolmogorov-Smirnov's, or the total variation of few values.
        p: its p-value; ``p_corrected`` by Holm, over all features.
        how: ``"KS"`` or ``"chi²"``.
        move: median of validation minus that of training, in robust standard deviations of training; NaN for values
            that have no order or no spread.
    """

    name: str
    distance: float
    p: float
    p_corrected: float
    how: str
    move: float


def shifts(train: Table, val: Table) -> tuple[Shift, ...]:
    """All features compared, the most shifted first (by the corrected p-value, then the distance)."""
    found: list[tuple[str, Comparison, float]] = []
    for ours, theirs in zip(train.parts, val.parts, strict=True):
        for name, a, b, discrete in _columns(train, ours, theirs):
            move = np.nan if discrete else _move(a, b)
            found.append((name, two_sample(a, b, discrete=discrete or None), move))
    corrected = holm([c.p for _, c, _ in found])
    out = [
        Shift(name=name, distance=c.statistic, p=c.p, p_corrected=p, how=c.how, move=float(move))
        for (name, c, move), p in zip(found, corrected, strict=True)
    ]
    return tuple(sorted(out, key=lambda s: (s.p_corrected, -s.distance)))


def target_shift(train: Table, val: Table) -> tuple[Shift, ...]:
    """The target compared: classes by chi², numbers output by output; the most shifted first."""
    a, b = train.target, val.target
    if a is None or b is None or a.kind != b.kind:
        return ()
    if a.kind == "tokens":
        return ()
    if a.classified:
        left, right = a.told()[:, 0], b.told()[:, 0]
        names = {name: k for k, name in enumerate(sorted({*left.tolist(), *right.tolist()}))}
        pair = [np.array([float(names[v]) for v in side]) for side in (left, right)]
        compared = [("target", two_sample(*pair, discrete=True), np.nan)]
    elif a.outputs == b.outputs:
        names_of = ["target"] if a.outputs == 1 else [f"target {k}" for k in range(a.outputs)]
        compared = [
            (n, two_sample(a.values[:, k], b.values[:, k]), _move(a.values[:, k], b.values[:, k]))
            for k, n in enumerate(names_of)
        ]
    else:
        return ()
    corrected = holm([c.p for _, c, _ in compared])
    found = [
        Shift(name=n, distance=c.statistic, p=c.p, p_corrected=p, how=c.how, move=float(m))
        for (n, c, m), p in zip(compared, corrected, strict=True)
    ]
    return tuple(sorted(found, key=lambda s: (s.p_corrected, -s.distance)))


def _move(a: Values, b: Values) -> float:
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if not len(a) or not len(b):
        return np.nan
    spread = mad_sigma(a)
    return float((np.median(b) - np.median(a)) / spread) if spread > 0 else np.nan


def _columns(train: Table, ours: Part, theirs: Part) -> Iterator[tuple[str, Values, Values, bool]]:
    """(name, values of training, of validation, whether they are codes): one value per example each."""
    if not ours.numeric:
        yield from _coded(train, ours, theirs)
        return
    image = is_pixels(ours) and ours.kind == "image"
    for (j, a), (_, b) in zip(ours.columns(), theirs.columns(), strict=True):
        name = train.named(ours, j)
        gaps = [np.asarray(np.isnan(v).any(axis=1), dtype=np.float64) for v in (a, b)]
        if any(g.any() for g in gaps):
            yield f"{name} missing", gaps[0], gaps[1], True
        means = [_mean(v) for v in (a, b)]
        if _vary(means):
            yield (f"mean of {name}" if ours.places > 1 else name), means[0], means[1], False
        if image:
            spreads = [np.asarray(v.std(axis=1)) for v in (a, b)]
            if _vary(spreads):
                yield f"contrast of {name}", spreads[0], spreads[1], False


def _mean(values: Values) -> Values:
    if values.shape[1] == 1:
        return values[:, 0]
    held = np.isfinite(values)
    return np.asarray(np.where(held, values, 0.0).sum(axis=1) / np.maximum(1, held.sum(axis=1)))


def _vary(pair: list[Values]) -> bool:
    both = np.concatenate(pair)
    both = both[np.isfinite(both)]
    return bool(len(both) and both.min() != both.max())


def _coded(train: Table, ours: Part, theirs: Part) -> Iterator[tuple[str, Values, Values, bool]]:
    """Categories column by column; of texts their length, and which of the most frequent codes they hold."""
    if ours.places == 1:
        for (j, a), (_, b) in zip(ours.columns(), theirs.columns(), strict=True):
            # A missing category is one more.
            yield train.named(ours, j), _filled(a[:, 0]), _filled(b[:, 0]), True
        return
    left, right = ours.flat().astype(np.float64), theirs.flat().astype(np.float64)
    lengths = [np.sum(~np.isnan(v), axis=1).astype(np.float64) for v in (left, right)]
    if _vary(lengths):
        yield f"length of {ours.name}", lengths[0], lengths[1], False
    codes, counts = np.unique(left[~np.isnan(left)], return_counts=True)
    for code in codes[np.argsort(-counts, kind="stable")[:_TOKENS]]:
        held = [(v == code).any(axis=1).astype(np.float64) for v in (left, right)]
        if _vary(held):
            yield f"{ours.name} with code {code:.0f}", held[0], held[1], True


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(values), -1.0, values)
