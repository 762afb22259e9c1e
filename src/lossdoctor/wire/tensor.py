"""Scalars in protobuf tensors, and holes: where a number lies in a record and how its bytes are read.

Each decoding is here twice, for one record (:func:`decode`) and for many (:func:`decode_rows`); a test holds both to
the same numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.wire.proto import BYTES, FIXED32, FIXED64, VARINT, fields, read_varint, signed, signed32

# DataType of tensorflow.TensorProto -> (encoding of tensor_content, field of the value list, encoding there).
# A name with "<" or of one byte is a fixed-width number; the others are varints.
_TYPES: dict[int, tuple[str, int, str]] = {
    1: ("<f4", 5, "<f4"),
    2: ("<f8", 6, "<f8"),
    3: ("<i4", 7, "int32"),
    4: ("|u1", 7, "int32"),
    5: ("<i2", 7, "int32"),
    6: ("|i1", 7, "int32"),
    9: ("<i8", 10, "int64"),
    10: ("bool1", 11, "bool"),
    14: ("bfloat2", 13, "bfloat16"),
    17: ("<u2", 7, "int32"),
    19: ("<f2", 13, "half"),
    22: ("<u4", 16, "uint32"),
    23: ("<u8", 17, "uint64"),
}
_LIST_FIELDS = frozenset(t[1] for t in _TYPES.values())
_STRUCT = {
    **{"<f4": "<f", "<f8": "<d", "<f2": "<e", "<i4": "<i", "|u1": "<B", "<i2": "<h", "|i1": "<b"},
    **{"<i8": "<q", "<u2": "<H", "<u4": "<I", "<u8": "<Q"},
}
_WIDTH = {"bool1": 1, "bfloat2": 2} | {k: struct.calcsize(v) for k, v in _STRUCT.items()}


@dataclass(frozen=True, slots=True)
class Hole:
    """A number inside a record: ``width`` bytes at ``offset``, read as ``encoding``."""

    offset: int
    width: int
    encoding: str

    @property
    def fixed(self) -> bool:
        """Whether every content of these bytes is legal (a varint's upper bits belong to the skeleton)."""
        return self.encoding in _WIDTH


def scalar_of_tensor(data: bytes, start: int, stop: int) -> tuple[float | None, Hole | None]:
    """The number in a tensor of exactly one element, and where it lies; (None, None) for any other tensor.

    A tensor without values is zero (protobuf's default) and has no hole.
    """
    dtype, elements, content = 0, 1, (0, 0)
    lists: list[tuple[int, int, int, int]] = []
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == VARINT:
            dtype, _ = read_varint(data, at, end)
        elif number == 2 and wire == BYTES:
            elements = _elements(data, at, end)
        elif number == 4 and wire == BYTES:
            content = (at, end)
        elif number in _LIST_FIELDS:
            lists.append((number, wire, at, end))
    if dtype not in _TYPES or elements != 1:
        return None, None
    in_content, list_field, in_list = _TYPES[dtype]
    size = content[1] - content[0]
    if size:
        if size != _WIDTH[in_content]:
            return None, None
        hole = Hole(content[0], size, in_content)
        return decode(data, hole), hole
    holes = [h for number, wire, at, end in lists if number == list_field for h in _items(data, wire, at, end, in_list)]
    if len(holes) > 1:
        return None, None
    return (decode(data, holes[0]), holes[0]) if holes else (0.0, None)


def string_of_tensor(data: bytes, start: int, stop: int, most: int = 1 << 18) -> bytes:
    """The first string of a string tensor (empty when there is none), if it has at most ``most`` bytes."""
    for number, wire, at, end in fields(data, start, stop):
        if number == 8 and wire == BYTES:
            return data[at:end] if end - at <= most else b""
    return b""


def _elements(data: bytes, start: int, stop: int) -> int:
    count = 1
    for number, wire, at, end in fields(data, start, stop):
        if number == 2 and wire == BYTES:
            size = 0
            for inner, inner_wire, a, b in fields(data, at, end):
                if inner == 1 and inner_wire == VARINT:
                    size, _ = read_varint(data, a, b)
            count = min(count * size, 1 << 62)
        elif number == 3 and wire == VARINT and read_varint(data, at, end)[0]:
            return 0  # unknown rank
    return count


def _items(data: bytes, wire: int, start: int, stop: int, encoding: str) -> list[Hole]:
    """At most two items of a value list (two already mean "no scalar"), packed or not."""
    width = _WIDTH.get(encoding, 0)
    if wire in (FIXED32, FIXED64):
        return [Hole(start, width, encoding)] if width == stop - start else []
    if wire == VARINT:
        return [] if width else [Hole(start, stop - start, encoding)]
    out: list[Hole] = []
    while start < stop and len(out) < 2:
        end = start + width if width else read_varint(data, start, stop)[1]
        if end > stop:
            break
        out.append(Hole(start, end - start, encoding))
        start = end
    return out


def decode(data: bytes, hole: Hole) -> float:
    """The number in a hole of one record, as float64."""
    encoding, at = hole.encoding, hole.offset
    if encoding in _STRUCT:
        return float(struct.unpack_from(_STRUCT[encoding], data, at)[0])
    if encoding == "bool1":
        return float(data[at] != 0)
    if encoding == "bfloat2":
        return float(struct.unpack("<f", b"\0\0" + data[at : at + 2])[0])
    value, _ = read_varint(data, at, at + hole.width)
    if encoding == "int64":
        return float(signed(value))
    if encoding == "int32":
        return float(signed32(value))
    if encoding == "bool":
        return float(value != 0)
    if encoding == "half":
        return float(struct.unpack("<e", (value & 0xFFFF).to_bytes(2, "little"))[0])
    if encoding == "bfloat16":
        return float(struct.unpack("<f", (value << 16 & 0xFFFFFFFF).to_bytes(4, "little"))[0])
    return float(value & 0xFFFFFFFF) if encoding == "uint32" else float(value)


def decode_rows(buffer: NDArray[np.uint8], starts: NDArray[np.int64], hole: Hole) -> NDArray[Any]:
    """The numbers in the same hole of many records that begin at ``starts``: float64[n], or int64[n] for a step.

    Encoding ``"int64"`` gives int64 (exact); callers that want a value convert.
    """
    at = starts + hole.offset
    encoding = hole.encoding
    if encoding in _STRUCT:
        dtype = np.dtype(encoding)
        return np.asarray(unaligned(buffer, dtype)[at], dtype=np.float64)
    if encoding == "bool1":
        return np.asarray(buffer[at] != 0, dtype=np.float64)
    if encoding == "bfloat2":
        return _bfloat16(unaligned(buffer, np.dtype("<u2"))[at])
    return _varints(_varint_rows(buffer, at, hole.width), encoding)


def _varint_rows(buffer: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint64]:
    value = np.zeros(len(at), dtype=np.uint64)
    for i in range(width):
        byte = buffer[at + i].astype(np.uint64)
        value |= (byte & np.uint64(0x7F)) << np.uint64(7 * i)
    return value


def _varints(value: NDArray[np.uint64], encoding: str) -> NDArray[Any]:
    if encoding == "int64":
        return np.asarray(value.view(np.int64))
    if encoding == "int32":
        return np.asarray(value.astype(np.uint32).view(np.int32), dtype=np.float64)
    if encoding == "bool":
        return np.asarray(value != 0, dtype=np.float64)
    if encoding == "half":
        return np.asarray(value.astype(np.uint16).view(np.float16), dtype=np.float64)
    if encoding == "bfloat16":
        return _bfloat16(value)
    return value.astype(np.uint32).astype(np.float64) if encoding == "uint32" else value.astype(np.float64)


def _bfloat16(bits: NDArray[Any]) -> NDArray[np.float64]:
    """The upper half of a float32, with zeros below."""
    floats: NDArray[np.float32] = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return floats.astype(np.float64)


def unaligned(buffer: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The buffer seen as numbers that may begin at any byte (no copy)."""
    count = max(0, len(buffer) - dtype.itemsize + 1)
    return np.ndarray((count,), dtype, buffer=buffer.data, strides=(1,))
