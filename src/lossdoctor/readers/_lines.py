"""A text log as blocks of whole lines: bounded memory, UTF-8 or UTF-16, damage told and survived."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from lossdoctor.core.errors import BrokenFileError
from lossdoctor.readers.base import Source

BLOCK_BYTES = 1 << 21
# Parsers are quicker on larger blocks; lines are put together up to here once they have been seen to end.
GROUPED = 4
# No log row is this long: a longer one is not a row, and reading on would only fill the memory.
MAX_LINE_BYTES = 1 << 24
_BOM8 = codecs.BOM_UTF8
_BOMS16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file.

    Attributes:
        data: the lines, in UTF-8 or another ASCII superset; each ends in a newline, except a last one cut off.
        line: number of the first line, from 1.
        byte: offset of the first byte in the (decompressed, transcoded) content.
        last: whether the file ends here.
    """

    data: bytes
    line: int
    byte: int
    last: bool


def plain(head: bytes) -> bytes:
    """First bytes of a file without byte-order mark and as UTF-8, for sniffing."""
    if head.startswith(_BOM8):
        return head[len(_BOM8) :]
    if head.startswith(_BOMS16):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    return head


def text(cell: bytes) -> str:
    """A cell or name as text: UTF-8, or Latin-1 where it is not."""
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        return cell.decode("latin-1")


class DamagedError(Exception):
    """Compressed data cannot be unpacked any further."""


def count_of(data: bytes, char: bytes) -> int:
    """How often one byte occurs; of a large block several times quicker than ``bytes.count``, which stops at each.

    >>> count_of(b"a,b,c", b",")
    2
    """
    if len(data) < 1 << 16:
        return data.count(char)
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == char[0]))


def chunks_of(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """The content in chunks of about a size, all of it up to where the stream is damaged.

    Raises:
        DamagedError: after the last chunk that could be read.
    """
    # A gzip stream throws away what it unpacked in a read() that meets the damage; its read1() does not.
    read = stream.read1 if isinstance(stream, gzip.GzipFile) else stream.read
    parts: list[bytes] = []
    waiting = 0
    damage: Exception | None = None
    while damage is None:
        try:
            part = read(size)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            part, damage = b"", error
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # naming it would import the package
                raise
            part, damage = b"", error
        parts.append(part)
        waiting += len(part)
        if waiting >= size or not part:
            if waiting:
                yield b"".join(parts)
            parts, waiting = [], 0
        if not part:
            break
    if damage is not None:
        raise DamagedError(str(damage)) from None


class LineBlocks:
    """Iterates over the blocks of one source.

    Attributes:
        notes: what was survived on the way (compressed data that ends early).

    Raises:
        BrokenFileError: while iterating, on a line longer than ``MAX_LINE_BYTES``.
    """

    def __init__(self, source: Source, block_bytes: int = BLOCK_BYTES) -> None:
        self._source = source
        self._size = block_bytes
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Block]:
        with self._source.open() as stream:
            yield from self._blocks(self._chunks(stream))

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        """Chunks in UTF-8, without byte-order mark; ends early, with a note, where compressed data is damaged."""
        decoder: codecs.IncrementalDecoder | None = None
        got = 0
        try:
            for chunk in chunks_of(stream, self._size):
                if not got and chunk.startswith(_BOMS16):
                    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
                elif not got and chunk.startswith(_BOM8):
                    got, chunk = len(_BOM8), chunk[len(_BOM8) :]
                got += len(chunk)
                yield chunk if decoder is None else decoder.decode(chunk).encode("utf-8", errors="replace")
        except DamagedError as error:
            self._damaged(got, error)

    def _damaged(self, got: int, error: Exception) -> None:
        if not got:
            raise BrokenFileError(
                self._source.path, f"the compressed data is damaged ({error})", where="byte 0", hint="copy it again"
            ) from None
        self.notes.append(f"the compressed data is damaged after {got:,} bytes of content; what comes before was read")

    def _blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        line, byte = 1, 0
        rest: list[bytes] = []
        held: list[bytes] = []
        waiting = 0
        old_mac: bool | None = None
        for chunk in chunks:
            if old_mac is None:  # line ends of one carriage return, as very old spreadsheets write them
                old_mac = b"\n" not in chunk and b"\r" in chunk[:-1]
            if old_mac:
                chunk = chunk.replace(b"\r", b"\n")
            cut = chunk.rfind(b"\n") + 1
            if cut == 0:
                rest.append(chunk)
                waiting += len(chunk)
                if waiting > MAX_LINE_BYTES:
                    before = b"".join(held)
                    raise self._too_long(line + count_of(before, b"\n"), byte + len(before))
                continue
            held += [*rest, chunk[:cut]]
            rest, waiting = [chunk[cut:]], len(chunk) - cut
            if sum(map(len, held)) < (GROUPED - 1) * self._size:
                continue
            data, held = b"".join(held), []
            yield Block(data, line, byte, last=False)
            line += count_of(data, b"\n")
            byte += len(data)
        if held:
            data = b"".join(held)
            yield Block(data, line, byte, last=False)
            line += count_of(data, b"\n")
            byte += len(data)
        yield Block(b"".join(rest), line, byte, last=True)

    def _too_long(self, line: int, byte: int) -> BrokenFileError:
        return BrokenFileError(
            self._source.path,
            f"this line is longer than {MAX_LINE_BYTES >> 20} MiB, which no row of a log is",
            where=f"line {line:,} (byte {byte:,})",
            hint="check that this is a training log",
        )
