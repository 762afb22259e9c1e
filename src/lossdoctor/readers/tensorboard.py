"""TensorBoard event files, whoever wrote them: TensorFlow 1 and 2, Keras, torch, tensorboardX, Flax, lossdoctor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import ROLES
from lossdoctor.readers._chunks import chunks
from lossdoctor.readers._context import context_from
from lossdoctor.readers._json_text import parse_json
from lossdoctor.readers.base import Reader, Source
from lossdoctor.wire.decode import WINDOW, Damage, EventDecoder, EventLog
from lossdoctor.wire.framing import HEADER, header_is_valid
from lossdoctor.wire.proto import BYTES, FIXED64, VARINT, WireError, fields, read_double, read_text, read_varint

_MOST_NOTES = 3
# What lossdoctor's monitor writes beside its event files begins so: what it knows of the run, and its last verdict.
_COMPANION = re.compile(rb'\s*\{\s*"lossdoctor"\s*:\s*"(run|diagnosis)"')
_LONGEST_COMPANION = 1 << 24
# Hugging Face's Trainer writes its arguments as a text under this tag.
_ARGUMENT_TEXTS = ("args/text_summary", "args")


class TensorBoardReader(Reader):
    """Event files (``events.out.tfevents.*``): scalars, hyper-parameters, session starts; every checksum is checked.

    Tags keep their names. The file's first wall time is in ``history.context.extra["first_wall_time"]``.
    """

    name: ClassVar[str] = "tensorboard"
    describes: ClassVar[str] = "TensorBoard event files (TensorFlow, Keras, PyTorch, tensorboardX, Flax, lossdoctor)"

    def sniff(self, source: Source) -> int:
        head = source.head
        if _COMPANION.match(head):
            return 100
        named = ".tfevents" in source.name
        if header_is_valid(head, 0):
            if _is_event(head):
                return 100
            return 0 if not named else 40  # other TFRecord files: data sets, not logs
        return 40 if named and head else 0

    def read(self, source: Source) -> list[TrainingHistory]:
        companion = _COMPANION.match(source.head)
        if companion is not None:
            return [_companion(source, companion[1] == b"run")]
        notes: list[str] = []
        decoder = EventDecoder()
        for piece in chunks(source, WINDOW, notes):
            decoder.feed(piece)
        return [history_of(source, decoder.finish(), notes)]


def history_of(source: Source, log: EventLog, notes: Iterable[str] = ()) -> TrainingHistory:
    """The run in a decoded event file.

    Raises:
        ReadError: it holds nothing that can be read.
    """
    _refuse(source, log)
    curves = {tag: Curve(*series.joined()) for tag, series in log.series.items()}
    unit = _unit(curves)
    return TrainingHistory(
        curves,
        path=source.path,
        format=TensorBoardReader.name,
        step_unit=unit,
        context=_context(log, unit),
        notes=[*_nothing(log), *notes, *_damage_notes(log)],
        events=log.happened(),
    )


def _is_event(head: bytes) -> bool:
    """Whether the first record begins like an event: with its wall time (data sets begin otherwise)."""
    length = int.from_bytes(head[:8], "little")
    return length >= 9 and head[HEADER : HEADER + 1] == b"\x09"


def _refuse(source: Source, log: EventLog) -> None:
    unread = sum(d.reason in ("checksum", "not an event") for d in log.damage)
    if log.records > unread or not log.size:
        return
    if not log.records and not log.damage:
        raise NotRecognizedError(source.path, "holds no record of an event file")
    first = log.damage[0]
    if first.reason == "not an event" and first.offset == 0:
        raise NotRecognizedError(source.path, "a TFRecord file that holds no TensorBoard events (a data set?)")
    raise BrokenFileError(
        source.path,
        "not one record of this event file can be read: " + _reason(first),
        where=f"byte {first.offset:,}",
        hint="copy the file again, or point at another event file of the run",
    )


def _reason(damage: Damage) -> str:
    return {
        "checksum": "the content of the first one fails its checksum",
        "not an event": "the first one is no TensorBoard event",
        "cut off": "the first one is cut off",
    }.get(damage.reason, "no length field has its checksum")


def _unit(curves: dict[str, Curve]) -> str:
    """Keras logs by epoch under ``epoch_…``; everything else counts steps."""
    return "epoch" if curves and all(tag.startswith("epoch_") for tag in curves) else "step"


def _companion(source: Source, is_run: bool) -> TrainingHistory:
    """What ``run.json`` says of the run, as a history without curves: the event files beside it take it over.

    ``diagnosis.json`` says nothing that the event files do not say.
    """
    context = RunContext()
    notes = ["no event file with a row beside it: the run has logged nothing yet"]
    if is_run:
        with source.open() as stream:
            said = parse_json(stream.read(_LONGEST_COMPANION))
        if isinstance(said, dict):
            config, given = said.get("config"), said.get("context")
            context = context_from(config if isinstance(config, dict) else {})
            try:
                context = context.merged(RunContext.from_pairs(given if isinstance(given, dict) else {}))
            except UsageError as error:
                notes.append(f"the context in it is left out: {error}")
            roles = said.get("metrics")
            if isinstance(roles, dict):
                known = {r: n for r, n in roles.items() if r in ROLES and isinstance(n, str)}
                context = replace(context, metrics=known)
        else:
            notes.append("it is damaged or cut off, and left out")
    return TrainingHistory(path=source.path, format=TensorBoardReader.name, context=context, notes=notes)


def _nothing(log: EventLog) -> list[str]:
    """The note of a file without scalars, and that of one with too many."""
    notes = []
    if not log.series:
        held = ", ".join(_plural(kind, count) for kind, count in sorted(log.others.items()))
        if held:
            notes.append(f"event file without scalars: it holds only {held}")
        else:
            notes.append("event file without scalars: nothing was logged to it yet")
    if log.dropped_events:
        notes.append(f"{log.dropped_events:,} events between the first and the last 500 are left out")
    if log.dropped_points:
        notes.append(f"more than {len(log.series):,} tags: {log.dropped_points:,} points of further tags are left out")
    return notes


def _plural(kind: str, count: int) -> str:
    if kind in ("hparams", "run metadata", "source metadata"):
        return kind
    if count == 1:
        return f"1 {kind}"
    ending = {"y": "ies"}.get(kind[-1], kind[-1] + "s") if kind != "audio" else "o records"
    return f"{count:,} {kind[:-1]}{ending}"


def _damage_notes(log: EventLog) -> list[str]:
    notes = []
    for damage in log.damage[:_MOST_NOTES]:
        at = f"byte {damage.offset:,}"
        if damage.reason == "cut off":
            notes.append(f"last record cut off at byte {log.size:,} (it begins at {at}); everything before it was read")
        elif damage.reason == "checksum":
            notes.append(f"record at {at} fails its checksum; it is left out")
        elif damage.reason == "not an event":
            notes.append(f"record at {at} is no TensorBoard event; it is left out")
        elif damage.offset + damage.size >= log.size:
            given_up = "too many damaged places: " if damage.reason == "given up" else ""
            notes.append(f"{given_up}nothing can be read from {at} to the end ({damage.size:,} bytes)")
        else:
            notes.append(f"{damage.size:,} bytes from {at} on are no records; reading went on behind them")
    if len(log.damage) > _MOST_NOTES:
        notes.append(f"{len(log.damage) - _MOST_NOTES:,} further damaged places are left out")
    return notes


# hyper-parameters


def _context(log: EventLog, unit: str) -> RunContext:
    found: dict[str, Any] = {}
    for tag, content in log.contents.items():
        if "hparams" in log.plugins.get(tag, ()):
            try:
                found.update(_hparams(content))
            except WireError:
                continue  # a plugin's private content: not needed for the curves
        elif tag in _ARGUMENT_TEXTS:
            found.update(_arguments(content))
    context = context_from(found, unit)
    if log.first_wall_time is None:
        return context
    return replace(context, extra={**context.extra, "first_wall_time": log.first_wall_time})


def _hparams(content: bytes) -> Iterator[tuple[str, Any]]:
    """Names and values of the session's hyper-parameters (HParamsPluginData.session_start_info.hparams)."""
    for number, wire, start, stop in fields(content, 0, len(content)):
        if number != 3 or wire != BYTES:
            continue
        for inner, inner_wire, a, b in fields(content, start, stop):
            if inner == 1 and inner_wire == BYTES:
                name, value = _entry(content, a, b)
                if name and value is not None:
                    yield name, value


def _entry(content: bytes, start: int, stop: int) -> tuple[str, Any]:
    name = ""
    value: Any = None
    for number, wire, a, b in fields(content, start, stop):
        if number == 1 and wire == BYTES:
            name = read_text(content, a, b)
        elif number == 2 and wire == BYTES:
            for kind, kind_wire, c, d in fields(content, a, b):  # google.protobuf.Value
                if kind == 2 and kind_wire == FIXED64:
                    real = read_double(content, c)
                    value = int(real) if real.is_integer() and abs(real) < 2**53 else real
                elif kind == 3 and kind_wire == BYTES:
                    value = read_text(content, c, d)
                elif kind == 4 and kind_wire == VARINT:
                    value = bool(read_varint(content, c, d)[0])
    return name, value


def _arguments(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
