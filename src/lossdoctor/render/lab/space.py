"""A field as a surface in space, with its paths on it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lossdoctor.lab.result import Array, Field, Panel
from lossdoctor.render.canvas import literal
from lossdoctor.render.escape import visible
from lossdoctor.render.lab.axes import FONT, width_of
from lossdoctor.render.lab.pens import pens
from lossdoctor.render.lab.plane import heights, shading
from lossdoctor.render.style import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 70  # patches a side: more than can be told apart at this size
_ELEVATION, _AZIMUTH = 38.0, -58.0


def draw_space(axes: Any, panel: Panel, look: Style, numbers: Mapping[str, int]) -> None:
    """Draw a panel's field as a surface; ``axes`` is one of Matplotlib's 3-D axes."""
    field = panel.field
    assert field is not None
    z, ticks = heights(field)
    axes.computed_zorder = False  # else the surface hides the paths that lie on it
    axes.set_facecolor(look.ground)
    row, column = max(1, len(field.y) // _SIDE), max(1, len(field.x) // _SIDE)
    x, y = np.meshgrid(field.x, field.y)
    axes.plot_surface(
        *(x, y, z),
        **{"cmap": shading(look.ground, 0.15), "rstride": row, "cstride": column, "linewidth": 0},
        antialiased=True,
        alpha=0.93,
        zorder=1,
    )
    low = float(np.nanmin(z))
    axes.contour(x, y, z, levels=12, zdir="z", offset=low, colors=look.soft, linewidths=0.4, alpha=0.6, zorder=0)
    lift = 0.012 * float(np.nanmax(z) - low)
    for line, pen in zip(panel.lines, pens(panel, look, numbers), strict=True):
        inside = _inside(field, line.x, line.y)
        px, py = line.x[inside], line.y[inside]
        if not len(px):
            continue
        pz = height_at(field, z, px, py) + lift
        label = literal(visible(line.label, 60)) or "_"
        axes.plot(px, py, pz, color=look.ground, linewidth=3.0, alpha=0.8, zorder=4)
        axes.plot(px, py, pz, color=pen.color, linewidth=1.6, linestyle=pen.dash, label=label, zorder=5)
        axes.plot(px[:1], py[:1], pz[:1], "o", color=look.ground, markeredgecolor=pen.color, markersize=4.5, zorder=6)
        axes.plot(px[-1:], py[-1:], pz[-1:], pen.marker or "o", color=pen.color, markersize=4.5, zorder=7)
    for points, marker in ((field.minima, "*"), (field.saddles, "X"), (field.maxima, "^")):
        fine = points[_inside(field, points[:, 0], points[:, 1])] if len(points) else points
        if len(fine):
            pz = height_at(field, z, fine[:, 0], fine[:, 1]) + lift
            axes.plot(
                *(fine[:, 0], fine[:, 1], pz, marker),
                color=look.ink,
                markersize=6 if marker == "*" else 4,
                markeredgecolor=look.ground,
                markeredgewidth=0.5,
                zorder=8,
            )
    _dress(axes, panel, look, ticks)


def height_at(field: Field, z: Array, x: Array, y: Array) -> Array:
    """The height at points of the plane, by linear interpolation; float64[n]."""
    i = np.clip(np.searchsorted(field.x, x) - 1, 0, len(field.x) - 2)
    j = np.clip(np.searchsorted(field.y, y) - 1, 0, len(field.y) - 2)
    u = (x - field.x[i]) / (field.x[i + 1] - field.x[i])
    v = (y - field.y[j]) / (field.y[j + 1] - field.y[j])
    lower = (1 - u) * z[j, i] + u * z[j, i + 1]
    upper = (1 - u) * z[j + 1, i] + u * z[j + 1, i + 1]
    return np.asarray((1 - v) * lower + v * upper)


def _inside(field: Field, x: Array, y: Array) -> Any:
    with np.errstate(invalid="ignore"):
        return (x >= field.x[0]) & (x <= field.x[-1]) & (y >= field.y[0]) & (y <= field.y[-1])


def _dress(axes: Any, panel: Panel, look: Style, ticks: dict[float, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    flat: Axes = axes
    axes.view_init(_ELEVATION, _AZIMUTH)
    axes.set_box_aspect((1, 1, 0.62), zoom=1.02)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set_color(look.soft)
        axis._axinfo["grid"].update(color=look.grid, linewidth=0.4)
        axis.set_tick_params(colors=look.soft, labelsize=FONT - 0.5, pad=-2)
        axis.set_major_locator(MaxNLocator(nbins=5))
    if ticks:
        axes.set_zticks(list(ticks), labels=list(ticks.values()))
    label: dict[str, Any] = {"color": look.ink, "fontsize": FONT, "labelpad": -6}
    axes.set_xlabel(literal(visible(panel.x_label, 60)), **label)
    axes.set_ylabel(literal(visible(panel.y_label, 60)), **label)
    axes.set_zlabel(literal(visible(panel.field.label if panel.field else "", 60)), **{**label, "labelpad": -2})
    room = width_of(flat)
    wrapped = textwrap.wrap(visible(panel.title, 200), max(16, int(room / (0.56 * (FONT + 1)))))
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        widest = max(len(text) for text in labels) * 0.52 * FONT + 30
        legend = axes.legend(
            *(handles[:9], labels[:9]),
            loc="upper center",
            bbox_to_anchor=(0.5, 0.02),
            ncols=max(1, int(0.9 * room / widest)),
            frameon=False,
            fontsize=FONT,
            labelcolor=look.ink,
        )
        legend.set_in_layout(False)
    axes.set_title(literal("\n".join(wrapped)), loc="left", color=look.ink, fontsize=FONT + 1, fontweight="bold", pad=2)
