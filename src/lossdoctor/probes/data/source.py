"""One way in: whatever the data are in, a table comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.data.arrays import Wish, from_arrays, is_array
from lossdoctor.probes.data.table import Table
from lossdoctor.probes.progress import Progress

EXPECTED = "a DataLoader, a list of batches, a torch Dataset, arrays or tensors (x, y), or a data frame"


def read(data: Any, target: Any, wish: Wish, tell: Progress, what: str = "data") -> Table:
    """The table of a loader, a data set, a list of batches, arrays or a frame.

    Args:
        data: any of these; a tuple ``(x, y)`` of arrays or frames is read as inputs and target.
        target: with arrays their target; of a frame also the name of its column.
        what: the argument's name, for messages.

    Raises:
        UsageError: it is none of these, can be read only once, or holds nothing.
    """
    if data is None:
        raise UsageError(f"{what} is None; expected {EXPECTED}")
    if isinstance(data, Iterator):
        raise UsageError(
            f"{what} is a {type(data).__name__}, which can be read only once: the check would use up your data; give"
            " the DataLoader itself, or a list of batches"
        )
    if target is None and isinstance(data, tuple) and len(data) == 2 and all(_column(v) for v in data):
        data, target = data
    if is_array(data):
        return from_arrays(data, target if target is None or isinstance(target, str) else _arrayed(target), wish)
    if isinstance(data, str | bytes | Mapping) or (not hasattr(data, "__iter__") and not hasattr(data, "__getitem__")):
        raise UsageError(f"{what} is a {type(data).__name__}; expected {EXPECTED}")
    if target is not None:
        if isinstance(data, list | tuple):
            return from_arrays(_listed(data, what), _arrayed(target), wish)
        raise UsageError(f"the target comes with the batches of a {type(data).__name__}; give it with arrays only")
    if isinstance(data, list) and data and not _batches(data):
        return from_arrays(_listed(data, what), None, wish)
    from lossdoctor.probes.data.loaders import from_loader

    return from_loader(data, wish, tell)


def _batches(data: list[Any]) -> bool:
    """Whether a list holds batches, not rows of numbers."""
    first = data[0]
    return (
        is_array(first) or isinstance(first, Mapping) or (isinstance(first, list | tuple) and any(map(is_array, first)))
    )


def _column(value: Any) -> bool:
    """Whether it holds one value per example: an array, or a plain list of numbers or words."""
    return is_array(value) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], int | float | str | bool)
    )


def _arrayed(value: Any) -> Any:
    return value if is_array(value) else np.asarray(value)


def _listed(data: Any, what: str) -> Any:
    """Nested lists of numbers as an array."""
    try:
        array = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        inner = type(data[0]).__name__ if len(data) else "nothing"
        raise UsageError(f"{what} is a {type(data).__name__} of {inner}; expected {EXPECTED}") from error
    return array
