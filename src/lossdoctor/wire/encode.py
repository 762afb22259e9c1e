"""Writing event files: the records that TensorBoard opens as they are."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache

from lossdoctor.wire.framing import frame_record
from lossdoctor.wire.proto import BYTES, FIXED32, bytes_field, key, varint

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_WALL_TIME = struct.Struct("<Bd")
_FLOAT_MAX = 3.4028234663852886e38


def file_header(wall_time: float) -> bytes:
    """The record with which every event file begins.

    Args:
        wall_time: seconds since the epoch.
    """
    return frame_record(_event(wall_time, 0, bytes_field(3, b"brain.Event:2")))


def session_start(step: int, wall_time: float) -> bytes:
    """The record that marks a (re)start at ``step``: a resumed run begins its new file with it."""
    return frame_record(_event(wall_time, step, bytes_field(7, b"\x08\x01")))


def scalars_record(row: Mapping[str, float], step: int, wall_time: float) -> bytes:
    """One record with all scalars of a row.

    A value is written as a float where float32 holds it exactly (NaN and Inf too), else as a double tensor, so that
    reading gives back the very same float64.

    Args:
        row: tag -> value; at least one.
        step: any int64.
        wall_time: seconds since the epoch.
    """
    values = []
    for tag, value in row.items():
        value = float(value)
        if not math.isfinite(value) or _is_float32(value):
            values.append(_simple_prefix(tag) + _FLOAT.pack(value))
        else:
            before, after = _tensor_parts(tag)
            values.append(before + _DOUBLE.pack(value) + after)
    return frame_record(_event(wall_time, step, bytes_field(5, b"".join(values))))


def _is_float32(value: float) -> bool:
    return -_FLOAT_MAX <= value <= _FLOAT_MAX and _FLOAT.unpack(_FLOAT.pack(value))[0] == value


def _event(wall_time: float, step: int, rest: bytes) -> bytes:
    at = b"\x10" + varint(int(step)) if step else b""
    return _WALL_TIME.pack(0x09, wall_time) + at + rest


@lru_cache(maxsize=4096)
def _simple_prefix(tag: str) -> bytes:
    """A Summary.value up to its simple_value."""
    inner = bytes_field(1, tag.encode("utf-8", "replace")) + key(2, FIXED32)
    return key(1, BYTES) + varint(len(inner) + 4) + inner


@lru_cache(maxsize=4096)
def _tensor_parts(tag: str) -> tuple[bytes, bytes]:
    """A Summary.value with a double tensor of shape [], before and after the number."""
    tensor = b"\x08\x02" + b"\x12\x00" + key(4, BYTES) + varint(8)  # DT_DOUBLE, shape [], tensor_content
    head = bytes_field(1, tag.encode("utf-8", "replace")) + key(8, BYTES) + varint(len(tensor) + 8) + tensor
    plugin = bytes_field(1, bytes_field(1, b"scalars")) + b"\x20\x01"  # data_class: SCALAR
    tail = bytes_field(9, plugin)
    return key(1, BYTES) + varint(len(head) + 8 + len(tail)) + head, tail
