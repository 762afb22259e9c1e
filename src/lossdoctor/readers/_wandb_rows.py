"""The history rows of a W&B log, gathered into curves."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.wire.proto import BYTES, fields
from lossdoctor.wire.wandb import parse_json, read_item, step_of_history

# Axes, not metrics.
_AXES = frozenset({"_step", "_timestamp", "_runtime", "_wandb.runtime"})
_GLOBAL_STEP = "trainer/global_step"
_NUMBER_STARTS = frozenset(b"-0123456789NI")
_WORDS = {'"NaN"': float("nan"), '"Infinity"': float("inf"), '"-Infinity"': float("-inf")}
_MOST_METRICS = 20_000
_DEEPEST = 6


class Rows:
    """History rows as they come; :meth:`curves` when all are there. Every point remembers its row."""

    def __init__(self) -> None:
        self.count = 0
        self._steps = array("q")
        self._times = array("d")
        self._at: dict[str, array[int]] = {}
        self._values: dict[str, array[float]] = {}
        self._dropped = 0

    def take(self, data: bytes, start: int, stop: int) -> None:
        """One HistoryRecord: items (field 1) and the step (field 2)."""
        row: dict[str, float] = {}
        step: int | None = None
        for number, wire, at, end in fields(data, start, stop):
            if wire != BYTES:
                continue
            if number == 1:
                key, text = read_item(data, at, end)
                for name, value in _numbers(key, text, 0):
                    row[name] = value
            elif number == 2:
                step = step_of_history(data, at, end)
        logged = row.get("_step")
        if logged is not None and abs(logged) < 2**53:
            step = int(logged)
        self._steps.append(self.count if step is None else step)
        self._times.append(row.get("_timestamp", float("nan")))
        for name, value in row.items():
            if name not in _AXES:
                self._add(name, value)
        self.count += 1

    def _add(self, name: str, value: float) -> None:
        values = self._values.get(name)
        if values is None:
            if len(self._values) >= _MOST_METRICS:
                self._dropped += 1
                return
            values = self._values[name] = array("d")
            self._at[name] = array("q")
        values.append(value)
        self._at[name].append(self.count)

    def first_time(self) -> float | None:
        """The earliest wall time of a row."""
        times = np.array(self._times)
        return float(np.nanmin(times)) if np.isfinite(times).any() else None

    def curves(self) -> tuple[dict[str, Curve], list[str]]:
        """The curves, and notes on how they were made."""
        steps, notes = self._axis()
        times = np.array(self._times)
        if self._dropped:
            notes.append(f"more than {_MOST_METRICS:,} metrics: {self._dropped:,} points of further ones are left out")
        out = {}
        for name, values in self._values.items():
            at = np.array(self._at[name], dtype=np.int64)
            known = times[at]
            out[name] = Curve(steps[at], np.array(values), known if np.isfinite(known).all() else None)
        return out, notes

    def _axis(self) -> tuple[NDArray[np.int64], list[str]]:
        """W&B's own step, or the trainer's where every row has it."""
        steps = np.array(self._steps, dtype=np.int64)
        own = self._values.get(_GLOBAL_STEP)
        if own is None or len(own) != self.count:
            return steps, []
        values = np.array(own)
        if not (np.isfinite(values).all() and (np.abs(values) < 2**53).all() and (values == np.floor(values)).all()):
            return steps, []
        del self._values[_GLOBAL_STEP], self._at[_GLOBAL_STEP]
        return values.astype(np.int64), [f"steps are {_GLOBAL_STEP}, which every row has"]


def _numbers(key: str, text: bytes, depth: int) -> Iterator[tuple[str, float]]:
    """The numbers in an item's JSON text, by name; media, texts and switches are none."""
    if not key or not text:
        return
    if text[0] in _NUMBER_STARTS:
        try:
            yield key, float(text)
        except ValueError:
            return
    elif text[0] == 0x22:
        word = _WORDS.get(text[:12].decode("ascii", "replace"))
        if word is not None:
            yield key, word
    elif text[0] == 0x7B:
        yield from _nested(key, parse_json(text), depth)


def _nested(key: str, value: Any, depth: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        if "_type" in value or depth > _DEEPEST:  # a histogram, an image, a table
            return
        for name, inner in value.items():
            yield from _nested(f"{key}.{name}", inner, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            yield key, float(value)
        except OverflowError:
            return
    elif isinstance(value, str) and f'"{value}"' in _WORDS:
        yield key, _WORDS[f'"{value}"']
