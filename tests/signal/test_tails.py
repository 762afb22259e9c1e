import math

import pytest

from lossdoctor.signal.tails import normal_quantile, normal_sf, student_cdf, student_quantile


@pytest.mark.parametrize("z", [-8.0, -1.0, 0.0, 0.5, 3.0, 30.0])
def test_against_scipy_or_known_values(z):
    stats = pytest.importorskip("scipy.stats")
    assert normal_sf(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)
    for df in (0.5, 1, 2.5, 7, 30, 1000, 1e7):
        assert student_cdf(z, df) == pytest.approx(stats.t.cdf(z, df), rel=1e-8)


@pytest.mark.parametrize("df", [0.5, 1, 2, 10, 300])
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.5, 0.9, 0.999])
def test_quantile_inverts_the_distribution(p, df):
    assert student_cdf(student_quantile(p, df), df) == pytest.approx(p, rel=1e-6)


def test_table_values():
    assert student_quantile(0.975, 1) == pytest.approx(12.7062, abs=1e-4)
    assert student_quantile(0.95, 5) == pytest.approx(2.0150, abs=1e-4)
    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)
    assert student_cdf(1.0, 1) == pytest.approx(0.75)


def test_limits():
    assert student_cdf(math.inf, 3) == 1
    assert student_cdf(-math.inf, 3) == 0
    assert student_cdf(1.0, math.inf) == pytest.approx(1 - normal_sf(1.0))
    assert math.isnan(student_cdf(math.nan, 3))
    assert 0 < student_cdf(-1e200, 2) < 1e-300 or student_cdf(-1e200, 2) == 0
