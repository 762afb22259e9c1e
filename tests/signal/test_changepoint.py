import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.changepoint import best_split, cusum_alarm, level_shifts, noise_unit, optimal_cuts

from .support import INF, NAN, ar1, curves, exponents, gappy


def naive_cuts(y, price):
    """Dynamic programming over all segmentations with segments of at least 3, by plain loops; returns the cost."""

    def cost(part):
        mean = sum(part) / len(part)
        return sum((v - mean) ** 2 for v in part)

    best = {0: -price}
    for end in range(3, len(y) + 1):
        best[end] = min(best[s] + cost(y[s:end]) + price for s in best if s <= end - 3)
    return best[len(y)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-20, 20).map(lambda k: k / 4), min_size=3, max_size=30), st.floats(0.5, 20))
def test_segmentation_is_optimal(values, price):
    y = np.array(values)
    cuts = optimal_cuts(y, price)
    bounds = [0, *cuts, len(y)]
    parts = [y[a:b] for a, b in pairwise(bounds)]
    assert min(len(p) for p in parts) >= 3
    total = sum(((p - p.mean()) ** 2).sum() for p in parts) + price * len(cuts)
    assert total == pytest.approx(naive_cuts(values, price), abs=1e-9)


@settings(deadline=None)
@given(gappy)
def test_best_split_equals_trying_every_place(values):
    split = best_split(values)
    good = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
    v = [x for _, x in good]
    unit = noise_unit(v)
    if split is None:
        assert len(v) < 6 or unit == 0
        return
    scores = []
    for cut in range(3, len(v) - 2):
        a, b = v[:cut], v[cut:]
        delta = sum(b) / len(b) - sum(a) / len(a)
        scores.append(abs(delta) * math.sqrt(len(a) * len(b) / len(v)) / unit)
    assert abs(split.z) == pytest.approx(max(scores), rel=1e-6, abs=1e-6)
    k = [i for i, _ in good].index(split.index)
    assert split.before == pytest.approx(sum(v[:k]) / k, abs=1e-9)
    assert split.after == pytest.approx(sum(v[k:]) / (len(v) - k), abs=1e-9)


def test_chance_splits_are_as_rare_as_they_say():
    rng = np.random.default_rng(0)
    p = [best_split(rng.normal(size=200)).p for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) < 0.07
    p = [best_split(ar1(200, 0.6, rng)).p for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_a_clear_split():
    y = np.random.default_rng(1).normal(size=300)
    y[120:] -= 2
    split = best_split(y)
    assert split.index == pytest.approx(120, abs=5)
    assert split.z < -10
    assert split.p < 1e-12


@settings(max_examples=30, deadline=None)
@given(curves, exponents)
def test_the_unit_does_not_matter(values, k):
    scaled = [v * 2.0**k for v in values]
    a, b = best_split(values), best_split(scaled)
    assert (a is None) == (b is None)
    if a is not None:
        assert (a.index, a.z, a.p, a.before * 2.0**k) == (b.index, b.z, b.p, b.before)
    one, two = level_shifts(values), level_shifts(scaled)
    assert [(s.index, s.size, s.after * 2.0**k) for s in one] == [(s.index, s.size, s.after) for s in two]


@pytest.mark.parametrize("n", [200, 1000, 5000, 100_000])
def test_shifts_are_found_and_placed(n):
    y = np.random.default_rng(n).normal(size=n)
    places = [n // 5, n // 2, int(n * 0.8)]
    for at, by in zip(places, (4, -6, 3), strict=True):
        y[at:] += by
    y[n // 3] = 1000
    y[n // 4] = NAN
    shifts = level_shifts(y)
    assert [s.index for s in shifts] == pytest.approx(places, abs=6)
    assert [s.after - s.before for s in shifts] == pytest.approx([4, -6, 3], abs=0.6)


def test_noise_has_no_shifts():
    rng = np.random.default_rng(3)
    runs = [level_shifts(rng.normal(size=300)) for _ in range(60)]
    assert sum(bool(r) for r in runs) <= 3
    runs = [level_shifts(ar1(300, 0.7, rng)) for _ in range(60)]
    assert sum(bool(r) for r in runs) <= 8


def test_at_most_so_many():
    y = np.repeat(np.arange(12) % 2, 40) * 10 + 0.1 * np.random.default_rng(0).normal(size=480)
    assert len(level_shifts(y, max_k=20)) == 11
    assert len(level_shifts(y, max_k=3)) <= 3


def test_few_digits():
    assert [s.index for s in level_shifts([0.5] * 40 + [0.9] * 40)] == [40]
    assert level_shifts([0.5] * 80) == []
    assert noise_unit([0.5] * 40 + [0.9] * 40) == pytest.approx(0.4)


def naive_cusum(values, reference, sigma, drift, threshold):
    total, onset = 0.0, None
    for i, v in enumerate(values):
        if not math.isfinite(v):
            continue
        if total <= 0:
            total, onset = 0.0, i
        total += (v - reference) / sigma - drift
        if total > threshold:
            return i, onset
    return None


@given(gappy, st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([2.0, 5.0]))
def test_cusum_equals_the_recursion(values, drift, threshold):
    grid = [round(v * 8) / 8 if math.isfinite(v) else v for v in values]
    alarm = cusum_alarm(grid, 0.5, 2.0, drift=drift, threshold=threshold)
    want = naive_cusum(grid, 0.5, 2.0, drift, threshold)
    assert (None if alarm is None else (alarm.index, alarm.onset)) == want
    down = cusum_alarm([-v for v in grid], -0.5, 2.0, drift=drift, threshold=threshold, up=False)
    assert down == alarm


def test_little_or_nothing():
    for values in ([], [1.0], [NAN, INF, 1.0], [2.0] * 50):
        assert best_split(values) is None
        assert level_shifts(values) == []
        assert cusum_alarm(values, 2.0, 1.0) is None
    level_shifts([1.7e308, -1.7e308] * 10)
    with pytest.raises(UsageError, match="max_k"):
        level_shifts([1.0], max_k=0)
    with pytest.raises(UsageError, match="penalty"):
        level_shifts(range(50), penalty=0)
    with pytest.raises(UsageError, match="sigma"):
        cusum_alarm([1.0], 0, 0)
