"""Data frames in and out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.errors import UsageError
from lossdoctor.core.frames import from_frame, to_frame
from lossdoctor.core.history import TrainingHistory

NAN = float("nan")
RAGGED = TrainingHistory({"loss": ([1, 2, 3, 4], [4.0, 3.0, NAN, 1.0]), "val_loss": ([2, 4], [3.5, math.inf])})


def test_a_wide_frame_has_a_row_per_step_and_nulls_where_nothing_was_logged() -> None:
    frame = RAGGED.to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame["step"].to_list() == [1, 2, 3, 4]
    assert frame["val_loss"].to_list() == [None, 3.5, None, math.inf]
    assert math.isnan(frame["loss"][2])
    assert frame["loss"].null_count() == 0


def test_pandas_gets_nan_for_both() -> None:
    frame = RAGGED.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame["step"].tolist() == [1, 2, 3, 4]
    assert frame["val_loss"].isna().tolist() == [True, False, True, False]
    assert frame.dtypes.astype(str).tolist() == ["int64", "float64", "float64"]


def test_points_on_one_step_take_several_rows_and_none_is_lost() -> None:
    history = TrainingHistory({"loss": ([1, 1, 2, 1], [1.0, 2.0, 3.0, 4.0]), "lr": ([1, 2], [0.1, 0.2])})
    frame = history.to_polars()
    assert frame["step"].to_list() == [1, 1, 1, 2]
    assert frame["loss"].to_list() == [1.0, 2.0, 4.0, 3.0]
    assert frame["lr"].to_list() == [0.1, None, None, 0.2]


def test_a_metric_called_step_does_not_hide_the_axis() -> None:
    frame = TrainingHistory({"step": ([10], [1.0]), "loss": ([10], [2.0])}).to_polars()
    assert frame.columns == ["step", "step_1", "loss"]


def test_an_empty_history_gives_an_empty_frame() -> None:
    assert TrainingHistory().to_polars().shape == (0, 1)
    assert TrainingHistory().to_pandas().shape == (0, 1)


def test_a_missing_library_is_told() -> None:
    with pytest.raises(UsageError, match="no_such_frames is not installed: run pip install no_such_frames"):
        to_frame(RAGGED, "no_such_frames")


def test_polars_round_trips_bit_for_bit() -> None:
    again = TrainingHistory.from_dataframe(RAGGED.to_polars())
    assert {n: c.steps.tolist() for n, c in again.curves.items()} == {"loss": [1, 2, 3, 4], "val_loss": [2, 4]}
    for name, curve in RAGGED.curves.items():
        assert again[name].same_points(curve)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, pl.LazyFrame])
def test_any_frame_is_taken(make: object) -> None:
    frame = make({"step": [10, 20, 30], "loss": [3.0, 2.0, 1.0], "who": ["a", "b", "c"], "on": [True, False, True]})  # type: ignore[operator]
    history = from_frame(frame, name="x")
    assert list(history.curves) == ["loss"]
    assert history["loss"].steps.tolist() == [10, 20, 30]
    assert (history.name, history.format, history.step_unit) == ("x", "dataframe", "step")


@pytest.mark.parametrize(
    ("columns", "steps", "unit"),
    [
        (["global_step", "loss"], [5, 6], "step"),
        (["epoch", "loss"], [5, 6], "epoch"),
        (["loss"], [1, 2], "row"),
        (["epoch", "step", "loss"], [50, 60], "step"),
    ],
)
def test_the_step_column_is_found(columns: list[str], steps: list[int], unit: str) -> None:
    data = {c: [0.5, 0.4] if c == "loss" else [5, 6] for c in columns}
    if "step" in columns and "epoch" in columns:
        data["step"] = [50, 60]
    history = from_frame(pl.DataFrame(data))
    assert (history["loss"].steps.tolist(), history.step_unit) == (steps, unit)


def test_a_step_column_can_be_named_and_may_have_holes() -> None:
    frame = pl.DataFrame({"t": [1.0, None, 3.0], "loss": [3, 2, 1]})
    assert from_frame(frame, "t")["loss"].steps.tolist() == [1, 3]
    assert from_frame(frame, "t")["loss"].values.tolist() == [3.0, 1.0]


def test_nullable_and_narrow_numbers_are_taken() -> None:
    frame = pd.DataFrame({"step": pd.array([1, 2, 3], dtype="Int64"), "loss": pd.array([3, None, 1], dtype="Int32")})
    frame["acc"] = np.array([0.5, 0.25, 0.125], dtype=np.float16)
    history = from_frame(frame)
    assert (history["loss"].steps.tolist(), history["loss"].values.tolist()) == ([1, 3], [3.0, 1.0])
    assert history["acc"].values.tolist() == [0.5, 0.25, 0.125]


def test_a_nan_loss_in_pandas_is_kept_where_the_row_measured_nothing_else() -> None:
    sick = pd.DataFrame({"step": range(5), "loss": [2.0, 1.0, NAN, NAN, NAN], "lr": [0.1] * 5})
    assert len(from_frame(sick)["loss"]) == 5
    assert len(from_frame(sick, nan="drop")["loss"]) == 2
    sparse = pd.DataFrame({"step": range(4), "loss": [2.0, NAN, 1.0, NAN], "val_loss": [NAN, 2.1, NAN, 1.1]})
    assert [len(c) for c in from_frame(sparse).curves.values()] == [2, 2]
    assert [len(c) for c in from_frame(sparse, nan="keep").curves.values()] == [4, 4]


@pytest.mark.parametrize(
    ("frame", "step", "message"),
    [
        ([1, 2], None, r"list is no data frame that Narwhals knows"),
        (pl.DataFrame({"loss": [1.0]}), "t", r"no column 't' for the steps; it has loss"),
        (pl.DataFrame({"t": ["a"], "loss": [1.0]}), "t", r"step column 't' must hold numbers"),
        (
            pl.DataFrame({"epoch": [0.5, 1.0], "loss": [1.0, 2.0]}),
            None,
            r"'epoch' holds fractions, and steps are whole",
        ),
        (pl.DataFrame({"who": ["a"]}), None, r"no numeric column besides its steps; its columns are who \(String\)"),
    ],
)
def test_what_cannot_be_taken_is_told(frame: object, step: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_frame(frame, step)


def test_a_wrong_nan_option_is_told() -> None:
    with pytest.raises(UsageError, match="nan must be auto, keep or drop, got 'x'"):
        from_frame(pl.DataFrame({"loss": [1.0]}), nan="x")


@given(
    st.dictionaries(
        st.text("abcxyz/_ ", min_size=1, max_size=5),
        st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats(allow_nan=True)), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_every_point_is_in_the_frame_once(data: dict[str, list[tuple[int, float]]]) -> None:
    history = TrainingHistory({n: ([s for s, _ in rows], [v for _, v in rows]) for n, rows in data.items()})
    again = from_frame(to_frame(history, "polars"), "step")
    assert set(again.curves) == set(history.curves)
    for name, curve in history.curves.items():
        order = np.argsort(curve.steps, kind="stable")
        assert again[name].same_points(curve.take(order))
