"""Where the records of a TFRecord stream begin: length (8 bytes), its masked CRC (4), content, masked CRC (4).

Finding the boundaries is sequential by nature: each record says where the next one begins. Training logs repeat
themselves, though (the same tags every step), so the scan guesses that the last few lengths will come again, checks
that guess for many rounds at once with NumPy, and walks record by record only where the pattern breaks.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from lossdoctor.wire.crc import byte_table, crc32c, masked_array, masked_crc
from lossdoctor.wire.tensor import unaligned

HEADER = 12
OVERHEAD = 16
_LENGTH = struct.Struct("<Q").unpack_from
_LONGEST_PERIOD = 64
_WALK = 256


def frame_record(content: bytes) -> bytes:
    """A record ready to be appended to a file.

    >>> len(frame_record(b"abc")) - 3 == OVERHEAD
    True
    """
    length = struct.pack("<Q", len(content))
    return b"".join((length, struct.pack("<I", masked_crc(length)), content, struct.pack("<I", masked_crc(content))))


def header_is_valid(data: bytes | memoryview, at: int) -> bool:
    """Whether the 12 bytes at ``at`` are a length followed by its masked CRC."""
    head = bytes(data[at : at + HEADER])
    return len(head) == HEADER and masked_crc(head[:8]) == int.from_bytes(head[8:], "little")


def find_records(data: bytes, start: int = 0, most: int = 1 << 62) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Boundaries of the whole records in ``data`` from ``start`` on, following the lengths.

    The CRCs of the lengths are *not* checked here; :func:`bad_headers` does that for all at once. Stops early after
    about ``most`` records.

    Returns:
        starts int64[n] (of the headers), lengths int64[n] (of the contents), and where the scan stopped: the start of
        a record that is not wholly in ``data``, or its end.
    """
    end = len(data)
    starts: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    words = unaligned(np.frombuffer(data, dtype=np.uint8), np.dtype("<u8"))
    at, walk, count = start, _WALK, 0
    while count < most:
        walked, sizes, stop = _walk(data, at, end, walk)
        if len(walked) == 0:
            break
        starts.append(walked)
        lengths.append(sizes)
        at = stop
        count += len(walked)
        if len(walked) < walk:
            break
        period = _period(sizes) if most > count else 0
        if period:
            more_starts, more_lengths, at = _repeat(words, at, end, sizes[-period:], most - count)
            starts.append(more_starts)
            lengths.append(more_lengths)
            count += len(more_lengths)
            walk = _WALK if len(more_starts) > _WALK else min(walk * 2, 1 << 15)
        else:
            walk = min(walk * 2, 1 << 15)  # no pattern: guess less often
    if not starts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), at
    return np.concatenate(starts), np.concatenate(lengths), at


def _walk(data: bytes, at: int, end: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Up to ``most`` records, one by one."""
    found: list[int] = []
    append = found.append
    last = end - OVERHEAD
    for _ in range(most):
        if at > last:
            break
        following = at + _LENGTH(data, at)[0] + OVERHEAD
        if following > end:
            break
        append(at)
        at = following
    starts = np.array(found, dtype=np.int64)
    sizes = np.diff(starts, append=at) - OVERHEAD if found else starts
    return starts, sizes, at


def _period(sizes: NDArray[np.int64]) -> int:
    """The shortest period with which the last lengths repeat (twice at least), or 0."""
    tail = sizes[-3 * _LONGEST_PERIOD :]
    for period in range(1, _LONGEST_PERIOD + 1):
        window = tail[-3 * period :]
        if len(window) < 3 * period:
            return 0
        if np.array_equal(window[period:], window[:-period]):
            return period
    return 0


def _repeat(
    words: NDArray[np.uint64], at: int, end: int, sizes: NDArray[np.int64], records: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """As many further rounds of the pattern ``sizes`` as the data has (up to about ``records`` records).

    Each is checked by its length field.
    """
    totals = sizes + OVERHEAD
    offsets = np.concatenate([[0], np.cumsum(totals)[:-1]])
    round_bytes = int(totals.sum())
    rounds, batch = 0, 64
    most = min((end - at) // round_bytes, records // len(sizes) + 1)
    while rounds < most:
        tried = min(batch, most - rounds)
        base = at + rounds * round_bytes
        good = tried
        for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
            seen = words[base + offset : base + offset + good * round_bytes : round_bytes][:good]
            wrong = np.flatnonzero(seen != np.uint64(size))
            good = int(wrong[0]) if len(wrong) else good
            if good == 0:
                break
        rounds += good
        if good < tried:
            break
        batch *= 8
    starts = (at + np.arange(rounds, dtype=np.int64)[:, None] * round_bytes + offsets[None, :]).ravel()
    return starts, np.tile(sizes, rounds), at + rounds * round_bytes


def resync(data: bytes, start: int) -> int | None:
    """The first position at or after ``start`` with a valid header and, if it is all there, a valid content CRC.

    For going on behind damage. Checks every byte position, many at a time; lengths from 2**32 on are not believed.
    """
    base, chunk = start, 1 << 12  # small first: the next record is mostly near
    while base <= len(data) - HEADER:
        piece = np.frombuffer(data, dtype=np.uint8)[base : base + chunk + HEADER - 1]
        for at in _header_candidates(piece):
            position = base + int(at)
            length = _LENGTH(data, position)[0]
            body = position + HEADER
            content = memoryview(data)[body : body + length]
            if len(data) < body + length + 4:
                return position  # the tail: cut off, or not read yet
            if masked_crc(content) == int.from_bytes(data[body + length : body + length + 4], "little"):
                return position
        base += chunk
        chunk = min(4 * chunk, 1 << 20)
    return None


def _header_candidates(piece: NDArray[np.uint8]) -> NDArray[np.int64]:
    count = len(piece) - HEADER + 1
    if count <= 0:
        return np.zeros(0, dtype=np.int64)
    halves = unaligned(piece, np.dtype("<u4"))
    at = np.flatnonzero(halves[4 : 4 + count] == 0)
    crc = np.full(len(at), crc32c(bytes(8)), dtype=np.uint32)
    for i in range(4):
        crc ^= byte_table(7 - i)[piece[at + i]]
    valid: NDArray[np.int64] = at[masked_array(crc) == halves[at + 8]]
    return valid


def bad_headers(data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> int | None:
    """Index of the first record whose length field fails its CRC, or None. All lengths are checked at once."""
    stored = unaligned(np.frombuffer(data, dtype=np.uint8), np.dtype("<u4"))[starts + 8]
    crc = np.full(len(lengths), crc32c(bytes(8)), dtype=np.uint32)
    longest = int(lengths.max()) if len(lengths) else 0
    for i in range(max(1, (longest.bit_length() + 7) // 8)):
        crc ^= byte_table(7 - i)[(lengths >> (8 * i)) & 255]
    wrong = np.flatnonzero(masked_array(crc) != stored)
    return int(wrong[0]) if len(wrong) else None
