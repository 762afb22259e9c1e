"""The bounded summary of a curve: all that rules see of it.

Built in one vectorised pass or point by point, in any mixture, with the same bits. Its size, and the time to take it,
do not depend on the length of the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError
from lossdoctor.signal.base_blocks import base_rows, partial_row
from lossdoctor.signal.blocks import BLOCK, Blocks, BlockTree, Floats, Ints, Rows
from lossdoctor.signal.events import Event, EventDetector

KEEP = 2048  # raw points kept at either end
_CHUNK = 256 * BLOCK  # points worked on at once: the arrays stay in the processor's cache
_WAIT = 2048  # appended points collected before they are worked on


@dataclass(frozen=True, eq=False, repr=False)
class CurveSummary:
    """What is kept of a curve of any length. Indices count points from 0 in the order of arrival.

    Attributes:
        n: number of points; ``n_finite`` of them finite, ``n_nan``, ``n_posinf``, ``n_neginf`` not.
        first_step, last_step: steps of the first and last point; 0 when there is none.
        last_finite_step: step of the last finite point; None when there is none.
        first_nonfinite_step, first_nonfinite_index, last_nonfinite_index: None when all is finite.
        min_value, max_value: of the finite points, with the step and the index of the first occurrence; when there is
            no finite point NaN, with step 0 and index -1.
        head_steps, head_values: the first 2,048 raw points; ``tail_steps, tail_values`` the last 2,048.
        blocks: aligned blocks that cover all points (at most 1,024 and one partial).
        events: spikes, jumps and non-finite stretches in the order of arrival: the largest spikes and jumps, the first
            and last non-finite stretches.
        n_spikes, n_jumps, n_nonfinite_runs: how many were found, kept or not.
    """

    n: int
    n_nan: int
    n_posinf: int
    n_neginf: int
    first_step: int
    last_step: int
    last_finite_step: int | None
    first_nonfinite_step: int | None
    first_nonfinite_index: int | None
    last_nonfinite_index: int | None
    min_value: float
    min_step: int
    min_index: int
    max_value: float
    max_step: int
    max_index: int
    head_steps: Ints
    head_values: Floats
    tail_steps: Ints
    tail_values: Floats
    blocks: Blocks
    events: tuple[Event, ...]
    n_spikes: int
    n_jumps: int
    n_nonfinite_runs: int

    def __repr__(self) -> str:
        size = f"{len(self.blocks)} blocks of {self.blocks.size}, {len(self.events)} events"
        return f"<CurveSummary: {self.n} points, steps {self.first_step} to {self.last_step}, {size}>"

    @property
    def n_nonfinite(self) -> int:
        """Number of NaN and infinite points."""
        return self.n_nan + self.n_posinf + self.n_neginf

    @property
    def n_finite(self) -> int:
        """Number of finite points."""
        return self.n - self.n_nonfinite

    @property
    def level(self) -> int:
        """How often blocks were merged: a block has ``64 * 2**level`` points."""
        return self.blocks.level

    @property
    def complete(self) -> bool:
        """Whether the head holds every point."""
        return self.n <= KEEP

    def raw(self) -> tuple[Ints, Floats] | None:
        """All raw points as (steps, values) when head and tail hold them (up to 4,096 points), else None."""
        if self.n <= KEEP:
            return self.head_steps, self.head_values
        if self.n > 2 * KEEP:
            return None
        rest = self.n - KEEP
        return (
            np.concatenate((self.head_steps, self.tail_steps[-rest:])),
            np.concatenate((self.head_values, self.tail_values[-rest:])),
        )

    def same(self, other: CurveSummary) -> bool:
        """Whether both summaries are the same, bit for bit (NaN equals NaN)."""
        for name in self.__dataclass_fields__:
            a, b = getattr(self, name), getattr(other, name)
            if name == "blocks":
                equal = a.same(b)
            elif name == "events":
                equal = len(a) == len(b) and all(x.same(y) for x, y in zip(a, b, strict=True))
            elif isinstance(a, np.ndarray):
                equal = np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            else:
                equal = a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
            if not equal:
                return False
        return True


class SummaryBuilder:
    """Builds a summary from points in the order of arrival.

    >>> builder = SummaryBuilder()
    >>> builder.append(1, 2.5)
    >>> builder.extend([2, 3], [2.0, float("nan")])
    >>> s = builder.summary()
    >>> s.n, s.n_nan, s.min_value, s.first_nonfinite_step
    (3, 1, 2.0, 3)
    """

    def __init__(self) -> None:
        self._wait_steps: list[int] = []  # appended, not looked at yet
        self._wait_values: list[float] = []
        self._n = 0
        self._n_nan = self._n_posinf = self._n_neginf = 0
        self._last_finite_step: int | None = None
        self._first_bad: tuple[int, int] | None = None  # (step, index)
        self._last_bad: int | None = None
        self._head: list[tuple[Ints, Floats]] = []
        self._tail: tuple[Ints, Floats] = (np.empty(0, np.int64), np.empty(0, np.float64))
        self._open: tuple[Ints, Floats] = self._tail  # the last, partial block
        self._before: Floats = np.full(2, np.nan)  # the two raw values before it
        self._full = 0  # points in full blocks
        self._tree = BlockTree()
        self._detector = EventDetector()

    def __len__(self) -> int:
        return self._n + len(self._wait_values)

    def append(self, step: int, value: float) -> None:
        """Add one point."""
        self._wait_values.append(float(value))
        self._wait_steps.append(int(step))
        if len(self._wait_steps) >= _WAIT:
            self._drain()

    def extend(
        self, steps: Sequence[int] | NDArray[Any] | Iterable[int], values: Sequence[float] | NDArray[Any]
    ) -> None:
        """Add many points; raises UsageError when the lengths differ."""
        self._drain()
        s = np.ascontiguousarray(steps if isinstance(steps, np.ndarray) else list(steps), dtype=np.int64)
        v = np.ascontiguousarray(values, dtype=np.float64)
        if s.ndim != 1 or s.shape != v.shape:
            raise UsageError(f"a curve needs one-dimensional steps and values of one length, got {s.shape}, {v.shape}")
        self._take(s, v)

    def _drain(self) -> None:
        if self._wait_steps:
            steps, values = np.array(self._wait_steps, np.int64), np.array(self._wait_values, np.float64)
            self._wait_steps, self._wait_values = [], []
            self._take(steps, values)

    def _take(self, steps: Ints, values: Floats) -> None:
        if len(values) == 0:
            return
        self._count(steps, values)
        room = KEEP - self._n
        if room > 0:
            self._head.append((steps[:room].copy(), values[:room].copy()))
        old_steps, old_values = self._tail
        self._tail = (
            np.concatenate((old_steps, steps[-KEEP:]))[-KEEP:],
            np.concatenate((old_values, values[-KEEP:]))[-KEEP:],
        )
        self._n += len(values)
        with np.errstate(all="ignore"):
            self._blocks(steps, values)

    def _count(self, steps: Ints, values: Floats) -> None:
        finite = np.isfinite(values)
        if finite[-1]:
            self._last_finite_step = int(steps[-1])
        elif finite.any():
            self._last_finite_step = int(steps[len(finite) - 1 - int(finite[::-1].argmax())])
        bad = np.flatnonzero(~finite)
        if len(bad) == 0:
            return
        wrong = values[bad]
        nan, posinf = int(np.isnan(wrong).sum()), int((wrong == np.inf).sum())
        self._n_nan += nan
        self._n_posinf += posinf
        self._n_neginf += len(bad) - nan - posinf
        self._last_bad = self._n + int(bad[-1])
        if self._first_bad is None:
            self._first_bad = (int(steps[bad[0]]), self._n + int(bad[0]))

    def _blocks(self, steps: Ints, values: Floats) -> None:
        """Work on all full blocks and keep the rest."""
        if len(self._open[1]):
            steps, values = np.concatenate((self._open[0], steps)), np.concatenate((self._open[1], values))
        full = len(values) // BLOCK * BLOCK
        for low in range(0, full, _CHUNK):
            s, v = steps[low : min(low + _CHUNK, full)], values[low : min(low + _CHUNK, full)]
            rows = base_rows(s.reshape(-1, BLOCK), v.reshape(-1, BLOCK), len(v), self._full, self._before)
            self._before = v[-2:].copy()
            self._full += len(v)
            self._tree.add(rows)
            self._detector.feed(s, v, rows)
        self._open = (steps[full:].copy(), values[full:].copy())

    def summary(self) -> CurveSummary:
        """The summary of all points so far. The builder can go on afterwards."""
        self._drain()
        with np.errstate(all="ignore"):
            partial = self._partial()
            blocks = self._tree.blocks(partial)
            kept = self._detector.result(*self._open, partial)
        head = self._whole_head()
        for array in (*head, *self._tail):
            array.flags.writeable = False
        low, high = _extreme(blocks, "min"), _extreme(blocks, "max")
        bad_step, bad_index = self._first_bad or (None, None)
        return CurveSummary(
            n=self._n,
            n_nan=self._n_nan,
            n_posinf=self._n_posinf,
            n_neginf=self._n_neginf,
            first_step=int(head[0][0]) if self._n else 0,
            last_step=int(self._tail[0][-1]) if self._n else 0,
            last_finite_step=self._last_finite_step,
            first_nonfinite_step=bad_step,
            first_nonfinite_index=bad_index,
            last_nonfinite_index=self._last_bad,
            min_value=low[0],
            min_step=low[1],
            min_index=low[2],
            max_value=high[0],
            max_step=high[1],
            max_index=high[2],
            head_steps=head[0],
            head_values=head[1],
            tail_steps=self._tail[0],
            tail_values=self._tail[1],
            blocks=blocks,
            events=kept.events(),
            n_spikes=kept.n_spikes,
            n_jumps=kept.n_jumps,
            n_nonfinite_runs=kept.n_nonfinite_runs,
        )

    def _whole_head(self) -> tuple[Ints, Floats]:
        if not self._head:
            return self._tail
        if len(self._head) > 1:
            steps, values = zip(*self._head, strict=True)
            self._head = [(np.concatenate(steps), np.concatenate(values))]
        return self._head[0]

    def _partial(self) -> Rows | None:
        """The row of the last block when it is not full."""
        steps, values = self._open
        if len(values) == 0:
            return None
        return partial_row(steps, values, self._full, self._before)


def _extreme(blocks: Blocks, name: str) -> tuple[float, int, int]:
    rows = np.flatnonzero(blocks.count > 0)
    if len(rows) == 0:
        return math.nan, 0, -1
    values = getattr(blocks, name)[rows]
    row = rows[int(values.argmin() if name == "min" else values.argmax())]
    at = int(getattr(blocks, f"{name}_index")[row])
    return float(getattr(blocks, name)[row]), int(getattr(blocks, f"{name}_step")[row]), at


def summarize(
    steps: Sequence[int] | NDArray[Any] | Iterable[int], values: Sequence[float] | NDArray[Any]
) -> CurveSummary:
    """The summary of a whole curve.

    >>> summarize(range(3), [3.0, 1.0, 2.0]).min_step
    1
    """
    builder = SummaryBuilder()
    builder.extend(steps, values)
    return builder.summary()
