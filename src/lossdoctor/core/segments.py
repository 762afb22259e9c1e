"""Restarts and resumes: where a log's step axis goes back.

A *segment* begins where the steps go back: the run was resumed from an earlier checkpoint. Steps that the earlier
segment had already logged are superseded by the later one; they are kept in the curve and left out of judgement.
When the steps go back to the very start after a run of some length, the log holds *several runs*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve

# A first step beyond so many logging intervals is not the beginning of training.
_FAR = 50


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a run without a restart; both steps are included. ``superseded`` counts points left out."""

    first_step: int
    last_step: int
    superseded: int = 0

    def as_dict(self) -> dict[str, int]:
        out = {"first_step": self.first_step, "last_step": self.last_step}
        if self.superseded:
            out["superseded"] = self.superseded
        return out


def breaks(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices at which a new segment starts (never 0): the step falls below its predecessor's.

    A row out of order is not a restart: the steps must stay back, that is, the row after the drop does not go beyond
    the step before it. A last row that goes back is not one either, until more follow:
    many logs end in a summary row at step 0.

    >>> breaks(np.array([1, 2, 3, 2, 3, 4]))
    array([3])
    """
    if len(steps) < 3:
        return np.zeros(0, dtype=np.int64)
    drops = np.flatnonzero(np.diff(steps) < 0) + 1
    if len(drops) == 0:
        return drops.astype(np.int64)
    if len(drops) > 0.2 * len(steps):  # unordered rows, not restarts
        return np.zeros(0, dtype=np.int64)
    following = steps[np.minimum(drops + 1, len(steps) - 1)]
    stays_back = (following <= steps[drops - 1]) & (drops + 1 < len(steps))
    return drops[stays_back].astype(np.int64)


def curve_pieces(curve: Curve) -> list[tuple[Curve, int]]:
    """The curve cut at its restarts: for each piece what survives, and how many points a later piece superseded."""
    cuts = breaks(curve.steps)
    if len(cuts) == 0:
        return [(curve, 0)]
    bounds = [0, *cuts.tolist(), len(curve)]
    # For each piece but the last, the lowest step at which any later piece starts.
    later_starts = np.minimum.accumulate(curve.steps[cuts][::-1])[::-1]
    pieces = []
    for k in range(len(bounds) - 1):
        piece = curve.take(slice(bounds[k], bounds[k + 1]))
        if k == len(cuts):
            pieces.append((piece, 0))
            continue
        keep = piece.steps < later_starts[k]
        pieces.append((piece.take(keep), int((~keep).sum())))
    return [p for p in pieces if len(p[0])]


def segments_of(curves: Mapping[str, Curve], reference: str | None) -> list[Segment]:
    """The segments of a run, read off its reference curve (the primary loss, else the longest)."""
    if not curves:
        return []
    name = reference if reference is not None and reference in curves else max(curves, key=lambda n: len(curves[n]))
    if len(curves[name]) == 0:
        return []
    return [Segment(int(p.steps.min()), int(p.steps.max()), superseded) for p, superseded in curve_pieces(curves[name])]


def run_starts(curve: Curve, least: int = 3) -> list[int]:
    """Indices where a whole new run begins: the steps return to the first step after at least ``least`` points.

    Keras's CSVLogger appends to its file, so that a few epochs that somebody tried first are a run as well.
    A log whose first step is far from 0 begins with a resume; going back to that step is another resume of one run.

    >>> run_starts(Curve.make([*range(10), *range(10)], [0.0] * 20))
    [0, 10]
    """
    starts = [0]
    cuts = breaks(curve.steps)
    if len(cuts) == 0:
        return starts
    first = int(curve.steps[0])
    step_size = max(1, int(np.median(np.abs(np.diff(curve.steps)))))
    if first > _FAR * step_size:
        return starts
    for i in cuts:
        if int(curve.steps[i]) <= first + step_size and i - starts[-1] >= least and len(curve) - i >= 3:
            starts.append(int(i))
    return starts
