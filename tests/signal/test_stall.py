import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.stall import probability_of_decrease, steps_without_decrease, steps_without_decrease_robust

from .support import INF, NAN, exponents, gappy


def naive_probability(last):
    """Probability that the least-squares line through these values (oldest first) falls; None when it fits exactly."""
    n = len(last)
    x = np.arange(n) - (n - 1) / 2
    y = np.array(last) - np.mean(last)
    slope = (x * y).sum() / (x * x).sum()
    rest = ((y - slope * x) ** 2).sum()
    if rest <= 1e-9 * max((np.array(last) ** 2).sum(), 1e-300):
        return None
    return 0.5 * math.erfc(slope / math.sqrt(rest / (n - 2) / (x * x).sum()) / math.sqrt(2))


@given(gappy)
def test_equals_a_line_through_every_suffix(values):
    v = [x for x in values if math.isfinite(x)]
    p = probability_of_decrease(values)
    assert len(p) == len(v)
    assert np.isnan(p[:2]).all()
    for j in range(3, len(v) + 1):
        want = naive_probability(v[-j:])
        if want is not None:
            assert p[j - 1] == pytest.approx(want, abs=1e-6)


def naive_count(values, discard=None):
    """dlib's loop: add values from the newest back, remember where a decrease was last in doubt."""
    limit = INF
    if discard is not None and len(values):
        limit = sorted(values)[math.floor((len(values) - 1) * (1 - discard) + 0.5)]
    seen, count = [], 0
    for j, value in enumerate(reversed(values), start=1):
        if value <= limit:
            seen.append(value)
        if len(seen) > 2:
            p = naive_probability(seen[::-1])
            count = j if p is not None and p < 0.51 else count
    return count


@given(st.integers(0, 10_000), st.integers(3, 150), st.floats(0, 1))
def test_counts_equal_the_loop(seed, n, share):
    rng = np.random.default_rng(seed)
    values = (np.maximum(np.linspace(3, 0, n), 3 * (1 - share)) + 0.2 * rng.normal(size=n)).tolist()
    assert steps_without_decrease(values) == naive_count(values)
    assert steps_without_decrease_robust(values) == naive_count(values, 0.1)


@given(gappy, exponents)
def test_the_unit_does_not_matter(values, k):
    scaled = [v * 2.0**k for v in values]
    assert steps_without_decrease(scaled) == steps_without_decrease(values)
    assert np.array_equal(probability_of_decrease(scaled), probability_of_decrease(values), equal_nan=True)


def test_a_stall_is_measured():
    rng = np.random.default_rng(0)
    y = np.concatenate([np.linspace(5, 1, 600), np.ones(400)]) + 0.1 * rng.normal(size=1000)
    assert 380 < steps_without_decrease(y, probability=0.95) < 480
    assert steps_without_decrease(y[:600], probability=0.95) < 60


def test_a_spike_does_not_hide_the_stall():
    y = 1 + 0.01 * np.random.default_rng(1).normal(size=500)
    y[5] = 40
    assert steps_without_decrease(y, probability=0.9) < 500
    assert steps_without_decrease_robust(y, probability=0.9) == 500


def test_early_values_far_away_cost_no_digits():
    y = np.concatenate([np.geomspace(1e12, 1, 100), 1 + 1e-6 * np.random.default_rng(2).normal(size=300)])
    p = probability_of_decrease(y)
    for j in (10, 100, 250):
        assert p[j - 1] == pytest.approx(naive_probability(y[-j:].tolist()), abs=1e-6) or (
            naive_probability(y[-j:].tolist()) is None
        )


def test_exact_lines_and_little():
    assert probability_of_decrease([1.0, 2.0, 3.0])[-1] == 0
    assert probability_of_decrease([2.0] * 5)[-1] == 0.5
    assert steps_without_decrease([2.0] * 5) == 5
    for values in ([], [1.0], [1.0, 2.0], [NAN, INF]):
        assert steps_without_decrease(values) == 0
        assert steps_without_decrease_robust(values) == 0
    steps_without_decrease([1.7e308, -1.7e308] * 5)
    with pytest.raises(UsageError, match=r"above 0\.5"):
        steps_without_decrease([1.0], probability=0.5)
    with pytest.raises(UsageError, match="between 0 and 1"):
        steps_without_decrease_robust([1.0], discard=1.1)
