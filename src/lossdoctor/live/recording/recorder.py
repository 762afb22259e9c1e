"""Writes rows to a TensorBoard event file: one ``write()`` each, nothing buffered, never an error to the training."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossdoctor.wire.encode import RowEncoder, file_header, session_start, text_record

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MOST_KEPT = 64 << 20  # bytes of rows held in memory while they cannot be written: about 300,000 rows of 5 scalars
_CHECK_EVERY = 1.0  # seconds between looks whether the file is still there
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_BATCH = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

Tell = Callable[[str, str, Mapping[str, Any]], None]


class Recorder:
    """The event file of one process.

    A row is handed to the operating system by one ``write()`` before :meth:`row` returns: it outlives the process,
    however that ends (not the machine: nothing is forced to the disk, which would cost milliseconds a row).

    Where it cannot be written (disk full, folder gone, no permission), rows are kept in memory, at most ``most_kept``
    bytes of them; beyond that the oldest ones are dropped and counted. Writing is tried again at the next row after
    1, 2, 4, … at most 60 seconds, and at :meth:`close`. What was kept is then written in order. When the file was
    deleted while it was open, all that it held is written to a new one.

    Args:
        folder: the run's folder; made, with its parents, where it is missing.
        tell: called with an event's kind, message and details when writing fails, and when it works again.
    """

    def __init__(self, folder: Path, tell: Tell, most_kept: int = MOST_KEPT) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.dropped = 0
        self._tell = tell
        self._most_kept = most_kept
        self._encoder = RowEncoder()
        self._fd: int | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._failing = False
        self._failed_at = 0.0
        self._wait = _FIRST_WAIT
        self._retry_at = 0.0
        self._checked = time.time()

    @property
    def failing(self) -> bool:
        """Whether rows are kept in memory because they cannot be written."""
        return self._failing

    @property
    def kept(self) -> int:
        """How many records are kept in memory."""
        return len(self._kept)

    def open(self) -> None:
        """Make the file. What goes wrong is told, and tried again with the rows."""
        try:
            self._open()
        except OSError as error:
            self._fail(error)

    def row(self, row: Mapping[str, float], step: int, wall_time: float) -> None:
        """Store a row."""
        self._write(self._encoder.encode(row, step, wall_time), wall_time)

    def text(self, tag: str, text: str, step: int, wall_time: float) -> None:
        """Store a text."""
        self._write(text_record(tag, text, step, wall_time), wall_time)

    def restart(self, step: int, wall_time: float) -> None:
        """Store the mark of a resumed run: TensorBoard hides what was logged from this step on before."""
        self._write(session_start(step, wall_time), wall_time)

    def close(self) -> None:
        """Write what was kept, if that is possible now, and close the file."""
        if self._failing:
            self._retry()
        elif self._is_gone():
            self._fail(FileNotFoundError(errno.ENOENT, "the event file was deleted"))
            self._retry()
        self.abandon()

    def abandon(self) -> None:
        """Close the file and write nothing more: a forked process, say, must leave it to its parent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    # writing

    def _write(self, record: bytes, now: float) -> None:
        if self._failing or self._fd is None:
            self._keep(record)
            if time.monotonic() >= self._retry_at:
                self._retry()
            return
        if not 0 <= now - self._checked < _CHECK_EVERY:
            self._checked = now
            if self._is_gone():
                self._keep(record)
                self._fail(FileNotFoundError(errno.ENOENT, "the event file was deleted"))
                return
        written, error = self._put(record)
        if error is not None:
            self._cut_off(written)
            self._keep(record)
            self._fail(error)

    def _put(self, data: bytes) -> tuple[int, OSError | None]:
        """Write all of it; else how many bytes got there, and why not more."""
        assert self._fd is not None
        done = 0
        try:
            while done < len(data):  # one round, but on a disk that fills up
                done += os.write(self._fd, data[done:] if done else data)
        except OSError as error:
            return done, error
        return done, None

    def _keep(self, record: bytes) -> None:
        self._kept.append(record)
        self._kept_bytes += len(record)
        while self._kept_bytes > self._most_kept and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft())
            self.dropped += 1

    def _cut_off(self, written: int) -> None:
        """Take a record that was written in part off the file's end; where that fails, the file is left behind."""
        if not written or self._fd is None:
            return
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            self.abandon()

    def _fail(self, error: OSError) -> None:
        if self._failing:
            return
        self._failing = True
        self._failed_at = time.monotonic()
        self._wait = _FIRST_WAIT
        self._retry_at = self._failed_at + self._wait
        reason = error.strerror or type(error).__name__
        self._tell(
            "recording_failed",
            f"rows cannot be written ({reason}); they are kept in memory and written later,"
            f" at most {self._most_kept >> 20} MiB of them",
            {"reason": reason},
        )

    def _retry(self) -> None:
        """Try to write all that was kept."""
        try:
            if self._fd is None:
                self._open()
            elif self._is_gone():
                self._begin_anew()
            self._write_kept()
        except OSError as error:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._retry_at = time.monotonic() + self._wait
            if error.errno not in _FULL and not self._is_gone():
                self.abandon()  # a descriptor that a network file system has given up never works again
            return
        if self._failing:
            self._failing = False
            seconds, dropped = time.monotonic() - self._failed_at, self.dropped
            lost = f"; {dropped:,} of the oldest that were kept had to be dropped" if dropped else ""
            self._tell(
                "recording_restored",
                f"rows are written again, with all that were kept for {seconds:.0f} s{lost}",
                {"seconds": round(seconds, 1), "dropped": dropped},
            )

    def _write_kept(self) -> None:
        while self._kept:
            batch, size = [], 0
            for record in self._kept:
                batch.append(record)
                size += len(record)
                if size >= _BATCH:
                    break
            written, error = self._put(b"".join(batch))
            done = 0
            while self._kept and done + len(self._kept[0]) <= written:
                done += len(self._kept[0])
                self._kept_bytes -= len(self._kept.popleft())
            if error is not None:
                self._cut_off(written - done)
                raise error

    # the file

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        count = 0
        while True:
            path = self.folder / f"events.out.tfevents.{int(began)}.lossdoctor.{count}"
            try:
                fd = os.open(path, _FLAGS, 0o666)
                break
            except FileExistsError:
                count += 1
        if fcntl is not None:  # tells a process that comes later that this one is alive
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._fd, self.path = fd, path
        _, error = self._put(file_header(began))
        if error is not None:
            self._discard()
            raise error

    def _is_gone(self) -> bool:
        if self._fd is None:
            return False
        try:
            return os.fstat(self._fd).st_nlink == 0
        except OSError:
            return True

    def _begin_anew(self) -> None:
        """A new file with all that the deleted one held: it can still be read through its open descriptor."""
        old, self._fd = self._fd, None
        assert old is not None
        try:
            self._open()
            self._copy_from(old, len(file_header(0.0)))
        except OSError:
            self._discard()
            self._fd = old
            raise
        with suppress(OSError):
            os.close(old)

    def _copy_from(self, old: int, at: int) -> None:
        while True:
            try:
                piece = os.pread(old, _BATCH, at)
            except OSError:  # it is gone for good, with what it held
                return
            if not piece:
                return
            at += len(piece)
            _, error = self._put(piece)
            if error is not None:
                raise error

    def _discard(self) -> None:
        self.abandon()
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()


def being_written(files: list[Path]) -> bool:
    """Whether a living process writes to one of these event files."""
    if fcntl is None:
        return False
    for path in files:
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            continue
        finally:
            os.close(fd)
    return False
