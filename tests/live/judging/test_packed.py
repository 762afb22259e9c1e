"""Packed points come out as they went in, in any slice, in little memory, while others add to them."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.live.judging.packed import CHUNK, Packed, Prefix


def filled(steps: np.ndarray, values: np.ndarray) -> Packed:
    packed = Packed()
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        packed.append(step, value)
    return packed


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2 * CHUNK + 100),
    st.sampled_from(["even", "uneven", "back", "huge"]),
    st.sampled_from(["single", "double", "broken"]),
    st.data(),
)
def test_any_slice_is_what_was_added(n: int, axis: str, kind: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(n)
    steps = {
        "even": 5 + 3 * np.arange(n),
        "uneven": np.cumsum(rng.integers(0, 4, n)),
        "back": rng.integers(-9, 9, n),
        "huge": rng.choice([-(2**63), 2**63 - 1, 0], n),
    }[axis].astype(np.int64)
    values = rng.normal(size=n)
    if kind == "single":
        values = values.astype(np.float32).astype(np.float64)
    if kind == "broken":
        values = rng.choice([math.nan, math.inf, -math.inf, -0.0, 1e300, 1.0], n)
    packed = filled(steps, values)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    got_steps, got_values = packed.since(start, stop)
    assert got_steps.dtype == np.int64
    assert np.array_equal(got_steps, steps[start:stop])
    assert np.array_equal(got_values, values[start:stop], equal_nan=True)
    assert np.array_equal(np.signbit(got_values), np.signbit(values[start:stop]))
    if n:
        assert packed.highest == steps.max()


def test_memory_per_point() -> None:
    n = 100 * CHUNK
    even, noise = np.arange(n), np.random.default_rng(0).normal(size=n)
    assert filled(even, noise.astype(np.float32).astype(np.float64)).nbytes == 4 * n
    assert filled(even, noise).nbytes == 8 * n
    assert filled(np.sort(np.random.default_rng(0).integers(0, 10 * n, n)), noise).nbytes == 16 * n


def test_half_a_point_is_none() -> None:
    packed = Packed()
    packed.append(1, 0.5)
    with pytest.raises(OverflowError):
        packed.append(2**63, 0.5)
    with pytest.raises(TypeError):
        packed.append(2, "0.5")  # type: ignore[arg-type]
    assert [a.tolist() for a in packed.since(0)] == [[1], [0.5]]


def test_a_prefix_stays_as_it_was() -> None:
    packed = filled(np.arange(100), np.arange(100.0))
    prefix = Prefix(packed)
    for step in range(100, 2 * CHUNK):
        packed.append(step, -1.0)
    assert (len(prefix), prefix.highest, prefix.freeze().values[-1]) == (100, 99, 99.0)
    assert prefix.freeze() is prefix.freeze()


def test_another_thread_sees_whole_prefixes() -> None:
    packed, wrong, done = Packed(), [], threading.Event()

    def look() -> None:
        while not done.is_set():
            n = len(packed)
            steps, values = packed.since(max(0, n - 6000), n)
            if not np.array_equal(steps, np.arange(max(0, n - 6000), n)) or not np.array_equal(values, steps / 2):
                wrong.append(n)

    thread = threading.Thread(target=look)
    thread.start()
    for step in range(30 * CHUNK):
        packed.append(step, step / 2)
    done.set()
    thread.join()
    assert not wrong
