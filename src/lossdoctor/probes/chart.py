"""What a result has to show, as data: a probe says what, :mod:`lossdoctor.render` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """A curve, or points, with one meaning.

    Attributes:
        name: for the legend.
        x, y: same length; values that are not finite are left out of the picture.
        kind: ``"line"``, ``"points"`` or ``"faint"`` (raw values behind a smoothed curve).
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "line"


@dataclass(frozen=True)
class Mark:
    """A place on an axis that is named: the suggested rate, the level of chance.

    Attributes:
        at: its value on that axis.
        label: a few words.
        axis: ``"x"`` for an upright line, ``"y"`` for a level one.
        good: whether it is what the reader looks for; it is drawn with more weight.
    """

    at: float
    label: str
    axis: str = "x"
    good: bool = False


@dataclass(frozen=True)
class Chart:
    """One panel: curves over an axis, or bars.

    Attributes:
        title: what is seen, in the reader's terms.
        x_label, y_label: with units.
        lines: curves, in the order of the legend.
        bars: (name, value) in order, drawn from above to below; a chart has lines or bars, not both.
        marks: named places.
        log_x, log_y: logarithmic axes; what is not positive is left out.
        bands: ``(from, to, label)`` stretches of the x axis that are shaded.
    """

    title: str
    x_label: str = ""
    y_label: str = ""
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[str, float], ...] = ()
    marks: tuple[Mark, ...] = ()
    log_x: bool = False
    log_y: bool = False
    bands: tuple[tuple[float, float, str], ...] = field(default=())
