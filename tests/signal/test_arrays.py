import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.arrays import as_floats, binned, finite, finite_pairs, median, power_scaled, unscaled

from .support import INF, NAN, curves


@given(curves)
def test_power_scaling_is_exact(values):
    v = np.array(values, dtype=float)
    scaled, k = power_scaled(v)
    assert np.ldexp(scaled, k).tolist() == v.tolist()
    if np.abs(v).max(initial=0) > 0:
        assert 0.5 <= np.abs(scaled).max() < 1


@given(curves.filter(len))
def test_median(values):
    assert median(np.array(values)) == pytest.approx(np.median(values), abs=1e-12)


@given(curves, st.integers(1, 10))
def test_binned_medians(values, most):
    out, width = binned(np.array(values, dtype=float), most)
    assert len(out) <= most
    assert len(out) == -(-len(values) // width)
    for k, m in enumerate(out):
        assert m == pytest.approx(np.median(values[k * width : (k + 1) * width]), abs=1e-12)


def test_cleaning():
    assert finite(x for x in (1.0, NAN, INF, 2.0)).tolist() == [1, 2]
    a, b = finite_pairs([1, 2, 3], [NAN, 5.0, 6.0])
    assert (a.tolist(), b.tolist()) == ([2, 3], [5, 6])
    assert math.isnan(median(np.array([])))
    assert unscaled(0.75, 5000) == INF
    assert unscaled(-0.75, 5000) == -INF
    with pytest.raises(UsageError, match=r"\(2, 1\)"):
        as_floats([[1.0], [2.0]])
