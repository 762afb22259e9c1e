"""One chart of a test as a static SVG: no script, and colours by the page's theme where it has one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossdoctor.probes.chart import Chart
from lossdoctor.render import words
from lossdoctor.render.canvas import tick_labels
from lossdoctor.render.escape import markup, visible
from lossdoctor.render.probes.layout import Bar, Curve, Prepared, band_tint, prepare
from lossdoctor.render.probes.places import Tag, lanes, spread
from lossdoctor.render.style import STYLES
from lossdoctor.render.svg import Axis

_INK, _SOFT, _GRID = "var(--ld-ink,#1b1f24)", "var(--ld-soft,#57606a)", "var(--ld-grid,#d8dee4)"
_GROUND, _GOOD, _BAD = "var(--ld-ground,#fff)", "var(--ld-good,#00795A)", "var(--ld-critical,#B3261E)"
_CYCLE = tuple(f"var(--ld-cycle-{i},{color})" for i, color in enumerate(STYLES["light"].cycle[:6]))
_DASHES = ("", ' stroke-dasharray="7 3"', ' stroke-dasharray="2 2"', ' stroke-dasharray="7 3 2 3"')
_FONT = 11
_LANE = 15
_ROW = 17  # of a bar
_LONGEST = 34


def width_of(text: str, size: float = _FONT) -> float:
    """About the width of a text, rather too wide: the page's font is not known."""
    return size * sum(0.95 if c in "mwMW@%…" else (0.35 if c in "il.,:;'|! " else 0.6) for c in text)


def chart_svg(chart: Chart, *, width: int = 520) -> str:
    """A chart with its title, legend, axes and the names of its marks.

    Args:
        width: in the units of its view; the height follows from what it holds.
    """
    return _Drawing(prepare(chart), width).text()


class _Drawing:
    """The pieces of one chart, placed from above to below."""

    def __init__(self, ready: Prepared, width: int) -> None:
        self.ready, self.width = ready, width
        names = [_short(b.name) for b in ready.bars]
        beside = [_short(m.label) for m in ready.level]
        self.left = 12 + (max(map(width_of, names)) if names else 44 + (14 if ready.chart.y_label else 0))
        self.right = width - 10 - (10 + max(map(_bold, beside)) if beside else 0)
        self.title = _wrapped(ready.chart.title, width - 8, _FONT + 1.5)
        self.legend = self._legend_rows()
        self.x = Axis(*ready.x, self.left, self.right, "log" if ready.log_x else "linear")
        tags = [
            Tag(self._middle(n.start, n.end) - self.left, _bold(_short(n.label)), n.band is None) for n in ready.above
        ]
        self.places = lanes(tags, width - 4 - self.left)
        count = 1 + max((p.lane for p in self.places), default=-1)
        head = 6 + 16 * len(self.title) + _LANE * len(self.legend)
        self.top = head + _LANE * count + 8
        tall = _ROW * len(ready.bars) + 6 if ready.bars else max(170, _LANE * len(ready.level) + 10)
        self.bottom = self.top + tall
        self.y = Axis(*ready.y, self.bottom, self.top, "log" if ready.chart.log_y and not ready.bars else "linear")
        named = ready.value_label if ready.bars else ready.chart.x_label
        self.height = self.bottom + 20 + (16 if named else 0)

    def text(self) -> str:
        """The whole picture."""
        chart = self.ready.chart
        head = f'<svg class="chart" viewBox="0 0 {self.width} {self.height:.0f}" role="img"'
        head += f' aria-label="{markup(chart.title, 300)}" style="width:100%;max-width:{self.width}px;height:auto"'
        head += f' font-family="system-ui,sans-serif" font-size="{_FONT}">'
        body = self._bars() if self.ready.bars else self._curves()
        parts = [*self._titles(), *self._grid(), *self._bands(), *self._lines_of_marks(), *body, *self._names()]
        if self.ready.empty:
            middle, level = (self.left + self.right) / 2, (self.top + self.bottom) / 2
            parts.append(_text(middle, level, "no finite values", _SOFT, "middle"))
        return head + "".join(parts) + "</svg>"

    def _middle(self, a: float, b: float) -> float:
        return (self.x(a) + self.x(b)) / 2

    def _titles(self) -> Iterator[str]:
        y = 0.0
        for line in self.title:
            y += 16
            look = f'font-size="{_FONT + 1.5}" font-weight="700" fill="{_INK}"'
            yield f'<text x="4" y="{y:.0f}" {look}>{markup(line)}</text>'
        for row in self.legend:
            y += _LANE
            at = self.left
            for curve in row:
                name = _short(curve.name)
                yield _sample(curve, at, y - 4) + _text(at + 25, y, name, _INK)
                at += 40 + width_of(name)
        ready = self.ready
        under = ready.value_label if ready.bars else ready.chart.x_label
        if under:
            yield _text((self.left + self.right) / 2, self.bottom + 32, visible(under, 80), _INK, "middle")
        if ready.chart.y_label and not ready.bars:
            level = (self.top + self.bottom) / 2
            look = f'text-anchor="middle" fill="{_INK}" transform="rotate(-90 12 {level:.0f})"'
            yield f'<text x="12" y="{level:.0f}" {look}>{markup(ready.chart.y_label, 60)}</text>'

    def _legend_rows(self) -> list[list[Curve]]:
        rows: list[list[Curve]] = []
        used = math.inf
        for curve in self.ready.legend:
            wide = 40 + width_of(_short(curve.name))
            if used + wide > self.width - self.left:
                rows.append([])
                used = 0.0
            rows[-1].append(curve)
            used += wide
        return rows

    def _grid(self) -> Iterator[str]:
        yield _rule(self.left, self.bottom, self.right, self.bottom, _SOFT)
        for at, label in _ticks(self.x, 6):
            x = self.x(at)
            # The last number may not reach beyond the picture.
            middle = min(x, self.width - 2 - width_of(label) / 2)
            yield _rule(x, self.top, x, self.bottom, _GRID) + _text(middle, self.bottom + 15, label, _SOFT, "middle")
        if not self.ready.bars:
            yield _rule(self.left, self.top, self.left, self.bottom, _SOFT)
            for at, label in _ticks(self.y, 5):
                y = self.y(at)
                yield _rule(self.left, y, self.right, y, _GRID) + _text(self.left - 5, y + 4, label, _SOFT, "end")

    def _bands(self) -> Iterator[str]:
        for i, (start, end, label) in enumerate(self.ready.bands):
            x, wide = self.x(start), self.x(end) - self.x(start)
            yield (
                f'<rect x="{x:.1f}" y="{self.top:.1f}" width="{wide:.1f}" height="{self.bottom - self.top:.1f}"'
                f' fill="{_CYCLE[band_tint(i)]}" opacity=".14"><title>{markup(label)}</title></rect>'
            )

    def _lines_of_marks(self) -> Iterator[str]:
        for mark in self.ready.upright:
            yield _rule(self.x(mark.at), self.top, self.x(mark.at), self.bottom, *_pen(mark.good))
        for mark in self.ready.level:
            yield _rule(self.left, self.y(mark.at), self.right, self.y(mark.at), *_pen(mark.good))

    def _names(self) -> Iterator[str]:
        """Names of marks and bands: above in lanes with a line down, and on the right."""
        for place, name in zip(self.places, self.ready.above, strict=True):
            base = self.top - 5 - _LANE * place.lane
            tint = _GOOD if name.good else _SOFT
            if name.band is None:
                yield _rule(self.x(name.start), self.top, self.x(name.start), base - 9, tint)
            else:
                tint = _CYCLE[band_tint(name.band)]
            yield _text(self.left + place.left, base, _short(name.label), tint, bold=name.good, halo=True)
        wanted = [self.bottom - self.y(m.at) for m in self.ready.level]
        for mark, at, put in zip(
            self.ready.level, wanted, spread(wanted, _LANE, 0, self.bottom - self.top), strict=True
        ):
            tint = _GOOD if mark.good else _SOFT
            yield _rule(self.right, self.bottom - at, self.right + 8, self.bottom - put, tint)
            yield _text(self.right + 10, self.bottom - put + 4, _short(mark.label), tint, bold=mark.good)

    def _curves(self) -> Iterator[str]:
        for curve in self.ready.curves:
            tint = _CYCLE[curve.pen % 6]
            points = list(zip(map(self.x, curve.x.tolist()), map(self.y, curve.y.tolist()), strict=True))
            few = curve.kind != "faint" and len(points) <= 30
            if curve.kind != "points":
                path = "".join(
                    f"{'M' if i == 0 or i in curve.gaps else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points)
                )
                look = (
                    f'stroke="{_SOFT}" stroke-width=".9" opacity=".75"'
                    if curve.kind == "faint"
                    else f'stroke="{tint}" stroke-width="1.9"{_DASHES[curve.dash % 4]}'
                )
                yield f'<path d="{path}" fill="none" {look}><title>{markup(curve.name)}</title></path>'
            if curve.kind == "points" or few:
                size = 3.2 if curve.kind == "points" and len(points) <= 60 else 2.2
                yield "".join(_dot(x, y, size, curve.pen, tint) for x, y in points)

    def _bars(self) -> Iterator[str]:
        foot = self.x(self.ready.x[0] if self.ready.log_x else 0.0)
        for i, bar in enumerate(self.ready.bars):
            y = self.top + 3 + _ROW * i
            shown = self.ready.shows(bar)
            end = self.x(bar.value) if shown else foot
            yield _text(self.left - 5, y + 12, _short(bar.name), _INK, "end")
            if shown:
                low, wide = min(foot, end), abs(end - foot)
                yield (
                    f'<rect x="{low:.1f}" y="{y + 2}" width="{wide:.1f}" height="{_ROW - 5}" fill="{_CYCLE[0]}">'
                    f"<title>{markup(bar.name)}: {bar_text(bar)}</title></rect>"
                )
            side, anchor = (-4, "end") if end < foot else (4, "start")
            tint = _INK if shown or bar.value == 0 else _BAD
            yield _text(end + side, y + 12, bar_text(bar), tint, anchor, halo=True)


def bar_text(bar: Bar) -> str:
    """The value beside a bar; nothing beside the row that stands for many."""
    return "" if bar.many else words.number(bar.value)


def _short(name: str) -> str:
    return words.fitted(visible(name, 200), _LONGEST)


def _bold(text: str) -> float:
    return 1.1 * width_of(text)


def _pen(good: bool) -> tuple[str, str]:
    return (_GOOD, ' stroke-width="2"') if good else (_SOFT, ' stroke-dasharray="4 3"')


def _rule(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{more}/>'


def _text(
    x: float, y: float, text: str, color: str, anchor: str = "start", *, bold: bool = False, halo: bool = False
) -> str:
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    weight = ' font-weight="700"' if bold else ""
    under = f' stroke="{_GROUND}" stroke-width="3" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{place}{weight}{under} fill="{color}">{markup(text)}</text>'


def _dot(x: float, y: float, r: float, pen: int, tint: str) -> str:
    """Every second curve has squares, for those who see no hue."""
    if pen % 2:
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}" fill="{tint}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{tint}"/>'


def _sample(curve: Curve, x: float, y: float) -> str:
    """The legend's piece of a curve."""
    tint = _CYCLE[curve.pen % 6]
    if curve.kind == "points":
        return _dot(x + 11, y, 3.2, curve.pen, tint)
    if curve.kind == "faint":
        return _rule(x, y, x + 20, y, _SOFT, ' stroke-width=".9" opacity=".75"')
    return _rule(x, y, x + 20, y, tint, f' stroke-width="2"{_DASHES[curve.dash % 4]}')


def _wrapped(text: str, room: float, size: float) -> list[str]:
    lines = [""]
    for word in visible(text, 300).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and 1.1 * width_of(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if lines[0] else []


def _ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Places of an axis with their numbers: round ones, and between powers of ten where those are few."""
    if axis.kind != "log":
        places = [t for t in axis.ticks(count) if axis.low <= t <= axis.high]
        return list(zip(places, tick_labels(places), strict=True))
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    for between in ((1, 2, 5), (1, 3), (1,)):
        places = [m * 10.0**k for k in range(first, last + 1) for m in between]
        places = [p for p in places if axis.low <= p <= axis.high]
        if len(places) <= count + 1:
            break
    else:
        every = math.ceil(len(places) / count)
        places = [p for p in places if round(math.log10(p)) % every == 0]
    return [(p, words.number(p).replace("e-0", "e-").replace("e+0", "e")) for p in places or [axis.low, axis.high]]
