"""Points of a curve that grows, in little memory: any prefix of them can be had again, exactly."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK = 4096


class Packed:
    """Steps and values in the order of arrival; 4 to 16 bytes a point, and 16 for the last few thousand.

    Full chunks are stored as little as they can be without loss: steps at equal distances as a range, values that
    float32 holds (whatever came from a float32 tensor) as float32. What is stored is never moved or changed, so that a
    reader in another thread sees every point that was there when it looked.

    >>> points = Packed()
    >>> for step in range(3):
    ...     points.append(step, step / 4)
    >>> points.since(1)
    (array([1, 2]), array([0.25, 0.5 ]))
    """

    __slots__ = ("_chunks", "_highest", "_open", "n")

    def __init__(self) -> None:
        self.n = 0
        self._highest: int | None = None  # of the closed chunks
        self._chunks: list[tuple[Ints | tuple[int, int], NDArray[np.floating]]] = []
        self._open: tuple[array[int], array[float]] = (array("q"), array("d"))

    def __len__(self) -> int:
        return self.n

    def append(self, step: int, value: float) -> None:
        """Add one point."""
        steps, values = self._open
        values.append(value)
        try:
            steps.append(step)
        except BaseException:  # a step beyond 64 bits: not half a point
            values.pop()
            raise
        self.n += 1
        if len(values) >= CHUNK:
            self._close()

    def extend(self, steps: Ints, values: Floats) -> None:
        """Add many points."""
        at = 0
        while at < len(values):
            step_line, value_line = self._open
            stop = min(len(values), at + CHUNK - len(value_line))
            step_line.frombytes(np.ascontiguousarray(steps[at:stop], dtype=np.int64).tobytes())
            value_line.frombytes(np.ascontiguousarray(values[at:stop], dtype=np.float64).tobytes())
            self.n += stop - at
            at = stop
            if len(value_line) >= CHUNK:
                self._close()

    def _close(self) -> None:
        steps, values = np.array(self._open[0], np.int64), np.array(self._open[1], np.float64)
        top = int(steps.max())
        self._highest = top if self._highest is None else max(top, self._highest)
        stride = int(steps[1]) - int(steps[0])
        even = bool((np.diff(steps) == stride).all())
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        exact = np.array_equal(single.astype(np.float64), values, equal_nan=True)
        self._chunks.append(((int(steps[0]), stride) if even else steps, single if exact else values))
        self._open = (array("q"), array("d"))

    def since(self, start: int, stop: int | None = None) -> tuple[Ints, Floats]:
        """Points ``start`` to ``stop`` (excluded; all by default) as fresh arrays of steps and values."""
        stop = self.n if stop is None else stop
        open_steps, open_values = self._open  # looked at first: what is closed meanwhile is in both
        closed = len(self._chunks)
        full = closed * CHUNK
        steps, values = [], []
        for k in range(start // CHUNK, min(closed, -(-stop // CHUNK))):
            low, high = max(start - k * CHUNK, 0), min(stop - k * CHUNK, CHUNK)
            at, held = self._chunks[k]
            steps.append(at[0] + at[1] * np.arange(low, high) if isinstance(at, tuple) else at[low:high])
            values.append(held[low:high].astype(np.float64))
        if stop > full:
            low = max(start - full, 0)
            steps.append(np.array(open_steps[low : stop - full], np.int64))
            values.append(np.array(open_values[low : stop - full], np.float64))
        if not steps:
            return np.empty(0, np.int64), np.empty(0, np.float64)
        if len(steps) == 1:
            return np.array(steps[0], np.int64), values[0]
        return np.concatenate(steps, dtype=np.int64), np.concatenate(values)

    @property
    def highest(self) -> int:
        """The highest step; raises ValueError when there is no point."""
        closed, rest = self._highest, self._open[0][:]
        if not rest and closed is not None:
            return closed
        top = int(np.array(rest, np.int64).max())
        return top if closed is None else max(top, closed)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        closed = sum((0 if isinstance(s, tuple) else s.nbytes) + v.nbytes for s, v in self._chunks)
        return closed + 16 * len(self._open[0])


class Prefix:
    """The first points of a packed curve, as a history holds them: made into a curve when somebody looks."""

    __slots__ = ("_curve", "_points", "n")

    def __init__(self, points: Packed) -> None:
        self._points = points
        self._curve: Curve | None = None
        self.n = len(points)

    def __len__(self) -> int:
        return self.n

    def freeze(self) -> Curve:
        """The points as a curve; kept, so that whoever looks twice pays once."""
        if self._curve is None:
            self._curve = Curve(*self._points.since(0, self.n))
        return self._curve

    def part(self, start: int, stop: int) -> tuple[Ints, Floats]:
        """Some of the points, without the others."""
        return self._points.since(start, min(stop, self.n))

    @property
    def highest(self) -> int:
        """The highest step."""
        return self._points.highest if len(self._points) == self.n else self.freeze().highest

    @property
    def steps(self) -> Ints:
        return self.freeze().steps

    @property
    def values(self) -> Floats:
        return self.freeze().values

    @property
    def times(self) -> None:
        return None
