"""Curves made ready for drawing lose no extreme, no gap and no point that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.render.series import line_of, make_chart, minmax, scale
from lossdoctor.render.sparkline import sparkline
from lossdoctor.render.words import ASCII
from tests.render.samples import exploded, resumed

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=400), st.integers(4, 60))
def test_minmax_keeps_extremes_ends_and_limit(values: list[float], limit: int) -> None:
    array = np.array(values)
    index = minmax(array, limit)
    assert len(index) <= max(limit, 4)
    assert (np.diff(index) > 0).all()
    assert {0, len(array) - 1} <= set(index.tolist())
    assert array[index].max() == array.max()
    assert array[index].min() == array.min()


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=300), st.integers(16, 50))
def test_a_line_accounts_for_every_point(values: list[float], limit: int) -> None:
    line = line_of(Curve.make(range(len(values)), values), "loss", limit=limit)
    assert line.bad_count == sum(not np.isfinite(v) for v in values)
    assert np.isfinite(line.values).all()
    assert len(line.values) <= limit
    assert np.isfinite(line.centred(0.9)).all()


def test_means_of_a_reduced_line_are_those_of_its_stretches() -> None:
    values = np.arange(10_000, dtype=float)
    line = line_of(Curve.make(range(10_000), values), "loss", limit=202)
    assert line.reduced
    assert len(line.means) == 100
    assert line.means[0] == pytest.approx(np.mean(values[:100]))
    assert line.mean_steps[0] == 50


def test_smoothing_is_corrected_for_its_start() -> None:
    line = line_of(Curve.make(range(3), [5.0, 1.0, 1.0]), "loss")
    first, second, _ = line.smoothed(0.9)
    assert first == 5.0
    assert second == pytest.approx((0.9 * 0.1 * 5 + 0.1 * 1) / (1 - 0.81))


def test_the_average_of_pictures_follows_a_steep_start_and_does_not_lag() -> None:
    line = line_of(Curve.make(range(1000), 2 * np.exp(-np.arange(1000) / 30) + 0.1), "loss")
    drawn = line.centred(line.factor())
    assert drawn[0] == pytest.approx(line.values[0], rel=0.02)
    assert np.abs(drawn - line.values).max() < 0.12
    assert np.abs(line.smoothed(line.factor()) - line.values).max() > 0.4


def test_a_resumed_run_is_drawn_in_pieces_with_what_was_superseded() -> None:
    chart = make_chart(resumed().history, resumed())
    assert chart.train is not None
    assert chart.restarts == (800,)
    assert np.isnan(chart.train.values).sum() == 1
    assert chart.train.old_steps.tolist() == list(range(800, 1000))


def test_best_is_the_lowest_validation() -> None:
    chart = make_chart(exploded().history, exploded())
    assert chart.best is not None
    assert chart.best[0] == 1900
    assert chart.best[2] == "val_loss"


def test_a_log_without_a_known_loss_is_still_drawn() -> None:
    chart = make_chart(TrainingHistory({"frobs": (range(5), range(5))}))
    assert chart.main == []
    assert [line.name for line in chart.others] == ["frobs"]
    assert make_chart(TrainingHistory()).empty


def test_scales() -> None:
    assert scale([])[0] == "linear"
    assert scale([np.array([0.0, 0.0])])[0] == "linear"
    assert scale([np.array([1.0, 99.0])])[0] == "linear"
    assert scale([np.array([1.0]), np.array([200.0])])[0] == "log"
    rest = np.linspace(0.06, 0.02, 300)
    assert scale([np.r_[0.8, 0.4, rest]])[0] == "log"  # a linear axis would flatten the rest
    assert scale([np.linspace(2.5, 0.3, 300)])[0] == "linear"


@given(st.lists(st.floats(), max_size=80), st.integers(1, 30))
def test_sparkline_has_its_width_and_marks_what_is_not_finite(values: list[float], width: int) -> None:
    array = np.array(values, dtype=float)
    text = sparkline(array, width)
    assert len(text) == min(width, len(array))
    assert ("×" in text) == (not np.isfinite(array).all())
    assert sparkline(array, width, ASCII).isascii()


def test_a_constant_sparkline_is_flat() -> None:
    assert set(sparkline(np.ones(9), 5)) == {"▄"}
