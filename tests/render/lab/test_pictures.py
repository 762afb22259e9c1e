"""Pictures of panels: what must be in them is there, in both styles, at every width, and nothing lies over another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.result import Field, Line, Mark, Panel
from lossdoctor.render.canvas import save_figure
from lossdoctor.render.lab.axes import FONT, columns_for
from lossdoctor.render.lab.pens import numbering, pens
from lossdoctor.render.lab.pictures import experiment_figure, figure, save
from lossdoctor.render.lab.plane import heights, shading
from lossdoctor.render.style import STYLES, style_named
from tests.render.lab.samples import classes, curves, experiment, plane, spiral

LIGHT = style_named("light")


def texts(made: Any) -> list[str]:
    from matplotlib.text import Text

    return [t.get_text() for t in made.findobj(Text) if t.get_text().strip()]


def labels(axes: Any) -> list[str]:
    return axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("width", [80.0, 160.0])
def test_text_is_large_enough_stays_inside_and_does_not_overlap(style: str, width: float) -> None:
    from matplotlib.text import Text

    steps = np.arange(400.0)
    names = ("plain, lr 0.0198", "momentum, lr 0.0331", "Adam, lr 0.3")
    tall = Panel("Long names beside long numbers", "step", "loss", tuple(
        Line(name, steps, np.exp(-steps / (12 + i))) for i, name in enumerate(names)
    ), log_y=True)  # fmt: skip
    panels = [plane("log"), tall, curves(), classes()]
    made = figure(panels, title="All kinds of panels", style=style, width=width)
    made.draw_without_rendering()
    renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = {}
    for axes in made.axes:
        titles = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # type: ignore[attr-defined]
        legend = axes.get_legend()
        parts = [t for t in titles if t.get_text().strip()] + ([legend] if legend is not None else [])
        boxes.update({(id(axes), str(part)[:60]): part.get_window_extent(renderer) for part in parts})
    boxes[0, "heading"] = made._suptitle.get_window_extent(renderer)  # type: ignore[attr-defined]
    for (name, a), (other, b) in combinations(boxes.items(), 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 3, (name, other)
    for name, box in boxes.items():
        assert box.x0 >= -1, name
        assert box.x1 <= made.bbox.x1 + 1, name
        assert box.y0 >= -1, name
        assert box.y1 <= made.bbox.y1 + 1, name
    sizes = [t.get_fontsize() for t in made.findobj(Text) if t.get_text().strip()]
    assert min(sizes) >= FONT - 0.5 >= 7.0


@pytest.mark.parametrize("name", ["himmelblau", "ravine", "plateau_crossing", "saddle", "revenue", "house_prices"])
def test_legends_of_real_experiments_end_before_the_picture_does(name: str) -> None:
    """Beside a plane with its scale a panel has the least room."""
    from lossdoctor.lab import experiments

    made = experiment_figure(experiments.run(name))
    made.draw_without_rendering()
    renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
    legends = [axes.get_legend() for axes in made.axes if axes.get_legend() is not None]
    assert legends
    assert [box.x1 for box in (one.get_window_extent(renderer) for one in legends) if box.x1 > made.bbox.x1] == []


def test_a_path_has_a_start_a_direction_and_an_end() -> None:
    (axes,) = figure([plane()]).axes
    x, y = spiral()
    ends = [line for line in axes.lines if len(line.get_xdata()) == 1]
    places = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in ends}
    assert {(x[0], y[0]), (x[-1], y[-1])} <= places
    ring = next(line for line in ends if float(line.get_xdata()[0]) == x[0])
    assert ring.get_markerfacecolor() == LIGHT.ground
    arrows = [a for a in axes.texts if getattr(a, "arrow_patch", None) is not None]
    assert len(arrows) == 2
    for arrow in arrows:
        at = int(np.argmin(np.hypot(x - arrow.xyann[0], y - arrow.xyann[1])))
        assert arrow.xy == (x[at + 1], y[at + 1])


def test_critical_points_are_marked_and_named() -> None:
    (axes,) = figure([plane()]).axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["one path", "minimum", "saddle"]


def test_lines_of_a_group_share_the_colour_and_differ_by_dash() -> None:
    panel = curves()
    drawn = pens(panel, LIGHT, numbering([panel]))
    train, val, theory = drawn[:3]
    assert train.color == val.color
    assert train.dash != val.dash
    assert theory.color == LIGHT.soft


def test_a_label_has_one_colour_in_all_panels() -> None:
    steps = np.arange(5.0)
    first = Panel("1", "x", "y", (Line("a", steps, steps), Line("b", steps, steps)))
    second = Panel("2", "x", "y", (Line("b", steps, steps),))
    numbers = numbering([first, second])
    assert pens(second, LIGHT, numbers)[0].color == pens(first, LIGHT, numbers)[1].color


@pytest.mark.parametrize("style", sorted(STYLES))
def test_eight_lines_differ_in_colour_and_marker_and_stand_out(style: str) -> None:
    from matplotlib.colors import to_rgb

    look = style_named(style)
    lines = tuple(Line(str(i), np.arange(3.0), np.arange(3.0)) for i in range(8))
    panel = Panel("", "x", "y", lines)
    drawn = pens(panel, look, numbering([panel]))
    assert len({p.color for p in drawn}) == len({p.marker for p in drawn}) == 8

    def brightness(color: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    ground = brightness(look.ground)
    for pen in drawn:
        high, low = sorted((brightness(pen.color), ground), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3.0, pen  # what WCAG asks of graphics


@pytest.mark.parametrize("style", sorted(STYLES))
def test_shades_rise_evenly_in_lightness(style: str) -> None:
    """So that equal steps of the value look equal, in colour and in grey."""
    made = shading(style_named(style).ground)(np.linspace(0, 1, 20))[:, :3]
    grey = made @ np.array([0.299, 0.587, 0.114])
    steps = np.diff(grey)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.min()


def test_a_logarithmic_field_shows_the_valley_and_a_linear_one_is_not_flattened_by_its_corners() -> None:
    x = np.linspace(-2, 2, 41)
    values = 1e6 * (x[None, :] ** 2 + x[:, None] ** 2) ** 2
    shade, ticks = heights(Field(x, x, values, levels="log"))
    assert shade.max() - shade.min() == pytest.approx(5.0)
    assert len(ticks) >= 3
    tower = np.zeros((41, 41))
    tower[:, :] = x
    tower[0, 0] = 1e9
    shade, _ = heights(Field(x, x, tower))
    assert shade.max() < 10


def test_values_that_are_not_finite_are_left_out() -> None:
    x = np.linspace(-1, 1, 11)
    values = x[None, :] + 0 * x[:, None]
    values[0, 0], values[5, 5] = np.nan, np.inf
    steps = np.arange(4.0)
    huge = Line("huge", steps, np.array([1.0, 1e308, np.inf, np.nan]))
    made = figure([Panel("", "x", "y", field=Field(x, x, values)), Panel("", "x", "y", (huge,))])
    made.draw_without_rendering()
    assert np.isfinite(made.axes[1].get_ylim()).all()


def test_an_empty_path_and_an_all_nan_field_are_drawn_without_complaint(recwarn: pytest.WarningsRecorder) -> None:
    x = np.linspace(-1, 1, 5)
    nothing = Line("gone", np.full(3, np.nan), np.full(3, np.nan))
    made = figure([Panel("", "x", "y", (nothing,), field=Field(x, x, np.full((5, 5), np.nan)))])
    made.draw_without_rendering()
    assert [str(w.message) for w in recwarn] == []


def test_classes_have_a_colour_and_a_name_each() -> None:
    (axes,) = figure([classes()]).axes
    assert labels(axes) == ["left", "right", "none of them"]


def test_marks_of_one_text_are_named_once() -> None:
    line = Line("a", np.arange(9.0), np.arange(9.0))
    panel = Panel("", "x", "y", (line,), marks=(Mark("change", x=2.0), Mark("change", x=4.0), Mark("", y=1.0)))
    (axes,) = figure([panel]).axes
    assert labels(axes) == ["a", "change"]


def test_steps_on_a_curve_set_the_range_of_the_axes() -> None:
    at = np.linspace(-100, 100, 50)
    curve, steps = (
        Line("x²", at, at**2, "dashed"),
        Line("path", np.array([3.0, 2.0, 1.0]), np.array([9.0, 4.0, 1.0]), "points"),
    )
    (axes,) = figure([Panel("", "x", "y", (curve, steps))]).axes
    assert axes.get_xlim()[1] < 5
    assert axes.get_ylim()[1] < 12


def test_columns_follow_the_width() -> None:
    panels = [curves()] * 4
    assert [len({a.get_position().x0 for a in figure(panels, width=w).axes}) for w in (80.0, 160.0, 240.0)] == [1, 2, 3]


def test_columns_of_a_legend_fit() -> None:
    assert columns_for(["short"] * 4, 226) > columns_for(["a name that is much longer"] * 4, 226) >= 1


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_files_are_written_and_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        save([plane(), curves()], path, title="Title", dpi=60)
    assert first.stat().st_size > 3_000
    if suffix != ".svg":  # Matplotlib gives the parts of an SVG random names
        assert first.read_bytes() == second.read_bytes()


def test_a_surface_in_space_holds_its_paths(tmp_path: Path) -> None:
    made = experiment_figure(experiment(), view="space")
    space = made.axes[0]
    assert space.name == "3d"
    (x, _, z) = space.lines[1].get_data_3d()  # type: ignore[attr-defined]
    assert len(x) == 30
    assert z[0] > z[-1]
    save_figure(made, tmp_path / "space.png", dpi=50)


def test_a_dollar_sign_is_no_formula() -> None:
    line = Line("costs $5 and $x^2$", np.arange(3.0), np.arange(3.0))
    made = figure([Panel("$", "x $", "y $", (line,), note="$a")], title="$b$")
    made.draw_without_rendering()
    assert r"costs \$5 and \$x^2\$" in texts(made)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"style": "neon"}, "styles are light, dark"),
        ({"view": "above"}, "views are plane, space"),
        ({"width": 10.0}, "60 to 600"),
    ],
)
def test_what_cannot_be_drawn_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        figure([curves()], **options)
    with pytest.raises(UsageError, match="nothing to draw"):
        figure([])
