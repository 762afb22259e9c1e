"""Judging a run while it trains: the verdict of the log so far, at a cost that does not grow with the run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.core.options import Settings
from lossdoctor.core.roles import LOSSES, ROLES, RoleMap, map_roles
from lossdoctor.core.segments import Segment
from lossdoctor.engine.cases import Prepared, epoch_averaged, judged_names
from lossdoctor.engine.judge import diagnose_prepared
from lossdoctor.live.judging.lanes import Lane, Order, Raw, Sum
from lossdoctor.live.judging.pace import Pace
from lossdoctor.live.judging.packed import Packed, Prefix
from lossdoctor.live.judging.snapshot import Remembered, Snapshot
from lossdoctor.live.rows import Row
from lossdoctor.signal.reading import Reading


class LiveJudge:
    """Judges the rows that it was given, at any time, as ``lossdoctor.diagnose`` judges a history of the same rows.

    Every curve that rules read is summarised as it grows, so a verdict costs the rows since the last one and what the
    rules cost; where steps go back (a restart) all rows are looked at once more. All points are kept, in 4 bytes each
    where float32 holds them and steps are at equal distances (16 at worst): 16 MB per million rows of four metrics
    that came from float32 tensors.

    Args:
        metrics: role -> metric name, over the automatic mapping; obeyed from the first row of that metric on.
        context: facts that rules may need.
        settings: selected rules and their options.
        step_unit: ``"step"``, ``"epoch"``, ``"token"`` or ``"row"``.
        name, path, format: of the run, as its diagnosis tells them.
        share: of the time that has passed, how much may be spent on judging.

    Raises:
        UsageError: ``metrics`` names no role, or one metric twice; the context or the settings are not valid.

    >>> judge = LiveJudge()
    >>> for step in range(100):
    ...     judge.add(Row(step, {"loss": 2.0 * 0.9**step + 0.1}, 0.0))
    >>> judge.verdict().status
    'healthy'
    """

    def __init__(
        self,
        metrics: Mapping[str, str] | None = None,
        context: RunContext | Mapping[str, Any] | None = None,
        *,
        settings: Settings | None = None,
        step_unit: str = "step",
        name: str = "",
        path: str = "",
        format: str = "memory",
        share: float = 0.001,
    ) -> None:
        self.settings = settings or Settings()
        self.metrics = {**self.settings.metrics, **(metrics or {})}
        _check_metrics(self.metrics)
        known = context if isinstance(context, RunContext) else RunContext.from_pairs(context or {})
        self.context = RunContext.from_pairs(self.settings.context).merged(known)
        self.step_unit, self.name, self.path, self.format = step_unit, name, path, format
        self.notes: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.pace = Pace(share)
        self.rows = 0
        self.step: int | None = None
        self._points: dict[str, Packed] = {}
        self._losses: set[str] = set()  # metrics whose first non-finite value is told at once
        self._lanes: dict[str | tuple[str, ...], Lane] = {}
        self._orders: dict[str, Order] = {}
        self._compared = Remembered()
        self._roles: RoleMap | None = None  # where only a new metric could change it
        self._roles_of = 0
        _warm_up()

    # taking rows

    def add(self, row: Row) -> None:
        """Take one row. Does no more than to store it."""
        step, points = row.step, self._points
        for name, value in row.values.items():
            held = points.get(name)
            if held is None:
                held = self._meet(name)
            held.append(step, value)
            if not math.isfinite(value) and name in self._losses:
                self._losses.discard(name)
                self.pace.hurry()
        self.rows += 1
        self.step = step

    def extend(self, rows: Iterable[Row]) -> None:
        """Take many rows."""
        for row in rows:
            self.add(row)

    @property
    def nbytes(self) -> int:
        """Bytes of the points kept."""
        return sum(points.nbytes for points in self._points.values())

    def restart(self, step: int) -> None:
        """The run goes on from a checkpoint: its next row is of this step or a later one, seen before or not."""
        self.events.append({"kind": "session_start", "step": int(step), "time": time.time()})

    def _meet(self, name: str) -> Packed:
        self._points[name] = Packed()
        roles = [role for role, chosen in self.metrics.items() if chosen == name]
        if parse(name).kind == "loss" or any(role in LOSSES for role in roles):
            self._losses.add(name)
        return self._points[name]

    # judging

    def due(self, now: float) -> bool:
        """Whether it is time for a verdict, at ``now`` in seconds; see :mod:`lossdoctor.live.judging.pace`."""
        return self.pace.due(now, self.rows)

    def verdict(self) -> Diagnosis:
        """What ``lossdoctor.diagnose`` says of the rows so far, bit for bit."""
        began = time.perf_counter()
        curves = {name: Prefix(points) for name, points in self._points.items() if len(points)}
        overrides = {role: name for role, name in self.metrics.items() if name in curves}
        roles = self._mapped(curves, overrides)
        prepared = self._prepared(roles, curves)
        history = Snapshot(
            curves,
            roles,
            overrides,
            prepared.segments,
            name=self.name,
            path=self.path,
            format=self.format,
            step_unit=self.step_unit,
            context=self.context,
            notes=self.notes,
            events=self.events,
        )
        found = diagnose_prepared(history, prepared, self.context, settings=self.settings)
        self.pace.judged(self.rows, time.perf_counter() - began)
        return found

    def _mapped(self, curves: Mapping[str, Prefix], overrides: Mapping[str, str]) -> RoleMap:
        """The mapping of the metrics; it is looked at again only where it could have become another."""
        if self._roles is not None and len(curves) == self._roles_of:
            return self._roles
        self._compared.look(curves)
        roles = map_roles(curves, overrides, self._compared)
        # How many points a metric has, and at which steps, matters only where several could play a role.
        certain = not roles.auxiliary and all(len(n) == 1 for r, n in roles.names.items() if not r.startswith("layer"))
        self._roles, self._roles_of = roles if certain else None, len(curves)
        return roles

    def _prepared(self, roles: RoleMap, curves: Mapping[str, Prefix]) -> Prepared:
        segments = self._segments(roles, curves)
        judged = roles.judged()
        lanes = {name: self._lane(name, roles) for name in judged_names(judged)}
        whole: dict[str, Reading] = {}
        parts: list[dict[str, Reading]] = [{} for _ in segments] if len(segments) > 1 else []
        for name, lane in lanes.items():
            lane.catch_up(segments)
            reading, of_parts = lane.readings()
            if reading is not None:
                whole[name] = reading
            for part, found in zip(parts, of_parts, strict=True):
                if found is not None:
                    part[name] = found
        train, val = (lanes.get(judged.primary(role) or "") for role in LOSSES)
        averaged = epoch_averaged(
            self.step_unit,
            judged.comparable,
            None if train is None else train.n,
            None if val is None else val.n,
            lambda: 0 if train is None else train.distinct,
            lambda: train is not None and val is not None and train.same_steps(val),
        )
        return Prepared(judged, segments, whole, parts, averaged)

    def _segments(self, roles: RoleMap, curves: Mapping[str, Prefix]) -> list[Segment]:
        if not curves:
            return []
        name = roles.primary("train_loss") or roles.primary("val_loss") or max(curves, key=lambda n: len(curves[n]))
        if name not in self._orders:
            self._orders[name] = Order(Raw(self._points[name]))
        return self._orders[name].segments()

    def _lane(self, name: str, roles: RoleMap) -> Lane:
        """The lane of a metric, or of the terms whose sum bears that name."""
        if name in self._points:
            if name not in self._lanes:
                self._lanes[name] = Lane(Raw(self._points[name]))
            return self._lanes[name]
        terms = next(roles.terms(role) for role in LOSSES if roles.terms(role) and roles.label(role) == name)
        if terms not in self._lanes:
            self._lanes[terms] = Lane(Sum([self._points[n] for n in terms]))
        return self._lanes[terms]


@lru_cache(maxsize=1)
def _warm_up() -> None:
    """What the first verdict of a process loads, loaded before training: rules, forests, what NumPy imports on use."""
    steps = np.arange(200)
    noise = np.random.default_rng(0).normal(size=len(steps))  # a generator of its own: the global one is not touched
    diagnose_prepared(TrainingHistory({"loss": (steps, 1.0 + 0.02 * noise + 0.01 * np.maximum(steps - 100, 0))}), None)


def _check_metrics(metrics: Mapping[str, str]) -> None:
    for role in metrics:
        if role not in ROLES:
            raise UsageError(f"unknown role {role!r} in metrics{nearest(role, ROLES)}; roles are {', '.join(ROLES)}")
    names = list(metrics.values())
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UsageError(f"metrics puts two roles on {twice!r}; a metric can play one role")
