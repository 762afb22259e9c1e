"""What of a chart can be shown, and within which limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.render.probes.layout import MOST_BARS, limits, prepare
from tests.render.probes.samples import bars, signed

ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=60)
@given(st.lists(st.tuples(ANY, ANY), max_size=12), st.booleans(), st.booleans(), st.lists(ANY, max_size=3))
def test_whatever_comes_is_inside_finite_limits(
    points: list[tuple[float, float]], log_x: bool, log_y: bool, at: list[float]
) -> None:
    line = Line("a", [x for x, _ in points], [y for _, y in points])
    marks = tuple(Mark(v, "m", axis) for v in at for axis in "xy")
    ready = prepare(Chart("t", lines=(line,), marks=marks, log_x=log_x, log_y=log_y))
    for low, high in (ready.x, ready.y):
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert low < high
    (curve,) = ready.curves
    assert np.isfinite(curve.x).all()
    assert np.isfinite(curve.y).all()
    for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
        assert -1e-9 <= ready.share_x(x) <= 1 + 1e-9
        assert -1e-9 <= ready.share_y(y) <= 1 + 1e-9
    assert all(-1e-9 <= ready.share_x(m.at) <= 1 + 1e-9 for m in ready.upright)


@given(st.lists(ANY, max_size=60), st.booleans())
def test_any_bars_have_limits_that_hold_them(values: list[float], log: bool) -> None:
    ready = prepare(Chart("t", bars=tuple((f"b{i}", v) for i, v in enumerate(values)), log_x=log))
    assert len(ready.bars) == min(len(values), MOST_BARS)
    assert ready.x[0] < ready.x[1]
    for bar in ready.bars:
        if ready.shows(bar):
            assert -1e-9 <= ready.share_x(bar.value) <= 1 + 1e-9


def test_the_pen_is_lifted_over_what_cannot_be_shown() -> None:
    line = Line("a", [1, 2, 3, 4, 5, 6], [1, math.nan, -1, 4, 5, math.inf])
    (curve,) = prepare(Chart("t", lines=(line,), log_y=True)).curves
    assert curve.x.tolist() == [1, 4, 5]
    assert curve.gaps == {1}
    x, y = curve.with_gaps()
    assert np.isnan(x).tolist() == np.isnan(y).tolist() == [False, True, False, False]


def test_long_curves_keep_their_extremes_and_points_are_all_kept() -> None:
    y = np.sin(np.arange(50_000) / 700)
    y[12_345] = 40.0
    x = np.arange(50_000).tolist()
    thin, dots = prepare(Chart("t", lines=(Line("a", x, y.tolist()), Line("b", x, y.tolist(), "points")))).curves
    assert len(thin.x) <= 2_000
    assert thin.y.max() == 40.0
    assert thin.gaps == frozenset()
    assert len(dots.x) == 50_000


def test_of_many_bars_the_first_and_the_last_are_kept_and_the_others_counted() -> None:
    ready = prepare(Chart("t", bars=tuple((f"layer {i}", float(i)) for i in range(100))))
    names = [b.name for b in ready.bars]
    assert (names[0], names[-1], len(names)) == ("layer 0", "layer 99", MOST_BARS)
    assert [b.name for b in ready.bars if b.many] == ["… 61 more"]
    assert sum(b.many or 1 for b in ready.bars) == 100


def test_bars_begin_at_zero_and_leave_room_for_their_numbers() -> None:
    assert prepare(Chart("t", bars=(("a", 2.0), ("b", 1.0)))).x[0] == 0.0
    low, high = prepare(signed()).x
    assert low < -0.02
    assert high > 0.03
    ready = prepare(bars())
    assert ready.x[0] < 10**-4.5
    assert [ready.shows(b) for b in ready.bars[-3:]] == [True, False, False]
    assert ready.value_label == "norm of the gradient"


def test_the_values_of_bars_may_be_named_by_either_axis() -> None:
    ready = prepare(
        Chart("t", y_label="share", bars=(("a", 0.1), ("b", 10.0)), log_y=True, marks=(Mark(1, "one", "y"),))
    )
    assert ready.value_label == "share"
    assert ready.log_x
    assert [m.label for m in ready.upright] == ["one"]


def test_faint_curves_take_no_colour_from_the_others() -> None:
    lines = (Line("raw", [1], [1], "faint"), Line("smooth", [1], [1]), Line("other", [1], [1]))
    assert [c.pen for c in prepare(Chart("t", lines=lines)).curves] == [0, 0, 1]


def test_one_curve_that_the_axis_names_needs_no_legend() -> None:
    one = prepare(Chart("t", "step", "loss", (Line("loss", [1], [1]),)))
    assert one.legend == ()
    assert len(prepare(Chart("t", "step", "loss", (Line("smoothed", [1], [1]),))).legend) == 1


@pytest.mark.parametrize(
    ("band", "shown"), [((2.0, 1e9, "a"), (2.0, 10.2)), ((-5, -1, "a"), None), ((5, 5, "a"), None)]
)
def test_bands_are_cut_to_what_is_in_view(band: tuple[float, float, str], shown: tuple[float, float] | None) -> None:
    ready = prepare(Chart("t", lines=(Line("a", [0, 10], [0, 1]),), bands=(band,)))
    assert [b[:2] for b in ready.bands] == ([] if shown is None else [pytest.approx(shown)])


def test_limits_of_one_value_leave_room_on_both_sides() -> None:
    assert limits([np.array([5.0])], log=False, margin=0.1) == (4.5, 5.5)
    low, high = limits([np.array([1e-3])], log=True, margin=0.1)
    assert low < 1e-3 < high
