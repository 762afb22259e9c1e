"""Arrays, tensors and data frames as a table."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.data.forms import absent, part_of, target_of
from lossdoctor.probes.data.table import Part, Table

MAX_CELLS = 40_000_000  # values that are held at once: 160 to 320 MB


@dataclass(frozen=True)
class Wish:
    """How the caller wants the data to be read: see :func:`~lossdoctor.probes.data.front.check_data`."""

    max_examples: int = 50_000
    names: Any = None
    kind: str | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_examples, int) or self.max_examples < 1:
            raise UsageError(f"max_examples={self.max_examples!r}; expected a whole number of at least 1")


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_frame(value: Any) -> bool:
    """Whether it is a data frame that Narwhals can read (a lazy one too) or one of its columns."""
    if isinstance(value, np.ndarray) or (not hasattr(value, "__module__") and type(value).__module__ == "builtins"):
        return False
    if type(value).__module__.split(".")[0] not in (
        "pandas",
        "polars",
        "pyarrow",
        "modin",
        "cudf",
        "duckdb",
        "narwhals",
    ):
        return False
    return not type(value).__name__.lower().endswith("index")


def is_array(value: Any) -> bool:
    """Whether it holds all examples at once."""
    return isinstance(value, np.ndarray) or is_tensor(value) or is_frame(value) or _is_sparse(value)


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse")


def to_numpy(value: Any) -> NDArray[Any]:
    """An array of what holds numbers: tensors on any device, with or without gradient, also half precision."""
    if is_tensor(value):
        torch = sys.modules["torch"]
        value = value.detach()
        if value.layout != torch.strided:
            value = value.to_dense()
        value = value.cpu()
        return np.asarray(value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy())
    return np.asarray(value.toarray() if _is_sparse(value) else value)


def from_arrays(data: Any, target: Any, wish: Wish) -> Table:
    """The table of arrays or of a frame; of more than ``max_examples`` rows an even draw, in their order.

    Raises:
        UsageError: nothing in it, or inputs and targets of different length.
    """
    notes: list[str] = []
    data = data.collect() if is_frame(data) and hasattr(data, "collect") else data
    count = int(data.shape[0]) if getattr(data, "shape", ()) else 0
    if count == 0:
        raise UsageError("the data hold no examples: there is nothing to check")
    if target is not None and isinstance(target, str):
        if not is_frame(data):
            raise UsageError(f"target={target!r} names a column, but the data are no data frame; give the values")
    elif target is not None and len(target) != count:
        raise UsageError(
            f"the inputs hold {count} examples, the target {len(target)}; both must be of the same examples"
        )
    each = int(np.prod(data.shape[1:], dtype=np.int64)) if len(data.shape) > 1 else 1
    rows = drawn(count, min(wish.max_examples, max(1, MAX_CELLS // max(1, each))))
    if len(rows) < count:
        why = f"max_examples={wish.max_examples:,}" if len(rows) == wish.max_examples else f"{MAX_CELLS:,} values"
        notes.append(f"of {count:,} examples {len(rows):,}, drawn evenly, were read ({why})")
    if is_frame(data):
        parts, target = _frame_parts(data, target, rows, wish, notes)
    else:
        held = to_numpy(data[rows] if len(rows) < count else data)
        parts = (part_of("the input", held, torch=is_tensor(data), kind=wish.kind, names=wish.names),)
    found = None
    if target is not None:
        torch = is_tensor(target)
        values = _column_values(target) if is_frame(target) else to_numpy(target)
        found, guess = target_of(values[rows] if len(values) > len(rows) else values, torch=torch, task=wish.task)
        notes += [guess] if guess else []
    batch = np.zeros(len(rows), dtype=np.int64)
    return Table(parts, found, rows, batch, True, False, count, len(rows) < count, tuple(notes))


def drawn(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the numbers from 0 to count − 1, in order; always the same ones."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False)).astype(np.int64)


def _frame_parts(
    data: Any, target: Any, rows: NDArray[np.int64], wish: Wish, notes: list[str]
) -> tuple[tuple[Part, ...], Any]:
    """The numeric columns as a table, those of text or categories as codes; others are left out, with a note."""
    import narwhals.stable.v1 as nw

    frame = nw.from_native(data, allow_series=True)
    if isinstance(frame, nw.Series):
        frame = frame.to_frame()
    if isinstance(target, str):
        if target not in frame.columns:
            from lossdoctor.core.errors import nearest

            raise UsageError(f"the frame has no column {target!r}{nearest(target, frame.columns)}")
        name, target = target, _column_values(frame[target].to_native())
        frame = frame.drop(name)
    if len(rows) < len(frame):
        frame = frame[rows.tolist()]
    numeric: dict[str, NDArray[Any]] = {}
    codes: dict[str, NDArray[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype.is_numeric() or column.dtype == nw.Boolean:
            # Through float64, so that missing whole numbers become NaN.
            numeric[name] = column.cast(nw.Float64).to_numpy().astype(np.float64)
        elif column.dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object):
            codes[name] = _codes(column.to_list())
        else:
            notes.append(f"the column {name!r} of type {column.dtype} was not checked")
    parts = []
    if numeric:
        whole = np.column_stack(list(numeric.values()))
        parts.append(part_of("the frame", whole, torch=False, kind=wish.kind or "table", names=tuple(numeric)))
    if codes:
        part = part_of("the categories", np.column_stack(list(codes.values())), torch=False, kind="table")
        parts.append(replace(part, kind="codes", names=tuple(codes)))
    if not parts:
        raise UsageError(f"the frame has no column of numbers or categories (columns: {', '.join(frame.columns[:6])})")
    return tuple(parts), target


def _codes(values: list[Any]) -> NDArray[np.float64]:
    """Categories as numbers that are the same in every frame, NaN where one is missing: 48 bits of a hash."""
    known: dict[str, float] = {}

    def code(value: Any) -> float:
        word = str(value)
        if word not in known:
            known[word] = float(int.from_bytes(blake2b(word.encode(), digest_size=6).digest()))
        return known[word]

    return np.array([np.nan if absent(v) else code(v) for v in values])


def _column_values(column: Any) -> NDArray[Any]:
    """A column of a frame as NumPy; missing values as NaN or None."""
    import narwhals.stable.v1 as nw

    series = nw.from_native(column, allow_series=True)
    if isinstance(series, nw.DataFrame):
        if len(series.columns) > 1:
            return np.column_stack([_column_values(series[c].to_native()) for c in series.columns])
        series = series[series.columns[0]]
    if series.dtype.is_numeric() and series.null_count():
        series = series.cast(nw.Float64)
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        return np.asarray(series.to_numpy())
    return np.array(series.to_list(), dtype=object)
