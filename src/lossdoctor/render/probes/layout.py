"""What a chart becomes before it is drawn: finite curves, limits, and names placed where they meet nothing.

The same for pictures and pages. Names of upright marks and of bands stand in lanes above the panel, those of level
marks beside it on the right: there no curve can run through them, and here no name is put on another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossdoctor.core.curve import Values
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.render.series import minmax

MOST_BARS = 40
_POINTS = 2_000
_LARGEST, _SMALLEST = 1e290, 1e-290  # of what is shown: beyond, distances overflow and logarithms end


@dataclass(frozen=True)
class Curve:
    """One line of a chart, only what can be shown; ``gaps`` are the places before which the pen is lifted."""

    name: str
    kind: str
    x: Values
    y: Values
    gaps: frozenset[int]
    pen: int = 0  # its number among those with a colour of their own; faint ones have none
    dash: int = 0  # its number among the lines

    def with_gaps(self) -> tuple[Values, Values]:
        """The points with a NaN where the pen is lifted."""
        places = sorted(self.gaps)
        return np.insert(self.x, places, np.nan), np.insert(self.y, places, np.nan)


@dataclass(frozen=True)
class Bar:
    """One bar, or the row that stands for ``many`` that are left out."""

    name: str
    value: float
    many: int = 0


def band_tint(number: int) -> int:
    """The place of a band's colour in the cycle: from the end, so that it differs from the first curves'."""
    return (4, 3, 5)[number % 3]


@dataclass(frozen=True)
class Named:
    """A name above the panel: of an upright mark, or of band number ``band``."""

    label: str
    start: float
    end: float
    good: bool = False
    band: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A chart ready to be drawn, in values.

    Attributes:
        curves: in the order of the legend; those without a point that can be shown are kept, for the legend.
        x, y: limits of the axes with a margin; for bars ``x`` is that of the values and ``y`` unused.
        upright, level: the marks of each axis, inside the limits.
        bands: stretches of the x axis, cut to the limits.
        bars: at most ``MOST_BARS``.
    """

    chart: Chart
    curves: tuple[Curve, ...]
    x: tuple[float, float]
    y: tuple[float, float]
    upright: tuple[Mark, ...]
    level: tuple[Mark, ...]
    bands: tuple[tuple[float, float, str], ...]
    bars: tuple[Bar, ...]

    @property
    def log_x(self) -> bool:
        return self.chart.log_x or (bool(self.bars) and self.chart.log_y)

    @property
    def above(self) -> tuple[Named, ...]:
        """The names that stand above the panel."""
        marks = [Named(m.label, m.at, m.at, m.good) for m in self.upright]
        return (*marks, *(Named(label, a, b, band=i) for i, (a, b, label) in enumerate(self.bands)))

    @property
    def value_label(self) -> str:
        """What the values of bars are."""
        return self.chart.x_label or self.chart.y_label

    def shows(self, bar: Bar) -> bool:
        """Whether a bar has a length on its axis."""
        return bar.value != 0 and _can_be_shown(bar.value, self.log_x)

    def share_x(self, at: float) -> float:
        """How far along the x axis a value lies: 0 to 1."""
        return _share(at, self.x, self.log_x)

    def share_y(self, at: float) -> float:
        """How far up the y axis a value lies: 0 to 1."""
        return _share(at, self.y, self.chart.log_y)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return not self.bars and not any(len(c.x) for c in self.curves)

    @property
    def legend(self) -> tuple[Curve, ...]:
        """The curves that need a name; one alone needs none where an axis or the title names it."""
        if len(self.curves) == 1 and self.curves[0].name.lower() in (
            self.chart.y_label.lower(),
            self.chart.title.lower(),
            "",
        ):
            return ()
        return self.curves


def _can_be_shown(value: float, log: bool) -> bool:
    return abs(value) < _LARGEST and (value > _SMALLEST or not log)


def _share(at: float, ends: tuple[float, float], log: bool) -> float:
    low, high, value = (math.log10(v) if log else v for v in (*ends, at))
    return (value - low) / (high - low)


def prepare(chart: Chart) -> Prepared:
    """Sort out what can be shown, thin long curves by their extremes, and find the limits.

    >>> ready = prepare(Chart("t", lines=(Line("a", [1, 2, 3], [1.0, float("nan"), 3.0]),)))
    >>> ready.curves[0].y.tolist(), sorted(ready.curves[0].gaps)
    ([1.0, 3.0], [1])
    """
    bars = _bars(chart.bars)
    curves = () if bars else _curves(chart)
    log_x = chart.log_x or (bool(bars) and chart.log_y)
    marks = [m for m in chart.marks if _can_be_shown(m.at, _is_log(chart, m, bool(bars)))]
    upright = [m for m in marks if bars or m.axis == "x"]
    level = [m for m in marks if not bars and m.axis == "y"]
    bands = () if bars else chart.bands
    if bars:
        shown = [b.value for b in bars if _can_be_shown(b.value, log_x)]
        x, y = _bar_limits([*shown, *(m.at for m in upright)], log=log_x), (0.0, 1.0)
    else:
        x = limits([*(c.x for c in curves), np.array([m.at for m in upright])], log=log_x, margin=0.02)
        y = limits([*(c.y for c in curves), np.array([m.at for m in level])], log=chart.log_y, margin=0.06)
    return Prepared(chart, curves, x, y, tuple(upright), tuple(level), _cut(bands, x), bars)


def _is_log(chart: Chart, mark: Mark, bars: bool) -> bool:
    return chart.log_x or chart.log_y if bars else (chart.log_x if mark.axis == "x" else chart.log_y)


def _bars(given: Sequence[tuple[str, float]]) -> tuple[Bar, ...]:
    """All bars, or the first and the last ones with a row between them that counts the others."""
    found = [Bar(name, float(value)) for name, value in given]
    if len(found) <= MOST_BARS:
        return tuple(found)
    head = MOST_BARS // 2
    tail = MOST_BARS - head - 1
    left = len(found) - head - tail
    return (*found[:head], Bar(f"… {left:,} more", math.nan, left), *found[-tail:])


def _bar_limits(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """From zero, or on a logarithmic axis from below the shortest bar, to where there is room for the numbers."""
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    if log:
        low, high = limits([np.array(values)], log=True, margin=0.16)
        return max(low / 2, 1e-300), high
    low, high = limits([np.array([*values, 0.0])], log=False, margin=0.2)
    return (low if lowest < 0 else 0.0), (high if highest > 0 or lowest == 0 else 0.0)


def _curves(chart: Chart) -> tuple[Curve, ...]:
    found: list[Curve] = []
    pen = dash = 0
    for line in chart.lines:
        found.append(replace(_curve(line, chart.log_x, chart.log_y), pen=pen, dash=dash))
        pen += line.kind != "faint"
        dash += line.kind not in ("faint", "points")
    return tuple(found)


def _curve(line: Line, log_x: bool, log_y: bool) -> Curve:
    x, y = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (line.x, line.y))
    x, y = x[: len(y)], y[: len(x)]
    # Matplotlib and pixels alike fail on the widest range of doubles.
    fine = (np.abs(x) < _LARGEST) & (np.abs(y) < _LARGEST)
    fine &= (x > _SMALLEST) | (not log_x)
    fine &= (y > _SMALLEST) | (not log_y)
    kept = np.flatnonzero(fine)
    if line.kind != "points" and len(kept) > _POINTS:
        kept = kept[minmax(y[kept], _POINTS)]
    missing = np.cumsum(~fine)
    # Between two kept points something that cannot be shown: the pen is lifted before the second.
    gaps = np.flatnonzero(np.diff(missing[kept]) > 0) + 1 if len(kept) else np.zeros(0, dtype=np.int64)
    return Curve(line.name, line.kind, x[kept], y[kept], frozenset(gaps.tolist()))


def limits(values: Sequence[Values], *, log: bool, margin: float) -> tuple[float, float]:
    """The range of the values and a share of it on both sides; something to see also where they are one or none.

    >>> limits([np.array([0.0, 10.0])], log=False, margin=0.1), limits([], log=True, margin=0.1)
    ((-1.0, 11.0), (0.1, 1.0))
    """
    together = np.concatenate([*values, np.zeros(0)])
    together = together[np.isfinite(together) & ((together > 0) | (not log))]
    if not len(together):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(together.min()), float(together.max())
    if log:
        wide = max((math.log10(high) - math.log10(low)) * margin, 0.05 if high > low else 0.5)
        return max(low * 10**-wide, 1e-300), min(high * 10**wide, 1e300)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _cut(bands: Sequence[tuple[float, float, str]], x: tuple[float, float]) -> tuple[tuple[float, float, str], ...]:
    """The part of each band that is in view."""
    out = []
    for start, end, label in bands:
        low, high = max(min(start, end), x[0]), min(max(start, end), x[1])
        if high > low:
            out.append((low, high, label))
    return tuple(out)
