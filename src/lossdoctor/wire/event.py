"""One TensorBoard event, parsed by hand: wall time, step, scalars, and what else it holds, by name only.

This is the general parser. It also reports the *holes* of a scalar event: where wall time, step and values lie. The
fast path (:mod:`lossdoctor.wire.layouts`) reads other events of the same layout through those holes, so what a hole
means is defined once, here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lossdoctor.wire.proto import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    WireError,
    fields,
    read_double,
    read_text,
    read_varint,
    signed,
)
from lossdoctor.wire.tensor import Hole, decode, scalar_of_tensor, string_of_tensor

# Summary.Value fields that carry something other than a number.
_OTHER_VALUES = {3: "histogram", 4: "image", 5: "histogram", 6: "audio"}
_OTHER_EVENTS = {4: "graph", 6: "log message", 8: "run metadata", 9: "graph", 10: "source metadata"}
_SESSION_STATUS = {1: "start", 2: "stop", 3: "checkpoint"}
# Kinds of value named after the plugin that wrote them.
_PLUGIN_KINDS = {
    "text": "text",
    "images": "image",
    "histograms": "histogram",
    "distributions": "histogram",
    "audio": "audio",
    "pr_curves": "precision-recall curve",
    "hparams": "hparams",
    "mesh": "mesh",
    "graph_keras_model": "graph",
    "graphs": "graph",
    "graph_run_metadata": "run metadata",
    "custom_scalars": "layout",
}


@dataclass(slots=True)
class Value:
    """One value of a summary. ``kind`` is ``"scalar"`` when ``number`` holds it; ``hole`` says where it lies.

    ``content`` is what the plugin put into the metadata, ``text`` the first string of a string tensor.
    """

    tag: str = ""
    kind: str = ""
    number: float = 0.0
    plugin: str = ""
    content: bytes = b""
    text: bytes = b""
    hole: Hole | None = None


@dataclass(slots=True)
class Event:
    """A parsed event. ``plain`` is true when it holds nothing but scalars, each field at most once."""

    wall_time: float = 0.0
    step: int = 0
    file_version: str = ""
    values: list[Value] = field(default_factory=list)
    session: str = ""
    other: str = ""
    plain: bool = True
    wall_hole: Hole | None = None
    step_hole: Hole | None = None


def parse_event(data: bytes) -> Event:
    """Parse the content of one record.

    Raises:
        WireError: it is no valid event.
    """
    event = Event()
    for number, wire, start, stop in fields(data, 0, len(data)):
        if number == 1 and wire == FIXED64:
            event.plain &= event.wall_hole is None
            event.wall_time, event.wall_hole = read_double(data, start), Hole(start, 8, "<f8")
        elif number == 2 and wire == VARINT:
            event.plain &= event.step_hole is None
            event.step = signed(read_varint(data, start, stop)[0])
            event.step_hole = Hole(start, stop - start, "int64")
        elif number == 5 and wire == BYTES:
            _parse_summary(data, start, stop, event)
        else:
            event.plain = False
            if number == 3 and wire == BYTES:
                event.file_version = read_text(data, start, stop)
            elif number == 7 and wire == BYTES:
                event.session = _session_status(data, start, stop)
            elif number in _OTHER_EVENTS:
                event.other = _OTHER_EVENTS[number]
    event.plain &= bool(event.values)
    return event


def _session_status(data: bytes, start: int, stop: int) -> str:
    status = 0
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == VARINT:
            status, _ = read_varint(data, at, end)
    return _SESSION_STATUS.get(status, "unspecified")


def _parse_summary(data: bytes, start: int, stop: int, event: Event) -> None:
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == BYTES:
            value = _parse_value(data, at, end, event)
            event.values.append(value)
            event.plain &= value.kind == "scalar" and value.hole is not None
        else:
            event.plain = False


def _parse_value(data: bytes, start: int, stop: int, event: Event) -> Value:
    value = Value()
    seen, simple = 0, False
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == BYTES:
            value.tag = read_text(data, at, end)
        elif number == 2 and wire == FIXED32:
            hole = Hole(at, 4, "<f4")
            value.kind, value.number, value.hole = "scalar", decode(data, hole), hole
            seen, simple = seen + 1, True
        elif number == 8 and wire == BYTES:
            found, value.hole = scalar_of_tensor(data, at, end)
            value.kind, value.number = ("tensor", 0.0) if found is None else ("scalar", found)
            if found is None:
                value.text = string_of_tensor(data, at, end)
            seen += 1
        elif number == 9 and wire == BYTES:
            _parse_metadata(data, at, end, value)
        elif number in _OTHER_VALUES and wire == BYTES:
            value.kind, value.hole = _OTHER_VALUES[number], None
            seen += 1
    # More than one of the alternatives in one value: legal, the last wins, but never written; not for the fast path.
    event.plain &= seen == 1
    if simple and not value.plugin:
        value.plugin = "scalars"
    if value.plugin and value.plugin != "scalars":
        value.kind, value.hole = _PLUGIN_KINDS.get(value.plugin, value.plugin), None
    return value


def _parse_metadata(data: bytes, start: int, stop: int, value: Value) -> None:
    for number, wire, at, end in fields(data, start, stop):
        if number == 1 and wire == BYTES:
            for inner, inner_wire, a, b in fields(data, at, end):
                if inner == 1 and inner_wire == BYTES:
                    value.plugin = read_text(data, a, b)
                elif inner == 2 and inner_wire == BYTES:
                    value.content = data[a:b]


def kind_of_plugin(plugin: str) -> str:
    """What a tag of this plugin holds, in words."""
    return _PLUGIN_KINDS.get(plugin, plugin)


__all__ = ["Event", "Hole", "Value", "WireError", "kind_of_plugin", "parse_event"]
