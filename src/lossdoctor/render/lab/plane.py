"""A field from above: shaded by value with contour lines, its critical points marked; or a map of classes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.lab.result import Array, Field
from lossdoctor.render.canvas import literal
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.pens import color
from lossdoctor.render.style import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_LEVELS = 14
_FONT = 7.0
# How much of the ground is mixed into the shading, so that paths over it stand out.
_PALE = 0.5
_SHARE_OF_LOG = 1e-5  # values nearer to the least than this share of the range are one shade


def draw_field(axes: Axes, field: Field, look: Style, *, bar: bool = True) -> None:
    """Draw a field under whatever the panel holds.

    Args:
        bar: with a scale of the values beside it.
    """
    axes.grid(False)
    if field.levels == "category":
        _draw_classes(axes, field, look)
    else:
        shade, ticks = heights(field)
        _draw_shades(axes, field, shade, look)
        _draw_contours(axes, field, shade, look)
        if bar:
            _draw_bar(axes, field, shade, ticks, look)
    axes.set_xlim(field.x[0], field.x[-1])
    axes.set_ylim(field.y[0], field.y[-1])
    sides = np.ptp(field.x), np.ptp(field.y)
    if max(sides) <= 1.6 * min(sides):
        axes.set_aspect("equal", adjustable="box")
    mark_critical(axes, field, look)


def heights(field: Field) -> tuple[Array, dict[float, str]]:
    """What is shaded, float64[ny, nx] with NaN where the value is not finite, and its ticks: height -> label.

    With ``levels="log"`` it is the logarithm of the distance to the least value, so that a valley of many orders of
    magnitude is seen to its floor.
    """
    values = np.where(np.isfinite(field.values), field.values, np.nan)
    if np.isnan(values).all():
        return np.zeros_like(values), {}
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if field.levels != "log" or not high > low:
        return np.clip(values, low, _sane_top(values)), {}
    floor = (high - low) * _SHARE_OF_LOG
    shade = np.log10(np.maximum(values - low, floor))
    marks = range(int(np.ceil(np.log10(floor))), int(np.floor(np.log10(high - low))) + 1)
    step = max(1, len(marks) // 5)
    base = "" if abs(low) <= floor else f"{low:.3g}+"
    return shade, {float(power): f"{base}{_power(power)}" for power in list(marks)[::-step]}


def _power(power: int) -> str:
    return f"{10.0**power:g}" if -3 <= power <= 4 else f"1e{power}"


def _sane_top(values: Array) -> float:
    """The greatest value, or far less where a few corners tower over all the rest."""
    high, usual = float(np.nanmax(values)), float(np.nanpercentile(values, 98))
    low = float(np.nanmin(values))
    return usual if high - low > 20 * (usual - low) > 0 else high


@cache
def shading(ground: str, pale: float = _PALE) -> Colormap:
    """Viridis (even in lightness for every eye) mixed with the ground."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, to_rgb

    full = colormaps["viridis"](np.linspace(0.0, 1.0, 256))[:, :3]
    mixed = (1 - pale) * full + pale * np.array(to_rgb(ground))
    return ListedColormap(mixed).with_extremes(bad=ground)


def _draw_shades(axes: Axes, field: Field, shade: Array, look: Style) -> None:
    """As an image where the grid is even (small files), else cell by cell."""
    style: dict[str, Any] = {"cmap": shading(look.ground), "zorder": 0}
    if _even(field.x) and _even(field.y):
        axes.imshow(
            shade, extent=_extent(field), origin="lower", aspect="auto", interpolation="bilinear", **style
        )  # fmt: skip
    else:
        axes.pcolormesh(field.x, field.y, shade, shading="nearest", rasterized=True, **style)


def _draw_contours(axes: Axes, field: Field, shade: Array, look: Style) -> None:
    low, high = np.nanmin(shade), np.nanmax(shade)
    if not high > low:
        return
    levels = np.linspace(low, high, _LEVELS + 2)[1:-1]
    thin: dict[str, Any] = {"linewidths": 0.45, "alpha": 0.65, "linestyles": "solid", "zorder": 1}
    axes.contour(field.x, field.y, shade, levels=levels, colors=look.soft, **thin)


def _draw_bar(axes: Axes, field: Field, shade: Array, ticks: dict[float, str], look: Style) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = float(np.nanmin(shade)), float(np.nanmax(shade))
    figure = axes.get_figure()
    if not high > low or figure is None:
        return
    mapped = ScalarMappable(Normalize(low, high), shading(look.ground))
    # Inside the axes' own frame, so that it is as high as they are whatever their aspect.
    bar = figure.colorbar(mapped, cax=axes.inset_axes((1.02, 0.0, 0.035, 1.0)))
    if ticks:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.ax.minorticks_off()
    else:
        bar.ax.locator_params(nbins=5)
    bar.ax.tick_params(labelsize=_FONT, colors=look.soft, length=2, pad=1.5)
    bar.outline.set_visible(False)
    bar.set_label(literal(visible(field.label, 60)), color=look.ink, fontsize=_FONT, labelpad=2)


def _draw_classes(axes: Axes, field: Field, look: Style) -> None:
    """A map of classes: a colour each, those of no class in the colour of the ground."""
    found = [int(v) for v in np.unique(field.values[np.isfinite(field.values)])]
    style: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "zorder": 0}
    axes.imshow(class_colors(field, look), extent=_extent(field), **style)
    named = {c: field.categories[c] for c in found if 0 <= c < len(field.categories)}
    if any(c < 0 for c in found):
        named[-1] = "none of them"
    for number, name in named.items():
        square: dict[str, Any] = {"markeredgecolor": look.soft, "markeredgewidth": 0.4, "markersize": 6}
        axes.plot([], [], "s", color=class_color(number, look), label=literal(visible(name, 60)), **square)


def class_color(number: int, look: Style) -> str:
    """The colour of a class; after the last one the cycle begins anew."""
    return look.ground if number < 0 else color(number, look)


def class_colors(field: Field, look: Style) -> Array:
    """float64[ny, nx, 3]: the map's colours, a little paler than lines so that points stand out on them."""
    from matplotlib.colors import to_rgb

    ground = np.array(to_rgb(look.ground))
    out = np.empty((*field.values.shape, 3))
    out[:] = ground
    for number in np.unique(field.values[np.isfinite(field.values)]):
        tint = np.array(to_rgb(class_color(int(number), look)))
        out[field.values == number] = 0.72 * tint + 0.28 * ground
    return out


def mark_critical(axes: Axes, field: Field, look: Style) -> None:
    """Minima as stars, saddles as crosses, maxima as triangles, each with a halo."""
    for points, marker, label, size in (
        (field.minima, "*", "minimum", 9.5),
        (field.saddles, "X", "saddle", 5.5),
        (field.maxima, "^", "maximum", 5.5),
    ):
        inside = [
            p for p in points
            if field.x[0] <= p[0] <= field.x[-1] and field.y[0] <= p[1] <= field.y[-1]
        ]  # fmt: skip
        if not inside:
            continue
        many = len(inside) > 30
        at = np.array(inside)
        axes.plot(
            *(at[:, 0], at[:, 1], marker),
            color=look.ink,
            markersize=size / 2 if many else size,
            markeredgecolor=look.ground,
            markeredgewidth=0.7,
            label=label if len(inside) == 1 else f"{label} ({len(inside)})",
            zorder=3,
        )


def _even(values: Array) -> bool:
    steps = np.diff(values)
    return len(steps) > 0 and bool(np.allclose(steps, steps[0], rtol=1e-6))


def _extent(field: Field) -> tuple[float, float, float, float]:
    """The outer edges of the grid's cells."""
    half_x = (field.x[-1] - field.x[0]) / max(1, len(field.x) - 1) / 2
    half_y = (field.y[-1] - field.y[0]) / max(1, len(field.y) - 1) / 2
    return field.x[0] - half_x, field.x[-1] + half_x, field.y[0] - half_y, field.y[-1] + half_y
