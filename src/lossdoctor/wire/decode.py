"""From the bytes of an event file to its scalars, piece by piece: memory stays bounded, and files may still grow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossdoctor.wire.crc import crc32c, masked
from lossdoctor.wire.encode import EVENT_TAG
from lossdoctor.wire.event import Event, Value, kind_of_plugin, parse_event
from lossdoctor.wire.framing import HEADER, OVERHEAD, bad_headers, find_records, header_is_valid, resync
from lossdoctor.wire.layouts import LEAST_ROWS, Batch, LayoutReader
from lossdoctor.wire.proto import WireError
from lossdoctor.wire.wandb import parse_json

MOST_TAGS = 20_000
WINDOW = 8 << 20
_LONG_RECORD = 64 << 20  # no scalar is this long: its CRC is checked on the way, it is never held in memory
_MOST_CONTENTS = 64
_LONGEST_CONTENT = 1 << 18
_MOST_EVENTS = 500  # of ours: so many of the first, and as many of the last
_MOST_DAMAGE = 1000  # damaged places after which the rest of the file is not believed


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that could not be read: from ``offset`` on, ``size`` of them; ``reason`` says what was found."""

    offset: int
    size: int
    reason: str


@dataclass(slots=True)
class Series:
    """The points of one tag in the order of arrival, in chunks."""

    steps: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    times: list[NDArray[np.float64]] = field(default_factory=list)

    def joined(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Steps, values and times as one array each."""
        return np.concatenate(self.steps), np.concatenate(self.values), np.concatenate(self.times)


@dataclass(slots=True)
class EventLog:
    """What an event file holds.

    Attributes:
        series: tag -> points, in the order in which the tags first appear.
        plugins: tag -> the plugins that its events name (often only the first does).
        others: what else was seen -> how often ("image", "graph", …).
        contents: tag -> what the hparams plugin wrote, or a text; the first of a tag, and a few only.
        sessions: (status, step, wall time) of session events.
        events: (text, step, wall time) of what lossdoctor's monitor wrote under :data:`EVENT_TAG`; the first 500 and
            the last 500 of them.
        dropped_events: how many between those are left out.
        damage: what could not be read.
        file_version: as the first record says.
        first_wall_time: the earliest wall time, seconds since the epoch.
        records: how many records were found; ``size``: how many bytes were looked at.
        dropped_points: how many points were left out because there were too many tags.
    """

    series: dict[str, Series] = field(default_factory=dict)
    plugins: dict[str, set[str]] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    sessions: list[tuple[str, int, float]] = field(default_factory=list)
    events: list[tuple[bytes, int, float]] = field(default_factory=list)
    dropped_events: int = 0
    damage: list[Damage] = field(default_factory=list)
    file_version: str = ""
    first_wall_time: float | None = None
    records: int = 0
    size: int = 0
    dropped_points: int = 0

    def happened(self) -> list[dict[str, Any]]:
        """What happened to the run: restarts, and what the monitor has kept; where that tells of one, once."""
        ours = [event for text, step, time in self.events if (event := _told(text, step, time)) is not None]
        known = {e["step"] for e in ours if e["kind"] == "restarted"}
        starts = [(step, time) for kind, step, time in self.sessions if kind == "start" and step not in known]
        if not starts:
            return ours
        found = [*ours, *({"kind": "session_start", "step": step, "time": time} for step, time in starts)]
        return sorted(found, key=lambda e: e["time"])


def _told(text: bytes, step: int, time: float) -> dict[str, Any] | None:
    """An event out of the JSON that the monitor wrote; None when it is none."""
    said = parse_json(text)
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
        return None
    known = {"kind": said.pop("kind"), "step": step, "time": time, "message": str(said.pop("message", ""))}
    return {**known, **{k: v for k, v in said.items() if k not in known}}


class Chunk(NamedTuple):
    """Points of one tag out of one window: record numbers, steps, values, times, and the place within the record."""

    rows: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]
    place: int

    @property
    def first(self) -> tuple[int, int]:
        """Where it begins, to order the tags by."""
        return int(self.rows[0]), self.place


Chunks = list[Chunk]
# (record number, step, value, time, place within the record)
Loose = list[tuple[int, int, float, float, int]]


class EventDecoder:
    """Feed it a file's bytes in pieces of any size; ``finish`` says that the file ends here.

    >>> from lossdoctor.wire.encode import scalars_record
    >>> decoder = EventDecoder()
    >>> decoder.feed(scalars_record({"loss": 0.5}, step=3, wall_time=1.0))
    >>> [a.tolist() for a in decoder.finish().series["loss"].joined()]
    [[3], [0.5], [1.0]]
    """

    def __init__(self) -> None:
        self.log = EventLog()
        self._layouts = LayoutReader()
        self._pending = b""
        self._offset = 0  # of the first pending byte in the file
        self._lost_at: int | None = None  # where framing was lost, while looking for the next record
        self._skip = 0  # bytes of a very long record still to come
        self._skip_crc = 0
        self._skip_start = 0
        self._budget = 1 << 62  # records to look at before checking them: few behind damage, then more again
        self._given_up = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Whole records are decoded at once, the rest waits for the next piece."""
        self.log.size += len(piece)
        if self._given_up:
            return
        if self._skip:
            piece = self._skip_some(piece)
        data = self._pending + piece if self._pending else piece
        at = 0
        while True:
            if self._lost_at is not None:
                found = resync(data, at)
                if found is None:
                    at = max(at, len(data) - HEADER + 1)
                    break
                at = found
                self._end_of_damage(self._offset + at)
            starts, lengths, stop = find_records(data, at, self._budget)
            wrong = bad_headers(data, starts, lengths)
            if wrong is not None:
                stop = int(starts[wrong])
                starts, lengths = starts[:wrong], lengths[:wrong]
            self._decode(data, starts, lengths)
            at = stop
            self._budget = min(self._budget * 2, 1 << 62)
            if len(data) - at < HEADER or (wrong is None and header_is_valid(data, at)):
                if len(starts) and _whole_record_at(data, at):
                    continue  # it was the budget that ended the scan
                break
            if not self._lose(self._offset + at):
                return
            at += 1
        self._keep(data, at)

    def finish(self) -> EventLog:
        """The log; what is left over is reported as damage. Calling it again after more bytes is allowed."""
        log = self.log
        damage = list(log.damage)
        if self._lost_at is not None:
            reason = "given up" if self._given_up else "no record"
            damage.append(Damage(self._lost_at, log.size - self._lost_at, reason))
        elif self._skip:
            damage.append(Damage(self._skip_start, log.size - self._skip_start, "cut off"))
        elif self._pending:
            damage.append(Damage(self._offset, len(self._pending), "cut off"))
        # A tag's first event may be the only one that names its plugin: the others' numbers are no scalars either.
        foreign = {t for t, names in log.plugins.items() if names and "scalars" not in names}
        others = dict(log.others)
        for tag in foreign & log.series.keys():
            kind = kind_of_plugin(min(log.plugins[tag]))
            others[kind] = others.get(kind, 0) + sum(map(len, log.series[tag].steps))
        kept = {t: s for t, s in log.series.items() if t not in foreign}
        return replace(log, series=kept, others=others, damage=damage)

    def _keep(self, data: bytes, at: int) -> None:
        rest = len(data) - at
        if self._lost_at is None and rest >= HEADER:
            length = int.from_bytes(data[at : at + 8], "little")
            if length > _LONG_RECORD:
                self._skip, self._skip_crc, self._skip_start = length + 4, 0, self._offset + at
                self._offset += at + HEADER
                self._pending = b""
                self._skip_some(data[at + HEADER :])  # all of it belongs to the record, or find_records had gone on
                return
        self._pending = data[at:]
        self._offset += at

    def _skip_some(self, piece: bytes) -> bytes:
        """Take the bytes of a very long record off ``piece``; its CRC is checked at its end."""
        taken = piece[: self._skip]
        self._offset += len(taken)
        content = max(0, min(len(taken), self._skip - 4))
        self._skip_crc = crc32c(taken[:content], self._skip_crc)
        stored = taken[content:]
        if self._skip > len(taken):
            # the stored CRC itself may be split between pieces; then it stays unchecked, the record is unused anyway
            self._skip -= len(taken)
            return b""
        if len(stored) == 4 and masked(self._skip_crc) != int.from_bytes(stored, "little"):
            self.log.damage.append(Damage(self._skip_start, self._offset - self._skip_start, "checksum"))
        self.log.records += 1
        self._count("very long record")
        self._skip = 0
        return piece[len(taken) :]

    def _lose(self, offset: int) -> bool:
        """Framing is lost at ``offset``; False when that happened too often to go on."""
        self._lost_at = offset
        self._budget = 256
        self._given_up = len(self.log.damage) >= _MOST_DAMAGE
        self._pending = b""
        return not self._given_up

    def _end_of_damage(self, offset: int) -> None:
        assert self._lost_at is not None
        self.log.damage.append(Damage(self._lost_at, offset - self._lost_at, "no record"))
        self._lost_at = None

    def _decode(self, data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        if len(starts) == 0:
            return
        self.log.records += len(starts)
        found: dict[str, Chunks] = {}
        singles: list[NDArray[np.int64]] = []
        for length, rows in _by_length(lengths):
            if len(rows) < LEAST_ROWS:
                singles.append(rows)
                continue
            batches, damaged, left = self._layouts.read(data, starts, rows, length)
            singles.append(left)
            for batch in batches:
                self._take_batch(batch, found)
            for row in np.concatenate(damaged).tolist() if damaged else ():
                self._damaged(int(starts[row]), length, "checksum")
        loose: dict[str, Loose] = {}
        for row in np.sort(np.concatenate(singles)).tolist() if singles else ():
            self._take_single(data, row, int(starts[row]), int(lengths[row]), loose)
        for tag, points in loose.items():
            numbers, steps, values, times, places = zip(*points, strict=True)
            integers = np.array(numbers, dtype=np.int64), np.array(steps, dtype=np.int64)
            found.setdefault(tag, []).append(Chunk(*integers, np.array(values), np.array(times), places[0]))
        self._store(found)

    def _take_batch(self, batch: Batch, found: dict[str, Chunks]) -> None:
        self._saw_time(float(batch.times[0]))
        layout = batch.layout
        for place, (tag, plugin, values) in enumerate(zip(layout.tags, layout.plugins, batch.values, strict=True)):
            if plugin:
                self.log.plugins.setdefault(tag, set()).add(plugin)
            found.setdefault(tag, []).append(Chunk(batch.rows, batch.steps, values, batch.times, place))

    def _take_single(self, data: bytes, row: int, start: int, length: int, loose: dict[str, Loose]) -> None:
        """One record through the general parser."""
        body = start + HEADER
        content = data[body : body + length]
        if masked(crc32c(content)) != int.from_bytes(data[body + length : body + length + 4], "little"):
            self._damaged(start, length, "checksum")
            return
        try:
            event = parse_event(content)
        except WireError:
            self._damaged(start, length, "not an event")
            return
        self._take_event(event)
        for place, value in enumerate(event.values):
            if value.tag == EVENT_TAG and value.kind == "text":
                self._take_event_text(value.text, event)
                continue
            self._take_value(value)
            if value.kind == "scalar":
                loose.setdefault(value.tag, []).append((row, event.step, value.number, event.wall_time, place))

    def _take_event(self, event: Event) -> None:
        log = self.log
        self._saw_time(event.wall_time)
        log.file_version = log.file_version or event.file_version
        if event.session:
            log.sessions.append((event.session, event.step, event.wall_time))
        if event.other:
            self._count(event.other)

    def _take_value(self, value: Value) -> None:
        if value.plugin:
            self.log.plugins.setdefault(value.tag, set()).add(value.plugin)
        if value.kind != "scalar":
            self._count(value.kind or "empty value")
            kept = value.content if value.plugin == "hparams" else value.text
            if kept and len(self.log.contents) < _MOST_CONTENTS and len(kept) <= _LONGEST_CONTENT:
                self.log.contents.setdefault(value.tag, kept)

    def _take_event_text(self, text: bytes, event: Event) -> None:
        events = self.log.events
        if len(events) >= 2 * _MOST_EVENTS:
            del events[_MOST_EVENTS]
            self.log.dropped_events += 1
        events.append((text, event.step, event.wall_time))

    def _saw_time(self, time: float) -> None:
        if time > 0 and (self.log.first_wall_time is None or time < self.log.first_wall_time):
            self.log.first_wall_time = time

    def _count(self, kind: str) -> None:
        self.log.others[kind] = self.log.others.get(kind, 0) + 1

    def _damaged(self, start: int, length: int, reason: str) -> None:
        self.log.damage.append(Damage(self._offset + start, length + OVERHEAD, reason))

    def _store(self, found: dict[str, Chunks]) -> None:
        """Put this window's points into the series: by tag in order of arrival, whichever layout gave them."""
        for tag in sorted(found, key=lambda t: min(c.first for c in found[t])):
            series = self.log.series.get(tag)
            chunks = found[tag]
            if series is None:
                if len(self.log.series) >= MOST_TAGS:
                    self.log.dropped_points += sum(len(c.rows) for c in chunks)
                    continue
                series = self.log.series[tag] = Series()
            if len(chunks) == 1:
                _, steps, values, times, _ = chunks[0]
            else:
                order = np.argsort(np.concatenate([c.rows for c in chunks]), kind="stable")
                steps = np.concatenate([c.steps for c in chunks])[order]
                values = np.concatenate([c.values for c in chunks])[order]
                times = np.concatenate([c.times for c in chunks])[order]
            series.steps.append(steps)
            series.values.append(values)
            series.times.append(times)


def _whole_record_at(data: bytes, at: int) -> bool:
    length = int.from_bytes(data[at : at + 8], "little")
    return at + OVERHEAD + length <= len(data)


def _by_length(lengths: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Record numbers grouped by content length, each group in order."""
    longest = int(lengths.max())
    small = lengths.astype(np.uint16) if longest < 1 << 16 else lengths  # 16 bits sort by radix
    order = np.argsort(small, kind="stable")
    cuts = np.flatnonzero(np.diff(small[order])) + 1
    return [(int(lengths[rows[0]]), rows) for rows in np.split(order, cuts)]


__all__ = ["WINDOW", "Damage", "EventDecoder", "EventLog", "Series"]
