"""Pictures show what they must, survive odd runs, and leave no global state behind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render.canvas import save_figure, tick_labels
from lossdoctor.render.compare import plot_comparison
from lossdoctor.render.pictures import plot_history, save_picture
from lossdoctor.render.style import STYLES
from tests.render.samples import comparison, evil, exploded, healthy, overfitted, resumed, tiny


@pytest.fixture(autouse=True)
def _strict() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_sick_run_shows_losses_gap_best_marks_and_panels() -> None:
    d = exploded()
    figure = plot_history(d.history, d)
    lanes, main, rate, norm = figure.axes
    assert labels(main)[:3] == ["loss", "val_loss", "gap"]
    assert any(label.startswith("best ") for label in labels(main))
    assert "NaN or Inf (618)" in labels(main)
    texts = [t.get_text() for t in lanes.texts]
    assert [t.split()[1] for t in texts] == ["LD101", "LD102", "LD103"]
    assert len({t.xy[1] for t in lanes.texts}) == 3  # a lane each: no two labels can overlap
    onsets = {line.get_xdata()[0] for line in main.lines if len(line.get_xdata()) == 2}
    assert {1991, 1905} <= onsets
    assert 701 not in onsets  # a remark is no state that begins
    assert rate.get_ylabel() == "learning\nrate"
    assert norm.get_yscale() == "log"


def test_no_two_texts_of_a_picture_overlap() -> None:
    d = exploded()
    for size in (None, (4.2, 3.6)):
        figure = plot_history(d.history, d, size=size)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        lanes, main = figure.axes[:2]
        boxes = [t.get_window_extent(renderer) for t in lanes.texts] if size is None else []
        boxes += [main.get_legend().get_window_extent(renderer), main.xaxis.get_tightbbox(renderer)]
        boxes = [b for b in boxes if b is not None and b.width > 0]
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
        assert all(b.x0 >= 0 and b.x1 <= figure.bbox.width for b in boxes)


@pytest.mark.parametrize("peak", [3e-7, 3e-4, 1e-3, 0.02, 40.0, 2.5e6, 1e200])
def test_no_power_of_ten_stands_apart_and_every_tick_has_its_own_number(peak: float) -> None:
    shape = np.linspace(0.5, 1, 60)
    history = TrainingHistory({"loss": (range(60), 1e6 * shape), "lr": (range(60), peak * shape)})
    figure = plot_history(history)
    figure.canvas.draw()
    for axes in figure.axes:
        assert axes.yaxis.get_offset_text().get_text() == ""
        low, high = axes.get_ylim()
        shown = [t.get_text() for t in axes.get_yticklabels() if low <= t.get_position()[1] <= high]
        assert len(set(shown)) == len(shown) >= 2
        assert all(len(text) <= 9 for text in shown)
        places = [t.get_position()[1] for t in axes.get_yticklabels() if low <= t.get_position()[1] <= high]
        assert [float(text.replace("\N{MINUS SIGN}", "-")) for text in shown] == pytest.approx(places, rel=1e-6)


def test_numbers_of_ticks() -> None:
    assert tick_labels([12_345_678.0, 12_345_679.0]) == ["1.2345678e7", "1.2345679e7"]
    assert tick_labels([-2e-5, -1e-5, 0.0]) == ["-2e-5", "-1e-5", "0"]
    assert tick_labels([1e6, 1.05e7]) == ["1e6", "1.05e7"]
    assert tick_labels([-1e308, 1e308]) == ["-1e308", "1e308"]
    assert tick_labels([0.1 + 0.2, 0.4]) == ["0.3", "0.4"]
    assert tick_labels([]) == []


def test_log_axis_is_chosen_by_the_values() -> None:
    wide = TrainingHistory({"loss": (range(50), np.geomspace(100, 0.1, 50))})
    assert plot_history(wide).axes[0].get_yscale() == "log"
    assert plot_history(healthy().history).axes[0].get_yscale() == "linear"
    assert plot_history(wide, yscale="linear").axes[0].get_yscale() == "linear"
    huge = TrainingHistory({"loss": (range(50), [-1.0, *[0.5] * 48, 1e9])})
    assert plot_history(huge).axes[0].get_yscale() == "symlog"


@pytest.mark.parametrize("style", ["light", "dark"])
@pytest.mark.parametrize("scales", [("linear", None), ("log", "log"), ("linear", "symlog")])
def test_every_kind_of_run_can_be_drawn(style: str, scales: tuple[str, str | None]) -> None:
    for d in (resumed(), tiny(), evil(), overfitted()):
        plot_history(d.history, d, style=style, xscale=scales[0], yscale=scales[1]).canvas.draw()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [float("nan")] * 5,
        [0.0] * 5,
        [float("inf"), 1.0],
        [-1e308, 1e308],
        [1e-320, 1e308],
        [1e290, 1.0],
        [-3.0, -1.0],
    ],
)
def test_odd_values_can_be_drawn(values: list[float]) -> None:
    history = TrainingHistory({"loss": (range(len(values)), values)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Matplotlib's own arithmetic at the edge of doubles
        plot_history(history).canvas.draw()


def test_a_formula_in_a_name_stays_text() -> None:
    history = TrainingHistory({"loss_$\\frac{": (range(30), range(30))}, path="$x^$.csv")
    figure = plot_history(history)
    figure.canvas.draw()
    assert labels(figure.axes[0])[0] == "loss_\\$\\frac{"


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(tmp_path: Path, suffix: str, magic: bytes) -> None:
    d = healthy()
    first = save_picture(d.history, tmp_path / f"new/a.{suffix}", d, dpi=50).read_bytes()
    assert first.startswith(magic)
    if suffix != "pdf":
        again = save_picture(d.history, tmp_path / f"b.{suffix}", d, dpi=50).read_bytes()
        assert len(again) == len(first)


def test_a_name_that_the_font_lacks_makes_no_noise(tmp_path: Path) -> None:
    save_picture(TrainingHistory({"損失 loss": (range(9), range(9))}, path="実行.csv"), tmp_path / "a.png", dpi=40)


def test_default_resolution_is_300_dpi(tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(save_picture(tiny().history, tmp_path / "a.png", size=(3, 2))) as image:
        assert image.size == (900, 600)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    history = tiny().history
    with pytest.raises(UsageError, match=r"suffix must be one of \.png, \.svg, \.pdf"):
        save_picture(history, tmp_path / "a.bmp")
    with pytest.raises(UsageError, match="styles are light, dark"):
        plot_history(history, style="neon")
    with pytest.raises(UsageError, match="below 1, got 1"):
        plot_history(history, smooth=1)
    with pytest.raises(UsageError, match="yscale must be"):
        plot_history(history, yscale="cubic")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        save_picture(history, tmp_path / "file" / "a.png")


def test_no_global_state_is_touched() -> None:
    before = dict(mpl.rcParams)
    plot_history(exploded().history, exploded(), style="dark").canvas.draw()
    assert dict(mpl.rcParams) == before
    import sys

    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_history_plot_delegates() -> None:
    assert type(healthy().history.plot()).__name__ == "Figure"


def test_overlay_of_compared_runs(tmp_path: Path) -> None:
    runs = [exploded().history, healthy().history, tiny().history]
    runs[1].path = "runs/b"
    figure = plot_comparison(runs, comparison())
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names[0] == "runs/exp12/metrics.csv"
    assert names[1] == "runs/b – ahead"
    assert not any("tiny" in n for n in names)  # it logs no validation loss
    save_figure(figure, tmp_path / "a.svg")


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", list(STYLES))
def test_colours_have_contrast(name: str) -> None:
    style = STYLES[name]
    for color in (style.ink, style.soft, style.train, style.val, style.lr, style.grad, style.critical, style.warning):
        light, dark = sorted((_luminance(style.ground), _luminance(color)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, color
