"""Verdicts come often early on and rarely later, within their share of the time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.live.judging.pace import GROWTH, LEAST_ROWS, LONGEST, Pace


def looks(pace: Pace, rows: int, seconds_a_row: float, costs: list[float]) -> list[int]:
    """The rows after which a run is judged whose verdicts cost this much in turn."""
    found = []
    for row in range(1, rows + 1):
        if pace.due(row * seconds_a_row, row):
            pace.judged(row, costs[len(found) % len(costs)])
            found.append(row)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0005, 0.05), min_size=1, max_size=20), st.floats(0.001, 2.0), st.floats(1e-4, 1e-2))
def test_the_share_is_kept(costs: list[float], seconds_a_row: float, share: float) -> None:
    pace = Pace(share)
    found = looks(pace, 3000, seconds_a_row, costs)
    # what is spent may exceed the share by what one verdict took longer than was foreseen
    assert pace.spent <= share * 3000 * seconds_a_row + max(costs)
    assert pace.looks == len(found)


def test_looks_lie_apart_by_a_share_of_the_rows() -> None:
    found = looks(Pace(), 1_000_000, 0.01, [0.004])
    apart = np.diff(found)
    late = found[-1] * 0.01 > LONGEST / GROWTH  # from here on half a minute is less than the share of the rows
    assert (apart >= LEAST_ROWS).all()
    assert late
    assert max(np.diff(np.array(found) * 0.01)) <= LONGEST + 0.01
    assert len(found) <= math.log(10_000 * 100) / math.log1p(GROWTH) + 10_000 / LONGEST


def test_a_slow_run_is_looked_at_every_few_rows() -> None:
    found = looks(Pace(), 200, 60.0, [0.004])
    assert found == list(range(8, 201, 8))


def test_what_must_not_wait_does_not() -> None:
    pace = Pace()
    pace.judged(0, 50.0)
    assert not pace.due(1.0, 1000)
    pace.hurry()
    assert pace.due(1.0, 1001)
    pace.judged(1001, 0.004)
    assert not pace.due(2.0, 2000)


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_the_first_look_waits_until_it_can_be_paid(share: float) -> None:
    pace = Pace(share)
    assert not pace.due(0.0, 100)
    assert not pace.due(0.0049 / share, 100)
    assert pace.due(0.0051 / share, 100)
