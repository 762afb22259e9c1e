import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.downsample import _triangles, downsample

from .support import INF, NAN, exponents


@given(st.integers(0, 1000), st.integers(0, 3000), st.integers(8, 200), st.sampled_from([0.0, 0.001, 0.2, 1.0]))
def test_what_is_kept(seed, n, m, gaps):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, size=n)
    values[rng.random(n) < gaps] = rng.choice([NAN, INF, -INF])
    x = np.cumsum(rng.integers(1, 5, size=n))
    index = downsample(x, values, m)
    assert len(index) <= m
    assert len(index) >= min(n, m // 2 if gaps < 1 else 2)
    assert np.all(np.diff(index) > 0)
    if n <= m:
        assert index.tolist() == list(range(n))
        return
    assert {0, n - 1} <= set(index.tolist())
    good = np.isfinite(values)
    if good.any():
        assert values[good].max() in values[index]
        assert values[good].min() in values[index]
    bad = np.flatnonzero(~good)
    if 0 < len(bad) <= m // 8:
        starts = bad[np.flatnonzero(np.diff(bad, prepend=-2) > 1)]
        assert set(starts.tolist()) <= set(index.tolist())


def naive_triangles(x, y, m):
    """Largest triangle three buckets, by plain loops."""
    n = len(y)
    edges = [1 + int(k * (n - 2) / (m - 2)) for k in range(m - 1)]
    picked = [0]
    for k in range(m - 2):
        ahead = range(edges[k + 1], edges[k + 2]) if k + 2 < len(edges) else range(n - 1, n)
        cx, cy = sum(x[i] for i in ahead) / len(ahead), sum(y[i] for i in ahead) / len(ahead)
        left = picked[-1]
        areas = [
            abs((x[left] - cx) * (y[i] - y[left]) - (x[left] - x[i]) * (cy - y[left]))
            for i in range(edges[k], edges[k + 1])
        ]
        picked.append(edges[k] + int(np.argmax(areas)))
    return [*picked, n - 1]


@given(st.integers(0, 1000), st.integers(5, 100))
def test_triangles_equal_plain_loops(seed, n):
    rng = np.random.default_rng(seed)
    x, y = np.arange(n, dtype=float), rng.normal(size=n)
    m = int(rng.integers(3, n))
    assert _triangles(x, y, m).tolist() == naive_triangles(x.tolist(), y.tolist(), m)


@given(st.integers(0, 100), exponents)
def test_the_unit_does_not_matter(seed, k):
    y = np.random.default_rng(seed).normal(size=500)
    assert downsample(range(500), y, 50).tolist() == downsample(range(500), y * 2.0**k, 50).tolist()


def test_spikes_of_a_long_curve_stay():
    y = 1 + 0.01 * np.random.default_rng(0).normal(size=1_000_000)
    spikes = np.arange(50_000, 1_000_000, 100_000)
    y[spikes] += 1
    start = time.perf_counter()
    index = downsample(np.arange(len(y)), y, 1000)
    assert time.perf_counter() - start < 1  # 0.03 s on an idle core
    assert set(spikes.tolist()) <= set(index.tolist())
    assert 900 < len(index) <= 1000


def test_bad_calls():
    with pytest.raises(UsageError, match="at least 8"):
        downsample([1], [1.0], 7)
    with pytest.raises(UsageError, match="got 1 and 2"):
        downsample([1], [1.0, 2.0], 8)
    assert downsample([], [], 8).tolist() == []
    assert len(downsample(range(100), [1.7e308, -1.7e308] * 50, 10)) <= 10
