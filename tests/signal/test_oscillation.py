import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.signal.oscillation import dominant_period, oscillation, turn_rate, zigzag

from .support import INF, NAN, curves, exponents, gappy


@given(gappy, st.integers(1, 5))
def test_turn_rate_equals_a_plain_loop(values, window):
    grid = [round(v * 8) / 8 for v in values if math.isfinite(v)]
    smooth = [sum(grid[i : i + window]) for i in range(len(grid) - window + 1)] if len(grid) >= window else grid
    rate = turn_rate(grid, window)
    if window in (3, 5):  # a mean of three is not exact: only its range
        assert math.isnan(rate) or 0 <= rate <= 1
        return
    if len(smooth) < 3:
        assert math.isnan(rate)
        return
    turns, slope = 0, 0
    for a, b in zip(smooth, smooth[1:], strict=False):  # noqa: RUF007
        new = (b > a) - (b < a)
        turns += slope * new < 0
        slope = new or slope
    assert rate == turns / (len(smooth) - 2)


def test_turn_rate_of_noise_and_of_a_trend():
    rng = np.random.default_rng(0)
    assert turn_rate(rng.normal(size=20_000)) == pytest.approx(2 / 3, abs=0.02)
    assert turn_rate(np.arange(50.0)) == 0
    assert turn_rate(rng.normal(size=20_000) * 0.01 + np.arange(20_000), 5) == 0


@given(curves, st.floats(0.1, 5))
def test_zigzag_swings_are_large_and_complete(values, least):
    y = np.array(values, dtype=float)
    turns = zigzag(y, least)
    if len(turns) == 0:
        assert len(y) == 0 or np.ptp(y) <= least
        return
    assert np.all(np.diff(turns) > 0)
    heights = np.diff(y[turns])
    assert np.all(np.abs(heights) > least)
    assert np.all(heights[1:] * heights[:-1] < 0)
    for a, b in zip(turns, turns[1:], strict=False):  # noqa: RUF007
        low, high = sorted((y[a], y[b]))
        assert low <= y[a : b + 1].min()
        assert y[a : b + 1].max() <= high
    assert {y.min(), y.max()} <= set(y[turns])


@settings(max_examples=40, deadline=None)
@given(curves, exponents)
def test_the_unit_does_not_matter(values, k):
    a, b = oscillation(values), oscillation([v * 2.0**k for v in values])
    assert (a is None) == (b is None) == (len(values) < 16)
    if a is None:
        return
    for name in ("turn_rate", "ratio", "swings", "lag1", "period", "power", "decay"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=0, abs=0, nan_ok=True), name
    assert (a.amplitude * 2.0**k, a.noise * 2.0**k) == (b.amplitude, b.noise)


def test_swings_stand_out_and_noise_does_not():
    rng = np.random.default_rng(1)
    x = np.arange(600)
    noise = 0.1 * rng.normal(size=600)
    calm, swinging = oscillation(2 + noise), oscillation(2 + noise + np.sin(x / 8))
    assert calm.swings <= 2
    assert calm.lag1 == pytest.approx(0, abs=0.15)
    assert swinging.swings == pytest.approx(2 * 600 / (2 * np.pi * 8), abs=3)
    assert swinging.amplitude == pytest.approx(1, rel=0.15)
    assert swinging.noise == pytest.approx(0.1, rel=0.2)
    assert swinging.ratio == pytest.approx(10, rel=0.3)
    assert swinging.period == pytest.approx(2 * np.pi * 8, rel=0.03)
    assert swinging.power > 0.7
    assert swinging.lag1 > 0.9


@pytest.mark.parametrize(("rate", "decay"), [(0.0, 1.0), (300.0, math.exp(-400 / 300))])
def test_whether_swings_die_out(rate, decay):
    x = np.arange(600)
    envelope = np.exp(-x / rate) if rate else np.ones(600)
    assert oscillation(5 + envelope * np.sin(x / 5)).decay == pytest.approx(decay, rel=0.2)


def test_zigzag_every_step():
    o = oscillation(np.tile([1.0, 2.0], 100) + np.linspace(1, 0, 200))
    assert o.lag1 < -0.9
    assert o.period == pytest.approx(2, rel=0.01)
    assert o.power > 0.9


def test_long_curves_are_reduced():
    x = np.arange(200_000)
    o = oscillation(np.sin(x * 2 * np.pi / 20_000) + 0.3 * np.random.default_rng(0).normal(size=200_000))
    assert o.period == pytest.approx(20_000, rel=0.05)
    assert o.swings == pytest.approx(20, abs=2)


def test_dominant_period_of_nothing():
    assert dominant_period(np.zeros(50)) == pytest.approx((NAN, 0), nan_ok=True)
    assert dominant_period(np.ones(3)) == pytest.approx((NAN, 0), nan_ok=True)


def test_little_or_nothing():
    for values in ([], [1.0] * 15, [NAN, INF] * 40):
        assert oscillation(values) is None
    flat = oscillation([0.7] * 50)
    assert (flat.swings, flat.amplitude, flat.ratio, flat.lag1, flat.turn_rate) == (0, 0, 0, 0, 0)
    oscillation([1.7e308, -1.7e308] * 20)
