"""Finding record boundaries: guesses about repeating lengths must never change the answer."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.wire.framing import HEADER, OVERHEAD, bad_headers, find_records, frame_record, header_is_valid, resync


def plain_scan(data: bytes, at: int = 0) -> tuple[list[int], list[int], int]:
    starts, lengths = [], []
    while at + OVERHEAD <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + length + OVERHEAD > len(data):
            break
        starts.append(at)
        lengths.append(length)
        at += length + OVERHEAD
    return starts, lengths, at


def same_as_plain(data: bytes) -> None:
    starts, lengths, stop = find_records(data)
    assert (starts.tolist(), lengths.tolist(), stop) == plain_scan(data)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=7), st.integers(1, 400)), min_size=1, max_size=4
    ),
    st.integers(0, 50),
)
def test_patterns_of_lengths(blocks: list[tuple[list[int], int]], cut: int) -> None:
    data = b"".join(frame_record(bytes(n)) for pattern, rounds in blocks for n in pattern * rounds)
    same_as_plain(data[: len(data) - cut])


@pytest.mark.parametrize("tags", [1, 5, 40, 100])
def test_long_regular_files(tags: int) -> None:
    lengths = np.random.default_rng(tags).integers(20, 40, tags).tolist()
    records = [frame_record(bytes(n)) for n in lengths]
    odd = frame_record(bytes(77))
    same_as_plain(b"".join((records * (6000 // tags) + [odd]) * 3))


def test_the_scan_ends_soon_after_the_asked_number() -> None:
    data = frame_record(b"x" * 10) * 5000
    starts, _, stop = find_records(data, 0, 300)
    assert 300 <= len(starts) < 5000
    assert stop == len(starts) * 26


def test_a_length_of_2_to_the_60_stops_the_scan() -> None:
    good = frame_record(b"abc")
    starts, _, stop = find_records(good + struct.pack("<Q", 2**60) + bytes(100))
    assert starts.tolist() == [0]
    assert stop == len(good)


def test_bad_headers_names_the_first() -> None:
    data = bytearray(b"".join(frame_record(bytes(i)) for i in range(300)))
    starts, lengths, _ = find_records(bytes(data))
    assert bad_headers(bytes(data), starts, lengths) is None
    data[int(starts[200]) + 9] ^= 1
    assert bad_headers(bytes(data), starts, lengths) == 200


def test_header_is_valid() -> None:
    record = frame_record(b"abcdef")
    assert header_is_valid(record, 0)
    assert not header_is_valid(record, 1)
    assert not header_is_valid(record[: HEADER - 1], 0)


def test_resync_finds_the_next_record_behind_rubbish() -> None:
    rubbish = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    data = rubbish + frame_record(b"hello") + frame_record(b"x")
    assert resync(data, 0) == len(rubbish)
    assert resync(rubbish, 0) is None
    assert resync(bytes(1_000_000) + frame_record(b"a"), 0) == 1_000_000
    assert resync(bytes(50), 0) is None
