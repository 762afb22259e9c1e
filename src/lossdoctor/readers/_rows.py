"""Rows as JSON objects (of a JSON-lines file, or of a list in a JSON file) into a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lossdoctor.readers._axes import may_be_absolute_time, parse_time
from lossdoctor.readers._histories import is_label
from lossdoctor.readers._table import TableBuilder

MAX_DEPTH = 8
# The row that Hugging Face's Trainer logs when training is over: averages and totals, points of no curve.
_SUMMARY_KEYS = (
    "train_loss train_runtime train_samples_per_second train_steps_per_second total_flos train_tokens_per_second"
)
_SUMMARY = frozenset(_SUMMARY_KEYS.split())
_NUMBER_STARTS = frozenset("0123456789+-.nNiI")


class ObjectRows:
    """Adds objects to a builder, one row each, nested keys joined with ``/``.

    Attributes:
        facts: texts and summary values that are no curves (the first value of each), for the context.
        lists: how many lists of values were left out.
    """

    def __init__(self, builder: TableBuilder) -> None:
        self.builder = builder
        self.facts: dict[str, Any] = {}
        self.lists = 0

    def add(self, row: Mapping[str, Any]) -> bool:
        """One row; False when it holds no number."""
        summary = "train_runtime" in row
        self._numbers = 0
        self._fill(row, "", 0, summary)
        if not self._numbers:
            return False
        self.builder.end_row()
        return True

    def _fill(self, row: Mapping[str, Any], prefix: str, depth: int, summary: bool) -> None:
        for key, value in row.items():
            name = f"{prefix}{key}"
            if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
                if summary and key in _SUMMARY:
                    self.facts.setdefault(name, value)
                else:
                    self._cell(name, value)
            elif isinstance(value, str):
                self._text(name, value)
            elif isinstance(value, Mapping):
                if depth < MAX_DEPTH:
                    self._fill(value, f"{name}/", depth + 1, summary)
            elif isinstance(value, list):
                self._list(name, value)

    def _cell(self, name: str, value: float) -> None:
        try:
            self.builder.cell(name, float(value))
        except OverflowError:  # a whole number beyond float64
            self.builder.cell(name, math.inf if value > 0 else -math.inf)
        self._numbers += 1

    def _list(self, name: str, value: list[Any]) -> None:
        if len(value) == 1 and isinstance(value[0], (int, float)) and not isinstance(value[0], bool):
            self._cell(name, value[0])  # a learning rate per parameter group, of which there is one
        else:
            self.lists += 1

    def _text(self, name: str, value: str) -> None:
        if value[:1] in _NUMBER_STARTS and len(value) < 40:
            number = as_number(value)
            if number is not None:
                self._cell(name, number)
                return
        if may_be_absolute_time(name):
            when = parse_time(value)
            if when is not None:
                self.builder.cell(name, when)
                return
        if is_label(name):
            self.builder.label(name, value)
        if len(self.facts) < 500:
            self.facts.setdefault(name, value)


def as_number(value: str) -> float | None:
    """The number in a text, or None.

    >>> as_number("2.5"), as_number("NaN"), as_number("1_0")
    (2.5, nan, None)
    """
    try:
        return None if "_" in value else float(value)
    except ValueError:
        return None
