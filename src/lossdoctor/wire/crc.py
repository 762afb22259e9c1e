"""CRC-32C as the TensorBoard record format uses it: one record at a time in C, or many equal records at once in NumPy.

A CRC is linear over GF(2): the CRC of a message is the CRC of the message with some bytes zeroed, XOR one table entry
per zeroed byte, where the table depends only on the byte's distance from the end. Records that share their constant
bytes therefore need one table look-up per *varying* byte, over all records at once, and the constant part only once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | memoryview, value: int = 0) -> int:
    """CRC-32C of ``data``, continuing from ``value``.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    return _in_c()(data, value)


@cache
def _in_c() -> Callable[[bytes | memoryview, int], int]:
    from crc32c import crc32c as compute

    found: Callable[[bytes | memoryview, int], int] = compute
    return found


def masked(crc: int) -> int:
    """The masked form in which the record format stores a CRC (so that a CRC of a CRC stays safe)."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_crc(data: bytes | memoryview) -> int:
    """Masked CRC-32C of ``data``, as stored after a record's length and after its content."""
    return masked(crc32c(data))


def masked_array(crc: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """:func:`masked` of every element."""
    rotated = (crc >> np.uint32(15)) | (crc << np.uint32(17))
    return rotated + np.uint32(_MASK_DELTA)


def _first_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table


_TABLES: list[NDArray[np.uint32]] = [_first_table()]


def byte_table(distance: int) -> NDArray[np.uint32]:
    """uint32[256]: what each value of the byte ``distance`` places before the last one adds (XOR) to the CRC.

    >>> zeroed, whole = crc32c(b"a" + bytes(1) + b"c"), crc32c(b"abc")
    >>> zeroed ^ int(byte_table(1)[ord("b")]) == whole
    True
    """
    while len(_TABLES) <= distance:
        last = _TABLES[-1]
        _TABLES.append((last >> np.uint32(8)) ^ _TABLES[0][last & np.uint32(255)])
    return _TABLES[distance]
