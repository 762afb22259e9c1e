"""The protobuf wire format, as far as event files and W&B logs need it: varints, and the fields of a message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_U64 = 0xFFFFFFFFFFFFFFFF


class WireError(ValueError):
    """The bytes are no valid protobuf message. Never leaves this package's callers: readers turn it into a note."""


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit varint at ``at`` and the position after it.

    >>> read_varint(bytes([0xAC, 0x02]), 0, 2)
    (300, 2)
    """
    result = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise WireError("a number is cut off")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _U64, at
    raise WireError("a number is longer than 10 bytes")


def signed(value: int) -> int:
    """A 64-bit varint read as int64."""
    return value - (1 << 64) if value >> 63 else value


def signed32(value: int) -> int:
    """The low 32 bits of a varint read as int32, as protobuf does for int32 fields."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message in ``data[at:end]``: (number, wire type, start, stop) of each field's payload.

    For a varint the payload is its bytes; for a length-delimited field, the content without the length.

    Raises:
        WireError: the message is cut off, or uses groups or unknown wire types.
    """
    while at < end:
        key, at = read_varint(data, at, end)
        number, wire = key >> 3, key & 7
        start = at
        if wire == VARINT:
            _, stop = read_varint(data, at, end)
        elif wire == BYTES:
            size, start = read_varint(data, at, end)
            stop = start + size
        elif wire == FIXED64:
            stop = start + 8
        elif wire == FIXED32:
            stop = start + 4
        else:
            raise WireError(f"unknown wire type {wire}")
        if stop > end or number == 0:
            raise WireError("a field reaches past the end of its message" if stop > end else "field number 0")
        yield number, wire, start, stop
        at = stop


def read_double(data: bytes, at: int) -> float:
    """The little-endian double at ``at``."""
    return float(struct.unpack_from("<d", data, at)[0])


def read_text(data: bytes, start: int, stop: int) -> str:
    """A string field; bytes that are not UTF-8 become replacement characters (logs are untrusted)."""
    return data[start:stop].decode("utf-8", "replace")


def varint(value: int) -> bytes:
    """Encode an integer; negative ones take ten bytes, as protobuf's int64 does.

    >>> varint(300).hex()
    'ac02'
    """
    value &= _U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key(number: int, wire: int) -> bytes:
    """The key that starts a field."""
    return varint(number << 3 | wire)


def bytes_field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return key(number, BYTES) + varint(len(content)) + content
