"""Writing event files: the records that TensorBoard opens as they are."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from lossdoctor.wire.crc import masked_crc
from lossdoctor.wire.framing import HEADER, frame_record
from lossdoctor.wire.proto import BYTES, FIXED32, bytes_field, key, varint

EVENT_TAG = "lossdoctor/event"  # under which the monitor keeps what happened to a run besides its metrics
_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_WALL_TIME = struct.Struct("<Bd")
_CHECKSUM = struct.Struct("<I")
_FLOAT_MAX = 3.4028234663852886e38
_MOST_LAYOUTS = 256


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


def text_record(tag: str, text: str, step: int, wall_time: float) -> bytes:
    """One record with a text, as TensorBoard's text page shows it.

    Args:
        tag: its name.
        text: anything; lone surrogates become question marks.
        step: any int64.
        wall_time: seconds since the epoch.
    """
    string = bytes_field(8, text.encode("utf-8", "replace"))
    tensor = b"\x08\x07" + bytes_field(2, bytes_field(2, b"\x08\x01")) + string  # DT_STRING, shape [1]
    plugin = bytes_field(1, bytes_field(1, b"text")) + b"\x20\x02"  # data_class: TENSOR
    value = bytes_field(1, tag.encode("utf-8", "replace")) + bytes_field(8, tensor) + bytes_field(9, plugin)
    return frame_record(_event(wall_time, step, bytes_field(5, bytes_field(1, value))))


class RowEncoder:
    """Rows of scalars, quickly: what rows of the same names have in common is built once.

    A tag is written as floats until it has a value that float32 does not hold exactly, and as double tensors from then
    on, so that reading gives back the very same float64 and a tag does not change its form with every row.

    >>> from lossdoctor.wire.decode import EventDecoder
    >>> decoder, encoder = EventDecoder(), RowEncoder()
    >>> decoder.feed(encoder.encode({"loss": 0.1, "epoch": 2.0}, 7, 1.0) + encoder.encode({"loss": 0.5}, 8, 2.0))
    >>> [a.tolist() for a in decoder.finish().series["loss"].joined()]
    [[7, 8], [0.1, 0.5], [1.0, 2.0]]
    """

    def __init__(self) -> None:
        self._wide: set[str] = set()
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def encode(self, row: Mapping[str, float], step: int, wall_time: float) -> bytes:
        """One record with all scalars of a row.

        Args:
            row: tag -> value, Python floats; at least one.
            step: any int64.
            wall_time: seconds since the epoch.
        """
        names = tuple(row)
        values = tuple(row.values())
        layout = self._layouts.get(names)
        if layout is None or not layout.holds(values):
            layout = self._layout(names, values)
        at = _at(step)
        pack, parts = layout.forms.get(len(at)) or layout.form(len(at))
        parts = parts.copy()
        parts[1] = wall_time
        parts[2] = at
        parts[4::2] = values
        record = pack(*parts)
        return record + _CHECKSUM.pack(masked_crc(memoryview(record)[HEADER:]))

    def _layout(self, names: tuple[str, ...], values: Sequence[float]) -> _Layout:
        """The layout for these names, with every tag wide that needs it by now."""
        for name, value in zip(names, values, strict=True):
            if math.isfinite(value) and not _is_float32(value):
                self._wide.add(name)
        wide = tuple(name in self._wide for name in names)
        known = self._layouts.get(names)
        if known is not None and known.wide == wide:  # a NaN is equal to nothing, but float32 holds it
            return known
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        made = self._layouts[names] = _Layout(names, wide)
        return made


def _at(step: int) -> bytes:
    """The step's field. Steps up to two million go without a loop."""
    if 0 <= step < 1 << 7:
        return bytes((0x10, step))
    if 0 <= step < 1 << 14:
        return bytes((0x10, step & 0x7F | 0x80, step >> 7))
    if 0 <= step < 1 << 21:
        return bytes((0x10, step & 0x7F | 0x80, step >> 7 & 0x7F | 0x80, step >> 14))
    return b"\x10" + varint(step)


class _Layout:
    """How rows of certain names are written: which as doubles, and the constant bytes between the numbers."""

    def __init__(self, names: tuple[str, ...], wide: tuple[bool, ...]) -> None:
        self.names = names
        self.wide = wide
        self.forms: dict[int, tuple[Callable[..., bytes], list[Any]]] = {}  # by the size of the step
        self._narrow = [i for i, is_wide in enumerate(wide) if not is_wide]
        self._floats = struct.Struct(f"<{len(self._narrow)}f")

    def holds(self, values: tuple[float, ...]) -> bool:
        """Whether float32 holds every value that is written as one."""
        narrow = self._narrow
        if not narrow:
            return True
        chosen = values if len(narrow) == len(values) else tuple([values[i] for i in narrow])
        try:
            return self._floats.unpack(self._floats.pack(*chosen)) == chosen
        except OverflowError:
            return False

    def form(self, size: int) -> tuple[Callable[..., bytes], list[Any]]:
        """Packs a record up to its last checksum; and what is packed: constants, with places for the numbers."""
        constants = [b""]
        for name, is_wide in zip(self.names, self.wide, strict=True):
            before, after = _tensor_parts(name) if is_wide else (_simple_prefix(name), b"")
            constants[-1] += before
            constants.append(after)
        numbers = sum(8 if w else 4 for w in self.wide)
        summary = numbers + sum(map(len, constants))
        constants[0] = key(5, BYTES) + varint(summary) + constants[0]
        length = struct.pack("<Q", 9 + size + numbers + sum(map(len, constants)))
        first = length + _CHECKSUM.pack(masked_crc(length)) + b"\x09"
        parts: list[Any] = [first, 0.0, b"", constants[0]]
        layout = f"<{len(first)}sd{size}s{len(constants[0])}s"
        for is_wide, constant in zip(self.wide, constants[1:], strict=True):
            parts += [0.0, constant]
            layout += f"{'d' if is_wide else 'f'}{len(constant)}s"
        made = self.forms[size] = (struct.Struct(layout).pack, parts)
        return made
