"""Random events for the tests, built with TensorBoard's own protobuf classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from lossdoctor.wire.framing import frame_record

tags = st.sampled_from(["loss", "acc", "train/loss", "val/loss", "a", "a much longer tag of 30 chars"])
steps = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
floats = st.floats(width=32)
doubles = st.floats()


@st.composite
def values(draw: st.DrawFn) -> Any:
    """One Summary.Value: scalars in every form, and things that are none."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    kind = draw(st.integers(0, 13))
    tag = draw(tags)
    if kind <= 3:
        return Summary.Value(tag=tag, simple_value=draw(floats))
    if kind == 4:
        return Summary.Value(tag=tag, image=Summary.Image(height=3, encoded_image_string=draw(st.binary(max_size=9))))
    whole = st.integers(-(2**31), 2**31 - 1)
    tensor = {
        5: lambda: TensorProto(dtype=1, float_val=[draw(floats)]),
        6: lambda: TensorProto(dtype=2, double_val=[draw(doubles)]),
        7: lambda: TensorProto(dtype=1, tensor_content=np.float32(draw(floats)).tobytes()),
        8: lambda: TensorProto(dtype=2, tensor_content=np.float64(draw(doubles)).tobytes()),
        9: lambda: TensorProto(dtype=draw(st.sampled_from([3, 4, 5, 6, 17])), int_val=[draw(whole)]),
        10: lambda: TensorProto(dtype=9, int64_val=[draw(st.integers(-(2**63), 2**63 - 1))]),
        11: lambda: TensorProto(dtype=draw(st.sampled_from([14, 19])), half_val=[draw(st.integers(0, 65535))]),
        12: lambda: TensorProto(
            dtype=draw(st.sampled_from([3, 5, 6, 10, 14, 19, 22])), tensor_content=draw(st.binary(max_size=4))
        ),
        13: lambda: TensorProto(dtype=7, string_val=[draw(st.binary(max_size=5))]),
    }[kind]()
    value = Summary.Value(tag=tag, tensor=tensor)
    if draw(st.booleans()):
        value.metadata.plugin_data.plugin_name = draw(st.sampled_from(["scalars", "scalars", "text", "hparams"]))
    return value


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """The bytes of one event."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary

    event = Event(wall_time=draw(st.floats(0, 2e9)), step=draw(steps))
    if draw(st.integers(0, 15)) == 0:
        event.session_log.CopyFrom(SessionLog(status=1))
    else:
        event.summary.CopyFrom(Summary(value=draw(st.lists(values(), min_size=1, max_size=3))))
    return bytes(event.SerializeToString())


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """An event file in which a few layouts come again and again with other numbers, as in real logs."""
    out: list[bytes] = []
    for _ in range(draw(st.integers(1, 3))):
        patterns = draw(st.lists(events(), min_size=1, max_size=4))
        out.extend(patterns * draw(st.integers(1, 12)))
        out.extend(draw(st.lists(events(), max_size=6)))
    return b"".join(map(frame_record, out))
