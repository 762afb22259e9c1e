"""A curve in a few characters, for a line of a terminal."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lossdoctor.core.curve import Values
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.segments import curve_pieces
from lossdoctor.render.words import UNICODE, Glyphs


def sparkline(values: Values, width: int = 16, glyphs: Glyphs = UNICODE) -> str:
    """The curve in ``width`` characters of eight heights; a stretch with a NaN or Inf is marked by a cross.

    >>> sparkline(np.array([8.0, 7, 6, 5, 4, 3, 2, float("nan")]), 8)
    '█▇▆▅▃▂▁×'
    """
    n = len(values)
    if n == 0 or width < 1:
        return ""
    bounds = np.linspace(0, n, min(width, n) + 1).astype(int)
    bad = ~np.isfinite(values)
    levels = []
    for a, b in pairwise(bounds):
        part = values[a:b]
        levels.append(np.nan if bad[a:b].any() else float(np.sort(part)[len(part) // 2]))
    heights = _heights(np.array(levels))
    return "".join(glyphs.bad if h < 0 else glyphs.bars[h] for h in heights)


def _heights(levels: Values) -> list[int]:
    fine = levels[np.isfinite(levels)]
    if len(fine) == 0:
        return [-1] * len(levels)
    if fine.min() > 0 and float(fine.max()) / float(fine.min()) > 100:
        levels = np.log(levels)
        fine = levels[np.isfinite(levels)]
    low, high = float(fine.min()), float(fine.max())
    if not high > low:
        return [-1 if not np.isfinite(v) else 3 for v in levels]
    # Divided first: the distance of two huge values would overflow.
    scaled = (levels / 2 - low / 2) / (high / 2 - low / 2)
    return [-1 if not np.isfinite(v) else round(float(v) * 7) for v in scaled]


def history_spark(history: TrainingHistory, width: int = 16, glyphs: Glyphs = UNICODE) -> str:
    """The sparkline of a run's primary loss, without what a resume superseded."""
    values = primary_values(history)
    return "" if values is None else sparkline(values, width, glyphs)


def primary_values(history: TrainingHistory) -> Values | None:
    """The values of the loss that stands for the run: training, else validation, else its longest curve."""
    for role in ("train_loss", "val_loss"):
        curve = history.curve(role)
        if curve is not None and len(curve):
            return np.concatenate([p.values for p, _ in curve_pieces(curve)])
    longest = max(history.curves.values(), key=len, default=None)
    return None if longest is None or len(longest) == 0 else longest.values
