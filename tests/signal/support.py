"""Curves and checks that the tests of the pure functions share."""

import numpy as np
from hypothesis import strategies as st

NAN, INF = float("nan"), float("inf")


def _not_tiny(x):
    return x if abs(x) > 1e-6 else 0.0


# values on a coarse grid, so that ties happen, with gaps; far from the ends of the float range
numbers = st.one_of(st.integers(-40, 40).map(lambda k: k / 8), st.floats(-1e3, 1e3).map(_not_tiny))
gappy = st.lists(st.one_of(numbers, st.sampled_from([NAN, INF, -INF])), min_size=0, max_size=60)
curves = st.lists(numbers, min_size=0, max_size=60)
exponents = st.integers(-60, 60)


def ar1(n, rho, rng, burn=100):
    """Normal noise of standard deviation 1 with lag-1 autocorrelation rho."""
    shock = rng.normal(size=n + burn) * np.sqrt(1 - rho * rho)
    out = np.empty(n + burn)
    past = 0.0
    for i, e in enumerate(shock):
        past = rho * past + e
        out[i] = past
    return out[burn:]


def equal(a, b):
    """Equal numbers, NaN equal to NaN."""
    return a == b or (np.isnan(a) and np.isnan(b))
