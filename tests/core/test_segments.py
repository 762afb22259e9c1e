"""Restarts and resumes on the step axis."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.segments import breaks, curve_pieces, run_starts, segments_of


def at(*steps: int) -> np.ndarray:
    return np.array(steps, dtype=np.int64)


def curve(steps: object) -> Curve:
    steps = np.asarray(steps)
    return Curve.make(steps, np.arange(len(steps), dtype=float))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(100), []),
        ([*range(100), *range(50, 150)], [100]),
        ([*range(100), *range(50, 150), *range(120, 200)], [100, 200]),
        ([*range(0, 1000, 10), *range(500, 1500, 10)], [100]),
        ([1, 1, 1, 1], []),
        ([5], []),
        ([], []),
        ([*range(20), 18, *range(20, 40)], []),  # one row late
        ([*range(20), 21, 20, *range(22, 40)], []),  # two rows swapped
        ([*range(100), 0], []),  # a summary row at step 0
        ([*range(100), 0, 1], [100]),
    ],
)
def test_breaks(steps: list[int], expected: list[int]) -> None:
    assert breaks(np.asarray(steps, dtype=np.int64)).tolist() == expected


def test_unordered_rows_are_no_restarts() -> None:
    shuffled = np.random.default_rng(0).permutation(1000)
    assert breaks(shuffled).tolist() == []


def test_overlapped_steps_are_superseded_and_counted() -> None:
    c = curve([*range(100), *range(50, 150)])
    (first, lost), (second, none) = curve_pieces(c)
    assert (first.steps[-1], lost, none) == (49, 50, 0)
    assert second.steps.tolist() == list(range(50, 150))
    assert [s.as_dict() for s in segments_of({"loss": c}, "loss")] == [
        {"first_step": 0, "last_step": 49, "superseded": 50},
        {"first_step": 50, "last_step": 149},
    ]


def test_a_later_resume_from_further_back_supersedes_all_between() -> None:
    pieces = curve_pieces(curve([*range(100), *range(50, 120), *range(20, 140)]))
    assert [(int(p.steps[0]), int(p.steps[-1]), lost) for p, lost in pieces] == [(0, 19, 80), (20, 139, 0)]


def test_segments_are_read_off_the_reference_or_the_longest_curve() -> None:
    curves = {"val": curve([10, 20]), "loss": curve(range(100))}
    assert segments_of(curves, "val")[0].last_step == 20
    assert segments_of(curves, None)[0].last_step == 99
    assert segments_of(curves, "gone")[0].last_step == 99
    assert segments_of({}, None) == []
    assert segments_of({"loss": curve([])}, "loss") == []


def test_runs_start_where_the_steps_return_to_the_start() -> None:
    assert run_starts(curve([*range(50), *range(50), *range(50)])) == [0, 50, 100]
    assert run_starts(curve([*range(0, 500, 10), *range(10, 500, 10)])) == [
        0,
        50,
    ]  # the second logs from its second row
    assert run_starts(curve([*range(50), *range(30, 80)])) == [0]
    assert run_starts(curve([*range(5), *range(4), *range(10)])) == [0, 5, 9]  # a few epochs, tried three times
    assert run_starts(curve([0, 1, *range(50)])) == [0]  # a false start of two rows
    assert run_starts(curve([*range(50), 0, 1])) == [0]  # too little to be a run yet
    assert run_starts(curve([])) == [0]


def test_a_log_that_begins_with_a_resume_goes_back_to_its_checkpoint_not_to_a_new_run() -> None:
    assert run_starts(curve([*range(5000, 5100), *range(5000, 5200)])) == [0]


def test_a_log_of_many_restarts_takes_no_square_of_them() -> None:
    saw = curve(np.tile(np.arange(10), 20_000))
    begin = time.perf_counter()
    curve_pieces(saw)
    run_starts(saw)
    assert time.perf_counter() - begin < 10


@given(st.lists(st.integers(0, 40), max_size=80))
def test_whatever_the_steps_pieces_lose_nothing_but_what_they_say(steps: list[int]) -> None:
    c = curve(steps)
    pieces = curve_pieces(c)
    kept = sum(len(p) for p, _ in pieces)
    assert kept + sum(lost for _, lost in pieces) <= len(c)
    assert all(len(p) for p, _ in pieces) or not len(c)
    starts = run_starts(c)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
