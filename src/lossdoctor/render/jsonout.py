"""The JSON of a report: strict, so that any parser takes it, and described by a schema that ships with the package."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from lossdoctor.core.report import Comparison, Report
from lossdoctor.render.escape import encodable

_INT64 = 1 << 63


def report_json(report: Report, *, indent: bool = True) -> bytes:
    """The report as UTF-8 JSON of the contract (docs/json.md); NaN and the infinities become strings.

    >>> report_json(Report(), indent=False)
    b'{"schema_version":1,"skipped":0,"runs":[],"errors":[]}'
    """
    return to_json(report.as_dict(), indent=indent)


def comparison_json(comparison: Comparison, *, indent: bool = True) -> bytes:
    """A comparison as UTF-8 JSON, by the same rules."""
    return to_json({"schema_version": 1, **comparison.as_dict()}, indent=indent)


def to_json(value: Any, *, indent: bool = False) -> bytes:
    """Anything made of plain values and NumPy scalars as strict JSON.

    >>> to_json({"rise": float("inf")})
    b'{"rise":"Infinity"}'
    """
    import orjson

    return orjson.dumps(strict(value), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if indent else 0)


def strict(value: Any) -> Any:
    """The same value in types and numbers that JSON knows."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else float(value)
    if isinstance(value, Mapping):
        return {encodable(str(k)): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [strict(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return strict(value.tolist())
    return encodable(str(value))


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every report satisfies."""
    text = resources.files("lossdoctor.render").joinpath("schema/report.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
