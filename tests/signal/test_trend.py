import math
import statistics
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.trend import linear_trend, mann_kendall, prob_negative_slope, ranks, theil_sen

from .support import INF, NAN, ar1, curves, equal, exponents, gappy


@given(gappy)
def test_theil_sen_equals_all_pairs(values):
    good = [(float(i), v) for i, v in enumerate(values) if math.isfinite(v)]
    slope, intercept = theil_sen(range(len(values)), values)
    if len(good) < 2:
        assert math.isnan(slope)
        return
    want = statistics.median((d - b) / (c - a) for (a, b), (c, d) in combinations(good, 2))
    assert slope == pytest.approx(want, rel=1e-9, abs=1e-12)
    assert intercept == pytest.approx(statistics.median(v - want * i for i, v in good), rel=1e-9, abs=1e-9)


def test_theil_sen_keeps_its_precision_on_long_curves():
    x = np.arange(200_000)
    y = 5 - 1e-6 * x + 0.1 * np.random.default_rng(0).normal(size=len(x))
    y[::10] += 50
    assert theil_sen(x, y)[0] == pytest.approx(-1e-6, rel=0.1)


@given(curves)
def test_mann_kendall_without_correction_equals_the_textbook(values):
    result = mann_kendall(values, correct=False)
    n = len(values)
    s = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    if n < 4:
        assert (result.z, result.p) == (0, 1)
        return
    ties = [values.count(v) for v in set(values)]
    var = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    want = (s - (s > 0) + (s < 0)) / math.sqrt(var) if var > 0 else 0
    assert result.z == pytest.approx(want)
    assert result.p == pytest.approx(math.erfc(abs(want) / math.sqrt(2)))
    assert result.tau == pytest.approx(s / (n * (n - 1) / 2))


@given(curves, exponents)
def test_the_unit_does_not_matter(values, k):
    scaled = [v * 2.0**k for v in values]
    assert mann_kendall(scaled) == mann_kendall(values)
    x = range(len(values))
    one, two = theil_sen(x, values), theil_sen(x, scaled)
    assert equal(two[0], one[0] * 2.0**k)
    assert equal(two[1], one[1] * 2.0**k)
    one, two = linear_trend(x, values), linear_trend(x, scaled)
    for name in ("slope", "intercept", "se", "low", "high"):
        assert equal(getattr(two, name), getattr(one, name) * 2.0**k), name
    for name in ("p_negative", "rho", "n_eff"):
        assert equal(getattr(two, name), getattr(one, name)), name


@given(curves)
def test_turning_a_curve_over_turns_the_sign(values):
    up, down = mann_kendall(values), mann_kendall([-v for v in values])
    assert up.z == pytest.approx(-down.z, abs=1e-9)
    if len(values) > 2:
        assert prob_negative_slope(values) == pytest.approx(1 - prob_negative_slope([-v for v in values]), abs=1e-9)


@pytest.mark.parametrize(("rho", "n"), [(0.0, 40), (0.5, 60), (0.5, 200), (0.8, 200)])
def test_noise_that_remembers_is_seldom_called_a_trend(rho, n):
    rng = np.random.default_rng(5)
    runs = [ar1(n, rho, rng) for _ in range(200)]
    tested = np.mean([mann_kendall(y).p < 0.05 for y in runs])
    fitted = [linear_trend(range(n), y) for y in runs]
    missed = np.mean([not t.low <= 0 <= t.high for t in fitted])
    assert tested < 0.11
    assert missed < 0.11
    if rho == 0.8:  # what goes wrong without the correction
        assert np.mean([mann_kendall(y, correct=False).p < 0.05 for y in runs]) > 0.3


def test_a_real_trend_is_found_all_the_same():
    rng = np.random.default_rng(6)
    y = ar1(300, 0.5, rng) - np.linspace(0, 3, 300)
    assert mann_kendall(y).p < 0.001
    t = linear_trend(range(300), y)
    assert t.low < -3 / 299 < t.high < 0
    assert 50 < t.n_eff < 200
    assert t.p_negative > 0.999


def test_linear_trend_is_least_squares():
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.normal(size=50)), rng.normal(size=50)
    slope, intercept = np.polyfit(x, y, 1)
    t = linear_trend(x, y)
    assert (t.slope, t.intercept) == pytest.approx((slope, intercept))
    assert linear_trend(x, y, alpha=0.01).low < t.low


@pytest.mark.parametrize(("values", "p"), [([3.0, 2.0, 1.0], 1.0), ([1.0, 2.0, 3.0, 4.0], 0.0), ([0.1] * 9, 0.5)])
def test_exact_lines(values, p):
    assert prob_negative_slope(values) == p
    assert linear_trend(range(len(values)), values).se == 0


def test_little_or_nothing():
    for values in ([], [1.0], [1.0, NAN, INF, 2.0]):
        assert math.isnan(prob_negative_slope(values))
        assert mann_kendall(values).p == 1
    assert math.isnan(linear_trend([1, 1, 1], [1.0, 2.0, 3.0]).slope)
    assert math.isnan(theil_sen([2, 2], [1.0, 3.0])[0])
    linear_trend(range(4), [1.7e308, -1.7e308] * 2)
    with pytest.raises(UsageError, match="alpha"):
        linear_trend([1, 2], [1, 2], alpha=1.5)
    with pytest.raises(UsageError, match="got 2 and 3"):
        theil_sen([1, 2], [1, 2, 3])


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_ranks(values):
    want = [sum(b < a for b in values) + (values.count(a) + 1) / 2 for a in values]
    assert ranks(np.array(values, dtype=float)).tolist() == want
