"""Notices that a run has stalled: no row for far longer than usual."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossdoctor.live.monitor import Monitor

log = logging.getLogger("lossdoctor")

_RECENT = 256  # intervals that say what is usual
_FEW = 10  # with fewer intervals than this nothing is usual yet
_MARGIN = 3.0  # a stall is this many times as long as the longest usual pause
_FRAMES = 8


class Rhythm:
    """How long the pauses between rows usually are, and from what length on one is a stall.

    Pauses that recur are usual, however long: validation, checkpoints. One freak pause is not: a pause that was told
    as a stall counts only when another like it comes, so the same kind of pause is told twice at most.

    Args:
        at_least: seconds; no shorter pause is a stall.
        at_first: seconds; as ``at_least`` while there are fewer than ten rows (compiling, loading data).

    >>> rhythm = Rhythm(at_least=60)
    >>> for _ in range(100):
    ...     rhythm.add(0.5)
    >>> rhythm.limit()
    60
    >>> rhythm.add(40.0)  # a validation
    >>> rhythm.limit()
    120.0
    """

    def __init__(self, at_least: float = 300.0, at_first: float = 3600.0) -> None:
        self.at_least = at_least
        self.at_first = at_first
        self.count = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._longest = 0.0  # but for the first few: compiling is not usual
        self._told = [0.0, 0.0]  # the two longest that were told, the longer one last

    def add(self, seconds: float, *, told: bool = False) -> None:
        """One more interval; ``told`` says that it was called a stall."""
        self.count += 1
        if told:
            _, *self._told = sorted((*self._told, seconds))
            return
        self._recent.append(seconds)
        if seconds > self._longest and self.count > _FEW:
            self._longest = seconds

    @property
    def typical(self) -> float:
        """The median interval, in seconds; 0 before there is one."""
        return sorted(self._recent)[len(self._recent) // 2] if self._recent else 0.0

    @property
    def longest(self) -> float:
        """The longest pause that counts as usual, in seconds."""
        return max([self._told[0], self._longest, *list(self._recent)[-_FEW:]])

    def limit(self) -> float:
        """A pause of more seconds than this is a stall."""
        least = self.at_least if self.count >= _FEW else max(self.at_first, self.at_least)
        return max(least, _MARGIN * self.longest)


class StallWatch(LiveAction):
    """Tells when a run has stalled: events ``"stalled"``, and ``"went_on"`` when rows come again.

    A hung data loader, a deadlocked collective or a dead file system end a run without an error. A thread that sleeps
    almost always compares the time since the last row with what is usual for the run (see :class:`Rhythm`); each stall
    is told once. The event's details say for how long, and where the training thread stands (``where``: its innermost
    calls), which tells a hung loader from a hung collective. The optimizer steps of a watched model count as rows do.
    A suspended machine is no stall.

    Args:
        at_least: seconds, above 0; no shorter pause is told. Choose it above the longest validation.
        at_first: seconds; the same until ten rows have come, while models compile and data are loaded.
        clock: seconds, ever growing; for tests.

    Raises:
        ValueError: a time that is not above 0.
    """

    def __init__(
        self, at_least: float = 300.0, at_first: float = 3600.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        for name, seconds in (("at_least", at_least), ("at_first", at_first)):
            if not seconds > 0:
                raise ValueError(f"StallWatch({name}=…) must be above 0 seconds, got {seconds!r}")
        self.rhythm = Rhythm(at_least, at_first)
        self._clock = clock
        self._last = 0.0
        self._rows = 0
        self._loop = 0  # the thread that logs
        self._told = False  # that it stands still now
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, monitor: Monitor) -> None:
        """Begin to watch: the first row is waited for as well."""
        self._last = self._clock()
        self._loop = threading.get_ident()
        self._closed.clear()
        self._thread = threading.Thread(target=self._watch, args=(monitor,), name="lossdoctor-stall", daemon=True)
        self._thread.start()

    def on_row(self, monitor: Monitor, row: Row) -> None:  # noqa: ARG002
        """Take the time of a row."""
        self._alive(monitor)

    def after_step(self, monitor: Monitor, optimizer: Any) -> None:  # noqa: ARG002
        """Take the time of an optimizer step: a run that logs seldom lives as well."""
        self._alive(monitor)

    def _alive(self, monitor: Monitor) -> None:
        now = self._clock()
        with self._lock:
            pause, told = now - self._last, self._told
            self._last, self._told = now, False
            if self._rows:  # what comes before the first row is no pause between rows
                self.rhythm.add(pause, told=told)
            self._rows += 1
        self._loop = threading.get_ident()
        if told:
            monitor.event("went_on", f"rows come again after {duration(pause)}", seconds=round(pause, 1))

    def finish(self, monitor: Monitor) -> None:  # noqa: ARG002
        """Stop watching; does not wait for the thread, which may stand in somebody's callback."""
        self._closed.set()

    def check(self, monitor: Monitor) -> float:
        """Tell a stall if there is one; returns the seconds until it is worth looking again."""
        with self._lock:
            paused, limit = self._clock() - self._last, self.rhythm.limit()
            stalled = paused > limit and not self._told
            self._told = self._told or stalled
        if not stalled:
            return max(1.0, limit - paused) if paused <= limit else limit
        where = where_is(self._loop)
        monitor.event("stalled", self._message(paused, where), seconds=round(paused, 1), where=where, **self._usual())
        return limit

    def _message(self, paused: float, where: list[str]) -> str:
        text = f"no row for {duration(paused)}"
        if not self._rows:
            text = f"no row in the first {duration(paused)}"
        elif self.rhythm.count >= _FEW:
            text += f"; usually one every {duration(self.rhythm.typical)}"
            if self.rhythm.longest > 2 * self.rhythm.typical:
                text += f", the longest pause was {duration(self.rhythm.longest)}"
        return f"{text}; the training thread is at {where[-1]}" if where else text

    def _usual(self) -> dict[str, Any]:
        return {"usual_seconds": round(self.rhythm.typical, 3), "longest_seconds": round(self.rhythm.longest, 3)}

    def _watch(self, monitor: Monitor) -> None:
        wait = 1.0
        while not self._closed.wait(wait):
            try:
                wait = self.check(monitor)
            except Exception as error:  # in a thread of its own nobody else would see it, and training must go on
                log.warning("lossdoctor no longer watches for stalls (%s: %s)", type(error).__name__, error)
                return


def where_is(thread: int) -> list[str]:
    """The innermost calls of a thread, outermost first, as ``file.py:12 function``; empty when it is gone."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return []
    calls = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    return [f"{_short(call.filename)}:{call.lineno} {call.name}" for call in reversed(calls)]


def _short(path: str) -> str:
    """A file with the folder it lies in: enough to find it, without the machine's folders."""
    return "/".join(path.replace("\\", "/").split("/")[-2:])


def duration(seconds: float) -> str:
    """A time span for people.

    >>> duration(0.0123), duration(42), duration(75), duration(7260), duration(200_000)
    ('0.012 s', '42 s', '1 min 15 s', '2 h 1 min', '2 d 8 h')
    """
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    for large, many, small, unit in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= many:
            whole, rest = divmod(round(seconds / unit), many // unit)
            return f"{whole} {large}" + (f" {rest} {small}" if rest else "")
    return "1 min"
