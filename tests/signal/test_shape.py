"""Turn, fall and stall: against plain loops, against curves whose answer is known, and against chance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.signal.reading import Reading
from lossdoctor.signal.shape import clear_rise, fall, kendall_z, median_slope, stall, straightness, turn
from lossdoctor.signal.summary import summarize
from tests.signal.support import ar1


def read(values: object) -> Reading:
    v = np.asarray(values, dtype=float)
    return Reading(summarize(np.arange(1, len(v) + 1), v))


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=30))
def test_kendall_counts_the_pairs_that_rise(values: list[int]) -> None:
    s = sum(np.sign(b - a) for a, b in itertools.combinations(values, 2))
    n = len(values)
    expected = (s - np.sign(s)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    assert kendall_z(np.array(values, dtype=float)) == pytest.approx(float(expected))


def test_kendall_of_chance_is_a_standard_normal() -> None:
    z = [kendall_z(np.random.default_rng(i).normal(size=40)) for i in range(600)]
    assert abs(float(np.mean(z))) < 0.15
    assert 0.9 < float(np.std(z)) < 1.1


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=25))
def test_median_slope_is_the_median_of_all_pairs(values: list[int]) -> None:
    pairs = [(b - a) / (j - i) for (i, a), (j, b) in itertools.combinations(enumerate(values), 2)]
    assert median_slope(np.array(values, dtype=float)) == pytest.approx(float(np.median(pairs)))


def test_median_slope_of_too_little_is_none() -> None:
    assert median_slope(np.array([])) == 0.0
    assert median_slope(np.array([3.0])) == 0.0


def v_curve(n: int = 100, at: int = 50, rise: float = 0.5, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Falls from 2 to 1 until ``at`` and rises by ``rise`` to the end."""
    down = np.linspace(2, 1, at + 1)
    up = 1 + np.linspace(0, rise, n - at)[1:]
    return np.concatenate([down, up]) + np.random.default_rng(seed).normal(0, noise, n)


def test_turn_finds_the_lowest_level_and_the_rise() -> None:
    t = turn(read(v_curve()))
    assert t is not None
    assert t.onset_step == pytest.approx(51, abs=2)
    assert t.relative == pytest.approx(0.45, abs=0.05)
    assert t.share == pytest.approx(0.45, abs=0.06)
    assert t.trend_z > 5
    assert t.kept > 0.9
    assert t.recovered == 0.0
    assert t.after == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("n", "rho", "most"), [(30, 0.0, 0.02), (100, 0.0, 0.02), (600, 0.0, 0.02), (60, 0.5, 0.04), (600, 0.5, 0.02)]
)
def test_a_level_curve_hardly_ever_turns(n: int, rho: float, most: float) -> None:
    """The lowest of many windows is low by chance: the z-score must have allowed for that."""
    z = []
    for seed in range(200):
        t = turn(read(5 + 0.1 * ar1(n, rho, np.random.default_rng([seed, n]))))
        assert t is not None
        z.append(t.z)
    assert float(np.mean(np.array(z) > 3.5)) <= most


@pytest.mark.parametrize(("n", "rise"), [(40, 1.0), (100, 0.5), (600, 0.5)])
def test_a_rise_far_beyond_the_noise_is_seen(n: int, rise: float) -> None:
    z = [t.z for s in range(50) if (t := turn(read(v_curve(n, n // 2, rise, 0.1, s)))) is not None]
    assert float(np.mean(np.array(z) > 3.5)) > 0.9


def test_turn_of_too_few_and_of_falling_curves() -> None:
    assert turn(read([3.0, 2.0, 1.0])) is None
    t = turn(read(np.linspace(3, 1, 50)))
    assert t is not None
    assert t.rise <= 0
    assert t.z <= 0
    assert t.bins_after <= 2


def test_a_jump_on_its_way_back_has_recovered() -> None:
    values = np.concatenate([np.linspace(2, 1, 60), 1 + np.linspace(1, 0.2, 20)])
    t = turn(read(values))
    assert t is not None
    assert t.recovered == pytest.approx(0.78, abs=0.05)
    stays = turn(read(np.concatenate([np.linspace(2, 1, 60), np.full(20, 2.0)])))
    assert stays is not None
    assert stays.recovered == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=60), st.sampled_from([2.0**12, 2.0**-20]))
def test_turn_and_fall_are_scale_free(values: list[float], factor: float) -> None:
    a, b = read(values), read(np.array(values) * factor)
    one, two = turn(a), turn(b)
    assert one is not None
    assert two is not None
    for name in (
        "relative",
        "share",
        "z",
        "trend_z",
        "kept",
        "kept_of_all",
        "recovered",
        "late_z",
        "after",
        "bins_after",
    ):
        assert getattr(one, name) == getattr(two, name), name
    first, second = fall(a), fall(b)
    assert first is not None
    assert second is not None
    assert (first.relative, first.z, first.trend_z) == (second.relative, second.z, second.trend_z)


def test_clear_rise_needs_no_noise_estimate() -> None:
    few = clear_rise(read([1.10, 0.92, 0.85, 0.93, 1.04, 1.19]))
    assert few is not None
    assert (few.onset_step, few.bins_after) == (3, 3)
    assert few.relative == pytest.approx((1.115 - 0.85) / 0.85, abs=0.09)


@pytest.mark.parametrize(
    "values",
    [
        [1.10, 0.92, 0.85, 0.84, 0.83, 0.82],  # falls
        [1.0, 0.7, 1.0, 0.7, 0.65, 0.9],  # the last rise is no larger than an earlier setback
        [1.0, 0.8, 0.6, 0.9, 1.0, 0.62],  # came back
        [1.0, 0.8, 0.6, 0.7],  # too few
        list(np.linspace(1, 0.5, 12)) + list(np.linspace(0.5, 1, 12)),  # enough to know the noise: turn() judges
    ],
)
def test_what_is_no_clear_rise(values: list[float]) -> None:
    assert clear_rise(read(values)) is None


def test_one_wild_evaluation_before_is_no_setback() -> None:
    calm = [1.5, 1.3, 1.2, 1.1, 1.05, 1.0, 1.3, 1.5, 1.6, 1.7]
    wild = [1.5, 1.3, 3.0, 1.1, 1.05, 1.0, 1.3, 1.5, 1.6, 1.7]
    assert clear_rise(read(calm)) is not None
    assert clear_rise(read(wild)) is not None


def test_fall_between_two_bins_is_the_difference_of_the_window_medians() -> None:
    rng = np.random.default_rng(6)
    y = np.linspace(4, 2, 80) + rng.normal(0, 0.05, 80)
    f = fall(read(y))
    assert f is not None
    assert f.drop == float(np.median(y[:10]) - np.median(y[-10:]))
    assert f.relative == f.drop / float(np.median(y[:10]))
    part = fall(read(y), 20, 60)
    assert part is not None
    assert part.drop == float(np.median(y[20:25]) - np.median(y[55:60]))


@pytest.mark.parametrize("n", [12, 40, 500])
def test_a_level_curve_does_not_fall(n: int) -> None:
    z = [f.z for s in range(200) if (f := fall(read(5 + np.random.default_rng([s, n]).normal(0, 0.1, n)))) is not None]
    assert float(np.mean(np.abs(z) > 4)) <= 0.03


def test_fall_without_noise_is_certain() -> None:
    f = fall(read([3.0] * 10 + [2.0] * 10))
    assert f is not None
    assert f.z > 100
    level = fall(read([3.0] * 20))
    assert level is not None
    assert level.z == 0.0
    assert fall(read([3.0, 2.0, 1.0])) is None


@pytest.mark.parametrize("where", [0.3, 0.6])
def test_stall_begins_where_the_fall_ends(where: float) -> None:
    n = 120
    t = np.linspace(0, 1, n)
    s = stall(read(np.maximum(3 - 2 * t / where, 1) + np.random.default_rng(7).normal(0, 0.02, n)))
    assert s is not None
    assert (n - s.onset_index) / n == s.share
    assert s.share == pytest.approx(1 - where, abs=0.12)
    assert s.relative_fall == pytest.approx(2 / 3, abs=0.03)


def test_a_falling_curve_does_not_stall() -> None:
    assert stall(read(np.linspace(3, 1, 100) + np.random.default_rng(8).normal(0, 0.02, 100))) is None
    assert stall(read([1.0, 0.9])) is None


def test_straightness() -> None:
    assert straightness(read(np.linspace(3, 1, 60))) == pytest.approx(1.0, abs=0.06)
    assert straightness(read(1 + 2 * np.exp(-np.linspace(0, 8, 60)))) < 0.1
    assert math.isnan(straightness(read(np.linspace(1, 3, 60))))
    assert math.isnan(straightness(read([2.0, 1.0])))
