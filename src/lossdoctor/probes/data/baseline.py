"""A robust linear baseline: what it explains, and what it leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.probes.data.arrays import drawn
from lossdoctor.probes.data.pixels import is_pixels
from lossdoctor.probes.data.statistics import Values, mad_sigma
from lossdoctor.probes.data.table import Part, Table

_EXAMPLES = 10_000  # more tell no more of a linear model
_WIDTH = 200  # inputs beyond which random projections of them are taken (Johnson and Lindenstrauss 1984)
_FOLDS = 5
_PENALTY = 1e-3  # per example, on standardised inputs
_HUBER = 1.345  # efficient to 95 % where the residuals are normal (Huber 1981)
_CLIP = 5.0  # robust standard deviations at which inputs are cut, so that no single one steers the fit


@dataclass(frozen=True)
class Baseline:
    """What a linear model explains of data that it was not fitted to (five folds).

    Attributes:
        examples, inputs: how many were used.
        score: share of the target's variance explained (R²), robustly; of classes the accuracy.
        chance: what answering always the same scores: 0, or the share of the commonest class.
        z: how many standard errors it does better than that: its accuracy, or the rank correlation of prediction and
            target, against guessing.
        residuals: target minus prediction, of numbers (the first output); empty for classes.
        linear: whether inputs were used; without any the residuals are those from the median.
    """

    examples: int
    inputs: int
    score: float
    chance: float
    z: float
    residuals: Values
    linear: bool


def baseline(table: Table) -> Baseline | None:
    """A ridge regression with Huber weights on standardised inputs, cross-fitted; of classes on their indicators.

    None without a target of classes or numbers, or with fewer than 40 examples that have one.
    """
    target = table.target
    if target is None or target.kind not in ("classes", "numbers"):
        return None
    keep = np.flatnonzero(np.isfinite(target.values).all(axis=1))
    keep = keep[drawn(len(keep), _EXAMPLES)]
    if len(keep) < 40:
        return None
    order = np.random.default_rng(0).permutation(keep)  # folds of sorted data would differ from one another
    y = target.first[order]
    x = design(table, order)
    if x is None:
        residuals = np.empty(0) if target.classified else y - np.median(y)
        return None if target.classified else Baseline(len(y), 0, 0.0, 0.0, 0.0, residuals, False)
    if y.min() == y.max():
        return None
    if target.classified:
        return _classifier(x, y.astype(np.int64), len(target.classes))
    predicted = _cross_fitted(x, y[:, None], robust=True)[:, 0]
    residuals = y - predicted
    spread = mad_sigma(y) or float(y.std())
    left = mad_sigma(residuals)
    score = 1.0 - (left / spread) ** 2 if spread > 0 else 0.0
    z = _rank_correlation(predicted, y) * math.sqrt(len(y))
    return Baseline(len(y), x.shape[1], score, 0.0, z, residuals, True)


def _classifier(x: Values, y: NDArray[np.int64], classes: int) -> Baseline:
    shares = np.bincount(y, minlength=classes) / len(y)
    chosen = _cross_fitted(x, np.eye(classes)[y], robust=False).argmax(axis=1)
    chance = float(shares.max())
    error = math.sqrt(max(chance * (1 - chance), 1e-12) / len(y))
    right = float((chosen == y).mean())
    return Baseline(len(y), x.shape[1], right, chance, (right - chance) / error, np.empty(0), True)


def design(table: Table, order: NDArray[np.int64], width: int = _WIDTH) -> Values | None:
    """Standardised inputs of these examples, projected at random where they are more than ``width``; codes as bags.

    None where there are none.
    """
    rng = np.random.default_rng(0)
    blocks = [_bags(p, order, rng) if not p.numeric else _standardized(p, order, rng, width) for p in table.parts]
    held = [b for b in blocks if b.shape[1]]
    return np.column_stack(held) if held else None


def _standardized(part: Part, order: NDArray[np.int64], rng: np.random.Generator, width: int) -> Values:
    x = part.flat()[order].astype(np.float64)
    gaps = ~np.isfinite(x)
    share = gaps.mean(axis=0)
    x = np.where(gaps, np.nan, x)
    told = gaps[:, (share > 0) & (share < 1)].astype(np.float64)[
        :, :width
    ]  # that a value is missing may tell something
    centre, scale = _centre_and_scale(x, robust=not is_pixels(part))
    keep = np.isfinite(scale) & (scale > 0)
    x = np.nan_to_num((x[:, keep] - centre[keep]) / scale[keep])
    x = np.clip(x, -_CLIP, _CLIP)
    if x.shape[1] > width:
        x = x @ (rng.normal(size=(x.shape[1], width)) / math.sqrt(x.shape[1]))
    return np.column_stack([x, told - told.mean(axis=0)]) if told.shape[1] else x


def _centre_and_scale(x: Values, *, robust: bool) -> tuple[Values, Values]:
    """Per column median and MAD, or mean and standard deviation where the MAD is 0 (switches, many zeros)."""
    with np.errstate(all="ignore"):
        filled = np.where(np.isnan(x).all(axis=0), 0.0, x)
        mean, std = np.nanmean(filled, axis=0), np.nanstd(filled, axis=0)
        if not robust:
            return mean, std
        middle = np.nanmedian(filled, axis=0)
        mad = 1.4826 * np.nanmedian(np.abs(filled - middle), axis=0)
    plain = ~(mad > 0)
    return np.where(plain, mean, middle), np.where(plain, std, mad)


def _bags(part: Part, order: NDArray[np.int64], rng: np.random.Generator) -> Values:
    """Each code a random vector, each example the mean of its own: equal bags are equal, like ones are near."""
    codes = part.flat()[order]
    distinct, places = np.unique(codes[~np.isnan(codes)], return_inverse=True)
    if len(distinct) < 2:
        return np.empty((len(order), 0))
    width = min(64, len(distinct))
    vectors = np.eye(width) if len(distinct) <= 64 else rng.normal(size=(len(distinct), width))
    rows = np.nonzero(~np.isnan(codes))[0]
    total = np.zeros((len(order), width))
    for start in range(0, len(rows), 200_000):
        part_of = slice(start, start + 200_000)
        np.add.at(total, rows[part_of], vectors[places.ravel()[part_of]])
    bags = total / np.maximum(1, np.bincount(rows, minlength=len(order)))[:, None]
    std = bags.std(axis=0)
    return np.asarray((bags - bags.mean(axis=0)) / np.where(std > 0, std, 1.0))


def _cross_fitted(x: Values, y: Values, *, robust: bool) -> Values:
    """Predictions for each fold by a fit to the others."""
    fold = np.arange(len(x)) % _FOLDS
    out = np.empty_like(y)
    for k in range(_FOLDS):
        fitted = fold != k
        out[~fitted] = _ridge(x[fitted], y[fitted], x[~fitted], robust=robust)
    return out


def _ridge(x: Values, y: Values, new: Values, *, robust: bool) -> Values:
    """Ridge regression by normal equations; robust: reweighted six times by Huber's weights, from the median on."""
    centre = np.median(y, axis=0) if robust else y.mean(axis=0)
    penalty = _PENALTY * len(x) + 1e-9
    ones = np.ones((len(x), 1))
    a = np.column_stack([x, ones])
    weights = np.ones(len(x))
    w = np.zeros((a.shape[1], y.shape[1]))
    for _ in range(6 if robust else 1):
        if robust:
            residuals = (y - centre - a @ w)[:, 0]
            sigma = mad_sigma(residuals)
            far = np.abs(residuals) / (sigma if sigma > 0 else math.inf)
            weights = np.minimum(1.0, _HUBER / np.maximum(far, 1e-12))
        gram = (a * weights[:, None]).T @ a
        gram[np.diag_indices_from(gram)] += np.append(np.full(x.shape[1], penalty), 1e-9)
        w = np.linalg.solve(gram, (a * weights[:, None]).T @ (y - centre))
    return np.asarray(centre + np.column_stack([new, np.ones((len(new), 1))]) @ w)


def _rank_correlation(a: Values, b: Values) -> float:
    ranks = [np.argsort(np.argsort(v, kind="stable"), kind="stable").astype(np.float64) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if len(a) > 2 else 0.0
