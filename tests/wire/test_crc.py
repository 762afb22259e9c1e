"""CRC-32C, one record at a time and many at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.wire.crc import byte_table, crc32c, masked, masked_array, masked_crc


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(st.binary(max_size=80))
def test_crc_equals_its_definition(data: bytes) -> None:
    assert crc32c(data) == slow_crc32c(data)


def test_masked_crc_of_a_known_header() -> None:
    # the first 12 bytes of an event file written by TensorFlow: length 24 and its masked CRC
    assert masked_crc(bytes.fromhex("1800000000000000")) == int.from_bytes(bytes.fromhex("a37f4b22"), "little")


@given(st.binary(min_size=1, max_size=60), st.data())
def test_zeroed_bytes_are_put_back_by_their_tables(data: bytes, draw: st.DataObject) -> None:
    holes = draw.draw(st.sets(st.integers(0, len(data) - 1)))
    zeroed = bytes(0 if i in holes else b for i, b in enumerate(data))
    crc = crc32c(zeroed)
    for i in holes:
        crc ^= int(byte_table(len(data) - 1 - i)[data[i]])
    assert crc == crc32c(data)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_masking_an_array(values: list[int]) -> None:
    assert masked_array(np.array(values, dtype=np.uint32)).tolist() == [masked(v) for v in values]
