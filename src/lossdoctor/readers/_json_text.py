"""JSON as logs hold it: NaN literals, cut-off ends, and never an exception but None."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from lossdoctor.core.names import parse
from lossdoctor.readers._axes import axis_rank

# A NaN or infinity where a value stands, in any of the spellings of Python, NumPy and JavaScript.
_NOT_FINITE = re.compile(rb"([:,\[]\s*-?)(nan|inf(?:inity)?)(?=\s*[,}\]])", re.IGNORECASE)
# A number beyond float64, which orjson takes for an error and Python for infinity or a long integer.
_HUGE = re.compile(rb"\d{19}|[eE]\+?\d{3}")
_CLOSES = {b"{": b"}", b"[": b"]"}
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)
_MAX_DEPTH = 200


def parse_json(data: bytes) -> Any:
    """The value, or None when it is no JSON. NaN and Infinity are taken, as Python's json writes them.

    >>> parse_json(b'{"loss": NaN}')
    {'loss': nan}
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    if data.isascii() and _NOT_FINITE.search(data) is None and _HUGE.search(data) is None:
        return None
    fixed = _NOT_FINITE.sub(_as_python_writes, data)
    try:
        return json.loads(fixed.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None


def _as_python_writes(found: re.Match[bytes]) -> bytes:
    return found[1] + (b"NaN" if found[2].lower() == b"nan" else b"Infinity")


def parse_rows(lines: list[bytes]) -> list[Any] | None:
    """Many lines at once, None for blank ones; None when one of them is no JSON."""
    filled = [x for x in lines if x and not x.isspace()]
    if not all(x.lstrip()[:1] == b"{" for x in filled):
        return None
    try:
        rows: list[Any] = orjson.loads(b"[" + b",".join(filled) + b"]")
    except orjson.JSONDecodeError:
        return None
    if len(rows) != len(filled):  # several objects in one line, with commas between
        return None
    if len(filled) == len(lines):
        return rows
    left = iter(rows)
    return [next(left) if x and not x.isspace() else None for x in lines]


def closed(data: bytes) -> tuple[bytes, int]:
    """JSON cut off somewhere, cut back to its last whole element and closed; and how many bytes of it are used.

    >>> closed(b'[{"step": 1, "loss": 0.5}, {"step": 2, "lo')
    (b'[{"step": 1, "loss": 0.5}, {"step": 2}]', 37)
    """
    stack: list[bytes] = []
    cut = 0
    for found in _STRUCTURE.finditer(data):
        mark = found[0]
        if mark in _CLOSES:
            stack.append(_CLOSES[mark])
            if len(stack) > _MAX_DEPTH:
                break
        elif mark in (b"}", b"]"):
            if not stack:
                break
            stack.pop()
        elif mark != b",":  # a text: its braces and commas are none
            continue
        cut = found.start() if mark == b"," else found.end()
    return data[:cut] + b"".join(reversed(stack)), cut


def looks_like_row(row: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether an object holds numbers of which one is named like a metric, or stands beside a step.

    >>> looks_like_row({"step": 3, "loss": 1.5}), looks_like_row({"id": 3, "text": "a"})
    (True, False)
    """
    numbers = [k for k, v in row.items() if _is_number(v)]
    kinds = {parse(k).kind for k in numbers}
    steps = sum(axis_rank(k) is not None for k in numbers)
    prose = any(isinstance(v, str) and len(v) > 60 for v in row.values())
    if steps and len(numbers) > steps and not prose:
        return True
    # A score may also be that of one example in a data set: it counts only beside a step.
    if kinds - {"other", "epoch", "score", "accuracy", "batch_size"} and (steps or not prose):
        return True
    return depth < 4 and any(isinstance(v, Mapping) and looks_like_row(v, depth + 1) for v in row.values())


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool)
