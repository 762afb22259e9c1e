"""The folder of a run: its name, what is written beside the event files, and what an earlier process left in it."""

from __future__ import annotations

import heapq
import math
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossdoctor.live.recording.plain import plain
from lossdoctor.live.rows import Row
from lossdoctor.wire.decode import WINDOW, EventDecoder, EventLog, Series

RUN_FILE, DIAGNOSIS_FILE = "run.json", "diagnosis.json"
ROOT = Path("runs")
OUR_EVENTS = re.compile(r"events\.out\.tfevents\.\d+\.lossdoctor\.\d+")
_UNSAFE = re.compile(r"[^\w.+=-]+")
_LONGEST_NAME = 80
_MOST_SESSIONS = 1_000
_LEAST_RUN = 3  # rows; as for readers of logs, so few are no run
_FAR = 50  # logging intervals: a run that begins later than that was resumed already


def safe_name(name: str) -> str:
    """A run's name as part of a folder's: no separators, no spaces, not hidden, not endless.

    >>> safe_name("../my run: lr=3e-4"), safe_name("été"), safe_name("..")
    ('my-run-lr=3e-4', 'été', '')
    """
    return _UNSAFE.sub("-", name).strip("-.")[:_LONGEST_NAME].rstrip("-.")


def default_folder(name: str, root: Path = ROOT) -> Path:
    """A new folder ``root/<time>-<name>``, made here, so that two processes never get the same one.

    Raises:
        OSError: it cannot be made.
    """
    label = safe_name(name)
    stem = time.strftime("%Y%m%d-%H%M%S") + (f"-{label}" if label else "")
    root.mkdir(parents=True, exist_ok=True)
    for count in range(1, 10_000):
        folder = root / (stem if count == 1 else f"{stem}-{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{root / stem} and its like are all taken")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON so that a reader sees the old file or the new one, never half of one.

    Raises:
        OSError: it cannot be written.
    """
    import orjson

    data = orjson.dumps(plain(value), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that was written here; empty when there is none or it is damaged."""
    import orjson

    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def describe(
    path: Path, name: str, config: Mapping[str, Any], metrics: Mapping[str, str], context: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``run.json`` says of the run; of an earlier process what this one does not say anew, and its session.

    Nothing of the machine: no host, user, path or environment.
    """
    earlier = read_json(path)
    versions = _versions()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sessions = earlier.get("sessions")
    sessions = [s for s in sessions if isinstance(s, dict)] if isinstance(sessions, list) else []

    def over(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        before = earlier.get(key)
        return {**(before if isinstance(before, dict) else {}), **plain(dict(value))}

    return {
        "lossdoctor": "run",
        "schema_version": 1,
        "name": name or earlier.get("name", ""),
        "created": earlier.get("created", now),
        "config": over("config", config),
        "metrics": over("metrics", metrics),
        "context": over("context", context),
        "versions": versions,
        "sessions": [*sessions[-_MOST_SESSIONS:], {"started": now, "versions": versions}],
    }


def _versions() -> dict[str, str]:
    from lossdoctor import __version__

    found = {"python": platform.python_version(), "lossdoctor": __version__}
    for package in ("torch", "numpy"):  # only where it is imported already
        version = getattr(sys.modules.get(package), "__version__", None)
        if version is not None:
            found[package] = str(version)
    return found


# what an earlier process left


class _Block(NamedTuple):
    """Metrics that were logged together."""

    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]

    def rows(self) -> Iterator[Row]:
        names = tuple(self.values)
        columns = (column.tolist() for column in self.values.values())
        for step, at, *numbers in zip(self.steps.tolist(), self.times.tolist(), *columns, strict=True):
            yield Row(step, dict(zip(names, numbers, strict=True)), at)


@dataclass(slots=True)
class Earlier:
    """What earlier processes wrote to a run's folder.

    Attributes:
        sessions: the rows of each event file, as blocks, in the order in which the files were begun.
        events: what happened, in the form in which a history keeps it.
    """

    sessions: list[list[_Block]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """All of them; each metric in the order in which it was logged."""
        for blocks in self.sessions:
            yield from heapq.merge(*(b.rows() for b in blocks), key=lambda row: row.wall_time)

    def __len__(self) -> int:
        return sum(len(b.steps) for blocks in self.sessions for b in blocks)

    @property
    def last_step(self) -> int | None:
        """The step of the last row; None when there is none."""
        ends = [(float(b.times[-1]), int(b.steps[-1])) for b in self.sessions[-1]] if self.sessions else []
        return max(ends)[1] if ends else None

    def starts_over(self, step: int) -> bool:
        """Whether a run that goes on at ``step`` begins anew: what went before is then a run of its own to readers."""
        longest = max((b for blocks in self.sessions for b in blocks), key=lambda b: len(b.steps), default=None)
        if longest is None or len(longest.steps) < _LEAST_RUN or self.first_step is None:
            return False
        usual = max(1, int(np.median(np.abs(np.diff(longest.steps)))))
        return self.first_step <= _FAR * usual and step <= self.first_step + usual

    @property
    def first_step(self) -> int | None:
        """The lowest step of the first session."""
        return min((int(b.steps.min()) for b in self.sessions[0]), default=None) if self.sessions else None


def our_event_files(folder: Path) -> list[Path]:
    """The event files of lossdoctor in a folder, as far as it can be listed."""
    try:
        return sorted(p for p in folder.iterdir() if OUR_EVENTS.fullmatch(p.name) and p.is_file())
    except OSError:
        return []


def earlier_rows(files: list[Path]) -> Earlier:
    """What these event files hold, in the order in which the reader of logs joins them: by their first wall times."""
    timed = []
    for path in files:
        log = _log(path)
        blocks = _blocks(log.series)
        first = min((float(b.times[0]) for b in blocks), default=math.inf)
        timed.append((first, path.name, blocks, log.happened()))
    timed.sort(key=lambda t: t[:2])
    return Earlier([b for _, _, b, _ in timed if b], [e for *_, events in timed for e in events])


def _log(path: Path) -> EventLog:
    decoder = EventDecoder()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(WINDOW):
                decoder.feed(piece)
    except OSError:
        pass  # what was read until then
    return decoder.finish()


def _blocks(series: Mapping[str, Series]) -> list[_Block]:
    blocks: list[_Block] = []
    for name, points in series.items():
        steps, values, times = points.joined()
        for block in blocks:
            if np.array_equal(block.times, times) and np.array_equal(block.steps, steps):
                block.values[name] = values
                break
        else:
            blocks.append(_Block(steps, times, {name: values}))
    return blocks
