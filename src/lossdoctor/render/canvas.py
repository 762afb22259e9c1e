"""What all Matplotlib pictures share: figures without global state, dressed panels, scales, files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.core.curve import Values
from lossdoctor.core.errors import UsageError
from lossdoctor.render.series import Line, scale
from lossdoctor.render.style import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
FAR = 20  # powers of ten in view, above which a logarithmic axis has ticks of its own


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 300) -> Path:
    """Write any figure as PNG, SVG or PDF, by the suffix of ``path``."""
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"cannot draw {target.name!r}: the suffix must be one of .{', .'.join(FORMATS)}")
    # A fixed date and salt, so that the same run gives the same bytes.
    metadata: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():  # a name in a script that the font lacks is drawn as boxes, which is no news
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.savefig(target, dpi=dpi, format=kind, metadata=metadata, facecolor=figure.get_facecolor())
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}; choose another place") from None
    return target


def check_options(smooth: float | None, xscale: str, yscale: str | None) -> None:
    """Raise UsageError when a smoothing factor or a scale is not one."""
    if smooth is not None and not 0 <= smooth < 1:
        raise UsageError(f"smooth must be at least 0 and below 1, got {smooth!r}")
    for name, value in (("xscale", xscale), ("yscale", yscale)):
        if value not in ("linear", "log", "symlog", None):
            raise UsageError(f"{name} must be linear, log or symlog, got {value!r}")


def new_figure(size: tuple[float, float], look: Style) -> Figure:
    """A figure that belongs to nobody: no window, no pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", facecolor=look.ground)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, look: Style) -> None:
    """Ground, grid, ticks and frame of one panel."""
    axes.set_facecolor(look.ground)
    axes.grid(True, color=look.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=look.soft, labelsize=8.5, which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(look.soft)


def drawable(values: Values) -> Values:
    """The values within what Matplotlib can put on an axis: it fails on the widest range of doubles."""
    return np.clip(values, -1e300, 1e300)


def mark_bad(axes: Axes, lines: Sequence[Line], look: Style) -> None:
    """A cross at the foot of the panel for every point that is not finite."""
    steps = np.concatenate([line.bad_steps for line in lines]) if lines else np.zeros(0)
    if len(steps) == 0:
        return
    axes.plot(
        steps,
        np.full(len(steps), 0.025),
        "x",
        color=look.critical,
        markersize=5,
        markeredgewidth=1.3,
        zorder=6,
        clip_on=False,
        transform=axes.get_xaxis_transform(),
        label=f"NaN or Inf ({sum(line.bad_count for line in lines):,})",
    )


def scale_y(axes: Axes, lines: Sequence[Line], wanted: str | None) -> None:
    """Set the y axis as wanted, else as the values ask for."""
    chosen, middle = scale([line.finite() for line in lines])
    if wanted == "symlog" and not middle:
        sizes = np.abs(np.concatenate([line.finite() for line in lines]))
        middle = float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 1.0
    kind = wanted or chosen
    if kind == "symlog":
        axes.set_yscale("symlog", linthresh=middle or 1.0)
    elif kind == "log" and all((line.finite() <= 0).all() for line in lines):
        _plain_ticks(axes)  # nothing positive to show on a log axis
    else:
        axes.set_yscale(kind)
        if kind == "log" and not far_ticks(axes.yaxis, axes.get_ylim()):
            _plain_numbers(axes)
        elif kind == "linear":
            _plain_ticks(axes)


def far_ticks(axis: Axis, limits: tuple[float, float]) -> bool:
    """Ticks on a logarithmic axis over many powers of ten; False where there are few and Matplotlib's own will do.

    Its locator looks a stride beyond the limits, and over a range so wide that is beyond the largest double.
    """
    from matplotlib.ticker import FixedLocator, LogFormatterSciNotation, NullLocator

    low, high = sorted(limits)
    if not 0 < low < high < math.inf or math.log10(high) - math.log10(low) <= FAR:
        return False
    first, last = math.log10(low), math.log10(high)
    every = math.ceil((last - first) / 6)
    powers = range(math.ceil(first / every) * every, math.floor(last) + 1, every)
    axis.set_major_locator(FixedLocator([10.0**power for power in powers]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(LogFormatterSciNotation())
    return True


def _plain_ticks(axes: Axes) -> None:
    """Every number on a linear axis in full: a power of ten taken out would stand where the legend is."""
    from matplotlib.ticker import Formatter

    class Whole(Formatter):
        def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - Matplotlib's signature
            return self.format_ticks([x])[0]

        def format_ticks(self, values: Any) -> list[str]:
            return [self.fix_minus(label) for label in tick_labels([float(v) for v in values])]

    axes.yaxis.set_major_formatter(Whole())


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks of a linear axis, each with a power of ten of its own if they are very small or large.

    >>> tick_labels([0.0, 0.25, 0.5]), tick_labels([0.0, 0.0001, 0.00025])
    (['0.00', '0.25', '0.50'], ['0', '1e-4', '2.5e-4'])
    """
    largest = max((abs(v) for v in ticks), default=0.0)
    # Halved, as the distance of two huge ticks would overflow; a thousandth of it is beneath what can be seen.
    apart = min((b / 2 - a / 2 for a, b in pairwise(sorted(set(ticks)))), default=largest)
    kind = "f" if 1e-3 <= largest < 1e6 or largest == 0 else "e"
    for digits in range(16):
        labels = [f"{v:.{digits}{kind}}" for v in ticks]
        if all(abs(float(label) - v) <= apart / 1000 for label, v in zip(labels, ticks, strict=True)):
            break
    return [_short(label) for label in labels] if kind == "e" else labels


def _short(label: str) -> str:
    """``2.50e-04`` as people write it."""
    mantissa, _, power = label.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return "0" if float(mantissa) == 0 else f"{mantissa}e{int(power)}"


def _plain_numbers(axes: Axes) -> None:
    """Numbers on a logarithmic axis as 0.06 and not as 6 times a power of ten, where they are few and short."""
    from matplotlib.ticker import LogFormatter, NullFormatter

    low, high = axes.get_ylim()
    if not (low > 0 and low >= 1e-4 and high <= 1e5):
        return

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.yaxis.set_major_formatter(Plain())
    figure = axes.get_figure(root=True)
    inches = axes.get_position().height * figure.get_figheight() if figure is not None else 0.0
    # A low panel has no room for numbers between the powers of ten.
    axes.yaxis.set_minor_formatter(NullFormatter() if inches < 1.8 else Plain(minor_thresholds=(2, 0.5)))


def literal(text: str) -> str:
    """Text that Matplotlib shows as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
