"""Decoding: the fast path, the general parser and TensorBoard's own classes must agree; damage is survived."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.eventgen import files

from lossdoctor.wire import decode, layouts
from lossdoctor.wire.decode import EventDecoder, EventLog
from lossdoctor.wire.encode import file_header, scalars_record, session_start
from lossdoctor.wire.framing import frame_record

Points = dict[str, list[tuple[int, float, float]]]


def decoded(data: bytes, piece: int = 1 << 30) -> EventLog:
    decoder = EventDecoder()
    for i in range(0, len(data), piece):
        decoder.feed(data[i : i + piece])
    return decoder.finish()


def points(log: EventLog) -> dict[str, list[bytes]]:
    """Bit-exact points by tag; any NaN is as good as another."""
    out = {}
    for tag, series in log.series.items():
        steps, values, times = series.joined()
        values = np.where(np.isnan(values), np.nan, values)
        rows = zip(steps.tolist(), values.tolist(), times.tolist(), strict=True)
        out[tag] = [struct.pack("<qdd", *row) for row in rows]
    return out


def slow(data: bytes, monkeypatch: pytest.MonkeyPatch, **kwargs: Any) -> EventLog:
    with monkeypatch.context() as patch:
        patch.setattr(decode, "LEAST_ROWS", 1 << 60)
        return decoded(data, **kwargs)


@settings(deadline=None, max_examples=60)
@given(files(), st.integers(1, 400))
def test_fast_path_and_general_parser_agree(data: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "LEAST_ROWS", 2)
        patch.setattr(decode, "LEAST_ROWS", 2)
        fast = decoded(data)
        in_pieces = decoded(data, piece=piece)
    with pytest.MonkeyPatch.context() as patch:
        general = slow(data, patch)
    assert points(fast) == points(general) == points(in_pieces)
    assert list(fast.series) == list(general.series) == list(in_pieces.series)
    assert fast.others == general.others == in_pieces.others
    assert fast.damage == general.damage == in_pieces.damage == []
    assert fast.records == general.records


def reference(data: bytes) -> Points:
    """Scalars by TensorBoard's own protobuf classes, one record at a time."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util import tensor_util

    out: Points = {}
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        at += length + 16
        for value in event.summary.value:
            number = None
            if value.HasField("simple_value"):
                number = value.simple_value
            elif value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("", "scalars"):
                try:
                    array = tensor_util.make_ndarray(value.tensor)
                except (TypeError, ValueError):
                    continue
                number = float(array.item()) if array.size == 1 and array.dtype.kind in "fiub" else None
            if number is not None:
                out.setdefault(value.tag, []).append((event.step, number, event.wall_time))
    return out


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["loss", "acc", "train/loss"]),
            st.sampled_from(["f4", "f8", "i8", "i4", "f2", "?", "simple"]),
            st.integers(-(2**62), 2**62),
            st.floats(-1e4, 1e4),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_agrees_with_tensorboards_classes(rows: list[tuple[str, str, int, float]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    data = b""
    for tag, kind, step, number in rows:
        value = Summary.Value(tag=tag)
        if kind == "simple":
            value.simple_value = number
        else:
            value.tensor.CopyFrom(make_tensor_proto(np.dtype(kind).type(number)))
            value.metadata.plugin_data.plugin_name = "scalars"
        event = Event(wall_time=number, step=step, summary=Summary(value=[value]))
        data += frame_record(event.SerializeToString())
    found = {t: list(zip(*(a.tolist() for a in s.joined()), strict=True)) for t, s in decoded(data).series.items()}
    assert found == reference(data)


def test_order_of_arrival_survives_mixed_layouts() -> None:
    """Repeated steps, changing step widths and changing encodings of one tag: still in the order of the file."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 1, 200, 40_000, 3], 3000)
    values = np.where(rng.random(3000) < 0.5, rng.random(3000), rng.random(3000).astype("f4"))
    data = b"".join(
        scalars_record({"loss": v}, s, float(i)) for i, (s, v) in enumerate(zip(steps, values, strict=True))
    )
    found = decoded(data).series["loss"].joined()
    assert found[0].tolist() == steps.tolist()
    assert found[1].tolist() == values.tolist()
    assert found[2].tolist() == list(range(3000))


def test_a_tag_twice_in_one_event() -> None:
    one = scalars_record({"loss": 1.0}, 5, 1.0)[12:-4]
    body = one[one.index(b"\x2a") + 2 :]
    event = one[: one.index(b"\x2a")] + b"\x2a" + bytes([2 * len(body)]) + body + body
    log = decoded(frame_record(event) * 50)
    assert len(log.series["loss"].joined()[0]) == 100


def test_many_tags_of_one_length() -> None:
    names = [f"layer{i:03d}/norm" for i in range(300)]
    data = b"".join(scalars_record({n: s + i / 512}, s, 1.0) for s in range(40) for i, n in enumerate(names))
    log = decoded(data)
    assert list(log.series) == names
    assert all(log.series[n].joined()[1].tolist() == [s + i / 512 for s in range(40)] for i, n in enumerate(names))


# damage


def numbered(n: int) -> tuple[bytes, list[int]]:
    """n records of the values 0, 1, 2, …, and where each begins."""
    records = [scalars_record({"loss": float(i)}, i, 1.0 + i) for i in range(n)]
    starts = [0]
    for r in records:
        starts.append(starts[-1] + len(r))
    return b"".join(records), starts


def values_of(log: EventLog) -> list[float]:
    return [float(v) for v in log.series["loss"].joined()[1]] if "loss" in log.series else []


@pytest.mark.parametrize("n", [5, 1000])
@pytest.mark.parametrize("offset", [12, 15, 20, 30, -1, -3])
def test_a_flipped_bit_in_the_content_loses_one_record(n: int, offset: int) -> None:
    data, starts = numbered(n)
    broken = bytearray(data)
    at = starts[3] + offset if offset > 0 else starts[4] + offset
    broken[at] ^= 0x10
    log = decoded(bytes(broken))
    assert values_of(log) == [float(i) for i in range(n) if i != 3]
    assert [(d.offset, d.reason) for d in log.damage] == [(starts[3], "checksum")]


def test_every_single_bit_of_a_file_is_checked() -> None:
    """Whatever bit flips, no wrong number comes out."""
    data, _ = numbered(6)
    good = values_of(decoded(data))
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        log = decoded(bytes(broken))
        assert log.damage, f"bit {bit} went unnoticed"
        assert set(values_of(log)) < set(good)


@pytest.mark.parametrize("offset", [0, 3, 7, 8, 11])
def test_a_broken_header_loses_one_record_and_reading_goes_on(offset: int) -> None:
    data, starts = numbered(500)
    broken = bytearray(data)
    broken[starts[100] + offset] ^= 0x40
    log = decoded(bytes(broken))
    assert values_of(log) == [float(i) for i in range(500) if i != 100]
    assert [(d.offset, d.size, d.reason) for d in log.damage] == [(starts[100], starts[101] - starts[100], "no record")]


def test_missing_and_added_bytes() -> None:
    data, starts = numbered(500)
    without = data[: starts[50] + 5] + data[starts[52] + 9 :]
    assert values_of(decoded(without)) == [float(i) for i in range(500) if i not in (50, 51, 52)]
    zeros = data[: starts[50]] + bytes(5000) + data[starts[50] :]
    assert values_of(decoded(zeros)) == [float(i) for i in range(500)]


@pytest.mark.parametrize("cut", range(1, 43))
def test_a_cut_off_tail(cut: int) -> None:
    data, starts = numbered(40)
    log = decoded(data[:-cut], piece=100)
    assert values_of(log) == [float(i) for i in range(39)]
    size = starts[40] - starts[39]
    assert size == 42
    if cut < size:
        assert [(d.offset, d.reason) for d in log.damage] == [(starts[39], "cut off")]


def test_a_growing_file_is_read_on() -> None:
    data, starts = numbered(40)
    decoder = EventDecoder()
    decoder.feed(data[: starts[20] + 7])
    assert values_of(decoder.finish()) == [float(i) for i in range(20)]
    decoder.feed(data[starts[20] + 7 :])
    log = decoder.finish()
    assert values_of(log) == [float(i) for i in range(40)]
    assert log.damage == []


def test_a_declared_length_of_2_to_the_60_allocates_nothing() -> None:
    import tracemalloc

    data, _ = numbered(10)
    length = struct.pack("<Q", 2**60)
    header = length + struct.pack("<I", decode.masked(decode.crc32c(length)))
    tracemalloc.start()
    log = decoded(data + header + bytes(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values_of(log) == [float(i) for i in range(10)]
    assert [d.reason for d in log.damage] == ["cut off"]
    assert peak < 2 << 20


@pytest.mark.parametrize("flip", [False, True])
def test_a_very_long_record_is_checked_without_being_held(monkeypatch: pytest.MonkeyPatch, flip: bool) -> None:
    monkeypatch.setattr(decode, "_LONG_RECORD", 1000)
    data, starts = numbered(10)
    long = bytearray(frame_record(b"\x22" + b"x" * 5000))
    if flip:
        long[2000] ^= 1
    for piece in (100, 1024, 5012, 5017):
        log = decoded(data + bytes(long) + data, piece=piece)
        assert values_of(log) == [float(i) for i in range(10)] * 2
        assert [d.offset for d in log.damage] == ([starts[10]] if flip else [])
        assert log.records == 21


def test_damage_everywhere_does_not_hang() -> None:
    """Worst case: every second record's header is broken, so framing is lost again and again."""
    data, starts = numbered(60_000)
    broken = bytearray(data)
    for start in starts[1:-1:2]:
        broken[start + 9] ^= 0xFF
    begun = time.perf_counter()
    log = decoded(bytes(broken))
    assert time.perf_counter() - begun < 20
    assert len(values_of(log)) >= 1000
    assert log.damage[-1].reason == "given up"


def test_too_many_tags_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_TAGS", 50)
    log = decoded(b"".join(scalars_record({f"t{i}": 1.0}, 1, 1.0) for i in range(200)))
    assert len(log.series) == 50
    assert log.dropped_points == 150


def test_a_record_that_is_no_event_is_told() -> None:
    data, _ = numbered(3)
    log = decoded(data + frame_record(b"\x0f\xff\xff") + data)
    assert [d.reason for d in log.damage] == ["not an event"]
    assert len(values_of(log)) == 6


def test_sessions_and_version() -> None:
    log = decoded(file_header(5.0) + session_start(70, 6.0) + scalars_record({"loss": 1.0}, 70, 7.0))
    assert log.file_version == "brain.Event:2"
    assert log.sessions == [("start", 70, 6.0)]
    assert log.first_wall_time == 5.0


def test_only_the_first_event_of_a_tag_names_its_plugin() -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    def event(step: int, plugin: str) -> bytes:
        value = Summary.Value(tag="x", tensor=make_tensor_proto(np.float32(step)))
        value.metadata.plugin_data.plugin_name = plugin
        return frame_record(Event(step=step, summary=Summary(value=[value])).SerializeToString())

    log = decoded(event(0, "mine") + b"".join(event(i, "") for i in range(1, 30)))
    assert log.series == {}
    assert log.others == {"mine": 30}


Mutate = Callable[[bytes], bytes]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_rubbish_never_raises(data: st.DataObject) -> None:
    good, _ = numbered(30)
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw)))
        kind = data.draw(st.integers(0, 2))
        chunk = data.draw(st.binary(max_size=30))
        if kind == 0:
            raw[at : at + len(chunk)] = chunk
        elif kind == 1:
            raw[at:at] = chunk
        else:
            del raw[at : at + 40]
    log = decoded(bytes(raw), piece=data.draw(st.integers(20, 4000)))
    assert set(values_of(log)) <= set(map(float, range(30)))
