"""Which column of a table-like log counts the steps, which tell the time, and what the steps are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

_SEPARATORS = re.compile(r"[\s\-./:]+")
_GLOBAL = "global_step global_steps globalstep total_timesteps"
_STEPS = (
    "step steps _step n_step num_steps current_step current_steps train_step training_step total_steps global_iter"
    " global_iteration iteration iterations iter iters it n_iter num_iter num_updates update updates n_updates"
    " boosting_round round rounds tree trees n_trees num_trees timestep timesteps"
)
_COUNTS = "samples_seen consumed_samples consumed_train_samples images_seen examples_seen"
_INNER = "batch batch_idx batch_index batch_num minibatch batches"
_TOKENS = "tokens tokens_seen num_tokens n_tokens total_tokens consumed_tokens train_tokens seen_tokens"
_EPOCHS = "epoch epochs ep current_epoch epoch_num epoch_idx epoch_number nb_epoch n_epoch"
_INDEX = "index idx row unnamed_0 #"
# In the order of preference: a global counter before one that may start anew each epoch, any step before the epoch.
_RANK = {
    word: i for i, word in enumerate(" ".join((_GLOBAL, _STEPS, _COUNTS, _TOKENS, _INNER, _EPOCHS, _INDEX)).split())
}
_EPOCH_WORDS = frozenset(_EPOCHS.split())
_TOKEN_WORDS = frozenset(_TOKENS.split())
_KEPT = _EPOCH_WORDS | _TOKEN_WORDS | frozenset(_COUNTS.split())
_INDEX_WORDS = frozenset(_INDEX.split())
_PREFIXES = frozenset({"trainer", "train", "training", "time", "global", "progress", "general", "counters"})
_ABSOLUTE_TIMES = "wall_time walltime timestamp _timestamp time date datetime created_at logged_at time_stamp ts utc"
_RELATIVE_TIMES = (
    "_runtime runtime elapsed elapsed_time elapsed_seconds time_elapsed relative_time duration eta seconds"
)
_ABSOLUTE, _RELATIVE = frozenset(_ABSOLUTE_TIMES.split()), frozenset(_RELATIVE_TIMES.split())
# 2001 to 2096; the same in milli-, micro- and nanoseconds.
_EARLIEST, _LATEST = 1e9, 4e9


@dataclass(frozen=True, slots=True)
class Axis:
    """The step axis of a table.

    Attributes:
        steps: int64, one per row.
        unit: ``"step"``, ``"epoch"``, ``"token"`` or ``"row"``.
        column: the column it was read from, or None when rows are counted.
        notes: what a person should know about the choice.
    """

    steps: NDArray[np.int64]
    unit: str
    column: str | None = None
    notes: tuple[str, ...] = ()


def normal(name: str) -> str:
    """A column name in one spelling.

    >>> normal(" Wall time"), normal("Global-Step")
    ('wall_time', 'global_step')
    """
    return _SEPARATORS.sub("_", name.strip().lower()) or "#"


def axis_rank(name: str) -> int | None:
    """How good a step axis a column of this name is (0 is best), or None when its name says that it is none.

    >>> axis_rank("trainer/global_step") < axis_rank("step") < axis_rank("epoch"), axis_rank("loss")
    (True, None)
    """
    word = normal(name)
    if word in _RANK:
        return _RANK[word]
    prefix, slash, last = name.strip().lower().rpartition("/")
    if slash and normal(prefix) in _PREFIXES and last in _RANK and last not in _INDEX_WORDS:
        return _RANK[last]
    return None


def _word(name: str) -> str:
    word = normal(name)
    return word if word in _RANK else normal(name.rpartition("/")[2])


def is_epoch(name: str) -> bool:
    """Whether a column counts epochs."""
    return axis_rank(name) is not None and _word(name) in _EPOCH_WORDS


def is_time(name: str) -> bool:
    """Whether a column tells the time, absolute or since the start; it is no metric then."""
    return normal(name) in _ABSOLUTE or normal(name) in _RELATIVE


def may_be_absolute_time(name: str) -> bool:
    """Whether a column may hold wall-clock times."""
    return normal(name) in _ABSOLUTE


def is_metric(name: str) -> bool:
    """Whether a column that is not the axis is shown as a curve: steps and times are not, epochs and tokens are."""
    if is_time(name):
        return False
    return axis_rank(name) is None or _word(name) in _KEPT


def to_seconds(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Wall times as seconds since 1970, or None when the values are no wall times.

    >>> to_seconds(np.array([1.7e12])), to_seconds(np.array([12.5]))
    (array([1.7e+09]), None)
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return None
    middle = float(np.median(finite))
    for scale in (1.0, 1e3, 1e6, 1e9):
        if _EARLIEST <= middle / scale <= _LATEST:
            return values / scale
    return None


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an ISO date (UTC where it names no zone), or None.

    >>> parse_time("1970-01-02 00:00:00")
    86400.0
    """
    if len(text) < 10 or len(text) > 40:
        return None
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def choose_axis(columns: Sequence[tuple[str, NDArray[np.float64]]], rows: int) -> Axis:
    """The step axis of a table.

    Args:
        columns: candidate columns with one value per row, NaN where a row has none.
        rows: number of rows.

    A column is taken when its name is that of a counter and it counts: whole numbers that are not all the same. One
    that starts anew in each epoch is counted on over the epochs. Without any, rows are counted from 1.
    """
    ranked = sorted((r, i) for i, (name, _) in enumerate(columns) if (r := axis_rank(name)) is not None)
    found = [columns[i] for _, i in ranked]
    notes: list[str] = []
    usable = [(name, values) for name, values in found if _counts(name, values, rows, notes)]
    # A counter logged in a few rows only is worth less than a later one that every row has.
    full = [c for c in usable if _share(c[1]) >= 0.9] or sorted(usable, key=lambda c: -_share(c[1]))[:1]
    epochs = next((values for name, values in full if _word(name) in _EPOCH_WORDS), None)
    inner: tuple[str, NDArray[np.float64]] | None = None
    for name, values in full:
        if epochs is not None and _word(name) not in _EPOCH_WORDS and _resets_with(values, epochs):
            inner = inner or (name, values)
            continue
        if _word(name) in _EPOCH_WORDS and inner is not None:
            break
        return Axis(filled(values), _unit(name), name, tuple(notes))
    if inner is not None and epochs is not None:
        steps, per_epoch = counted_on(inner[1], epochs)
        notes.append(f"{inner[0]} starts anew in each epoch; steps are counted on, {per_epoch:,} to an epoch")
        return Axis(steps, "step", inner[0], tuple(notes))
    return Axis(np.arange(1, rows + 1, dtype=np.int64), "row", None, tuple(notes))


def _unit(name: str) -> str:
    word = _word(name)
    if word in _EPOCH_WORDS:
        return "epoch"
    if word in _INDEX_WORDS:
        return "row"
    return "token" if word in _TOKEN_WORDS else "step"


def _share(values: NDArray[np.float64]) -> float:
    return float(np.isfinite(values).mean()) if len(values) else 0.0


def _counts(name: str, values: NDArray[np.float64], rows: int, notes: list[str]) -> bool:
    """Whether the values can be an axis; says why not where a person would expect it to be."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or np.abs(finite).max() > 2**53:
        return False
    if not np.array_equal(finite, np.floor(finite)):
        if _word(name) in _EPOCH_WORDS:  # fractional epochs beside no step: kept as a curve
            return False
        if (finite != np.floor(finite)).mean() > 0.01:
            return False
    if rows > 2 and len(finite) > 2 and finite.min() == finite.max():
        if _word(name) not in _EPOCH_WORDS:
            notes.append(f"{name} is {finite[0]:g} in every row and does not count; another axis was taken")
        return False
    return True


def filled(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Steps with the last known one carried over rows that have none (the first known one before that)."""
    known = np.isfinite(values) & (np.abs(values) < 2**62)
    if known.all():
        return values.astype(np.int64)
    if not known.any():
        return np.zeros(len(values), dtype=np.int64)
    at = np.where(known, np.arange(len(values)), -1)
    at = np.maximum.accumulate(at)
    first = int(np.argmax(known))
    at[at < 0] = first
    return values[at].astype(np.int64)


def _resets_with(values: NDArray[np.float64], epochs: NDArray[np.float64]) -> bool:
    """Whether a counter falls back again and again just where the epoch goes up."""
    steps, epoch = filled(values), filled(epochs)
    falls = np.flatnonzero(np.diff(steps) < 0)
    if len(falls) == 0:
        return False
    up = epoch[falls + 1] > epoch[falls]
    return bool(up.mean() > 0.5)


def counted_on(values: NDArray[np.float64], epochs: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Global steps from a counter within the epoch, and the steps that an epoch has.

    >>> counted_on(np.array([1.0, 2, 1, 2]), np.array([1.0, 1, 2, 2]))
    (array([1, 2, 3, 4]), 2)
    """
    steps, epoch = filled(values), filled(epochs)
    per_epoch = int(steps.max()) + (1 if steps.min() == 0 else 0)
    return (epoch - int(epoch.min())) * per_epoch + steps, per_epoch
