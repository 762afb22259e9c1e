"""Readings: bins against a plain loop, levels and their errors against what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.signal.reading import MAX_BINS, Reading, bin_noise, once, running_mean
from lossdoctor.signal.summary import summarize

NAN, INF = float("nan"), float("inf")


def read(values: object, steps: object = None) -> Reading:
    v = np.asarray(values, dtype=float)
    return Reading(summarize(np.arange(1, len(v) + 1) if steps is None else np.asarray(steps), v))


def naive_bins(values: np.ndarray) -> tuple[list[float], int]:
    """Medians of consecutive runs of a power of two of finite points, at most 128 of them; a short rest is left out."""
    v = [float(x) for x in values if np.isfinite(x)]
    width = 1
    while len(v) > MAX_BINS * width:
        width *= 2
    return [float(np.median(v[i : i + width])) for i in range(0, len(v) - width + 1, width)], width


@pytest.mark.parametrize("n", [0, 1, 2, 127, 128, 129, 255, 1000, 4096])
def test_bins_of_what_is_kept_raw(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    reading = read(values)
    expected, width = naive_bins(values)
    assert reading.y.tolist() == expected
    assert reading.width == width
    assert len(reading) == len(reading.steps) == len(reading.spread) <= MAX_BINS


@pytest.mark.parametrize("n", [4097, 10_000, 65_536, 300_000])
def test_bins_of_long_curves_are_means_of_block_medians(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n) + 3
    reading = read(values)
    blocks = [float(np.median(values[i : i + 64])) for i in range(0, n - 63, 64)]
    whole = reading.width // 64
    expected = [float(np.mean(blocks[i : i + whole])) for i in range(0, len(blocks) - whole + 1, whole)]
    assert MAX_BINS // 2 - 1 <= len(reading) <= MAX_BINS
    np.testing.assert_allclose(
        reading.y[: len(expected) - 1], expected[: len(reading.y)][: len(expected) - 1], rtol=1e-12
    )


def test_spread_is_the_noise_within_a_bin() -> None:
    values = np.random.default_rng(1).normal(0, 0.3, 20_000) + np.linspace(5, 4, 20_000)
    assert read(values).raw_sigma == pytest.approx(0.3, rel=0.05)
    assert read(values[:3000]).raw_sigma == pytest.approx(0.3, rel=0.1)


def test_gaps_are_left_out_and_steps_kept() -> None:
    reading = read([1.0, NAN, 3.0, INF, 5.0], [10, 20, 30, 40, 50])
    assert reading.y.tolist() == [1.0, 3.0, 5.0]
    assert reading.steps.tolist() == [10, 30, 50]
    assert (reading.n, reading.fraction(30)) == (3, 0.5)


# Numbers below 2e-308 have fewer digits: half of the smallest one is 0, which nothing scales back.
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=300),
    st.sampled_from([2.0**20, 2.0**-30]),
)
def test_powers_of_two_scale_every_level(values: list[float], factor: float) -> None:
    a, b = read(values), read(np.array(values) * factor)
    for name in ("start", "end", "best"):
        one, two = getattr(a, name), getattr(b, name)
        if abs(one.value) > 1e-200 or one.value == 0:
            assert two.value == one.value * factor
    assert a.best_index == b.best_index
    assert a.inflation == b.inflation


def test_the_error_of_a_level_is_what_it_says() -> None:
    """Over many noisy level curves the end scatters about the truth by its own standard error."""
    z = []
    for seed in range(300):
        end = read(2.0 + np.random.default_rng(seed).normal(0, 0.1, 100)).end
        z.append((end.value - 2.0) / end.se)
    assert 0.6 < float(np.std(z)) < 1.3
    assert float(np.mean(np.abs(z) > 3)) < 0.03


def test_noise_is_local_where_it_changes_along_the_run() -> None:
    rng = np.random.default_rng(2)
    reading = read(np.concatenate([rng.normal(5, 1.0, 60), rng.normal(5, 0.05, 60)]))
    assert reading.end.se < 0.1 < reading.window(0, 12).se


def test_start_of_a_binned_curve_sees_the_first_points() -> None:
    values = np.concatenate([[90.0, 80.0, 70.0], np.full(997, 2.0)])
    assert read(values).start.value == 80.0


def test_wandering_widens_the_error() -> None:
    rng = np.random.default_rng(3)
    wander = np.zeros(120)
    for i in range(1, 120):
        wander[i] = 0.8 * wander[i - 1] + rng.normal(0, 0.1)
    assert read(rng.normal(0, 0.1, 120) + 5).inflation < 1.4
    assert read(wander + 5).inflation > 1.5


def test_positive_means_that_ratios_can_be_taken() -> None:
    assert read([1.0, 2.0, 3.0]).positive
    assert not read([1.0, 0.0, 3.0]).positive
    assert not read([5e-324] * 6).positive
    assert not read([]).positive


@pytest.mark.parametrize("at", [0, 1, 50, 3000, 9000])
def test_last_good_step(at: int) -> None:
    values = np.random.default_rng(4).normal(size=10_000)
    values[at : at + 3] = NAN
    assert read(values).last_good_step() == (at or None)


def test_last_good_step_without_a_gap_is_the_last() -> None:
    assert read([3.0, 2.0]).last_good_step() == 2


def test_a_measurement_is_taken_once() -> None:
    calls = []

    @once
    def measure(reading: Reading, power: int = 1) -> float:
        calls.append(power)
        return float(reading.y.sum()) ** power

    reading = read([1.0, 2.0])
    assert [measure(reading), measure(reading), measure(reading, 2)] == [3.0, 3.0, 9.0]
    assert calls == [1, 2]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(0, 6))
def test_running_mean_is_a_plain_loop(values: list[float], half: int) -> None:
    y = np.array(values)
    if len(y) < 2 * half + 1:
        assert running_mean(y, half) is y
        return
    naive = [float(np.mean(y[max(0, i - half) : i + half + 1])) for i in range(len(y))]
    np.testing.assert_allclose(running_mean(y, half), naive, rtol=1e-12, atol=1e-9)


def test_one_huge_value_does_not_spoil_the_mean_elsewhere() -> None:
    y = np.array([1e300, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert running_mean(y, 1)[-1] == 1.0


def test_bin_noise_of_nothing_of_a_line_and_beyond_the_numbers() -> None:
    assert bin_noise(np.array([1.0, 5.0, 2.0])) == 0.0
    assert bin_noise(np.arange(20.0) * 3) == 0.0
    assert bin_noise(np.array([1e308, -1e308] * 5)) == INF
    assert bin_noise(np.random.default_rng(5).normal(0, 2, 2000)) == pytest.approx(2, rel=0.1)
