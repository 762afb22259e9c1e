"""A file in pieces, compressed or not; what a damaged compression leaves is told, not raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from lossdoctor.readers.base import Source, is_damage

_STEP = 1 << 16


def chunks(source: Source, size: int, notes: list[str]) -> Iterator[bytes]:
    """The content of ``source`` in pieces of about ``size`` bytes.

    A compressed stream that is damaged or cut off ends there, with a note; what comes before it is given.

    Raises:
        ReadError: the file cannot be opened.
    """
    with source.open() as stream:
        if not source.compressed:
            while piece := stream.read(size):
                yield piece
            return
        parts: list[bytes] = []
        held = 0
        for part in _decompressed(stream, notes):
            parts.append(part)
            held += len(part)
            if held >= size:
                yield b"".join(parts)
                parts, held = [], 0
        if parts:
            yield b"".join(parts)


def _decompressed(stream: BinaryIO, notes: list[str]) -> Iterator[bytes]:
    """Small pieces, so that an error costs little of what lies before it."""
    done = 0
    while True:
        try:
            part = stream.read1(_STEP)  # type: ignore[attr-defined]
        except Exception as error:
            if not is_damage(error):
                raise
            notes.append(_note(done, error))
            return
        if not part:
            return
        done += len(part)
        yield part


def _note(done: int, error: Exception) -> str:
    return f"the compressed data is damaged or cut off after {done:,} bytes ({error}); everything before was read"
