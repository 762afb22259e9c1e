"""A run on disk: its folder, the event file of this process, ``run.json`` and ``diagnosis.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.live.recording import run_folder
from lossdoctor.live.recording.plain import plain
from lossdoctor.live.recording.recorder import Recorder, Tell, being_written
from lossdoctor.live.rows import LiveEvent
from lossdoctor.wire.encode import EVENT_TAG

_DIAGNOSIS_EVERY = 5.0  # seconds


class Storage:
    """Where a run is kept. Nothing here raises because of a file system.

    Args:
        run_dir: the folder; None for a new one, ``runs/<time>-<name>``.
        name, config, metrics, context: for ``run.json``.
        tell: called with an event's kind, message and details when writing fails, and when it works again.

    Attributes:
        folder: the run's folder, whether or not it could be made.
        earlier: what earlier processes wrote to it; None in a new run.
        shared: whether another living process writes to this folder too.
    """

    def __init__(
        self,
        run_dir: Path | None,
        name: str,
        config: Mapping[str, Any],
        metrics: Mapping[str, str],
        context: Mapping[str, Any],
        tell: Tell,
    ) -> None:
        self._about = (name, config, metrics, context)
        self._said: dict[str, Any] | None = None
        self._diagnosis_at = 0.0
        self._made = run_dir is None
        try:
            self.folder = run_folder.default_folder(name) if run_dir is None else run_dir
        except OSError:  # the recorder tells it, and tries again
            self._made = False
            self.folder = run_folder.ROOT / f"{time.strftime('%Y%m%d-%H%M%S')}-{run_folder.safe_name(name) or 'run'}"
        self.earlier: run_folder.Earlier | None = None
        self.shared = False
        if not self._made:
            files = run_folder.our_event_files(self.folder)
            self.shared = being_written(files)
            self.earlier = run_folder.earlier_rows(files) if files and not self.shared else None
        self.recorder = Recorder(self.folder, tell)

    def open(self) -> None:
        """Make the event file and ``run.json``. Separate from the constructor: failing is told by an event already."""
        self.recorder.open()
        self._describe()

    def event(self, event: LiveEvent) -> None:
        """Keep an event."""
        import orjson

        known = {"kind": event.kind, "message": event.message}
        text = orjson.dumps({**plain(dict(event.details)), **plain(known)}).decode()
        self.recorder.text(EVENT_TAG, text, event.step, event.wall_time)

    def diagnosis(self, found: Diagnosis, *, at_once: bool = False) -> None:
        """Write ``diagnosis.json``, in the form that ``lossdoctor diagnose --format json`` prints; not too often."""
        now = time.monotonic()
        if not at_once and now < self._diagnosis_at:
            return
        self._diagnosis_at = now + _DIAGNOSIS_EVERY
        if not (self.folder / run_folder.RUN_FILE).exists():  # the folder is new, or was gone for a while
            self._describe()
        report = {"lossdoctor": "diagnosis", "schema_version": 1, "skipped": 0, "runs": [found.as_dict()], "errors": []}
        with suppress(OSError):  # of a disk in trouble the recorder tells
            run_folder.write_json(self.folder / run_folder.DIAGNOSIS_FILE, report)

    def _describe(self) -> None:
        path = self.folder / run_folder.RUN_FILE
        if self._said is None:
            self._said = run_folder.describe(path, *self._about)
        with suppress(OSError):
            run_folder.write_json(path, self._said)

    def close(self) -> int:
        """End it; the number of records that could not be written."""
        self.recorder.close()
        return self.recorder.kept

    def undo(self) -> None:
        """Take back a run that should not have been begun: nothing was logged to it, and another process has it."""
        self.recorder.abandon()
        if self.recorder.path is not None:
            with suppress(OSError):
                self.recorder.path.unlink()
        if self._made:
            with suppress(OSError):
                (self.folder / run_folder.RUN_FILE).unlink()
                self.folder.rmdir()
