"""The rows that a verdict knows, as a history: nothing is copied until somebody looks at a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import RoleMap
from lossdoctor.core.segments import Segment
from lossdoctor.core.terms import Comparison, off
from lossdoctor.live.judging.packed import Prefix


class Snapshot(TrainingHistory):
    """A history of a run up to one row, with what the judge found out about it on the way.

    Args:
        curves: name -> the points so far.
        roles: their mapping, in which ``overrides`` are obeyed.
        segments: the stretches between restarts.
        options: name, format, step_unit, context, notes, events of the history.
    """

    def __init__(
        self,
        curves: Mapping[str, Prefix],
        roles: RoleMap,
        overrides: Mapping[str, str],
        segments: Sequence[Segment],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._curves = dict(curves)
        self._roles = self._known_roles = roles
        self._overrides = dict(overrides)
        self._known_segments = list(segments)
        primary = next((r for r in ("train_loss", "val_loss") if roles.names.get(r)), None)
        names = (roles.terms(primary) or roles.names[primary][:1]) if primary else ()
        sizes = [len(curves[n]) for n in names]
        self._known_points = min(sizes) if sizes else max(map(len, curves.values()), default=0)

    @property
    def _as_judged(self) -> bool:
        """Whether nobody recorded more into it or changed its roles."""
        return self._roles is self._known_roles

    def __len__(self) -> int:
        return max((len(c) if isinstance(c, Prefix) else len(self[n]) for n, c in self._curves.items()), default=0)

    @property
    def points(self) -> int:
        return self._known_points if self._as_judged else super().points

    @property
    def segments(self) -> list[Segment]:
        return list(self._known_segments) if self._as_judged else super().segments


class Remembered(Comparison):
    """Compares curves that grow: what was compared before is not compared again.

    Points that were shown once must stay as they were.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.held: Mapping[str, Prefix] = {}
        self._alike: dict[tuple[str, str], tuple[int, bool]] = {}
        self._no_total: set[tuple[str, ...]] = set()

    def look(self, curves: Mapping[str, Prefix]) -> None:
        """From now on compare these."""
        self.curves = self.held = curves

    def same_steps(self, one: str, other: str) -> bool:
        a, b = self.held[one], self.held[other]
        n = min(len(a), len(b))
        if n == 0 or max(len(a), len(b)) - n > 1:
            return False
        upto, same = self._alike.get((one, other), (0, True))
        if same and upto < n:
            same = np.array_equal(a.part(upto, n)[0], b.part(upto, n)[0])
        self._alike[one, other] = (n, same)
        return same

    def hold_a_total(self, names: Sequence[str]) -> bool:
        key = tuple(names)
        if key in self._no_total:
            return False
        found = super().hold_a_total(names)
        if not found and len(names) >= 3:
            n = min(len(self.held[name]) for name in names)
            values = np.array([self.held[name].part(0, n)[1] for name in names])
            values = values[:, np.isfinite(values).all(axis=0)]
            # Whichever of them were the largest: there is a row in which it is not the sum of the others.
            if values.shape[1] >= 2 and all(off(values, k).any() for k in range(len(names))):
                self._no_total.add(key)
        return found
