"""What is known about a run besides its curves. Given by the user or found in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lossdoctor.core.errors import UsageError

_INTEGERS = ("classes", "planned_steps", "steps_per_epoch", "batch_size", "warmup_steps")
_MAPPINGS = ("directions", "metrics", "extra")
_NUMBERS = ("learning_rate", "weight_decay", "clip_norm")


@dataclass(frozen=True, slots=True)
class RunContext:
    """Facts that rules may need; every one may be unknown (None).

    Attributes:
        classes: number of classes K of a classification.
        planned_steps: the budget, in the unit of the log's steps.
        steps_per_epoch: optimizer steps per epoch.
        batch_size: examples per step.
        warmup_steps: length of the learning-rate warmup.
        learning_rate: the peak learning rate.
        weight_decay: the weight decay.
        clip_norm: the limit of gradient clipping.
        optimizer: its name.
        directions: metric name -> "min" or "max", where the user says so.
        metrics: role -> metric name, where what wrote the log says so; obeyed where the log has that metric.
        extra: anything else the log's own configuration holds (scalars only).
    """

    classes: int | None = None
    planned_steps: int | None = None
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    warmup_steps: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None
    optimizer: str | None = None
    directions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, Any]) -> RunContext:
        """Build from ``{"classes": "10"}``; raises UsageError on an unknown key or a wrong value.

        >>> RunContext.from_pairs({"classes": "10"}).classes
        10
        """
        known: dict[str, Any] = {}
        directions: dict[str, str] = {}
        for key, value in pairs.items():
            if key.startswith("direction:"):
                if value not in ("min", "max"):
                    raise UsageError(f"context {key} must be min or max, got {value!r}")
                directions[key.removeprefix("direction:")] = value
            elif key in _INTEGERS:
                known[key] = _number(key, value, int)
            elif key in _NUMBERS:
                known[key] = _number(key, value, float)
            elif key == "optimizer":
                known[key] = str(value)
            else:
                allowed = ", ".join((*_INTEGERS, *_NUMBERS, "optimizer", "direction:METRIC"))
                raise UsageError(f"unknown context key {key!r}; known are {allowed}")
        return cls(**known, directions=directions)

    def merged(self, given: RunContext | None) -> RunContext:
        """This context with everything that ``given`` knows put over it."""
        if given is None:
            return self
        changes: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(given, f.name)
            if f.name in _MAPPINGS:
                changes[f.name] = {**getattr(self, f.name), **value}
            elif value is not None:
                changes[f.name] = value
        return replace(self, **changes)

    def known(self) -> dict[str, Any]:
        """Only what is known, for display and JSON."""
        out = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _MAPPINGS}
        return {k: v for k, v in out.items() if v is not None}


def _number(key: str, value: Any, kind: type[int] | type[float]) -> int | float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"context {key} must be a number, got {value!r}") from None
    if not 0 < number < float("inf"):
        raise UsageError(f"context {key} must be above 0 and finite, got {value!r}")
    if kind is int and number % 1:
        raise UsageError(f"context {key} must be a whole number, got {value!r}")
    return kind(number)
