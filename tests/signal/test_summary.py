"""The summary: the same bits however points arrive, bounded, exact under a change of unit."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.summary import KEEP, SummaryBuilder, summarize


def shaped(seed, n):
    """A curve of some kind: smooth with noise, few digits, heavy tails, level shifts; with gaps and outliers."""
    rng = np.random.default_rng(seed)
    kind = seed % 5
    values = 2 + 3 * np.exp(-np.arange(n) / max(n / 5, 1)) + 0.1 * rng.normal(size=n)
    if kind == 1:
        values = values.round(1)
    elif kind == 2:
        values = rng.standard_t(1.2, size=n)
    elif kind == 3:
        values[n // 2 :] -= 1.0
    elif kind == 4:
        values = np.full(n, 0.6931)
    if n and seed % 3:
        values[rng.integers(0, n, 4)] += 3.0
        values[rng.random(n) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
    return np.cumsum(rng.integers(1, 4, size=n)), values


def in_pieces(steps, values, sizes, by_point, look):
    builder, at, k = SummaryBuilder(), 0, 0
    while at < len(values):
        size = min(sizes[k % len(sizes)], len(values) - at)
        if by_point[k % len(by_point)] and size <= 4200:
            for i in range(at, at + size):
                builder.append(int(steps[i]), float(values[i]))
        else:
            builder.extend(steps[at : at + size], values[at : at + size])
        if look[k % len(look)]:
            builder.summary()
        at, k = at + size, k + 1
    return builder.summary()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.one_of(st.integers(0, 400), st.integers(1900, 5000)),
    sizes=st.lists(st.sampled_from([1, 3, 31, 63, 64, 65, 128, 500, 2047, 4100]), min_size=1, max_size=6),
    by_point=st.lists(st.booleans(), min_size=1, max_size=4),
    look=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_any_mixture_of_append_and_extend_gives_the_same_bits(seed, n, sizes, by_point, look):
    if n > 400 and max(sizes) < 31:
        sizes = [*sizes, 500]
    steps, values = shaped(seed, n)
    assert in_pieces(steps, values, sizes, by_point, look).same(summarize(steps, values))


@pytest.mark.parametrize("seed", range(5))
def test_long_mixtures_give_the_same_bits(seed):
    steps, values = shaped(seed, 150_000)
    sizes = [40_000, 1, 70, 16_384, 9_000]
    assert in_pieces(steps, values, sizes, [False, True, True], [False, False, True]).same(summarize(steps, values))


def test_every_prefix_of_a_stream_equals_the_summary_of_that_prefix():
    steps, values = shaped(13, 700)  # level shift, outliers, gaps
    builder = SummaryBuilder()
    for i in range(len(values)):
        builder.append(int(steps[i]), float(values[i]))
        if i % 7 == 0 or i > 640:
            assert builder.summary().same(summarize(steps[: i + 1], values[: i + 1])), i


def test_same_sees_a_difference():
    steps, values = shaped(0, 300)
    other = values.copy()
    other[150] = np.nextafter(other[150], np.inf)
    assert not summarize(steps, values).same(summarize(steps, other))
    assert not summarize(steps, values).same(summarize(steps + 1, values))


LINEAR = ("mean", "min", "max", "median", "mad", "diff_median", "first", "last")
SQUARE = ("m2", "sqdiff")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(0, 3000), exponent=st.integers(-200, 200))
def test_a_power_of_two_scales_every_number_exactly(seed, n, exponent):
    steps, values = shaped(seed, n)
    scale = 2.0**exponent
    one, two = summarize(steps, values), summarize(steps, values * scale)
    for name in one.blocks.__dataclass_fields__:
        a, b = np.asarray(getattr(one.blocks, name)), np.asarray(getattr(two.blocks, name))
        factor = scale if name in LINEAR else scale * scale if name in SQUARE else 1
        assert np.array_equal(a * factor, b, equal_nan=a.dtype.kind == "f"), name
    assert [(e.kind, e.index, e.score) for e in one.events] == [(e.kind, e.index, e.score) for e in two.events]
    assert [e.change * scale for e in one.events if e.kind != "nonfinite"] == [
        e.change for e in two.events if e.kind != "nonfinite"
    ]
    assert two.n == 0 or two.min_value == one.min_value * scale or np.isnan(two.min_value)


def test_contents():
    values = np.array([3.0, np.nan, 1.0, np.inf, 5.0, -np.inf, 1.0, np.nan])
    s = summarize(range(10, 90, 10), values)
    assert (s.n, s.n_nan, s.n_posinf, s.n_neginf, s.n_nonfinite, s.n_finite) == (8, 2, 1, 1, 4, 4)
    assert (s.first_step, s.last_step, s.last_finite_step) == (10, 80, 70)
    assert (s.first_nonfinite_step, s.first_nonfinite_index, s.last_nonfinite_index) == (20, 1, 7)
    assert (s.min_value, s.min_step, s.min_index) == (1.0, 30, 2)
    assert (s.max_value, s.max_step, s.max_index) == (5.0, 50, 4)
    assert s.n_nonfinite_runs == 4
    assert s.complete


def test_repr_is_short():
    assert repr(summarize(range(100), [0.5] * 100)) == (
        "<CurveSummary: 100 points, steps 0 to 99, 2 blocks of 64, 0 events>"
    )


def test_nothing_and_nothing_finite():
    s = summarize([], [])
    assert (s.n, s.first_step, s.last_step, s.last_finite_step, s.min_index) == (0, 0, 0, None, -1)
    assert len(s.blocks) == 0
    assert s.events == ()
    assert len(s.raw()[0]) == 0
    s = summarize([4], [np.nan])
    assert (s.n_finite, s.first_nonfinite_step, s.last_finite_step) == (0, 4, None)
    assert np.isnan(s.min_value)


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049, 4095, 4096, 4097, 9000])
def test_head_tail_and_raw(n):
    steps, values = shaped(1, n)
    s = summarize(steps, values)
    assert np.array_equal(s.head_values, values[:KEEP], equal_nan=True)
    assert np.array_equal(s.tail_values, values[-KEEP:], equal_nan=True)
    assert np.array_equal(s.tail_steps, steps[-KEEP:])
    assert s.complete == (n <= KEEP)
    if n > 2 * KEEP:
        assert s.raw() is None
    else:
        assert np.array_equal(s.raw()[0], steps)
        assert np.array_equal(s.raw()[1], values, equal_nan=True)


def test_a_summary_does_not_change_when_the_builder_goes_on():
    steps, values = shaped(3, 3000)
    builder = SummaryBuilder()
    builder.extend(steps[:1000], values[:1000])
    early = builder.summary()
    builder.extend(steps[1000:], values[1000:])
    builder.summary()
    assert early.same(summarize(steps[:1000], values[:1000]))
    with pytest.raises(ValueError, match="read-only"):
        early.head_values[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        early.blocks.mean[0] = 1.0


def test_the_callers_arrays_stay_theirs():
    steps, values = np.arange(100), np.ones(100)
    s = summarize(steps, values)
    values[:] = 7.0
    steps[:] = 0
    assert s.head_values.max() == 1.0
    assert s.tail_steps[-1] == 99


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308, 1.7e308, -1.7e308] * 50,
        [1.7e308] * 200,
        [5e-324] * 200,
        [0.0, -0.0] * 100,
        [np.inf] * 100 + [1e308] * 100,
    ],
)
def test_extreme_numbers_neither_raise_nor_warn(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = summarize(range(len(values)), values)
    assert s.blocks.min.tolist()[-1] == min(values[192:])
    assert np.all(s.blocks.mean[s.blocks.count > 0] <= s.max_value)


def test_lengths_that_differ_are_refused():
    with pytest.raises(UsageError, match=r"\(2,\), \(3,\)"):
        summarize([1, 2], [1.0, 2.0, 3.0])


def test_size_and_time_do_not_grow_with_the_length():
    rng = np.random.default_rng(0)
    values = rng.normal(size=500_000)
    steps = np.arange(500_000)
    builder = SummaryBuilder()
    start = time.perf_counter()
    builder.extend(steps, values)
    one = time.perf_counter() - start
    assert one < 1.0  # 0.04 s on an idle core
    for k in range(1, 5):
        builder.extend(steps + k * len(steps), values)
    builder.append(10**9, 1.0)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        s = builder.summary()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01  # 0.6 ms on an idle core
    assert len(s.blocks) <= 1024
    assert len(s.events) <= 256
    assert s.n == 2_500_001
