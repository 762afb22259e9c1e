"""Which points of a curve count: a restart supersedes what it logs again, mixed-up rows are put in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.segments import curve_pieces

COPIES = 8  # most writers of one log whose rows are taken for copies


def surviving(curve: Curve) -> Curve:
    """The curve in the order of its steps, without points that a later segment logged again or that repeat.

    >>> surviving(Curve.make([1, 2, 3, 2, 3, 4], [9.0, 8.0, 7.0, 5.0, 4.0, 3.0])).values.tolist()
    [9.0, 5.0, 4.0, 3.0]
    """
    pieces = [in_order(piece) for piece, _ in curve_pieces(curve)]
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return curve
    return Curve(np.concatenate([p.steps for p in pieces]), np.concatenate([p.values for p in pieces]))


def in_order(curve: Curve) -> Curve:
    """Rows that several writers mixed up, in the order of their steps; the same row written again is left out."""
    gaps = np.diff(curve.steps)
    if len(gaps) == 0 or (gaps > 0).all():
        return curve
    if (gaps[:-1] < 0).any():  # a last row alone that goes back is a summary
        curve = curve.take(np.argsort(curve.steps, kind="stable"))
    same = (np.diff(curve.steps) == 0) & equal(curve.values[1:], curve.values[:-1])
    if not same.any() or too_many(int(same.sum()), len(same)):
        return curve
    return curve.take(np.concatenate(([True], ~same)))


def equal(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where both are the same; NaN is the same as NaN."""
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def too_many(same: int, gaps: int) -> bool:
    """Whether so many rows repeat the one before that they are no copies: a flat loss, many rows of one step."""
    return same / gaps > COPIES / (COPIES + 1)
