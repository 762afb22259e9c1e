"""Earlier states of a run: the last ones that turned out good, and the newest, of which nothing is known yet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.torchkit.snapshot import Snapshot

log = logging.getLogger("lossdoctor")


@dataclass(slots=True, eq=False)
class Kept:
    """One state.

    Attributes:
        taken: optimizer steps that had been made.
        step: the run's own step.
        factor: what the learning rate had been multiplied by.
        normal: what was normal for the run then.
        where: a Snapshot, or the path of one.
    """

    taken: int
    step: int
    factor: float
    normal: Any
    where: Any

    def snapshot(self) -> Snapshot:
        """The state itself, read back where it is on disk."""
        if isinstance(self.where, Path):
            from lossdoctor.torchkit.snapshot import Snapshot

            return Snapshot.load(self.where)
        found: Snapshot = self.where
        return found


class States:
    """A bounded number of states that turned out good, oldest first, and one candidate.

    Args:
        most: how many good ones are kept, at least 1.
        folder: where they are written, by a thread of their own; None keeps them in memory. What cannot be written
            stays in memory. The candidate always is there.
    """

    def __init__(self, most: int, folder: Path | None = None) -> None:
        self.most, self.folder = most, folder
        self.good: list[Kept] = []
        self.candidate: Kept | None = None
        self._writer: threading.Thread | None = None
        self._failed = False

    def propose(self, take: Callable[[], Kept]) -> None:
        """A new candidate, unless one waits."""
        if self.candidate is None:
            self.candidate = take()

    def confirm(self) -> None:
        """The candidate turned out good."""
        if self.candidate is not None:
            self.good.append(self.candidate)
            self.candidate = None
        while len(self.good) > self.most:
            _remove(self.good.pop(0))
        if self.folder is not None and not self._failed and (self._writer is None or not self._writer.is_alive()):
            self._writer = threading.Thread(target=self._write, args=(list(self.good),), daemon=True)
            self._writer.start()

    def reject(self) -> None:
        """The candidate is of a bad stretch, or nobody knows."""
        self.candidate = None

    def drop_newest(self) -> None:
        """The newest good state did not help; the last one is never given up."""
        if len(self.good) > 1:
            _remove(self.good.pop())

    def close(self, seconds: float = 30.0) -> None:
        """Wait until all is written, at most so long."""
        if self._writer is not None:
            self._writer.join(seconds)

    def _write(self, states: list[Kept]) -> None:
        assert self.folder is not None
        for kept in states:
            if isinstance(kept.where, Path):
                continue
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"state-{kept.taken}.pt"
                kept.where.save(path)
                kept.where = path
            except Exception as error:  # a full disk, a part of the state that is no plain data
                self._failed = True
                log.warning("states stay in memory: %s cannot hold them (%s)", self.folder, error)
                return
            if kept not in self.good:  # it was given up meanwhile
                _remove(kept)


def _remove(kept: Kept) -> None:
    if isinstance(kept.where, Path):
        kept.where.unlink(missing_ok=True)
