"""What we write: TensorBoard reads it, and we read back the very same float64."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.wire import EventDecoder, file_header, scalars_record, session_start

tag = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=200)


@settings(deadline=None)
@given(st.dictionaries(tag, st.floats(), min_size=1, max_size=6), st.integers(-(2**63), 2**63 - 1), st.floats(0, 4e9))
def test_round_trip_is_bit_exact(row: dict[str, float], step: int, wall_time: float) -> None:
    decoder = EventDecoder()
    decoder.feed(scalars_record(row, step, wall_time))
    log = decoder.finish()
    assert log.damage == []
    assert list(log.series) == list(row)
    for name, value in row.items():
        steps, values, times = log.series[name].joined()
        assert (steps.tolist(), times.tolist()) == ([step], [wall_time])
        assert math.isnan(value) == math.isnan(values[0])
        assert math.isnan(value) or struct.pack("<d", values[0]) == struct.pack("<d", value)


def test_float32_values_are_simple_others_double_tensors() -> None:
    from tensorboard.compat.proto.event_pb2 import Event

    row = {"a": 0.5, "b": 0.1, "c": 1e300, "d": math.nan, "e": -math.inf, "f": 3, "g": 3.4028235e38, "h": 16777217}
    event = Event.FromString(scalars_record(row, 7, 2.0)[12:-4])
    assert (event.step, event.wall_time) == (7, 2.0)
    kinds = {v.tag: v.WhichOneof("value") for v in event.summary.value}
    assert kinds == {
        **{"a": "simple_value", "b": "tensor", "c": "tensor", "d": "simple_value", "e": "simple_value"},
        **{"f": "simple_value", "g": "tensor", "h": "tensor"},
    }
    scalars = [v for v in event.summary.value if v.HasField("tensor")]
    assert all(v.metadata.plugin_data.plugin_name == "scalars" and v.metadata.data_class == 1 for v in scalars)


def test_tensorboard_opens_our_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    path = tmp_path / "events.out.tfevents.1.host"
    rows = [{"loss": 2.0**-i, "precise": 0.1 + i} for i in range(50)]
    records = [scalars_record(row, i, 100.0 + i) for i, row in enumerate(rows)]
    path.write_bytes(file_header(99.0) + session_start(0, 99.5) + b"".join(records))
    theirs = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    theirs.Reload()
    assert [(e.step, e.value, e.wall_time) for e in theirs.Scalars("loss")] == [
        (i, row["loss"], 100.0 + i) for i, row in enumerate(rows)
    ]
    assert [make_ndarray(e.tensor_proto).item() for e in theirs.Tensors("precise")] == [r["precise"] for r in rows]


def test_long_tags_and_rows() -> None:
    row = {"x" * n: float(n) for n in (1, 100, 115, 127, 128, 300, 20_000)}
    decoder = EventDecoder()
    decoder.feed(scalars_record(row, 1, 1.0))
    assert {k: float(s.joined()[1][0]) for k, s in decoder.finish().series.items()} == row


@pytest.mark.parametrize("value", ["a", None])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        scalars_record({"loss": value}, 1, 1.0)  # type: ignore[dict-item]
