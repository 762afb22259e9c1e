"""What arrays mean: a table, a sequence, an image or codes; classes or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.probes.data.table import KINDS, TASKS, Floats, Part, Target

_MOST_CLASSES = (
    100  # whole numbers with more distinct values than this are quantities, unless torch holds them as int64
)
IGNORED = -100  # what losses of torch pass over


def checked(word: str | None, allowed: tuple[str, ...], what: str) -> str | None:
    """A word of a closed list, or None.

    Raises:
        UsageError: it is another.
    """
    if word is not None and word not in allowed:
        raise UsageError(f"{what}={word!r}; expected one of {', '.join(allowed)}, or None{nearest(str(word), allowed)}")
    return word


def part_of(name: str, array: Any, *, torch: bool, kind: str | None = None, names: Any = None) -> Part:
    """An array ``(examples, …)`` as an input.

    Args:
        name: of this input.
        array: any real numbers.
        torch: it was a tensor: whole numbers are codes then, since no linear layer takes them.
        kind: what it is, where the caller knows it: a word of ``KINDS``.
        names: of the features.

    Raises:
        UsageError: it has no examples, is not of real numbers, or the names are not as many as the features.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise UsageError(f"{name} holds values of type {array.dtype}; expected real numbers")
    if array.ndim == 0 or array.size == 0:
        raise UsageError(f"{name} has shape {array.shape}: there is no value to check")
    checked(kind, KINDS, "kind")
    integers = array.dtype.kind in "bui"
    found = kind or _kind(name, array, torch)
    values = _places(array, found)
    values = np.ascontiguousarray(values, dtype=_dtype(array.dtype))
    return Part(name, found, values, _names(name, names, values.shape[2], found), integers)


def _kind(name: str, array: NDArray[Any], torch: bool) -> str:
    whole = array.dtype.kind in "ui"
    if whole and array.ndim <= 2 and (torch or _like_codes(array)):
        return "codes"
    if whole and name.endswith("ids"):
        return "codes"
    if array.ndim <= 2:
        return "table"
    if array.ndim >= 4 or (array.dtype == np.uint8) or (array.shape[1] == array.shape[2] and array.shape[1] >= 16):
        return "image"
    return "sequence"


def _like_codes(array: NDArray[Any]) -> bool:
    """Whether columns of whole numbers share one large vocabulary, as token ids do and quantities hardly ever."""
    if array.ndim < 2 or array.shape[1] < 8 or array.dtype == np.uint8 or array.min() < 0:
        return False
    tops = array.max(axis=0)
    return bool(tops.max() > 255 and np.median(tops) > 0.3 * tops.max() and len(np.unique(array)) > 100)


def _places(array: NDArray[Any], kind: str) -> NDArray[Any]:
    """``(examples, places, features)``."""
    n = len(array)
    if array.ndim == 1:
        return array.reshape(n, 1, 1)
    if array.ndim == 2:
        return array.reshape(n, -1, 1) if kind in ("codes", "image") else array.reshape(n, 1, -1)
    if kind == "codes" or (array.ndim == 3 and kind == "image"):
        return array.reshape(n, -1, 1)
    axis = -1
    if array.ndim >= 4:
        axis = _channels(array.shape)
    elif kind == "sequence" and array.shape[1] <= 16 and array.shape[2] >= 8 * array.shape[1]:
        axis = 1  # few channels over many moments: (examples, channels, time)
    moved = np.moveaxis(array, axis, -1)
    return moved.reshape(n, -1, moved.shape[-1])


def _channels(shape: tuple[int, ...]) -> int:
    """Which axis holds the channels: they stand first in torch, last elsewhere, and after the frames of some videos."""
    likely = [1, len(shape) - 1, 2]
    few = next((k for k in likely if shape[k] <= 4), None)
    if few is not None:
        return few
    return 1 if shape[1] <= shape[-1] else len(shape) - 1


def _dtype(dtype: np.dtype[Any]) -> type[np.floating]:
    small = (
        dtype.kind in "b" or (dtype.kind in "ui" and dtype.itemsize <= 2) or (dtype.kind == "f" and dtype.itemsize < 8)
    )
    return np.float32 if small else np.float64


def _names(name: str, names: Any, count: int, kind: str) -> tuple[str, ...]:
    if names is None:
        word = {"image": "channel", "codes": "code"}.get(kind, "feature")
        return (name,) if count == 1 else tuple(f"{word} {k}" for k in range(count))
    given = tuple(str(n) for n in names)
    if len(given) != count:
        raise UsageError(f"{len(given)} names for {count} features; give one name per feature, or none")
    return given


def target_of(array: Any, *, torch: bool, task: str | None = None) -> tuple[Target | None, str]:
    """A target, and how it was understood where that was a guess ("" where not).

    Classes are: text, booleans, int64 of torch, whole numbers of NumPy with at most 100 distinct values of which each
    occurs five times on average, one-hot rows, and floats of which all are 0 or 1. ``task`` overrides that.

    Raises:
        UsageError: values that are neither numbers nor text, or an unknown task.
    """
    checked(task, TASKS, "task")
    array = np.asarray(array)
    if array.size == 0 or task == "none":
        return None, ""
    array = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    if array.dtype.kind in "OUS":
        return _text(array), ""
    if array.dtype.kind not in "buif":
        raise UsageError(f"the target holds values of type {array.dtype}; expected numbers, or text for classes")
    values = array.astype(np.float64)
    whole = array.dtype.kind in "bui"
    finite = values[np.isfinite(values)]
    integers = whole or bool(finite.size and np.all(finite == np.rint(finite)))
    if array.shape[1] > 1:
        return _several(values, whole, integers, task), ""
    if whole and torch:
        values = np.where(values == IGNORED, np.nan, values)
        finite = values[np.isfinite(values)]
    distinct = np.unique(finite)
    guess = ""
    if task is None:
        if array.dtype.kind == "b" or (integers and set(distinct) <= {0.0, 1.0}):
            task = "classification"
        elif not whole or not distinct.size:
            task = "regression"
        elif torch:
            task = "classification"
        else:
            few = len(distinct) <= _MOST_CLASSES and len(distinct) * 5 <= len(values)
            task = "classification" if few else "regression"
            other = "regression" if few else "classification"
            read = "classes" if few else "quantities"
            guess = f"the target, whole numbers, was read as {read}; if that is wrong: task={other!r}"
    if task == "regression":
        return Target("numbers", values, integers=integers), guess
    return _classes(values, distinct, integers), guess


def _classes(values: NDArray[np.float64], distinct: NDArray[np.float64], integers: bool) -> Target:
    codes = np.searchsorted(distinct, values)
    held = np.where(np.isfinite(values), codes, np.nan)
    names = tuple(f"{v:.0f}" if integers else f"{v:g}" for v in distinct)
    declared = int(distinct[-1]) + 1 if integers and distinct.size and distinct[0] >= 0 and distinct[-1] < 1e6 else 0
    return Target("classes", held, names, integers, declared)


def _text(array: NDArray[Any]) -> Target:
    flat = array[:, 0]
    missing = np.array([absent(v) for v in flat])
    words = np.array(["" if m else str(v) for v, m in zip(flat, missing, strict=True)])
    distinct = np.unique(words[~missing])
    values = np.where(missing, np.nan, np.searchsorted(distinct, words).astype(np.float64))
    return Target("classes", values[:, None], tuple(str(d) for d in distinct))


def _several(values: NDArray[np.float64], whole: bool, integers: bool, task: str | None) -> Target:
    """A target with several values per example."""
    binary = bool(np.all((values == 0) | (values == 1)))
    if binary and task != "regression":
        if np.all(values.sum(axis=1) == 1):
            return _classes(values.argmax(axis=1)[:, None].astype(np.float64), np.arange(float(values.shape[1])), True)
        return Target("labels", values, tuple(str(k) for k in range(values.shape[1])), True)
    if whole and task != "regression":
        return Target("tokens", np.where(values == IGNORED, np.nan, values), integers=True)
    return Target("numbers", values, integers=integers)


def absent(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, or pandas' NA and NaT."""
    return value is None or (isinstance(value, float) and np.isnan(value)) or str(value) in ("<NA>", "NaT")


def merged(blocks: list[NDArray[Any]], *, fill: float | None) -> tuple[NDArray[Any], bool]:
    """Blocks of examples as one array; where their shapes differ, padded with ``fill``, or without it cut to the least.

    Returns:
        The array, and whether something was cut.

    Raises:
        UsageError: their numbers of dimensions differ.
    """
    if len({b.shape[1:] for b in blocks}) == 1:
        return np.concatenate(blocks), False
    if len({b.ndim for b in blocks}) > 1:
        shapes = sorted({str(b.shape) for b in blocks})[:4]
        raise UsageError(f"batches hold inputs of different dimensions: {', '.join(shapes)}; check them one by one")
    if fill is not None:
        width = np.max([b.shape[1:] for b in blocks], axis=0)
        padded = []
        for block in blocks:
            more = [(0, 0), *((0, int(w - k)) for w, k in zip(width, block.shape[1:], strict=True))]
            held = block.astype(np.float64) if np.isnan(fill) else block
            padded.append(np.pad(held, more, constant_values=fill))
        return np.concatenate(padded), False
    least = np.min([b.shape[1:] for b in blocks], axis=0)
    inner = tuple(slice(int(k)) for k in least)
    return np.concatenate([b[(slice(None), *inner)] for b in blocks]), True


def float_view(array: Floats) -> Floats:
    """Without negative zeros and with one NaN: equal numbers have equal bytes."""
    clean: Floats = array + array.dtype.type(0.0)
    clean[np.isnan(clean)] = np.nan
    return clean
