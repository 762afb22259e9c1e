"""What counts of a curve whose steps go back, repeat or are mixed up."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lossdoctor.core.curve import Curve
from lossdoctor.engine.surviving import surviving


def kept(steps: list[int], values: list[float] | None = None) -> list[tuple[int, float]]:
    curve = surviving(Curve.make(steps, values or [float(i) for i in range(len(steps))]))
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


@pytest.mark.parametrize(
    ("steps", "places"),
    [
        ([], []),
        ([1, 2, 3], [0, 1, 2]),
        ([1, 2, 3, 4, 3, 4, 5], [0, 1, 4, 5, 6]),  # a resume
        ([1, 2, 3, 4, 5, 6, 3, 4, 5, 2, 3, 4], [0, 9, 10, 11]),  # a later one from further back
        ([5, 6, 7, 8, 1, 2, 3], [4, 5, 6]),  # all of the first attempt was logged again
        ([5, 6, 7, 8, 1, 2, 3, 9, 2, 3], [4, 8, 9]),
        ([1, 3, 2, 4, 6, 5, 7], [0, 2, 1, 3, 5, 4, 6]),  # mixed up
        ([1, 2, 3, 4, 0], [0, 1, 2, 3, 4]),  # a summary at the end
    ],
)
def test_which_points_are_left(steps: list[int], places: list[int]) -> None:
    assert kept(steps) == [(steps[i], float(i)) for i in places]


def test_copies_are_left_out_and_flat_lines_are_not() -> None:
    assert kept([1, 1, 2, 2, 3, 3], [5.0, 5.0, 4.0, 4.0, 3.0, 3.0]) == [(1, 5.0), (2, 4.0), (3, 3.0)]
    assert len(kept([1] * 20 + [2] * 20, [5.0] * 40)) == 40
    assert kept([1, 1, 2], [float("inf"), float("inf"), 1.0]) == [(1, float("inf")), (2, 1.0)]


def test_many_restarts_take_no_square_of_them() -> None:
    steps = np.concatenate([np.arange(4 * k, 4 * k + 12) for k in range(20_000)])
    began = time.process_time()
    curve = surviving(Curve.make(steps, np.arange(len(steps), dtype=float)))
    assert time.process_time() - began < 6.0
    assert (np.diff(curve.steps) == 1).all()
