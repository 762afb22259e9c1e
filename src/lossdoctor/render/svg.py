"""Small SVG pictures as text, for pages: a sparkline, and a static plot that needs no script and prints well.

Colours are CSS custom properties with a fallback, so that a page's theme (or none) decides.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Values
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render import words
from lossdoctor.render.escape import markup
from lossdoctor.render.series import Chart, Line, minmax, scale
from lossdoctor.render.sparkline import primary_values

_TRAIN, _VAL = "var(--ld-train,#0072B2)", "var(--ld-val,#C04A00)"
_INK, _SOFT, _GRID = "var(--ld-ink,#1b1f24)", "var(--ld-soft,#57606a)", "var(--ld-grid,#d8dee4)"
_BAD, _GOOD = "var(--ld-critical,#B3261E)", "var(--ld-good,#00795A)"
_SEVERITY = {"critical": _BAD, "warning": "var(--ld-warning,#8A5A00)", "info": "var(--ld-info,#3A6EA5)"}


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels, linear or logarithmic. ``middle`` is the linear part of a symlog axis."""

    low: float
    high: float
    start: float
    end: float
    kind: str = "linear"
    middle: float = 1.0

    def warp(self, value: float) -> float:
        """The value on the axis's own scale."""
        if self.kind == "log":
            return math.log10(max(value, 1e-300))
        if self.kind == "symlog":
            ratio = value / self.middle  # may overflow to infinity
            return math.asinh(max(-1e300, min(ratio, 1e300)))
        return value

    def __call__(self, value: float) -> float:
        # Halved, because the distance of two huge values would overflow.
        low, high, at = self.warp(self.low) / 2, self.warp(self.high) / 2, self.warp(value) / 2
        share = 0.5 if high <= low else (at - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values on the axis: powers of ten on a logarithmic one."""
        if self.kind == "log":
            a, b = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            stride = max(1, math.ceil((b - a + 1) / count))
            powers = [10.0**k for k in range(a, b + 1, stride)]
            return powers if len(powers) >= 2 else [self.low, self.high]
        if self.kind == "symlog":
            return sorted({self.low, 0.0, self.high}) if self.low < 0 < self.high else [self.low, self.high]
        return _round_ticks(self.low, self.high, count)


def _round_ticks(low: float, high: float, count: int) -> list[float]:
    width = high / 2 - low / 2
    if not width > 0 or not math.isfinite(width):
        return [low]
    rough = width / count * 2
    power = 10.0 ** math.floor(math.log10(rough))
    stride = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.8)
    first = math.ceil(low / stride - 1e-9)
    return [round(k * stride, 12) for k in range(first, first + 2 * count + 2) if k * stride <= high + stride * 1e-9]


def sparkline_svg(history: TrainingHistory, *, width: int = 120, height: int = 24, label: str = "") -> str:
    """The primary loss as a tiny line; crosses mark where it was not finite."""
    values = primary_values(history)
    head = f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    head += f' aria-label="{markup(label or "loss curve")}">'
    if values is None or not np.isfinite(values).any():
        return head + "</svg>"
    places = np.arange(len(values))
    fine = np.isfinite(values)
    kind, middle = scale([values[fine]])
    y = Axis(float(values[fine].min()), float(values[fine].max()), height - 2, 2, kind, middle or 1.0)
    x = Axis(0, max(len(values) - 1, 1), 2, width - 2)
    keep = minmax(values[fine], 2 * width)
    path = _path(places[fine][keep], values[fine][keep], x, y)
    bad = places[~fine]
    bad = bad[np.unique(np.linspace(0, len(bad) - 1, min(len(bad), 12)).astype(int))] if len(bad) else bad
    crosses = "".join(_cross(x(float(b)), height - 4, 2) for b in bad)
    line = f'<path d="{path}" fill="none" stroke="{_TRAIN}" stroke-width="1.3"/>'
    return f'{head}{line}<path d="{crosses}" stroke="{_BAD}" stroke-width="1"/></svg>'


def chart_svg(chart: Chart, *, width: int = 720, height: int = 280, label: str = "loss curves") -> str:
    """A static plot of the losses with axes, legend, best step and the onset of findings."""
    lines = chart.main or list(chart.others)
    finite = [line.finite() for line in lines]
    head = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{markup(label)}"'
    head += ' style="max-width:100%;height:auto" font-family="system-ui,sans-serif" font-size="11">'
    if not any(len(v) for v in finite):
        text = f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle" fill="{_SOFT}">no finite values</text>'
        return f"{head}{text}</svg>"
    kind, middle = scale(finite)
    together = np.concatenate(finite)
    y = Axis(*_padded(float(together.min()), float(together.max()), kind), height - 34, 30, kind, middle or 1.0)
    x = Axis(chart.first, max(chart.last, chart.first + 1), 62, width - 14)
    parts = [head, *_grid(x, y, width, chart.unit)]
    parts += [_line(line, x, y, dashed=line is chart.val) for line in lines]
    parts += _onsets(chart, x, y)
    if chart.best is not None and chart.main:
        step, value, _ = chart.best
        parts.append(f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="4.5" fill="{_GOOD}" stroke="#fff"/>')
    crosses = "".join(_cross(x(float(s)), y.start - 4, 3) for line in lines for s in line.bad_steps)
    parts.append(f'<path d="{crosses}" stroke="{_BAD}" stroke-width="1.4"/>')
    parts += [*_legend(chart, lines), "</svg>"]
    return "".join(parts)


def _padded(low: float, high: float, kind: str) -> tuple[float, float]:
    """A little more than the range, within what a double holds."""
    if kind == "log":
        return low / 1.15 or low, min(high * 1.15, sys.float_info.max)
    room = 0.1 * (high / 2 - low / 2) or abs(high) * 0.1 or 1.0
    return max(low - room, -sys.float_info.max), min(high + room, sys.float_info.max)


def _grid(x: Axis, y: Axis, width: int, unit: str) -> list[str]:
    out = []
    for tick in y.ticks():
        at = y(tick)
        out.append(f'<line x1="{x.start}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}" stroke="{_GRID}"/>')
        text = markup(words.number(tick))
        out.append(f'<text x="{x.start - 6}" y="{at + 4:.1f}" text-anchor="end" fill="{_SOFT}">{text}</text>')
    out.append(f'<line x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}" stroke="{_SOFT}"/>')
    for tick in x.ticks(7):
        if not float(tick).is_integer():
            continue
        at = x(tick)
        anchor = "end" if at > x.end - 12 else "middle"
        out.append(f'<text x="{at:.1f}" y="{y.start + 15}" text-anchor="{anchor}" fill="{_SOFT}">{int(tick):,}</text>')
    out.append(f'<text x="{width - 14}" y="{y.start + 30}" text-anchor="end" fill="{_SOFT}">{markup(unit)}</text>')
    return out


def _line(line: Line, x: Axis, y: Axis, *, dashed: bool) -> str:
    color, dash = (_VAL, ' stroke-dasharray="6 2"') if dashed else (_TRAIN, "")
    factor = line.factor()
    raw = _path(line.steps, line.values, x, y)
    if not factor and not line.reduced:
        dots = ""
        if len(line.values) <= 60:
            fine = np.isfinite(line.values)
            places = zip(line.steps[fine], line.values[fine], strict=True)
            dots = "".join(
                f'<circle cx="{x(float(s)):.1f}" cy="{y(float(v)):.1f}" r="2.2" fill="{color}"/>' for s, v in places
            )
        return f'<path d="{raw}" fill="none" stroke="{color}" stroke-width="1.7"{dash}/>{dots}'
    smooth = _path(line.mean_steps, line.centred(factor), x, y)
    return (
        f'<path d="{raw}" fill="none" stroke="{color}" stroke-width=".7" opacity=".35"/>'
        f'<path d="{smooth}" fill="none" stroke="{color}" stroke-width="1.9"{dash}/>'
    )


def _onsets(chart: Chart, x: Axis, y: Axis) -> list[str]:
    """A line at each onset, its code above the plot; codes that would collide are left to the line's tooltip."""
    out, taken = [], -100.0
    for mark in sorted((m for m in chart.marks if m.start is not None), key=lambda m: m.start or 0):
        at, color = x(float(mark.start or 0)), _SEVERITY[mark.finding.severity]
        name = markup(f"{mark.finding.code} {mark.finding.name}")
        out.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y.end}" y2="{y.start}" stroke="{color}" stroke-dasharray="4 3">'
            f"<title>{name}</title></line>"
        )
        if at - taken > 40:
            text = markup(mark.finding.code)
            anchor = "end" if at > x.end - 36 else "start"
            out.append(f'<text x="{at:.1f}" y="{y.end - 3}" text-anchor="{anchor}" fill="{color}">{text}</text>')
            taken = at
    return out


def _legend(chart: Chart, lines: Sequence[Line]) -> list[str]:
    out, at = [], 62.0
    for line in lines[:3]:
        dashed = line is chart.val
        color, dash = (_VAL, ' stroke-dasharray="6 2"') if dashed else (_TRAIN, "")
        name = line.name if len(line.name) <= 32 else "…" + line.name[-31:]
        out.append(f'<line x1="{at}" x2="{at + 22}" y1="10" y2="10" stroke="{color}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{at + 27}" y="14" fill="{_INK}">{markup(name)}</text>')
        at += 46 + 6.4 * len(name)
    bad = sum(line.bad_count for line in lines)
    if bad:
        out.append(f'<path d="{_cross(at + 4, 10, 3)}" stroke="{_BAD}" stroke-width="1.4"/>')
        out.append(f'<text x="{at + 12}" y="14" fill="{_INK}">NaN or Inf ({bad:,})</text>')
        at += 120
    if chart.best is not None and chart.main:
        step, value, _ = chart.best
        out.append(f'<circle cx="{at + 4}" cy="10" r="4" fill="{_GOOD}"/>')
        out.append(f'<text x="{at + 12}" y="14" fill="{_INK}">best {markup(words.number(value))} @ {step:,}</text>')
    return out


def _path(steps: NDArray[Any], values: Values, x: Axis, y: Axis) -> str:
    """SVG path data; a NaN lifts the pen, and so does a value that a logarithmic axis cannot show."""
    out, pen = [], False
    for step, value in zip(np.asarray(steps, dtype=np.float64).tolist(), values.tolist(), strict=True):
        if math.isnan(value) or (y.kind == "log" and value <= 0):
            pen = False
            continue
        out.append(f"{'L' if pen else 'M'}{x(step):.1f} {y(value):.1f}")
        pen = True
    return "".join(out)


def _cross(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}"
