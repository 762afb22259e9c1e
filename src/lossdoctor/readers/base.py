"""What every reader is, and how it sees a file: by its first bytes, through one opened source."""

from __future__ import annotations

import abc
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar

from lossdoctor.core.errors import BrokenFileError, MissingDependencyError, ReadError
from lossdoctor.core.history import TrainingHistory

PROBE_BYTES = 64 * 1024
MAX_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass
class Source:
    """One file (or standard input, or a remote object) to read.

    Attributes:
        path: how messages name it, as the user gave it.
        name: file name without compression suffix, for hints only; content decides.
        local: the file on disk, or None when it is in memory only.
        data: the bytes, when they are in memory.
    """

    path: str
    name: str
    local: Path | None = None
    data: bytes | None = None
    _head: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_path(cls, path: Path, shown: str | None = None) -> Source:
        """A file on disk."""
        name = path.name
        for suffix in (".gz", ".zst"):
            name = name.removesuffix(suffix)
        return cls(shown or str(path), name, local=path)

    def open(self) -> BinaryIO:
        """The content, decompressed when it is gzip or zstd; the caller closes it.

        Raises:
            ReadError: it cannot be opened.
            MissingDependencyError: it is zstd and the package is not installed.
        """
        raw = self._open_raw()
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == _GZIP:
            return gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[return-value]
        if magic == _ZSTD:
            return _open_zstd(self.path, raw)
        return raw

    def _open_raw(self) -> BinaryIO:
        if self.data is not None:
            return io.BytesIO(self.data)
        assert self.local is not None
        try:
            return self.local.open("rb")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ReadError(
                self.path, f"cannot be opened ({reason})", hint="check the path and its permissions"
            ) from None

    @property
    def compressed(self) -> bool:
        """Whether the stored bytes are gzip or zstd."""
        with self._open_raw() as raw:
            magic = raw.read(4)
        return magic[:2] == _GZIP or magic == _ZSTD

    @property
    def head(self) -> bytes:
        """The first bytes (decompressed), for sniffing; read once."""
        if self._head is None:
            with self.open() as stream:
                try:
                    self._head = stream.read(PROBE_BYTES)
                except Exception as error:
                    if not is_damage(error):
                        raise
                    raise BrokenFileError(
                        self.path,
                        f"the compressed data is damaged ({error})",
                        where="byte 0",
                        hint="copy the file again",
                    ) from None
        return self._head

    def read_bytes(self) -> bytes:
        """The whole content, decompressed. A compressed stream that is cut off gives what could be read."""
        if self.data is not None and not self.compressed:
            return self.data
        parts: list[bytes] = []
        held = 0
        with self.open() as stream:
            try:
                while part := stream.read1(1 << 16):  # type: ignore[attr-defined]
                    parts.append(part)
                    held += len(part)
                    if held > MAX_BYTES:
                        raise BrokenFileError(
                            self.path,
                            f"larger than {MAX_BYTES >> 20:,} MiB decompressed, which this format needs in memory",
                            where=f"byte {MAX_BYTES:,}",
                            hint="log to a format that is read in pieces (TensorBoard, CSV, JSON lines)",
                        )
            except Exception as error:
                if not is_damage(error):
                    raise
                if not parts:
                    raise BrokenFileError(
                        self.path, "the compressed data is damaged", where="byte 0", hint="copy the file again"
                    ) from None
        return b"".join(parts)


def is_damage(error: Exception) -> bool:
    """Whether an error says that compressed data is damaged or cut off.

    Zstandard's own error class cannot be named without importing the package.
    """
    known = isinstance(error, (OSError, EOFError, ValueError, zlib.error)) and not isinstance(error, ReadError)
    return known or type(error).__module__.partition(".")[0] in ("zstd", "zstandard")


def _open_zstd(path: str, raw: BinaryIO) -> BinaryIO:
    try:
        import zstandard
    except ImportError:
        raise MissingDependencyError(path, "Zstandard-compressed", "zstandard", "fast") from None
    return zstandard.ZstdDecompressor().stream_reader(raw)


class Reader(abc.ABC):
    """One log format. Stateless; registered by the entry point group ``lossdoctor.readers``.

    Attributes:
        name: the format's name in results, for example ``"csv"``.
        describes: one line for people: which tools write this format.
    """

    name: ClassVar[str]
    describes: ClassVar[str]

    @abc.abstractmethod
    def sniff(self, source: Source) -> int:
        """How sure the reader is that this file is its own: 0 (no) to 100 (a magic number says so).

        Looks at ``source.head`` and, as a hint only, at ``source.name``; cheap; never raises.
        """

    @abc.abstractmethod
    def read(self, source: Source) -> list[TrainingHistory]:
        """Read the file.

        Returns one history per run in it. A file of this format without any curve gives one history without
        curves whose first note says why ("event file without scalars: it holds only a graph").

        Raises:
            NotRecognizedError: it is not this format after all.
            BrokenFileError: broken at a line or byte.
            MissingDependencyError: a package is missing.
        """

    def claims(self, folder: Path, names: frozenset[str]) -> bool:
        """Whether a whole folder is one log of this format (MLflow's file store, say)."""
        del folder, names
        return False

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        """Read a claimed folder."""
        raise NotImplementedError(f"{type(self).__name__} claims no folders")
