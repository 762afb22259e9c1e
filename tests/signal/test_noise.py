import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.signal.noise import (
    correlation_at,
    detrended,
    diff_noise,
    mad_sigma,
    noise_autocorr,
    residual_autocorr,
    second_diff_noise,
)

from .support import INF, NAN, ar1, curves, equal, exponents, gappy

ALL = [mad_sigma, diff_noise, second_diff_noise, noise_autocorr, residual_autocorr]
SIZES = ALL[:3]


def quantile(x, q):
    """Linear interpolation between order statistics, by hand."""
    x = sorted(x)
    place = q * (len(x) - 1)
    low = math.floor(place)
    return x[low] + (x[min(low + 1, len(x) - 1)] - x[low]) * (place - low)


def naive_mad(values):
    v = [x for x in values if math.isfinite(x)]
    return NAN if not v else 1.482602218505602 * quantile([abs(x - quantile(v, 0.5)) for x in v], 0.5)


def naive_diff(values):
    d = [b - a for a, b in pairwise(values) if math.isfinite(a) and math.isfinite(b)]
    return NAN if len(d) < 2 else 1.482602218505602 * (quantile(d, 0.75) - quantile(d, 0.25)) / 2 / math.sqrt(2)


def naive_second(values):
    triples = zip(values, values[1:], values[2:], strict=False)
    d = [abs((c - b) - (b - a)) for a, b, c in triples if math.isfinite(a + b + c)]
    return NAN if len(d) < 2 else 1.482602218505602 * quantile(d, 0.5) / math.sqrt(6)


@given(gappy)
def test_sizes_equal_plain_loops(values):
    for ours, naive in ((mad_sigma, naive_mad), (diff_noise, naive_diff), (second_diff_noise, naive_second)):
        assert ours(values) == pytest.approx(naive(values), rel=1e-9, abs=1e-9, nan_ok=True)


@given(gappy, exponents)
def test_a_power_of_two_scales_exactly(values, k):
    scaled = [v * 2.0**k for v in values]
    for f in SIZES:
        assert equal(f(scaled), f(values) * 2.0**k)
    for f in (noise_autocorr, residual_autocorr):
        assert equal(f(scaled), f(values))


@given(curves, st.integers(-64, 64))
def test_a_shift_changes_nothing(values, shift):
    grid = [round(v * 8) / 8 for v in values]  # so that adding is exact
    for f in (mad_sigma, diff_noise, second_diff_noise, noise_autocorr):
        assert equal(f([v + shift for v in grid]), f(grid))


@pytest.mark.parametrize("f", ALL)
def test_little_or_nothing(f):
    assert math.isnan(f([]))
    assert math.isnan(f([NAN, INF]))
    assert f([2.0] * 40) == 0
    f([1.0])
    f([1.7e308, -1.7e308] * 20)  # no warning, no error


@pytest.mark.parametrize("f", SIZES)
def test_all_find_the_noise_of_a_level(f):
    assert f(3 + 0.2 * np.random.default_rng(0).normal(size=20_000)) == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize(("f", "trend"), [(diff_noise, 1), (second_diff_noise, 1), (second_diff_noise, 2)])
def test_a_trend_does_not_count_as_noise(f, trend):
    x = np.linspace(0, 30, 5000)
    noise = 0.1 * np.random.default_rng(1).normal(size=5000)
    assert f(x**trend + noise) == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize("f", SIZES)
def test_spikes_do_not_count_as_noise(f):
    v = 0.1 * np.random.default_rng(2).normal(size=5000)
    v[::50] += 100
    assert f(v) == pytest.approx(0.1, rel=0.15)


def test_zigzag_between_two_levels_has_noise():
    assert diff_noise([1.0, 2.0] * 20) > 0.5
    assert second_diff_noise([1.0, 2.0] * 20) > 0.5


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.5, 0.9])
def test_autocorrelation_is_found_under_a_trend(rho):
    rng = np.random.default_rng(3)
    got = [noise_autocorr(ar1(2000, rho, rng) + np.linspace(0, 20, 2000)) for _ in range(10)]
    assert np.mean(got) == pytest.approx(rho, abs=0.08 if rho < 0.9 else 0.15)
    got = [residual_autocorr(ar1(2000, rho, rng) + np.linspace(0, 20, 2000)) for _ in range(10)]
    assert np.mean(got) == pytest.approx(rho, abs=0.05)


@given(gappy, st.integers(1, 4))
def test_correlation_equals_a_plain_loop(values, lag):
    v = np.array(values, dtype=float)
    if lag >= len(v):
        assert math.isnan(correlation_at(v, lag))
        return
    good = [x if math.isfinite(x) else 0.0 for x in values]
    power = sum(x * x for x in good)
    want = sum(good[i] * good[i - lag] for i in range(lag, len(good))) / power if power > 1e-300 else None
    if want is not None:
        assert correlation_at(v, lag) == pytest.approx(want, abs=1e-9)


def test_a_perfect_line_leaves_nothing():
    values = np.arange(50) * 0.37 + 11
    values[7] = NAN
    rest = detrended(values)
    assert math.isnan(rest[7])
    assert np.nanmax(np.abs(rest)) == 0
    assert residual_autocorr(values) == 0
