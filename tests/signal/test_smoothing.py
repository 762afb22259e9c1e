import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.smoothing import ema, ema_from_first, rolling_median

from .support import INF, NAN, exponents, gappy

factors = st.sampled_from([0.0, 0.3, 0.9, 0.99])


@given(gappy, factors)
def test_ema_is_a_weighted_mean_of_the_past(values, factor):
    got = ema(values, factor)
    for i, v in enumerate(values):
        if not math.isfinite(v):
            assert math.isnan(got[i])
            continue
        past = [x for x in values[: i + 1] if math.isfinite(x)]
        weights = [factor**k for k in range(len(past) - 1, -1, -1)]
        want = sum(w * x for w, x in zip(weights, past, strict=True)) / sum(weights)
        assert got[i] == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_ema_from_first_is_the_known_recursion_bit_for_bit():
    losses = np.random.default_rng(0).normal(size=500).tolist()
    current, want = losses[0], []
    for loss in losses:
        current = 0.9 * current + (1 - 0.9) * loss
        want.append(current)
    assert ema_from_first(losses, 0.9).tolist() == want


def test_the_first_outlier_does_not_poison_the_corrected_average():
    values = [100.0] + [1.0] * 20
    assert ema(values, 0.9)[-1] < ema_from_first(values, 0.9)[-1] + 1e-9
    assert ema([5.0, 5.0, 5.0], 0.9).tolist() == [5.0, 5.0, 5.0]
    assert ema([0.1] * 50, 0.95).tolist() == [0.1] * 50


@pytest.mark.parametrize("smooth", [ema, ema_from_first])
def test_gaps_do_not_poison(smooth):
    with_gap, without = smooth([1.0, NAN, 2.0, INF, 3.0], 0.5), smooth([1.0, 2.0, 3.0], 0.5)
    assert with_gap[[0, 2, 4]].tolist() == without.tolist()
    assert np.isnan(with_gap[[1, 3]]).all()
    assert smooth([NAN, INF, 2.0], 0.75)[2] == 2.0
    assert len(smooth([], 0.9)) == 0
    assert np.isfinite(smooth([1.7e308, -1.7e308] * 5, 0.9)).all()


@pytest.mark.parametrize("factor", [1.0, -0.1, NAN])
def test_factors_out_of_range(factor):
    for smooth in (ema, ema_from_first):
        with pytest.raises(UsageError, match="below 1"):
            smooth([1.0], factor)


@given(gappy, factors, exponents)
def test_the_unit_does_not_matter(values, factor, k):
    scaled = np.array(values) * 2.0**k
    for f in (lambda v: ema(v, factor), lambda v: ema_from_first(v, factor), lambda v: rolling_median(v, 5)):
        assert np.array_equal(f(scaled), f(values) * 2.0**k, equal_nan=True)


def naive_median(values, window):
    half, out = window // 2, []
    for i, v in enumerate(values):
        near = [x for x in values[max(i - half, 0) : i + half + 1] if math.isfinite(x)]
        out.append(statistics.median(near) if math.isfinite(v) else NAN)
    return out


@given(gappy, st.integers(1, 30))
def test_rolling_median_equals_a_plain_loop(values, window):
    assert rolling_median(values, window) == pytest.approx(naive_median(values, window), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("window", [129, 131, 999])
def test_wide_windows_equal_a_plain_loop(window):
    rng = np.random.default_rng(window)
    values = rng.normal(size=600).round(1)
    values[rng.random(600) < 0.1] = NAN
    assert rolling_median(values, window) == pytest.approx(naive_median(values.tolist(), window), nan_ok=True)


def test_rolling_median_of_little_and_across_chunks():
    assert len(rolling_median([], 5)) == 0
    assert rolling_median([3.0], 9).tolist() == [3.0]
    assert rolling_median([1.7e308] * 3, 3).tolist() == [1.7e308] * 3
    values = np.arange(50_000.0)
    assert rolling_median(values, 101)[50:-50].tolist() == values[50:-50].tolist()
    with pytest.raises(UsageError, match="at least 1"):
        rolling_median([1.0], 0)
