"""A file in pieces, compressed or not; what a damaged compression leaves is told, not raised."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from lossdoctor.readers.base import Source


def chunks(source: Source, size: int, notes: list[str]) -> Iterator[bytes]:
    """The content of ``source`` in pieces of at most ``size`` bytes.

    A compressed stream that is damaged or cut off ends there, with a note.

    Raises:
        ReadError: the file cannot be opened.
    """
    with source.open() as stream:
        done = 0
        while True:
            try:
                piece = stream.read(size)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                notes.append(f"the compressed data is damaged or cut off after {done:,} bytes ({error})")
                return
            except Exception as error:
                # zstandard's own error, whose class cannot be named without importing the package
                if type(error).__module__.split(".")[0] not in ("zstd", "zstandard"):
                    raise
                notes.append(f"the compressed data is damaged or cut off after {done:,} bytes ({error})")
                return
            if not piece:
                return
            done += len(piece)
            yield piece
