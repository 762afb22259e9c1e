import numpy as np
import pytest
from hypothesis import given, settings

from lossdoctor.signal.isotonic import decreasing_fit

from .support import INF, NAN, exponents, gappy


@given(gappy)
def test_equals_the_minimax_formula(values):
    """The fit at i is the smallest over starts a <= i of the largest mean over [a, b], b >= i (here decreasing)."""
    fit = decreasing_fit(values)
    where = [i for i, v in enumerate(values) if np.isfinite(v)]
    v = [values[i] for i in where]
    assert np.isnan(np.delete(fit, where)).all()
    for k, i in enumerate(where):
        means = [[sum(v[a : b + 1]) / (b + 1 - a) for b in range(k, len(v))] for a in range(k + 1)]
        want = min(max(row) for row in means)
        assert fit[i] == pytest.approx(want, rel=1e-9, abs=1e-9)


@given(gappy, exponents)
def test_the_unit_does_not_matter(values, k):
    assert np.array_equal(decreasing_fit(np.array(values) * 2.0**k), decreasing_fit(values) * 2.0**k, equal_nan=True)


@settings(max_examples=50)
@given(gappy)
def test_it_never_rises_and_keeps_the_mean(values):
    fit = decreasing_fit(values)
    fit = fit[np.isfinite(fit)]
    assert np.all(np.diff(fit) <= 1e-9)
    if len(fit):
        assert fit.mean() == pytest.approx(np.mean([v for v in values if np.isfinite(v)]), abs=1e-9)


def test_little_and_large():
    assert len(decreasing_fit([])) == 0
    assert np.isnan(decreasing_fit([NAN, INF])).all()
    assert decreasing_fit([0.1] * 5).tolist() == pytest.approx([0.1] * 5)
    assert np.isfinite(decreasing_fit([-1.7e308, 1.7e308])).all()
