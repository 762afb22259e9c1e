import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.periodicity import autocorrelation, find_period, period_at, without_trend

from .support import INF, NAN, ar1, curves, exponents, gappy


@given(gappy, st.integers(0, 12))
def test_autocorrelation_equals_a_plain_loop(values, max_lag):
    r = autocorrelation(values, max_lag)
    assert len(r) == max_lag + 1
    good = [v for v in values if math.isfinite(v)]
    if not good:
        assert np.isnan(r).all()
        return
    mean = sum(good) / len(good)
    z = [v - mean if math.isfinite(v) else 0.0 for v in values]
    power = sum(x * x for x in z)
    if power <= 1e-9 * max(v * v for v in good):
        return
    for lag in range(min(max_lag + 1, len(z))):
        want = sum(z[i] * z[i - lag] for i in range(lag, len(z))) / power
        assert r[lag] == pytest.approx(want, abs=1e-9)


@given(gappy, st.integers(1, 20))
def test_running_mean_equals_a_plain_loop(values, window):
    half = max(window // 2, 1)
    got = without_trend(values, window)
    for i, v in enumerate(values):
        near = [x for x in values[max(i - half, 0) : i + half + 1] if math.isfinite(x)]
        want = v - sum(near) / len(near) if math.isfinite(v) else NAN
        assert got[i] == pytest.approx(want, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(curves, exponents)
def test_the_unit_does_not_matter(values, k):
    scaled = [v * 2.0**k for v in values]
    assert np.array_equal(autocorrelation(values, 5), autocorrelation(scaled, 5), equal_nan=True)
    assert find_period(values) == find_period(scaled)
    assert period_at(values, 6) == period_at(scaled, 6)


def sawtooth(n, period, noise, seed=0):
    x = np.arange(n)
    return 3 * np.exp(-x / n) + (x % period) / period + noise * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(("n", "period"), [(400, 25), (2000, 100), (2000, 7)])
def test_a_sawtooth_is_found(n, period):
    y = sawtooth(n, period, 0.3)
    y[n // 3 : n // 3 + 4] = NAN
    known = period_at(y, period)
    assert known.strength > 0.2
    assert known.p < 1e-4
    found = find_period(y, high=n // 4)
    assert found.period == period
    assert found.p < 0.01
    assert period_at(y, period + period // 2).z < 0


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_noise_has_no_period(rho):
    rng = np.random.default_rng(4)
    runs = [ar1(300, rho, rng) for _ in range(150)]
    assert np.mean([period_at(y, 20).p < 0.05 for y in runs]) < 0.11
    assert np.mean([(f := find_period(y)) is not None and f.p < 0.05 for y in runs]) < 0.09


def test_little_or_nothing():
    for values in ([], [1.0] * 10, [NAN, INF] * 40):
        assert find_period(values) is None
        assert period_at(values, 5) is None
    assert period_at([2.0] * 60, 10).z == 0
    assert find_period([2.0] * 60) is None
    find_period([1.7e308, -1.7e308] * 20)
    with pytest.raises(UsageError, match="at least 4"):
        period_at([1.0], 3)
