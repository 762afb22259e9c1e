"""One named series of a run: steps, values and, where the log has them, wall times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError

Steps = NDArray[np.int64]
Values = NDArray[np.float64]


class Points(Protocol):
    """What a curve shows of itself; one that is still growing shows it without being copied."""

    def __len__(self) -> int: ...

    @property
    def steps(self) -> Steps: ...

    @property
    def values(self) -> Values: ...

    @property
    def highest(self) -> int: ...


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """A series in the order of arrival. NaN and Inf are kept; steps may repeat or go back.

    Attributes:
        steps: int64[n], in the run's own unit.
        values: float64[n].
        times: float64[n], seconds since the epoch, or None.
    """

    steps: Steps
    values: Values
    times: Values | None = None

    @classmethod
    def make(
        cls,
        steps: Sequence[int] | NDArray[Any] | range,
        values: Sequence[float] | NDArray[Any] | Iterable[float],
        times: Sequence[float] | NDArray[Any] | None = None,
    ) -> Curve:
        """Build a curve from anything array-like; raises UsageError when the lengths differ or a step is not whole.

        >>> len(Curve.make([1, 2], [0.5, float("nan")]))
        2
        """
        s = _whole(_array(steps))
        try:
            v = np.ascontiguousarray(_array(values), dtype=np.float64)
            t = None if times is None else np.ascontiguousarray(_array(times), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"a curve's values and times must be numbers: {error}") from None
        if s.ndim != 1 or s.shape != v.shape or (t is not None and t.shape != s.shape):
            shapes = f"steps {s.shape}, values {v.shape}" + ("" if t is None else f", times {t.shape}")
            raise UsageError(f"a curve needs one-dimensional steps and values of one length, got {shapes}")
        return cls(s, v, t)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def highest(self) -> int:
        """The highest step; raises ValueError when there is no point."""
        return int(self.steps.max())

    def take(self, index: NDArray[Any] | slice) -> Curve:
        """The points that a mask, an index array or a slice selects."""
        return Curve(self.steps[index], self.values[index], None if self.times is None else self.times[index])

    def joined(self, later: Curve) -> Curve:
        """This curve followed by another; wall times survive only when both have them."""
        times = None
        if self.times is not None and later.times is not None:
            times = np.concatenate([self.times, later.times])
        return Curve(np.concatenate([self.steps, later.steps]), np.concatenate([self.values, later.values]), times)

    def same_points(self, other: Curve) -> bool:
        """Whether both hold the same steps and values (NaN equals NaN)."""
        return np.array_equal(self.steps, other.steps) and np.array_equal(self.values, other.values, equal_nan=True)


def _array(numbers: Any) -> NDArray[Any]:
    """An array of anything array-like or iterable."""
    return np.asarray(numbers if hasattr(numbers, "__len__") or hasattr(numbers, "__array__") else list(numbers))


def _whole(steps: NDArray[Any]) -> Steps:
    if steps.size == 0 or steps.dtype.kind in "iu":
        return np.ascontiguousarray(steps, dtype=np.int64)
    try:
        numbers = np.asarray(steps, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a curve's steps must be whole numbers: {error}") from None
    wrong = ~np.isfinite(numbers) | (np.abs(numbers) >= 2.0**63) | (numbers % 1 != 0)
    if wrong.any():
        raise UsageError(f"a curve's steps must be whole numbers of 64 bits, got {steps[wrong].flat[0]}")
    return np.ascontiguousarray(numbers, dtype=np.int64)
