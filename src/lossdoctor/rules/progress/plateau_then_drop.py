"""LD209 plateau-then-drop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.finding import Abstention, Action, Cause, Finding
from lossdoctor.core.numbers import percent, short
from lossdoctor.core.options import Option
from lossdoctor.rules.base import Case, Rule
from lossdoctor.signal.arrays import median
from lossdoctor.signal.reading import Reading


class PlateauThenDrop(Rule):
    """The loss stood still for a while and then fell.

    ## What it sees
    A stretch of at least a tenth of the run without a fall, followed within the same number of steps by a fall of a
    fifth or more, beyond noise. A loss with diminishing returns never does that: it falls less in every stretch than
    in the one before.

    ## Why it matters
    It tells of how the model learns (a saddle left behind, a skill that emerges at once), and that a stall in such
    a run need not be its end: stopping early would have missed the fall.

    ## When it is wrong
    A learning rate lowered at that moment makes the loss fall too. Where the rate is logged, such a fall is left
    out; where it is not, look at the schedule first.

    ## What to try
    Nothing, when the loss fell in the end. Larger initial weights or a shorter warmup shorten a plateau at the
    start.

    ## References
    Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    arXiv:1312.6120.
    """

    code = "LD209"
    name = "plateau-then-drop"
    severity = "info"
    needs = "a loss with at least 30 points"
    options = (
        Option("long", 0.1, "length of the flat stretch over the run's", "share", 0.03, 0.5),
        Option("drop", 0.2, "fall after it over its level (over the whole drop, where losses cross 0)", "share", 0, 1),
        Option("creep", 0.1, "largest fall within the flat stretch over the fall after it", "share", 0, 0.5),
        Option("z", 6.0, "fall after it in standard errors", "sigma", 2, 50),
    )

    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        primary = case.primary
        if primary is None or len(primary[1]) < 30:
            yield self.abstain()
            return
        metric, reading = primary
        longest = max(
            (s for s in _stretches(reading, case.option(self, "long")) if self._is_one(case, reading, s)),
            key=lambda s: (s.last - s.first, s.before - s.after),
            default=None,
        )
        if longest is not None:
            yield self._describe(case, metric, reading, longest)

    def _is_one(self, case: Case, reading: Reading, s: Stretch) -> bool:
        fell, crept = s.middle - s.after, s.before - s.middle
        size = abs(s.middle) if reading.positive else reading.drop
        earlier = reading.level[: s.first]
        return bool(  # what is quick to see comes first
            fell > 0
            and fell >= case.option(self, "drop") * size
            and abs(crept) <= case.option(self, "creep") * fell
            and fell >= case.option(self, "z") * s.se(reading)
            and reading.y[s.last : s.stop].all()  # a loss that collapses to zero is another matter (LD208)
            and _share(reading, s) >= 0.5 * case.option(self, "long")
            and float(np.ptp(reading.level[s.first : s.last])) <= 0.3 * fell + 2 * reading.sigma
            and (len(earlier) == 0 or s.after < earlier.min())  # a return from a bump is no progress
            and not _rate_was_cut(case, reading, s)
        )

    def _describe(self, case: Case, metric: str, reading: Reading, s: Stretch) -> Finding:
        start, end = int(reading.steps[s.first]), int(reading.steps[s.last - 1])
        share = _share(reading, s)
        at_start = s.first <= 1
        fall = f" (down {percent((s.middle - s.after) / s.middle)})" if reading.positive else ""
        return self.finding(
            case,
            metric=metric,
            summary=(
                f"{metric} stood at {short(s.middle)} from {case.step_unit} {start} to {end} "
                f"({percent(share)} of the run), then fell to {short(s.after)}{fall}"
            ),
            confidence=0.75,
            onset_step=start,
            evidence={"level": s.middle, "after": s.after, "from_step": start, "to_step": end, "share": share},
            causes=_AT_START if at_start else _LATER,
            actions=(Action("none", ""),),
        )


_AT_START = (
    Cause("saddle-or-plateau", 0.45, "curvature"),
    Cause("normal", 0.3, None),
    Cause("bad-initialization", 0.25, "initial_loss"),
)
_LATER = (
    Cause("saddle-or-plateau", 0.5, "curvature"),
    Cause("normal", 0.5, None),
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of bins (``last`` excluded): the levels of its halves, and the level one such length further on.

    The second half begins at ``half``; the level after it is that of the bins ``end`` to ``stop`` (excluded).
    """

    first: int
    half: int
    last: int
    end: int
    stop: int
    before: float
    middle: float
    after: float

    def se(self, reading: Reading) -> float:
        """The standard error of how far it fell."""
        middle, after = reading.window(self.half, self.last), reading.window(self.end, self.stop)
        return float(np.hypot(middle.se, after.se))


def _stretches(reading: Reading, least: float) -> Iterable[Stretch]:
    """The stretches of a few lengths that may be one, with what follows them."""
    k, level = len(reading), reading.level
    length = max(8, int(np.ceil(least * k)))
    while length <= k * 3 // 4:
        ahead = min(length, k // 4)
        half, end = length // 2, max(3, ahead // 3)
        first = np.arange(0, k - length - ahead + 1, max(1, length // 8))
        fell = level[first + half + half // 2] - level[first + length + ahead - 1 - end // 2]
        crept = level[first + half // 2] - level[first + half + half // 2]
        size = np.abs(level[first + half]) if reading.positive else reading.drop
        for at in first[(fell > 0.1 * size) & (np.abs(crept) < 0.3 * fell)].tolist():
            yield _stretch(reading, at, at + half, at + length, at + length + ahead, end)
        length = max(length + 1, length * 5 // 4)


def _stretch(reading: Reading, first: int, half: int, last: int, stop: int, end: int) -> Stretch:
    y, end = reading.y, stop - end
    levels = median(y[first:half]), median(y[half:last]), median(y[end:stop])
    return Stretch(first, half, last, end, stop, *levels)


def _share(reading: Reading, s: Stretch) -> float:
    """How much of the run's steps it takes: where logging is uneven, many points may be few steps."""
    return reading.fraction(reading.steps[s.last - 1]) - reading.fraction(reading.steps[s.first])


def _rate_was_cut(case: Case, reading: Reading, s: Stretch) -> bool:
    """Whether the logged learning rate fell by a third or more before or in the fall; a restart ends with one, too."""
    rate = case.reading("learning_rate")
    if rate is None or len(rate) < 4:
        return False
    span = reading.steps[[(s.first + s.last) // 2, s.stop - 1]]
    inside = rate.y[(rate.steps >= span[0]) & (rate.steps <= span[1])]
    ends = np.interp(span, rate.steps, rate.y)
    return bool(ends[1] < 0.67 * max(float(ends[0]), float(inside.max()) if len(inside) else 0.0))
