"""The log format of W&B's ``.wandb`` files: LevelDB's log, with a header of its own and CRC-32 (zlib's) per fragment.

After the 7-byte file header come blocks of 32 KiB. A block holds fragments: CRC (4 bytes, of type and data), length
(2), type (1), data. A record is one *full* fragment, or a *first*, any number of *middle* and a *last* one.
"""

from __future__ import annotations

import struct
import zlib

from lossdoctor.wire.decode import Damage

MAGIC = b":W&B\xe1\xbe"
BLOCK = 32 * 1024
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LONGEST_RECORD = 64 << 20
_TYPE_CRC = [zlib.crc32(bytes([i])) for i in range(5)]


class WandbLog:
    """The records of a ``.wandb`` file, fed in pieces of any size.

    >>> log = WandbLog()
    >>> log.feed(MAGIC + bytes(1) + fragment(1, b"abc"))
    [b'abc']
    """

    def __init__(self) -> None:
        self.damage: list[Damage] = []
        self.damaged = 0  # how many places; only the first few are kept in ``damage``
        self.size = 0
        self._pending = b""
        self._offset = 0  # of the first pending byte
        self._parts: list[bytes] = []
        self._parts_start: int | None = None
        self._parts_size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; returns the records that are now complete."""
        self.size += len(piece)
        data = self._pending + piece
        records: list[bytes] = []
        at = 0
        if self._offset == 0 and len(data) >= len(MAGIC) + 1:
            at = len(MAGIC) + 1
        elif self._offset == 0:
            self._pending = data
            return records
        while True:
            left = BLOCK - (self._offset + at) % BLOCK
            if left < _HEADER.size:  # too little for a fragment: padding
                if len(data) - at < left:
                    break
                at += left
                continue
            if len(data) - at < _HEADER.size:
                break
            crc, length, kind = _HEADER.unpack_from(data, at)
            if kind == 0 and length == 0 and crc == 0:  # zeros: the writer skipped the rest of the block
                if len(data) - at < left:
                    break
                at += left
                continue
            if _HEADER.size + length > left or not _FULL <= kind <= _LAST:
                stop = at + left
            else:
                stop = at + _HEADER.size + length
            if len(data) < stop:
                break
            content = data[at + _HEADER.size : at + _HEADER.size + length]
            if not _FULL <= kind <= _LAST or zlib.crc32(content, _TYPE_CRC[kind]) != crc:
                self._damaged(at, left, "checksum")
                at += left  # lengths are not believed any more: on with the next block, as LevelDB does
                continue
            self._take(kind, content, self._offset + at, records)
            at = stop
        self._pending = data[at:]
        self._offset += at
        return records

    @property
    def cut_off(self) -> int | None:
        """Where an unfinished last record begins, or None."""
        if self._parts_start is not None:
            return self._parts_start
        return self._offset if self._pending.strip(b"\0") else None

    def _take(self, kind: int, content: bytes, offset: int, records: list[bytes]) -> None:
        if kind in (_FULL, _FIRST):
            if self._parts:
                self._damaged_at(self._parts_start or 0, offset - (self._parts_start or 0), "unfinished record")
            self._parts, self._parts_start, self._parts_size = [], None, 0
            if kind == _FULL:
                records.append(content)
                return
            self._parts, self._parts_start, self._parts_size = [content], offset, len(content)
            return
        if self._parts_start is None:  # its beginning was damaged
            return
        self._parts_size += len(content)
        if self._parts_size > _LONGEST_RECORD:
            self._parts, self._parts_start = [], None
            self._damaged_at(offset, len(content), "too long a record")
            return
        self._parts.append(content)
        if kind == _LAST:
            records.append(b"".join(self._parts))
            self._parts, self._parts_start, self._parts_size = [], None, 0

    def _damaged(self, at: int, size: int, reason: str) -> None:
        self._parts, self._parts_start, self._parts_size = [], None, 0
        self._damaged_at(self._offset + at, size, reason)

    def _damaged_at(self, offset: int, size: int, reason: str) -> None:
        self.damaged += 1
        if len(self.damage) < 100:
            self.damage.append(Damage(offset, size, reason))


def fragment(kind: int, content: bytes) -> bytes:
    """One fragment as W&B writes it (for tests and tools); at most 65,535 bytes of content."""
    return _HEADER.pack(zlib.crc32(content, _TYPE_CRC[kind]), len(content), kind) + content
