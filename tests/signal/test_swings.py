"""Swings and excursions: against a plain loop, noise, sines and spikes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.signal.reading import Reading
from lossdoctor.signal.summary import summarize
from lossdoctor.signal.swings import Excursion, excursions, swings


def read(values: object) -> Reading:
    v = np.asarray(values, dtype=float)
    return Reading(summarize(np.arange(1, len(v) + 1), v))


def naive_rest(y: list[float]) -> list[float]:
    """What is left of the later six sevenths about a running median of two fifths of them."""
    late = y[max(2, len(y) // 7) :]
    half = max(3, len(late) // 5)
    return [v - float(np.median(late[max(0, i - half) : i + half + 1])) for i, v in enumerate(late)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.5, 5), min_size=16, max_size=90))
def test_amplitude_memory_and_reversals_are_a_plain_loop(values: list[float]) -> None:
    s = swings(read(values))
    assert s is not None
    rest = naive_rest(values)
    low, high = np.percentile(rest, [10, 90])
    assert s.amplitude == pytest.approx((high - low) / 2, abs=1e-9)
    power = sum(r * r for r in rest)
    if power > 1e-9:
        assert s.lag1 == pytest.approx(sum(a * b for a, b in itertools.pairwise(rest)) / power, abs=1e-9)
    seen = [np.sign(r) for r in rest if abs(r) > s.amplitude / 3]
    if s.amplitude > 1e-9:
        assert abs(s.reversals - sum(a != b for a, b in itertools.pairwise(seen))) <= 1  # ties at the edge


def test_noise_is_not_smooth_and_has_no_memory() -> None:
    smooth, lag = [], []
    for seed in range(60):
        s = swings(read(3 + np.random.default_rng(seed).normal(0, 0.2, 120)))
        assert s is not None
        smooth.append(s.smooth)
        lag.append(s.lag1)
    assert 0.7 < float(np.median(smooth)) < 1.4
    assert abs(float(np.median(lag))) < 0.15
    assert max(smooth) < 3


def test_noise_within_bins_explains_the_noise_of_bins() -> None:
    s = swings(read(3 + np.random.default_rng(1).normal(0, 0.5, 6000)))
    assert s is not None
    assert 0.6 < s.excess < 1.8


def test_a_sine_is_smooth_reverses_and_does_not_decay() -> None:
    t = np.arange(120)
    s = swings(read(3 + np.sin(t / 3) + np.random.default_rng(2).normal(0, 0.05, 120)))
    assert s is not None
    assert s.smooth > 3
    assert s.lag1 > 0.6
    assert s.reversals == pytest.approx(2 * (103 / 3) / (2 * math.pi), abs=2)
    assert s.decay == pytest.approx(1, abs=0.3)
    dying = swings(read(3 + np.sin(t / 3) * np.exp(-t / 20)))
    assert dying is not None
    assert dying.decay < 0.2


def test_swings_against_what_was_learned() -> None:
    t = np.arange(120)
    s = swings(read(1 + 4 * np.exp(-t / 10) + 0.4 * np.sin(t / 2)))
    assert s is not None
    assert s.share == pytest.approx(0.38 / 4.3, abs=0.03)
    assert s.late_share > s.share


def test_relative_amplitude_needs_positive_values_and_sixteen_bins() -> None:
    s = swings(read(np.sin(np.arange(60.0))))
    assert s is not None
    assert math.isnan(s.relative)
    assert swings(read(np.ones(15))) is None


def descent(n: int = 120) -> np.ndarray:
    return 1 + 3 * np.exp(-np.arange(n) / 8) + np.random.default_rng(3).normal(0, 0.01, n)


def test_a_spike_is_one_excursion() -> None:
    y = descent()
    y[70:74] = [2.5, 2.2, 1.8, 1.4]
    (e,) = excursions(read(y))
    assert (e.step, e.bins, e.recovered) == (71, 4, True)
    assert e.height == pytest.approx(1.5, abs=0.05)
    assert e.share == pytest.approx(0.5, abs=0.03)


def test_a_level_shift_does_not_recover() -> None:
    y = descent()
    y[80:] += 0.7
    (e,) = excursions(read(y))
    assert isinstance(e, Excursion)
    assert (e.step, e.bins, e.recovered) == (81, 40, False)


def test_nothing_learned_nothing_undone() -> None:
    y = 3 + np.random.default_rng(4).normal(0, 0.01, 60)
    y[30:33] += 1
    (e,) = excursions(read(y))
    assert e.share == math.inf


def test_decades_count_where_a_loss_fell_by_many() -> None:
    y = np.concatenate([[1e6], 1e6 * 10.0 ** (-np.arange(1, 11.0)), np.full(40, 1e-4)])
    y[30:34] = 1.0
    found = [e for e in excursions(read(y)) if e.step == 31]
    assert len(found) == 1
    assert found[0].share == pytest.approx(4 / 10, abs=0.02)


@pytest.mark.parametrize("n", [12, 60, 128])
def test_noise_makes_no_excursions(n: int) -> None:
    counts = [len(excursions(read(3 + np.random.default_rng([s, n]).normal(0, 0.1, n)))) for s in range(100)]
    assert sum(c > 0 for c in counts) <= 5


def test_too_few_bins() -> None:
    assert excursions(read(np.ones(11))) == []
