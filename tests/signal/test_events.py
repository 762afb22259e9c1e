"""Events against plain loops over the definition, and on curves where the truth is known."""

import math
import statistics

import numpy as np
import pytest

from lossdoctor.signal.blocks import BLOCK, DIFF_TO_SIGMA
from lossdoctor.signal.events import CONTEXT, MAX_JUMPS, MAX_NONFINITE, MAX_SPIKES
from lossdoctor.signal.spikes import WINDOW
from lossdoctor.signal.summary import SummaryBuilder, summarize


def noisy(n, seed=0, sigma=0.1):
    return 2 + sigma * np.random.default_rng(seed).normal(size=n)


def kinds(s, kind):
    return [e for e in s.events if e.kind == kind]


def naive_noise(values):
    """Noise per block by definition: the larger of its own and the last known one, at least the smallest step seen."""
    out, known, quantum = [], math.nan, math.inf
    for low in range(0, len(values), BLOCK):
        steps = []
        for i in range(max(low, 1), min(low + BLOCK, len(values))):
            d = abs(values[i] - values[i - 1])
            if math.isfinite(d):
                steps.append(d)
        own = statistics.median(steps) * DIFF_TO_SIGMA if len(steps) >= 8 else math.nan
        out.append(max((x for x in (own, known) if not math.isnan(x)), default=math.nan))
        out[-1] = max(out[-1], quantum) if math.isfinite(quantum) else out[-1]
        known = known if math.isnan(own) else own
        quantum = min([quantum, *(d for d in steps if d > 0)])
    return out


def naive_spikes(values):
    """(onset, peak, score) of every spike, point by point."""
    noise = naive_noise(values)
    found, onset = [], -WINDOW - 1
    for i, value in enumerate(values):
        window = [v for v in values[max(i - WINDOW, 0) : i] if math.isfinite(v)]
        if not math.isfinite(value) or len(window) < 8:
            continue
        base, unit = statistics.median(window), noise[i // BLOCK]
        if not value - max(window) > 2 * unit:
            continue
        unit = unit if unit > 0 else abs(base) / 1024
        if not value - base > 6 * unit:
            continue
        score = (value - base) / unit
        if i > onset + WINDOW:
            onset = i
            found.append([i, i, score])
        else:
            last = found[-1]
            last[1] = i if value > values[last[1]] else last[1]
            last[2] = max(last[2], score)
    return [tuple(f) for f in found]


@pytest.mark.parametrize("seed", range(8))
def test_spikes_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(50, 1500))
    values = rng.standard_t(2, size=n) if seed % 2 else noisy(n, seed).round(seed % 4 + 1)
    values[rng.integers(0, n, 5)] += 4
    values[rng.integers(0, n, 9)] = np.nan
    s = summarize(range(n), values)
    want = naive_spikes(values.tolist())
    got = [(e.onset_index, e.index, e.score) for e in kinds(s, "spike")]
    assert s.n_spikes == len(want)
    assert len(want) > 0
    assert [g[:2] for g in got] == [w[:2] for w in want]
    assert [g[2] for g in got] == pytest.approx([w[2] for w in want], rel=1e-12)


def test_noise_alone_has_few_events():
    s = summarize(range(100_000), noisy(100_000))
    assert s.n_spikes == 0
    assert s.n_jumps <= 5


@pytest.mark.parametrize(
    "values",
    [
        10 * np.exp(-np.arange(2000) / 100.0) + 1,
        np.linspace(0, 5, 2000),
        np.linspace(5, 0, 2000),
        np.exp(np.arange(2000) / 100.0),
        np.sin(np.arange(2000) / 40.0),
        np.full(2000, 0.7),
    ],
)
def test_smooth_curves_have_no_events(values):
    assert summarize(range(len(values)), values).events == ()


def test_a_spike_with_its_context():
    values = noisy(1000)
    values[500:504] = [4.0, 6.0, 5.0, 3.0]
    steps = np.arange(1000) * 10
    (spike,) = kinds(summarize(steps, values), "spike")
    assert (spike.step, spike.index, spike.value) == (5010, 501, 6.0)
    assert (spike.onset_step, spike.onset_index) == (5000, 500)
    assert spike.baseline == pytest.approx(2, abs=0.1)
    assert spike.change == spike.value - np.median(values[468:500])
    assert spike.score == pytest.approx(40, rel=0.3)
    assert spike.offset == CONTEXT
    assert np.array_equal(spike.context_values, values[501 - 32 : 501 + 33])
    assert np.array_equal(spike.context_steps, steps[501 - 32 : 501 + 33])


def test_context_is_cut_off_at_the_ends():
    values = noisy(100)
    values[20] = values[97] = 9.0
    first, last = kinds(summarize(range(100), values), "spike")
    assert (first.offset, len(first.context_values)) == (20, 53)
    assert (last.offset, len(last.context_values)) == (32, 35)


def test_two_spikes_near_one_another_are_told_apart_beyond_the_window():
    values = noisy(500)
    values[200] = values[200 + WINDOW + 1] = 8.0
    assert [e.index for e in kinds(summarize(range(500), values), "spike")] == [200, 233]


def test_a_log_with_few_digits_does_not_spike_by_its_last_digit():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.01, 2.32, 2.31)
    assert summarize(range(5000), values).n_spikes == 0
    values[3000] = 2.80
    (spike,) = kinds(summarize(range(5000), values), "spike")
    assert spike.index == 3000


@pytest.mark.parametrize(("at", "by"), [(500, -1.0), (503, 0.6), (512, -0.4), (3001, 1.0)])
def test_a_level_shift_is_placed(at, by):
    values = noisy(4000)
    values[at:] += by
    s = summarize(range(4000), values)
    (jump,) = kinds(s, "jump")
    assert jump.index == pytest.approx(at, abs=2)
    assert jump.change == pytest.approx(by, abs=0.1)
    assert jump.score == pytest.approx(abs(by) / 0.1, rel=0.35)


def test_a_spike_is_no_jump_and_a_drift_is_no_jump():
    values = noisy(3000)
    values[1000] += 5
    values[2000:] += np.minimum(np.arange(1000) / 400, 1.5)
    assert summarize(range(3000), values).n_jumps == 0


def test_a_rise_that_mostly_recovers_is_no_jump():
    values = noisy(3000)
    values[1000:1012] += 1
    values[1012:] += 0.35
    assert summarize(range(3000), values).n_jumps == 0


def test_a_jump_is_told_once_enough_points_follow():
    values = noisy(1000)
    values[504:] -= 1
    told = [n for n in range(504, 640) if summarize(range(n), values[:n]).n_jumps]
    assert 520 < told[0] < 565
    assert told == list(range(told[0], 640))  # and it is never taken back


def test_nonfinite_stretches():
    values = noisy(300)
    values[0] = values[100:103] = values[299] = np.nan
    values[200] = np.inf
    s = summarize(range(300), values)
    found = kinds(s, "nonfinite")
    assert [e.index for e in found] == [0, 100, 200, 299]
    assert math.isnan(found[0].baseline)
    assert found[1].baseline == pytest.approx(2, abs=0.1)
    assert found[2].value == np.inf
    assert s.n_nonfinite_runs == 4


def test_a_run_that_turns_nan_for_good_is_one_stretch():
    values = noisy(5000)
    values[1234:] = np.nan
    s = summarize(range(5000), values)
    assert [(e.kind, e.index) for e in s.events] == [("nonfinite", 1234)]
    assert s.n_nan == 5000 - 1234


def test_lists_are_bounded_and_keep_the_largest_and_the_first_and_last():
    n = 60_000
    values = noisy(n)
    heights = {i: 3.0 + (i * 7919 % 1000) / 100 for i in range(100, n, 100)}
    for i, h in heights.items():
        values[i] += h
    values[50::1000] = np.nan
    s = summarize(range(n), values)
    spikes, broken = kinds(s, "spike"), kinds(s, "nonfinite")
    assert s.n_spikes == len(heights)
    assert len(spikes) == MAX_SPIKES
    every = naive_spikes(values[:6400].tolist())
    assert [e.index for e in kinds(summarize(range(6400), values[:6400]), "spike")] == [p for _, p, _ in every]
    lowest = min(e.score for e in spikes)
    assert sum(h > 9.5 for h in heights.values()) < MAX_SPIKES
    assert lowest > 60
    assert s.n_nonfinite_runs == 60
    assert [e.index for e in broken] == [50 + 1000 * k for k in (*range(MAX_NONFINITE), *range(60 - MAX_NONFINITE, 60))]
    assert [e.index for e in s.events] == sorted(e.index for e in s.events)


def test_jumps_are_bounded():
    n = 40_000
    values = noisy(n) + np.repeat(np.arange(n // 500) % 2, 500)
    s = summarize(range(n), values)
    assert len(kinds(s, "jump")) == MAX_JUMPS
    assert s.n_jumps == n // 500 - 1


def test_equal_spikes_are_kept_in_the_order_of_arrival():
    values = np.tile([1.0, 1.25], 128 * 300)
    values[127::128] = 9.0
    s = summarize(range(len(values)), values)
    assert s.n_spikes == len(values) // 128
    assert [e.index for e in s.events] == [127 + 128 * k for k in range(MAX_SPIKES)]


def test_a_curve_that_never_moved_has_a_noise_of_a_thousandth_of_its_level():
    values = np.full(300, 0.5)
    values[200] = 0.5 * (1 + 7 / 1024)
    (spike,) = summarize(range(300), values).events
    assert (spike.index, spike.score) == (200, 7)
    values[200] = 0.5 * (1 + 5 / 1024)
    assert summarize(range(300), values).events == ()


@pytest.mark.parametrize("seed", range(6))
def test_events_at_any_place_of_a_block_are_the_same_in_small_pieces(seed):
    """Pieces of one block settle each block alone: whatever a window misses at its border would show."""
    rng = np.random.default_rng(seed)
    n = 40_000
    values = noisy(n, seed)
    at = np.cumsum(rng.integers(120, 400, size=200))
    at = at[at < n]
    values += np.cumsum(np.bincount(at, rng.choice([-0.5, 0.5], size=len(at)), minlength=n))
    peaks = rng.integers(0, n - 40, size=120)
    values[peaks] += 3
    values[peaks + rng.integers(1, 34, size=120)] += 5
    values[rng.integers(0, n, size=40)] = np.nan
    whole, builder = summarize(range(n), values), SummaryBuilder()
    for low in range(0, n, BLOCK):
        builder.extend(range(low, min(low + BLOCK, n)), values[low : low + BLOCK])
    assert whole.n_jumps > 60
    assert builder.summary().same(whole)
