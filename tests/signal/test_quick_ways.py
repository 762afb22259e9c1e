"""The quick ways that live verdicts take give the bits of the general ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lossdoctor.signal.arrays import median, quantiles, windows
from lossdoctor.signal.base_blocks import base_rows, partial_row
from lossdoctor.signal.blocks import BLOCK, Rows, merge, merge_one
from lossdoctor.signal.events import _block_noise, _last_noise
from lossdoctor.signal.noise import second_diff_noise
from lossdoctor.signal.reading import Reading, bin_noise, running_mean
from lossdoctor.signal.shape import _falls, _slopes_down, fall, kendall_z, median_slope
from lossdoctor.signal.summary import summarize
from lossdoctor.signal.trend import theil_sen

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

usual = st.floats(-100, 100).map(lambda x: round(x, 2))
wild = st.one_of(usual, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 5e-324, 1e308]))
broken = st.one_of(wild, st.sampled_from([math.nan, math.inf, -math.inf]))


def floats(elements: st.SearchStrategy[float], least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, st.integers(least, most), elements=elements)


def same(a: object, b: object) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)


def padded_row(steps: np.ndarray, values: np.ndarray, start: int, before: np.ndarray) -> Rows:
    all_steps, all_values = np.zeros((1, BLOCK), np.int64), np.full((1, BLOCK), np.nan)
    all_steps[0, : len(steps)], all_values[0, : len(values)] = steps, values
    return base_rows(all_steps, all_values, len(values), start, before)


@settings(max_examples=300, deadline=None)
@given(floats(broken, 1, BLOCK - 1), floats(broken, 2, 2))
def test_a_partial_block(values: np.ndarray, before: np.ndarray) -> None:
    steps = np.arange(len(values)) * 3 - 5
    with np.errstate(all="ignore"):
        quick, general = partial_row(steps, values, 77, before), padded_row(steps, values, 77, before)
    assert same(quick.ints, general.ints)
    assert same(quick.floats, general.floats)


@settings(max_examples=200, deadline=None)
@given(floats(broken, 1, BLOCK - 1), floats(broken, 1, BLOCK - 1), floats(wild, 2, 2))
def test_one_merge(a: np.ndarray, b: np.ndarray, before: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        one = padded_row(np.arange(len(a)), a, 0, before)
        other = padded_row(np.arange(len(b)) + 100, b, 64, before)
        quick, general = merge_one(one, other), merge(one, other)
    assert same(quick.ints, general.ints)
    assert same(quick.floats, general.floats)


@settings(max_examples=100, deadline=None)
@given(floats(wild, 1, BLOCK - 1), st.sampled_from([math.nan, 0.0, 0.5]), st.sampled_from([math.inf, 0.25]))
def test_the_noise_of_the_last_block(values: np.ndarray, noise: float, quantum: float) -> None:
    with np.errstate(all="ignore"):
        row = padded_row(np.arange(len(values)), values, 64, np.array([1.0, 2.0]))
        assert same(_last_noise(row, (noise, quantum)), _block_noise(values, row, (noise, quantum), 2.0)[0])


@settings(max_examples=200, deadline=None)
@given(floats(broken, 1, 140), st.sampled_from([(0.1, 0.9), (0.25, 0.75), (0.0, 1.0)]))
def test_two_quantiles(values: np.ndarray, shares: tuple[float, float]) -> None:
    with np.errstate(all="ignore"):
        assert same(quantiles(values, *shares), np.quantile(values, shares))


@settings(max_examples=200, deadline=None)
@given(floats(wild, 1, 140))
def test_medians(values: np.ndarray) -> None:
    part = np.partition(values, [(len(values) - 1) // 2, len(values) // 2])
    assert median(values) == part[(len(values) - 1) // 2] * 0.5 + part[len(values) // 2] * 0.5


@pytest.mark.parametrize(("n", "width"), [(5, 5), (128, 5), (128, 45), (4000, 9)])
def test_windows_and_their_means(n: int, width: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    general = np.lib.stride_tricks.sliding_window_view(values, width)
    assert same(windows(values, width), general)
    half = width // 2
    assert same(running_mean(values, half)[half : n - half], general.mean(axis=1))


def sign_sum(y: np.ndarray) -> float:
    return float(np.sign(np.subtract.outer(y, y)[np.tril_indices(len(y), -1)]).sum())


@settings(max_examples=200, deadline=None)
@given(st.one_of(floats(usual, 3, 160), floats(broken, 3, 60)))
def test_pairs_that_rise_and_fall(y: np.ndarray) -> None:
    n = len(y)
    with np.errstate(all="ignore"):
        s = sign_sum(y)
        general = (s - np.sign(s)) / np.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
        assert same(kendall_z(y), general)


@settings(max_examples=200, deadline=None)
@given(st.one_of(floats(usual, 2, 130), floats(wild, 2, 40)))
def test_median_slopes(y: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        slope = theil_sen(np.arange(len(y)), y)[0]
        assert same(median_slope(y), slope)
        if np.abs(y).max() < 1e100 and not ((y != 0) & (np.abs(y) < 1e-300)).any():  # half of the least number is 0
            assert _slopes_down(y) == (not slope >= 0)


@pytest.mark.parametrize("seed", range(40))
def test_noise_and_falls_of_stretches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(8, 129))
    y = np.exp(-np.arange(k) / rng.uniform(5, 200)) + rng.uniform(0, 0.3) * rng.normal(size=k)
    if seed % 4 == 0:
        y = np.sign(y) * 1e308 * rng.random(k)  # differences overflow
    with np.errstate(all="ignore"):
        reading = Reading(summarize(range(k), y))
        for first in range(0, k, 5):
            for last in range(first, k + 1, 7):
                assert reading.noise_between(first, last) == bin_noise(y[first:last])
        for start in range(k - 6):
            whole = fall(reading, start)
            assert whole is not None
            assert _falls(reading, start) == (whole.z > 3.0 and whole.trend_z < -2.5)
        assert same(second_diff_noise(y), second_diff_noise(y.tolist()))
