"""Following what a path holds while it is being written: when to look, what has changed, and how long ago."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lossdoctor.cli.follow_files import Memory, following
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import LossdoctorError, MissingDependencyError, NotRecognizedError, ReadError, UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.discover import worth_opening
from lossdoctor.readers.join import join
from lossdoctor.readers.pieces import Piece
from lossdoctor.readers.registry import read_source, registry
from lossdoctor.readers.remote import is_url
from lossdoctor.readers.scanning import scan
from lossdoctor.readers.text.lines import is_text

# The share of the time that may be spent on reading and judging: the next look waits so much longer.
SHARE = 0.05
_URL_SECONDS = 30.0  # whether a remote file has changed is only seen by fetching it
_MOST_FILES = 100_000


class Stamp(NamedTuple):
    """What tells that a file has changed."""

    device: int
    inode: int
    size: int
    modified: int  # nanoseconds since the epoch


@dataclass(frozen=True)
class Look:
    """What one look at a path gave.

    Attributes:
        histories: the runs, in the order of ``lossdoctor diagnose``.
        problem: why there is none, or what could not be read; empty when all is well.
        hopeless: whether waiting cannot mend the problem.
        replaced: paths that no longer go on from what was read before.
    """

    histories: list[TrainingHistory] = field(default_factory=list)
    problem: str = ""
    hopeless: bool = False
    replaced: frozenset[str] = frozenset()


class Follower:
    """Follows one path: a log, a folder of runs, a URL, or the spooled standard input.

    Args:
        path: as the user gave it.
        metrics, context: as for :func:`lossdoctor.readers.scanning.scan`.
        spool: where standard input is kept, when the path is ``-``.
    """

    def __init__(
        self, path: str, metrics: Mapping[str, str], context: RunContext | None, spool: Path | None = None
    ) -> None:
        self.path = path
        self._metrics = dict(metrics)
        self._context = context
        self._spool = spool
        self._remote = spool is None and is_url(path)
        self._stamps: dict[str, Stamp] | None = None
        self._looked = 0.0
        self._wrong = False
        self._forget()

    def _forget(self) -> None:
        """Read everything anew."""
        self._memory = Memory()
        self._readers = following(registry().readers, self._memory)
        self._reading = False

    def changed(self) -> bool:
        """Whether there is something new to look at, or something wrong that may be right now.

        Costs a stat of each file.
        """
        if self._remote:
            return time.monotonic() - self._looked >= _URL_SECONDS
        before, self._stamps = self._stamps, dict(_stamps(self._spool or Path(self.path)))
        return self._stamps != before or self._wrong

    def look(self, *, whole: bool = False) -> Look:
        """Read what is new. ``whole``: nothing more is written, so that last lines without an end count.

        Raises:
            MissingDependencyError: its format needs a package that is not installed.
        """
        if self._reading:  # Ctrl-C came in the middle of a look: what it had read so far is anybody's guess
            self._forget()
        self._reading = True
        self._memory.whole = whole
        self._memory.replaced.clear()
        self._looked = time.monotonic()
        try:
            found = self._standard_input() if self._spool is not None else self._scan()
        except ReadError as error:
            found = Look(problem=str(error), hopeless=self._hopeless(error))
        except UsageError as error:  # --metric names one that no run has: perhaps not yet
            found = Look(problem=str(error))
        self._reading, self._wrong = False, bool(found.problem)
        return Look(found.histories, found.problem, found.hopeless, frozenset(self._memory.replaced))

    def touched(self, history: TrainingHistory) -> float | None:
        """When a run's files were last written to, in seconds since the epoch; None where that is not known."""
        if self._spool is not None:
            return max((s.modified for s in (self._stamps or {}).values()), default=0) / 1e9 or None
        place = history.path if os.path.lexists(history.path) else history.path.rpartition("#")[0]
        below = place.rstrip(os.sep) + os.sep
        stamps = self._stamps or {}
        inside = [stamp.modified for path, stamp in stamps.items() if path == place or path.startswith(below)]
        return max(inside) / 1e9 if inside else None

    def _scan(self) -> Look:
        if not self._remote and not os.path.lexists(self.path):
            return Look(problem=f"{self.path} does not exist yet")
        found = scan([self.path], metrics=self._metrics, context=self._context, readers=self._readers)
        errors = [e for e in found.errors if not _is_empty(e)]
        told = "; ".join(str(e) for e in errors[:3])
        if found.histories:
            return Look(found.histories, told)
        if not errors:
            return Look(problem=f"{self.path} is empty")
        return Look(problem=told, hopeless=any(self._hopeless(e) for e in errors))

    def _standard_input(self) -> Look:
        assert self._spool is not None
        if not self._spool.stat().st_size:
            return Look(problem="nothing has come through standard input yet")
        source = Source("-", "standard input", local=self._spool)
        histories = read_source(source, self._readers)
        many = len(histories) > 1
        runs = join([Piece(h, "-", (), "-", many) for h in histories])
        for role, name in self._metrics.items():
            if not any(name in h for h in runs):
                have = ", ".join(list(runs[0].curves)[:12])
                raise UsageError(f"--metric {role}={name}: there is no metric {name!r}; there are {have}")
        for history in runs:
            history.context = history.context.merged(self._context)
            history.set_roles({role: name for role, name in self._metrics.items() if name in history})
        return Look(runs)

    def _hopeless(self, error: LossdoctorError) -> bool:
        """Whether an error will stay: a missing package, or a file that is no text and none of the formats."""
        if isinstance(error, MissingDependencyError):
            return True
        path = self._spool or Path(self.path)
        if self._remote or path.is_dir():
            return False
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                return True
            with path.open("rb") as stream:
                head = stream.read(4096)
        except OSError:
            return False
        return isinstance(error, NotRecognizedError) and len(head) >= 64 and not is_text(head)


def _is_empty(error: ReadError) -> bool:
    """Whether an error says only that nothing has been written yet."""
    return isinstance(error, NotRecognizedError) and (
        "empty file" in error.problem or "the folder holds no files" in error.problem
    )


def _stamps(path: Path) -> Iterator[tuple[str, Stamp]]:
    """The files at a path that may be logs, with their stamps; nothing for what is not there."""
    try:
        info = path.stat()
        if not stat.S_ISDIR(info.st_mode):
            yield str(path), Stamp(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
            return
    except OSError:
        return
    yield from _inside(path, (), 0)


def _inside(folder: Path, parts: tuple[str, ...], depth: int) -> Iterator[tuple[str, Stamp]]:
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:
        return
    for entry in entries:
        below = (*parts, entry.name)
        try:
            if entry.is_dir(follow_symlinks=False):
                if depth < 64 and not entry.name.startswith("."):
                    yield from _inside(Path(entry.path), below, depth + 1)
            elif worth_opening(below):
                info = entry.stat()
                yield entry.path, Stamp(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        except OSError:  # gone since the listing
            continue


class Pace:
    """When to look again: at least ``interval`` seconds after the last look, and so late that looking costs little.

    Args:
        interval: seconds between two looks.
        share: of the time that looking may cost.

    >>> clock = iter([0.0, 5.0, 10.0, 12.0, 13.0, 49.0, 50.0]).__next__
    >>> pace = Pace(interval=1.0, share=0.05, clock=clock)
    >>> for _ in range(2):  # the second look takes 2 s
    ...     with pace:
    ...         pass
    >>> pace.wait  # until looking costs a twentieth of the time
    38.0
    >>> pace.due(), pace.due(), pace.due()
    (False, False, True)
    """

    def __init__(self, interval: float, share: float = SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval = interval
        self.share = share
        self.cost = 0.0
        self.spent = 0.0
        self._clock = clock
        self._began = 0.0
        self._before = 0.0
        self._next = float("-inf")

    @property
    def wait(self) -> float:
        """Seconds between the end of a look and the next one."""
        return max(self.interval, self.cost * (1 / self.share - 1))

    def due(self) -> bool:
        """Whether it is time to look."""
        return self._clock() >= self._next

    def __enter__(self) -> Pace:
        self._began = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        now = self._clock()
        spent = now - self._began
        self.cost = min(spent, self._before)  # one costly look, such as one that imports, says nothing of the next
        self.spent, self._before = self.spent + spent, spent
        self._next = now + self.wait
