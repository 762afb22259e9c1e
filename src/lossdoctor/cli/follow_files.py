"""Reading files that grow: what was read of a file is kept, and only what is new is read where the format allows.

Event files and text logs are read on from where they ended; files of other formats are read anew when they change.
What is found is what ``lossdoctor diagnose`` finds in the file at that moment, but for a last line that is still being
written: of ``loss 0.1234`` only ``loss 0.1`` may be there yet, and that is no loss.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lossdoctor.cli.follow_tail import Changed, Tail
from lossdoctor.core.errors import ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Reader, Source
from lossdoctor.readers.tensorboard import history_of
from lossdoctor.readers.text.lines import encoding_of
from lossdoctor.wire.decode import EventDecoder
from lossdoctor.wire.framing import header_is_valid

# Formats whose rows are lines: a last one without its end is left for later.
_LINES = frozenset({"csv", "jsonl", "text"})
_MOST_IN_MEMORY = 256 << 20  # larger files of lines are read as they are, with whatever their last line holds


class Grower(Protocol):
    """Reads one file again and again."""

    def read(self, source: Source, *, whole: bool) -> list[TrainingHistory]:
        """The histories of the file as it is now.

        Args:
            whole: nothing more is written: a last line without an end is complete.

        Raises:
            Changed: it does not go on from what was read.
            ReadError: as a reader does.
        """


class EventGrower:
    """An event file: whole records are decoded as they come."""

    def __init__(self) -> None:
        self._tail = Tail()
        self._decoder = EventDecoder()

    def read(self, source: Source, *, whole: bool) -> list[TrainingHistory]:  # noqa: ARG002
        """See :class:`Grower`. A record that is cut off is told, as ``diagnose`` does, and read once it is complete."""
        assert source.local is not None
        for piece in self._tail.pieces(source.local):
            self._decoder.feed(piece)
            self._tail.take(piece)
        for series in self._decoder.log.series.values():  # one array, not one for every look
            steps, values, times = series.joined()
            series.steps[:], series.values[:], series.times[:] = [steps], [values], [times]
        return [history_of(source, self._decoder.finish())]


class LineReader:
    """A file of lines in a format that is read anew each time: up to its last complete line."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, source: Source, *, whole: bool) -> list[TrainingHistory]:
        """See :class:`Grower`."""
        assert source.local is not None
        if not whole and source.local.stat().st_size <= _MOST_IN_MEMORY:
            data = source.local.read_bytes()
            if end := data.rfind(b"\n") + 1:
                source = Source(source.path, source.name, local=source.local, data=data[:end])
        return self._reader.read(source)


class AnyReader:
    """A file that is read as it is."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, source: Source, *, whole: bool) -> list[TrainingHistory]:  # noqa: ARG002
        """See :class:`Grower`."""
        return self._reader.read(source)


@dataclass(slots=True)
class _File:
    """What is known of one file."""

    head: bytes = b""
    scores: dict[str, int] = field(default_factory=dict)
    reader: str = ""
    grower: Grower | None = None
    stamp: tuple[object, ...] = ()
    found: list[TrainingHistory] | ReadError = field(default_factory=list)


class Memory:
    """What has been read of every file, shared by the readers of :func:`following`.

    Attributes:
        whole: nothing more is written: last lines without an end are read, too.
        replaced: paths that were truncated, replaced or written over since this was last emptied.
    """

    def __init__(self) -> None:
        self.whole = False
        self.replaced: set[str] = set()
        self._files: dict[str, _File] = {}

    def score(self, reader: Reader, source: Source) -> int:
        """How sure a reader is of a file; asked again only when the beginning of the file has changed."""
        if source.local is None:
            return reader.sniff(source)
        known = self._files.setdefault(str(source.local), _File())
        if known.head != source.head:
            known.head = source.head
            known.scores.clear()
        if reader.name not in known.scores:
            known.scores[reader.name] = reader.sniff(source)
        return known.scores[reader.name]

    def read(self, reader: Reader, source: Source) -> list[TrainingHistory]:
        """The histories of a file; read only when it has changed, and from where it has grown."""
        if source.local is None:
            return reader.read(source)
        known = self._files.setdefault(str(source.local), _File())
        try:
            info = os.stat(source.local)
        except OSError as error:
            raise _unreadable(source, error) from None
        stamp = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, self.whole, reader.name)
        if known.stamp != stamp:
            known.found = self._read(known, reader, source, replaced=known.stamp[:2] not in ((), stamp[:2]))
            known.stamp = stamp
            if type(known.found) is ReadError:  # of the file system, not of the content: it may pass
                known.stamp = ()
        if isinstance(known.found, ReadError):
            raise known.found
        return [_copy(h) for h in known.found]

    def _read(
        self, known: _File, reader: Reader, source: Source, *, replaced: bool
    ) -> list[TrainingHistory] | ReadError:
        if replaced:
            self.replaced.add(source.path)
        if known.grower is None or known.reader != reader.name or replaced:
            known.grower, known.reader = _grower(reader, source), reader.name
        try:
            try:
                return known.grower.read(source, whole=self.whole)
            except Changed:
                self.replaced.add(source.path)
                known.grower = _grower(reader, source)
                return known.grower.read(source, whole=self.whole)
        except ReadError as error:
            return error
        except OSError as error:  # gone, or a file system that does not answer now
            return _unreadable(source, error)


def _unreadable(source: Source, error: OSError) -> ReadError:
    return ReadError(source.path, f"cannot be read ({error.strerror or type(error).__name__})")


def _grower(reader: Reader, source: Source) -> Grower:
    if not source.compressed:
        if reader.name == "tensorboard" and header_is_valid(source.head, 0):
            return EventGrower()
        if reader.name == "text" and encoding_of(source.head)[0] == "utf-8":
            from lossdoctor.cli.follow_text import TextGrower

            return TextGrower()
        if reader.name in _LINES:
            return LineReader(reader)
    return AnyReader(reader)


def _copy(history: TrainingHistory) -> TrainingHistory:
    """The same curves in a history of its own: joining and naming change what they are given."""
    own = copy.copy(history)
    own.notes, own.events = list(history.notes), [dict(e) for e in history.events]
    return own


def following(readers: Sequence[Reader], memory: Memory) -> tuple[Reader, ...]:
    """The readers, each with a memory of what it has read."""
    return tuple(
        _FollowingFolders(r, memory) if type(r).claims is not Reader.claims else _Following(r, memory) for r in readers
    )


class _Following(Reader):
    """A reader that remembers."""

    def __init__(self, reader: Reader, memory: Memory) -> None:
        self.name = reader.name  # type: ignore[misc]
        self.describes = reader.describes  # type: ignore[misc]
        self._reader = reader
        self._memory = memory

    def sniff(self, source: Source) -> int:
        return self._memory.score(self._reader, source)

    def read(self, source: Source) -> list[TrainingHistory]:
        return self._memory.read(self._reader, source)


class _FollowingFolders(_Following):
    """A reader that also claims folders; those are read anew."""

    def claims(self, folder: Path, names: frozenset[str]) -> bool:
        return self._reader.claims(folder, names)

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        return self._reader.read_folder(folder, shown)
