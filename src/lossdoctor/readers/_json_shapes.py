"""The shapes in which a JSON file holds curves: rows, lists by name, values by step. Pure functions on parsed JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossdoctor.core.names import parse
from lossdoctor.readers._axes import axis_rank
from lossdoctor.readers._json_text import looks_like_row
from lossdoctor.readers._rows import as_number

MAX_DEPTH = 8
# Names of a container that say nothing of what is in it.
_WRAPPERS = frozenset({"history", "evals_result", "evals_result_", "metrics", "logs", "log", "log_history"}) | {
    *("results", "result", "scalars", "data", "curves", "records")
}
Numbers = list[float | None]


def rows_in(value: Any, depth: int = 0) -> tuple[str, list[Any]] | None:
    """The longest list of row objects in a document with its path; None when there is none with metrics in it."""
    best: tuple[str, list[Any]] | None = None
    if isinstance(value, list):
        objects = [x for x in value[:200] if isinstance(x, Mapping)]
        if objects and len(objects) * 2 >= min(len(value), 200) and any(looks_like_row(x) for x in objects):
            return "", value
    elif isinstance(value, Mapping) and depth < 4:
        for key, inner in value.items():
            found = rows_in(inner, depth + 1)
            if found is not None and (best is None or len(found[1]) > len(best[1])):
                best = (f"{key}/{found[0]}".rstrip("/"), found[1])
    return best


def lists_in(value: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Numbers]]:
    """Every list of numbers in a document, by its path."""
    if isinstance(value, list):
        numbers = as_numbers(value)
        if numbers is not None:
            yield prefix, numbers
    elif isinstance(value, Mapping) and depth < MAX_DEPTH:
        for key, inner in value.items():
            yield from lists_in(inner, f"{prefix}/{key}" if prefix else str(key), depth + 1)


def as_numbers(values: list[Any]) -> Numbers | None:
    """A list of numbers (texts of numbers and nulls among them), or None for any other list.

    >>> as_numbers([1, "2.5", None]), as_numbers(["a"])
    ([1.0, 2.5, None], None)
    """
    out: Numbers = []
    real = 0
    for value in values:
        if isinstance(value, bool):
            return None
        number = _number(value)
        if number is None and value is not None:
            return None
        real += number is not None
        out.append(number)
    return out if real else None


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return as_number(value) if isinstance(value, str) and len(value) < 40 else None


def steps_in(value: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, list[int], list[Any]]]:
    """Every object whose keys are whole numbers: its path, the numbers, and what stands at each."""
    if not isinstance(value, Mapping) or depth > MAX_DEPTH:
        return
    keys = list(value)
    if len(keys) > 1 and all(isinstance(k, str) and k.isascii() and k.isdigit() and len(k) < 16 for k in keys):
        yield prefix, [int(k) for k in keys], list(value.values())
        return
    for key, inner in value.items():
        yield from steps_in(inner, f"{prefix}/{key}" if prefix else str(key), depth + 1)


def short_names(paths: list[str]) -> list[str]:
    """Paths without the wrappers around them, unless two would come out the same.

    >>> short_names(["history/loss", "epoch"]), short_names(["train/rmse", "valid_0/rmse"])
    (['loss', 'epoch'], ['train/rmse', 'valid_0/rmse'])
    """
    short = [_unwrapped(p.split("/")) for p in paths]
    return short if len(set(short)) == len(paths) else paths


def _unwrapped(parts: list[str]) -> str:
    while len(parts) > 1 and parts[0].lower() in _WRAPPERS:
        parts = parts[1:]
    return "/".join(parts)


def names_a_metric(name: str) -> bool:
    """Whether a path ends in the name of something that training logs."""
    return bool(name) and (parse(name).kind not in ("other", "epoch", "batch_size") or _counts(name))


def _counts(name: str) -> bool:
    rank = axis_rank(name.rpartition("/")[2])
    return rank is not None and not name.rpartition("/")[2].isdigit()
