"""Losses that are logged only as their terms: which curves make up the total, and that total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve, Points
from lossdoctor.core.names import Name

SUMS = frozenset({"total", "tot", "overall", "sum", "all", "full", "combined"})
# A curve of such a name is the whole objective, or another measure of the same thing, and no term beside others.
_WHOLE = SUMS | {"objective", "cost", "elbo", "criterion", "energy"}
_MEASURES = frozenset({"mse", "rmse", "mae", "l1", "l2", "mape", "msle", "huber", "logloss", "mlogloss", "loss"})
_EQUAL = 1e-3


class Comparison:
    """How curves of a log compare. Whoever holds curves that grow may remember what it compared before."""

    def __init__(self, curves: Mapping[str, Points]) -> None:
        self.curves = curves

    def same_steps(self, one: str, other: str) -> bool:
        """Whether two curves are logged together; the last row may be cut off."""
        a, b = self.curves[one], self.curves[other]
        n = min(len(a), len(b))
        return n > 0 and max(len(a), len(b)) - n <= 1 and np.array_equal(a.steps[:n], b.steps[:n])

    def hold_a_total(self, names: Sequence[str]) -> bool:
        """Whether one of the curves is the sum of the others, under whatever name."""
        n = min(len(self.curves[name]) for name in names)
        values = np.array([self.curves[name].values[:n] for name in names])
        values = values[:, np.isfinite(values).all(axis=0)]
        if len(names) < 3 or values.shape[1] < 2:
            return False
        return not off(values, int(np.argmax(values.sum(axis=1)))).any()


def off(values: NDArray[np.float64], total: int) -> NDArray[np.bool_]:
    """Where one of some curves, float64[curves, n], is not the sum of the others."""
    largest = values[total]
    rest = values.sum(axis=0) - largest
    same: NDArray[np.bool_] = np.abs(largest - rest) <= _EQUAL * np.abs(largest)
    return ~same


def find_terms(
    curves: Mapping[str, Points],
    named: Mapping[str, Name],
    primary: Sequence[str],
    comparison: Comparison | None = None,
) -> tuple[list[str], list[str]] | None:
    """The terms of the training loss and those of the validation loss, pair by pair; None where they have a total.

    At least two losses on the same steps, each of which the validation has as well, and none of which is the total
    of the others. Ultralytics logs so: box, classification and distribution loss, and never their sum.

    Args:
        curves: name -> curve.
        named: name -> its parts, for curves with points.
        primary: the training loss as it would be without terms; its steps are those of the terms.
        comparison: how the curves compare, where somebody knows already.
    """
    train = {n: p for n, p in named.items() if p.kind == "loss" and p.rank == 0 and p.split in ("", "train")}
    val = {p.bare: n for n, p in named.items() if p.kind == "loss" and p.rank == 0 and p.split == "val"}
    if not primary or primary[0] not in train or len(train) < 2 or len(val) < 2:
        return None
    every = [p for p in named.values() if p.kind == "loss" and p.split in ("", "train", "val")]
    if any(p.bare == ("loss",) or set(p.bare) & _WHOLE for p in every):
        return None
    known = comparison or Comparison(curves)
    terms = [n for n in train if known.same_steps(n, primary[0])]
    bares = {train[n].bare for n in terms}
    if (
        len(terms) < 2
        or len(bares) < len(terms)
        or {p.bare for p in train.values()} != bares
        or not bares <= val.keys()
    ):
        return None
    if all(set(b) <= _MEASURES for b in bares):
        return None
    twins = [val[train[n].bare] for n in terms]
    if not all(known.same_steps(n, twins[0]) for n in twins):
        return None
    if known.hold_a_total(terms):
        return None
    return terms, twins


def total(terms: Sequence[Curve]) -> Curve:
    """The sum of curves on the same steps. A last row that not all of them have is left out.

    >>> total([Curve.make([1, 2], [0.5, 0.25]), Curve.make([1, 2], [1.0, 1.0])]).values.tolist()
    [1.5, 1.25]
    """
    n = min(map(len, terms))
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite term makes an infinite sum, and Inf - Inf a NaN
        values = np.sum([t.values[:n] for t in terms], axis=0)
    times = terms[0].times
    return Curve(terms[0].steps[:n], values, None if times is None else times[:n])
