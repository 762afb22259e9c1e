"""The few messages of W&B's ``wandb_internal.proto`` that a run's log is made of, parsed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lossdoctor.wire.proto import BYTES, VARINT, fields, read_text, read_varint, signed, signed32

# Record's alternatives, by field number.
_KINDS = {
    **{2: "history", 3: "summary", 4: "output", 5: "config", 6: "files", 7: "stats", 8: "artifact", 9: "tbrecord"},
    **{10: "alert", 11: "telemetry", 12: "metric", 13: "output_raw", 17: "run", 18: "exit", 20: "final"},
    **{21: "header", 22: "footer", 23: "preempting"},
}
_LONGEST_CONFIG = 1 << 20


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What the log says of the run itself."""

    run_id: str = ""
    project: str = ""
    display_name: str = ""
    resumed: bool = False
    starting_step: int = 0


def record_kind(record: bytes) -> tuple[str, int, int]:
    """What a record is, and where its message lies; ``""`` for kinds that do not matter here."""
    found = ("", 0, 0)
    for number, wire, start, stop in fields(record, 0, len(record)):
        if number in _KINDS and wire == BYTES:
            found = (_KINDS[number], start, stop)
    return found


def items(data: bytes, start: int, stop: int, field: int = 1) -> Iterator[tuple[str, bytes]]:
    """(key, JSON text) of the items of a history, config or summary message; nested keys are joined with dots."""
    for number, wire, at, end in fields(data, start, stop):
        if number == field and wire == BYTES:
            yield read_item(data, at, end)


def read_item(data: bytes, start: int, stop: int) -> tuple[str, bytes]:
    """One item: ``{key = 1, nested_key = 2 (repeated), value_json = 16}``."""
    # The usual layout at a glance: one key of fewer than 128 bytes (field 1 or 2), then a value of fewer than 128.
    if stop - start > 2 and data[start] in (0x0A, 0x12) and data[start + 1] < 0x80:
        end = start + 2 + data[start + 1]
        if data[end : end + 2] == b"\x82\x01" and end + 2 < stop and data[end + 2] == stop - end - 3 < 0x80:
            return data[start + 2 : end].decode("utf-8", "replace"), data[end + 3 : stop]
    key, nested, value = "", [], b""
    for number, wire, at, end in fields(data, start, stop):
        if wire != BYTES:
            continue
        if number == 1:
            key = read_text(data, at, end)
        elif number == 2:
            nested.append(read_text(data, at, end))
        elif number == 16:
            value = data[at:end]
    return ".".join(nested) if nested else key, value


def step_of_history(data: bytes, start: int, stop: int) -> int | None:
    """The number in a HistoryStep message."""
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == VARINT:
            return signed(read_varint(data, at, end)[0])
    return None


def update_config(config: dict[str, Any], data: bytes, start: int, stop: int) -> None:
    """Put the updates of a ConfigRecord into ``config``."""
    for key, text in items(data, start, stop):
        value = parse_json(text)
        if key and value is not None:
            config[key] = value


def parse_json(text: bytes) -> Any:
    """A JSON text (NaN literals allowed), or None when it is none, or unreasonably long."""
    if len(text) > _LONGEST_CONFIG:
        return None
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def run_info(data: bytes, start: int, stop: int, config: dict[str, Any]) -> RunInfo:
    """A RunRecord; its configuration goes into ``config``."""
    texts: dict[int, str] = {}
    numbers: dict[int, int] = {}
    for number, wire, at, end in fields(data, start, stop):
        if number in (1, 3, 8) and wire == BYTES:
            texts[number] = read_text(data, at, end)
        elif number == 4 and wire == BYTES:
            update_config(config, data, at, end)
        elif number in (14, 18) and wire == VARINT:
            numbers[number] = signed(read_varint(data, at, end)[0])
    return RunInfo(texts.get(1, ""), texts.get(3, ""), texts.get(8, ""), bool(numbers.get(18)), numbers.get(14, 0))


def exit_code(data: bytes, start: int, stop: int) -> int:
    """The exit code in a RunExitRecord (0 is not written)."""
    code = 0
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == VARINT:
            code = signed32(read_varint(data, at, end)[0])
    return code
