"""The level at a curve's end: how often twins are told apart, how often a true difference is found, how it fails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossdoctor.engine.levels import Level, end_level, window

ALPHA = 0.05


def curves(pairs: int, n: int, rho: float, seed: int) -> np.ndarray:
    """(2, pairs, n): descents from 3 to 1 with AR(1) noise of standard deviation 0.05."""
    draws = np.random.default_rng([seed, n, round(100 * rho)]).normal(size=(2, pairs, n))
    for i in range(1, n):
        draws[..., i] = rho * draws[..., i - 1] + math.sqrt(1 - rho**2) * draws[..., i]
    return np.asarray(1 + 2 * np.exp(-4 * np.arange(n) / n) + 0.05 * draws)


def told(pairs: int, n: int, rho: float, *, shift: float = 0.0, paired: bool = True, seed: int = 0) -> float:
    """Share of pairs that are told apart when the second lies ``shift`` standard deviations higher."""
    first, second = curves(pairs, n, rho, seed)
    second = second + 0.05 * shift
    count = 0
    for a, b in zip(first, second, strict=True):
        gap = end_level(b - a, of_pairs=True) if paired else end_level(b).less(end_level(a))
        count += gap.p_value() < ALPHA
    return count / pairs


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [10, 16, 30, 100, 1000])
def test_twins_are_not_told_apart(n: int, rho: float, paired: bool) -> None:
    """5 % at most; 250 pairs leave a standard error of 1.4 %."""
    assert told(250, n, rho, paired=paired) <= 0.05 + 2 * 0.014


@pytest.mark.parametrize(
    ("n", "shift", "least"), [(10, 16, 0.5), (20, 8, 0.7), (50, 4, 0.5), (100, 2, 0.45), (300, 2, 0.95)]
)
def test_a_true_difference_is_found(n: int, shift: float, least: float) -> None:
    assert told(150, n, 0.0, shift=shift) >= least


@pytest.mark.parametrize(("n", "shift", "least"), [(50, 8, 0.7), (100, 4, 0.3), (300, 2, 0.9)])
def test_a_true_difference_is_found_on_different_steps(n: int, shift: float, least: float) -> None:
    assert told(150, n, 0.0, shift=shift, paired=False) >= least


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("n", [8, 10, 13, 16, 20, 24, 30, 50, 100, 200, 500, 1000])
def test_twins_at_length(n: int, rho: float, paired: bool) -> None:
    assert told(2000, n, rho, paired=paired, seed=1) <= 0.05 + 2 * 0.005


def test_the_standard_error_of_white_noise() -> None:
    """On long curves it comes near that of a median of independent points, and never below."""
    first, _ = curves(200, 1000, 0.0, 3)
    flat = first - first.mean(axis=0)
    seen = float(np.std([end_level(v, of_pairs=True).value for v in flat]))
    said = float(np.mean([end_level(v, of_pairs=True).se for v in flat]))
    assert seen < said < 1.35 * seen


def test_outliers_move_neither_level_nor_noise() -> None:
    (values,), _ = curves(1, 400, 0.0, 4)
    spiked = values.copy()
    spiked[[210, 300, 390]] = 50.0
    plain, other = end_level(values), end_level(spiked)
    assert other.value == pytest.approx(plain.value, abs=0.02)
    assert other.se < 2 * plain.se


def test_a_smooth_curve_has_no_noise() -> None:
    assert end_level(np.linspace(2, 1, 50)).se == 0.0
    assert end_level(np.full(30, 0.1)).p_value() == 0.0
    assert end_level(np.zeros(30)).p_value() == 1.0


def test_few_and_missing_points() -> None:
    assert math.isnan(end_level(np.array([])).value)
    assert math.isnan(end_level(np.array([1.0, math.nan, math.nan])).value)
    assert end_level(np.array([1.0, 1.2, math.nan])).value == pytest.approx(1.1)
    assert end_level(np.array([1.0, 1.2, 0.9])).freedom == pytest.approx(1.2)
    assert [window(n) for n in (0, 2, 3, 30, 31, 1000)] == [0, 2, 3, 3, 4, 100]


def test_what_would_be_visible() -> None:
    level = Level(0.3, 0.1, 8.0)
    assert Level(level.least_visible(ALPHA), 0.1, 8.0).p_value() == pytest.approx(ALPHA)
