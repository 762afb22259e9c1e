"""Anything a user configures with, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

_DEEPEST = 8
_LONGEST = 1_000
_MOST = 10_000
_INT64 = 1 << 63


def plain(value: Any, depth: int = 0) -> Any:
    """The value in types that JSON knows; what has no such form becomes a short text, NaN and infinities texts too.

    >>> plain({"lr": 1e-3, "betas": (0.9, 0.999), "limit": math.inf, 3: {1}})
    {'lr': 0.001, 'betas': [0.9, 0.999], 'limit': 'Infinity', '3': [1]}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value[:_LONGEST].encode("utf-8", "replace").decode()
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, float):
        return _number(float(value))
    if depth < _DEEPEST:
        if is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name, None) for f in fields(value)}
        elif not isinstance(value, Mapping) and type(value).__name__ == "Namespace":
            value = vars(value)
        if isinstance(value, Mapping):
            return {_text(k): plain(v, depth + 1) for k, v in list(value.items())[:_MOST]}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(v, depth + 1) for v in list(value)[:_MOST]]
        if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy or torch
            return plain(value.item(), depth + 1)
    if isinstance(value, PurePath):
        return plain(str(value))
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return _text(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _text(value: Any) -> str:
    try:
        return plain(str(value))  # type: ignore[no-any-return]
    except Exception:
        return type(value).__name__
