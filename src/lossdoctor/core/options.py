"""Declared thresholds of rules, and the settings a user gives in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One threshold of a rule: its meaning, unit, default and valid range (both ends included)."""

    name: str
    default: float
    meaning: str
    unit: str
    low: float
    high: float

    def check(self, code: str, value: Any) -> float:
        """The value as a float; raises UsageError when it is no number or out of range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            allowed = f"a number from {self.low:g} to {self.high:g} ({self.unit})"
            raise UsageError(f"option {code}.{self.name} must be {allowed}, got {value!r}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose: which rules, with which thresholds, on which metrics.

    Attributes:
        select: codes or prefixes to run (empty: all).
        ignore: codes or prefixes not to run.
        rules: code -> option name -> value.
        metrics: role -> metric name, over the automatic mapping.
        context: context key -> value.
        fail_on: severity from which the exit code is 1.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    fail_on: str = "critical"
