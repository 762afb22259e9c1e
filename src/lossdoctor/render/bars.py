"""A curve as bars of characters, several lines high, on the run's step axis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve, Steps, Values
from lossdoctor.core.segments import curve_pieces
from lossdoctor.render.series import scale
from lossdoctor.render.words import Glyphs

_LEVELS = 8  # heights of one character


def columns(curve: Curve, first: int, last: int, width: int) -> tuple[Values, NDArray[np.bool_]]:
    """The median of a curve in each of ``width`` stretches of the step axis from ``first`` to ``last``.

    Returns the medians of what is finite, and where a stretch holds a NaN or an infinity. A stretch without points is
    as the one before it ended; before the first point it is NaN. What a resume superseded is left out.

    >>> medians, bad = columns(Curve.make([1, 2, 3, 8], [4.0, 2.0, np.nan, 1.0]), 1, 8, 4)
    >>> medians.tolist(), bad.tolist()
    ([3.0, 3.0, 3.0, 1.0], [False, True, True, False])
    """
    steps, values = _surviving(curve)
    edges = np.searchsorted(steps, np.linspace(first, last + 1, width + 1))
    medians = np.full(width, np.nan)
    bad = np.zeros(width, dtype=bool)
    level, broken = np.nan, False
    for i, (a, b) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        part = values[a:b]
        fine = part[np.isfinite(part)]
        bad[i] = len(fine) < len(part) if len(part) else broken
        broken = not math.isfinite(part[-1]) if len(part) else broken
        if len(fine):
            middle = np.partition(fine, [(len(fine) - 1) // 2, len(fine) // 2])
            level = middle[(len(fine) - 1) // 2] / 2 + middle[len(fine) // 2] / 2  # halved first: a sum may overflow
        medians[i] = level
    return medians, bad


def _surviving(curve: Curve) -> tuple[Steps, Values]:
    pieces = [p for p, _ in curve_pieces(curve)]
    if not pieces:
        return curve.steps, curve.values
    steps, values = np.concatenate([p.steps for p in pieces]), np.concatenate([p.values for p in pieces])
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def bars(medians: Values, bad: NDArray[np.bool_], rows: int, glyphs: Glyphs) -> tuple[list[str], bool]:
    """Lines of characters, the top one first, and whether their heights are logarithmic.

    Logarithmic where a picture would be. A stretch that is not finite has a cross at the bottom.

    >>> from lossdoctor.render.words import UNICODE
    >>> bars(np.array([1.0, 2, 3, np.nan]), np.array([False, False, False, True]), 2, UNICODE)
    ([' ▁█ ', '▁██×'], False)
    """
    fine = np.isfinite(medians)
    logarithmic = scale([medians[fine]])[0] == "log"
    shown = np.log(medians) if logarithmic else medians
    low, high = (float(shown[fine].min()), float(shown[fine].max())) if fine.any() else (0.0, 0.0)
    top = rows * _LEVELS - 1
    # Divided first: the distance of two huge values would overflow.
    share = (shown / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.full(len(shown), 0.5)
    heights = np.where(fine, np.rint(np.where(fine, share, 0.0) * top).astype(int) + 1, 0)
    lines = []
    for row in range(rows - 1, -1, -1):
        line = ""
        for height, broken in zip(heights.tolist(), bad.tolist(), strict=True):
            inside = min(max(height - row * _LEVELS, 0), _LEVELS)
            cell = glyphs.bars[inside - 1] if inside else " "
            line += glyphs.bad if broken and row == 0 else (" " if broken else cell)
        lines.append(line)
    return lines, logarithmic
