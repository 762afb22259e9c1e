"""Pictures of results show every kind of chart, and no name in them meets another or a curve."""

from __future__ import annotations

import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render.probes import plot
from lossdoctor.render.style import STYLES
from tests.render.probes.samples import Shown, bars, evil, failed, passed, several, signed, sweep


@pytest.fixture(autouse=True)
def _strict() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def drawn(*charts: Chart, **options: Any) -> Any:
    return plot(Shown(outcome="passed", verdict="Fine.", panels=charts), **options)


def names(axes: Any) -> list[Any]:
    """The texts around a panel: its title, the names of marks and bands, and the legend's."""
    legend = axes.get_legend()
    found = [axes.title, axes._left_title, *axes.texts, *(legend.get_texts() if legend else [])]
    return [t for t in found if t.get_text()]


def boxes(texts: list[Any]) -> list[Any]:
    figure = texts[0].get_figure(root=True)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    # A text's own box: that of an annotation has its line in it.
    from matplotlib.text import Text

    return [Text.get_window_extent(t, renderer) for t in texts]


@pytest.mark.parametrize("charts", [(sweep(),), (several(),), (bars(),), (signed(),), (sweep(), bars(), several())])
def test_no_name_meets_another_or_leaves_the_picture(charts: tuple[Chart, ...]) -> None:
    figure = drawn(*charts)
    texts = [t for axes in figure.axes for t in [*names(axes), axes.xaxis.label, axes.yaxis.label] if t.get_text()]
    texts += figure.texts
    found = list(zip(texts, boxes(texts), strict=True))
    assert [(a.get_text(), b.get_text()) for (a, p), (b, q) in combinations(found, 2) if p.overlaps(q)] == []
    width, height = figure.canvas.get_width_height()
    outside = [t.get_text() for t, b in found if b.x0 < 0 or b.y0 < 0 or b.x1 > width + 1 or b.y1 > height + 1]
    assert outside == []


def test_no_name_of_a_mark_stands_on_the_curves() -> None:
    (axes,) = drawn(sweep()).axes
    panel = axes.get_window_extent()
    marks = [t for t in axes.texts if t.get_text()]
    assert len(marks) == 9  # 7 marks and 2 bands
    assert not any(panel.shrunk(0.995, 0.995).overlaps(box) for box in boxes(marks))


def test_curves_bands_marks_and_axes_are_drawn_as_the_chart_says() -> None:
    (axes,) = drawn(sweep()).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "loss")
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["loss of each batch", "smoothed"]
    upright = {float(line.get_xdata()[0]) for line in axes.lines if len(set(line.get_xdata())) == 1}
    assert upright == {0.01, 0.013, 0.05, 0.3}
    assert len([p for p in axes.patches if p.get_alpha() == 0.13]) == 2
    good = next(t for t in axes.texts if t.get_text() == "suggestion 0.01")
    assert good.get_fontweight() == "bold"
    assert good.get_color() == STYLES["light"].good


def test_bars_have_their_names_and_values_and_what_is_not_finite_is_said() -> None:
    (axes,) = drawn(bars()).axes
    assert axes.get_xscale() == "log"
    assert len(axes.patches) == 10  # zero and NaN have no length
    values = [t.get_text() for t in axes.texts]
    assert {"1", "0.3162", "3.162e-05", "0", "NaN"} <= set(values)
    assert next(t for t in axes.texts if t.get_text() == "NaN").get_color() == STYLES["light"].critical
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels[0].startswith("blocks.0.")
    assert all("…" in label and len(label) <= 34 for label in labels)


@pytest.mark.parametrize("style", ["light", "dark"])
def test_every_colour_is_of_the_style(style: str) -> None:
    from matplotlib.colors import to_hex

    figure = plot(failed(), style=style)
    look = STYLES[style]
    allowed = {to_hex(c) for c in (look.ink, look.soft, look.good, look.critical, *look.cycle)}
    assert figure.get_facecolor()[:3] == pytest.approx([int(look.ground[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    for axes in figure.axes:
        assert {to_hex(t.get_color()) for t in names(axes)} <= allowed
    assert figure.texts[0].get_color() == look.warning


def test_outcome_and_verdict_stand_above_in_words() -> None:
    figure = plot(failed())
    assert figure.texts[0].get_text() == "✗ Gradients: failed"
    assert " ".join(t.get_text() for t in figure.texts[1:]) == failed().verdict


def test_a_result_without_charts_is_its_verdict() -> None:
    figure = plot(ProbeResult(outcome="unknown", verdict="Too few batches."))
    assert figure.axes == []
    assert [t.get_text() for t in figure.texts][1:] == ["Too few batches."]


@pytest.mark.parametrize(
    "chart",
    [
        Chart("nothing"),
        Chart("empty curve", lines=(Line("a", [], []),)),
        Chart("never finite", lines=(Line("a", [1, 2], [float("nan"), float("inf")]),), log_y=True),
        Chart("one point", lines=(Line("a", [3], [3]),), log_x=True, log_y=True),
        Chart("huge", lines=(Line("a", [1, 2, 3], [1e-300, 1e305, 1e300]),), log_y=True),
        Chart("tiny", lines=(Line("a", [1, 2, 3], [1e-12, 2e-12, 3e-12]),), marks=(Mark(1e-12, "m", "y"),)),
        Chart("zero bars", bars=(("a", 0.0), ("b", 0.0))),
        Chart("negative bars", bars=(("a", -1.0), ("b", -2.0)), marks=(Mark(-1.5, "m"),)),
        Chart("log bars of nothing", bars=(("a", 0.0), ("b", float("nan"))), log_x=True),
        Chart("many bars", bars=tuple((f"layer {i}", float(i)) for i in range(200))),
        Chart("many marks", lines=(Line("a", [0], [1]),), marks=tuple(Mark(i / 9, f"mark {i}", "y") for i in range(9))),
        Chart("many curves", lines=tuple(Line(f"curve number {i}", [0, 1], [0, i]) for i in range(9))),
        Chart("a title that is far too long for one line " * 4, lines=(Line("a", [0, 1], [0, 1]),)),
    ],
    ids=lambda c: c.title[:20],
)  # fmt: skip
def test_odd_charts_are_drawn_without_a_warning(chart: Chart, tmp_path: Path) -> None:
    drawn(chart, path=tmp_path / "odd.png", dpi=40)
    assert (tmp_path / "odd.png").stat().st_size > 500


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files_are_written_by_their_suffix_and_alike_each_time(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        passed().plot(tmp_path / f"{name}.{suffix}")
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("a", "b"))
    assert len(first) > 1000
    if suffix != "svg":  # its ids are drawn anew
        assert first == second


def test_names_of_the_user_are_shown_as_they_are(tmp_path: Path) -> None:
    plot(evil(), tmp_path / "evil.svg")
    assert b"<script>" not in (tmp_path / "evil.svg").read_bytes()


def test_a_wrong_suffix_or_style_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the suffix must be one of \.png"):
        plot(passed(), tmp_path / "a.bmp")
    with pytest.raises(UsageError, match="unknown style 'sepia'; styles are light, dark"):
        plot(passed(), style="sepia")
