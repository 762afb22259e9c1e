"""A curve: steps, values and times of one length, nothing dropped."""

from __future__ import annotations

import numpy as np
import pytest

from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError


def test_anything_array_like_makes_a_curve_of_fixed_types() -> None:
    for steps, values in [
        ([1, 2], [0.5, 0.25]),
        (range(1, 3), iter([0.5, 0.25])),
        (np.array([1.0, 2.0]), ("0.5", "0.25")),
    ]:
        curve = Curve.make(steps, values)  # type: ignore[arg-type]
        assert (curve.steps.dtype, curve.values.dtype) == (np.int64, np.float64)
        assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 2], [0.5, 0.25])


def test_nan_and_inf_are_kept() -> None:
    curve = Curve.make([1, 2, 3], [float("nan"), float("inf"), -float("inf")])
    assert np.isnan(curve.values[0])
    assert curve.values[1:].tolist() == [float("inf"), -float("inf")]


@pytest.mark.parametrize(
    ("steps", "values", "times", "message"),
    [
        ([1, 2], [1.0], None, r"one length, got steps \(2,\), values \(1,\)"),
        ([1], [1.0], [1.0, 2.0], r"times \(2,\)"),
        ([[1]], [[1.0]], None, r"one-dimensional"),
        ([0.5], [1.0], None, r"whole numbers of 64 bits, got 0.5"),
        ([float("nan")], [1.0], None, r"whole numbers of 64 bits, got nan"),
        ([1e30], [1.0], None, r"whole numbers of 64 bits"),
        (["a"], [1.0], None, r"steps must be whole numbers"),
        ([1], ["x"], None, r"values and times must be numbers"),
    ],
)
def test_what_is_no_curve_is_refused(steps: list, values: list, times: list | None, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        Curve.make(steps, values, times)


def test_taking_and_joining_keep_steps_values_and_times_together() -> None:
    a = Curve.make([1, 2, 3], [0.1, 0.2, 0.3], [10, 20, 30])
    assert a.take(np.array([True, False, True])).times.tolist() == [10, 30]  # type: ignore[union-attr]
    assert a.take(slice(1, None)).steps.tolist() == [2, 3]
    both = a.joined(Curve.make([4], [0.4], [40]))
    assert (both.steps.tolist(), both.times.tolist()) == ([1, 2, 3, 4], [10, 20, 30, 40])  # type: ignore[union-attr]
    assert a.joined(Curve.make([4], [0.4])).times is None


def test_the_same_points_are_the_same_nan_included() -> None:
    nan = float("nan")
    assert Curve.make([1, 2], [1.0, nan]).same_points(Curve.make([1, 2], [1.0, nan]))
    assert not Curve.make([1, 2], [1.0, nan]).same_points(Curve.make([1, 2], [1.0, 2.0]))
    assert not Curve.make([1, 2], [1.0, nan]).same_points(Curve.make([1, 3], [1.0, nan]))


def test_an_empty_curve_is_falsy_and_harmless() -> None:
    empty = Curve.make([], [])
    assert len(empty) == 0
    assert not empty
    assert empty.take(slice(None)).same_points(empty)
