"""A run: named curves that were logged at different steps, with what else the log says about the run."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.core.roles import LOSSES, RoleMap, map_roles
from lossdoctor.core.segments import Segment, segments_of
from lossdoctor.core.terms import total

if TYPE_CHECKING:
    from lossdoctor.core.diagnosis import Diagnosis


class Held(Protocol):
    """A curve that somebody else holds: made when somebody looks at it."""

    def freeze(self) -> Curve: ...


class _Growing:
    """A curve under construction: two packed arrays, turned into NumPy when somebody looks."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.times = array("d")

    def freeze(self) -> Curve:
        steps = np.array(self.steps, dtype=np.int64)
        values = np.array(self.values, dtype=np.float64)
        timed = len(self.times) == len(self.values) and len(self.times) > 0
        return Curve(steps, values, np.array(self.times, dtype=np.float64) if timed else None)


class MetricView(Sequence[float]):
    """The values of one metric, list-like; ``append`` records the next one."""

    def __init__(self, history: TrainingHistory, role: str) -> None:
        self._history = history
        self._role = role

    def _values(self) -> list[float]:
        curve = self._history.curve(self._role)
        return [] if curve is None else [float(v) for v in curve.values]

    def append(self, value: float) -> None:
        """Record one more value at the next step."""
        self._history.add(self._history.role_name(self._role), self._history.next_step(self._role), value)

    def __len__(self) -> int:
        curve = self._history.curve(self._role)
        return 0 if curve is None else len(curve)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        return self._values()[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self._values())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._values(), dtype=dtype or np.float64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple, MetricView)) and self._values() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values())


class TrainingHistory:
    """The metrics of one training run. Metrics may be logged at different steps; nothing is padded.

    Args:
        curves: name -> Curve, or name -> (steps, values).
        name: a short name of the run.
        path: where it was read from, as found.
        format: the reader that made it (``"memory"`` when recorded in Python).
        step_unit: ``"step"``, ``"epoch"``, ``"token"`` or ``"row"``.
        context: what else is known of the run.
        metrics: role -> metric name, over the automatic mapping.
        notes: remarks of the reader, shown with the diagnosis.
        loss, val_loss, grad_norm: values to start with, one per step.

    >>> h = TrainingHistory()
    >>> for loss in (2.3, 1.9, 1.6):
    ...     h.record(loss=loss, grad_norm=1.0, val_loss=loss + 0.1)
    >>> h.loss[-1], len(h.val_loss)
    (1.6, 3)
    """

    def __init__(
        self,
        curves: Mapping[str, Curve | tuple[Any, Any]] | None = None,
        *,
        name: str = "",
        path: str = "",
        format: str = "memory",
        step_unit: str = "step",
        context: RunContext | None = None,
        metrics: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
        events: Sequence[Mapping[str, Any]] = (),
        loss: Sequence[float] = (),
        val_loss: Sequence[float] = (),
        grad_norm: Sequence[float] = (),
    ) -> None:
        self.name = name
        self.path = path
        self.format = format
        self.step_unit = step_unit
        self.context = context or RunContext()
        self.notes: list[str] = list(notes)
        self.events: list[dict[str, Any]] = [dict(e) for e in events]
        self._curves: dict[str, Curve | Held] = {}
        self._frozen: dict[str, Curve] = {}
        self._roles: RoleMap | None = None
        self._roles_for = self.context
        for key, curve in (curves or {}).items():
            self._curves[key] = curve if isinstance(curve, Curve) else Curve.make(*curve)
        for key, values in (("loss", loss), ("val_loss", val_loss), ("grad_norm", grad_norm)):
            for i, value in enumerate(values):
                self.add(key, i + 1, value)
        self._overrides: dict[str, str] = {}
        if metrics:
            self.set_roles(metrics)

    # recording

    def record(
        self,
        loss: float | None = None,
        grad_norm: float | None = None,
        val_loss: float | None = None,
        *,
        step: int | None = None,
        **metrics: float | None,
    ) -> None:
        """Record one row. ``step`` defaults to one more than the last; a metric that is None is not logged."""
        row = {"loss": loss, "grad_norm": grad_norm, "val_loss": val_loss, **metrics}
        at = self._last_step() + 1 if step is None else int(step)
        for key, value in row.items():
            if value is not None:
                self.add(key, at, value)

    def add(self, name: str, step: int, value: float, time: float | None = None) -> None:
        """Append one point to one curve. The value may be anything that ``float()`` takes."""
        growing = self._curves.get(name)
        if not isinstance(growing, _Growing):
            grown = _Growing()
            if growing is not None:
                known = self[name]
                grown.steps.extend(known.steps.tolist())
                grown.values.extend(known.values.tolist())
                if known.times is not None:
                    grown.times.extend(known.times.tolist())
            self._curves[name] = growing = grown
            self._roles = None
        growing.steps.append(int(step))
        growing.values.append(float(value))
        if time is not None:
            growing.times.append(time)
        self._frozen.pop(name, None)

    def _last_step(self) -> int:
        held = (c if isinstance(c, (Curve, _Growing)) else c.freeze() for c in self._curves.values())
        lasts = [c.steps[-1] for c in held if len(c.steps)]
        return int(max(lasts)) if lasts else 0

    def next_step(self, role: str) -> int:
        """The step after the last one of a role's curve."""
        curve = self.curve(role)
        return int(curve.steps[-1]) + 1 if curve is not None and len(curve) else 1

    # looking

    @property
    def curves(self) -> dict[str, Curve]:
        """Name -> curve, in the order in which the log first showed them."""
        return {name: self[name] for name in self._curves}

    def __getitem__(self, name: str) -> Curve:
        if name not in self._curves and (role := self._sum_named(name)):
            return total([self[n] for n in self.roles.terms(role)])
        found = self._curves[name]
        if isinstance(found, Curve):
            return found
        if name not in self._frozen:
            self._frozen[name] = found.freeze()
        return self._frozen[name]

    def __contains__(self, name: object) -> bool:
        return name in self._curves or self._sum_named(name) is not None

    def _sum_named(self, name: object) -> str | None:
        """The role whose terms add up to what a finding calls ``"a + b"``."""
        if not isinstance(name, str) or " + " not in name:
            return None
        return next((r for r in LOSSES if self.roles.terms(r) and self.roles.label(r) == name), None)

    def __len__(self) -> int:
        return max((len(self[n]) for n in self._curves), default=0)

    @property
    def points(self) -> int:
        """Points of the primary loss, or of the longest curve where no loss is known."""
        primary = self.curve("train_loss") or self.curve("val_loss")
        return len(primary) if primary is not None else len(self)

    @property
    def roles(self) -> RoleMap:
        """Which curves play which role. Kept until a new metric appears."""
        stale = self._roles_for is not self.context or any(isinstance(c, _Growing) for c in self._curves.values())
        if self._roles is None or stale:
            self._roles = self._mapped(self._overrides)
        return self._roles

    def _mapped(self, overrides: Mapping[str, str]) -> RoleMap:
        """The mapping under what the caller says, and under what the log says where that is not about the same."""
        self._roles_for = self.context
        said = {r: n for r, n in self.context.metrics.items() if n in self._curves and n not in overrides.values()}
        return map_roles(self.curves, {**said, **overrides})

    def set_roles(self, metrics: Mapping[str, str]) -> None:
        """Override the mapping: role -> metric name. Raises UsageError on an unknown role or metric."""
        overrides = {**self._overrides, **metrics}
        self._roles = self._mapped(overrides)
        self._overrides = overrides

    def role_name(self, role: str) -> str:
        """The primary metric of a role; for the seeds' three roles a default when there is none yet."""
        default = {"train_loss": "loss"}.get(role, role)
        return self.roles.primary(role) or default

    def curve(self, role: str) -> Curve | None:
        """The primary curve of a role, or None; the sum where a loss is logged only as its terms.

        >>> names = ("box_loss", "cls_loss", "val/box_loss", "val/cls_loss")
        >>> h = TrainingHistory({n: ([1, 2], [2.0, 1.0]) for n in names})
        >>> h.roles.names["train_loss"], h.curve("train_loss").values.tolist()
        (('box_loss', 'cls_loss'), [4.0, 2.0])
        """
        name = self.roles.label(role)
        return None if name is None else self[name]

    @property
    def segments(self) -> list[Segment]:
        """Stretches between restarts, in global steps."""
        return segments_of(self.curves, self.roles.primary("train_loss") or self.roles.primary("val_loss"))

    @property
    def loss(self) -> MetricView:
        """The training loss, list-like."""
        return MetricView(self, "train_loss")

    @property
    def val_loss(self) -> MetricView:
        """The validation loss, list-like."""
        return MetricView(self, "val_loss")

    @property
    def grad_norm(self) -> MetricView:
        """The gradient norm, list-like."""
        return MetricView(self, "grad_norm")

    def __repr__(self) -> str:
        label = self.name or self.path or "run"
        return f"<TrainingHistory {label!r}: {self.points} points, metrics {', '.join(self._curves) or 'none'}>"

    # one-line delegations: the only imports of siblings from core (named in the import contract)

    def diagnose(
        self, context: RunContext | None = None, measurements: Sequence[Measurement] = (), **options: Any
    ) -> Diagnosis:
        """What is wrong with this run. See :func:`lossdoctor.engine.diagnose`."""
        from lossdoctor.engine import diagnose

        return diagnose(self, context=context, measurements=measurements, **options)

    def smooth(self, metric: str = "train_loss", factor: float = 0.9, *, seeds: bool = False) -> Curve:
        """An exponential moving average of a metric or role; ``seeds=True`` gives the seeds' uncorrected one."""
        from lossdoctor.signal.smoothing import ema, ema_from_first

        curve = self[metric] if metric in self else self.curve(metric)
        if curve is None:
            raise UsageError(f"no metric {metric!r} to smooth; this run has {', '.join(self._curves) or 'none'}")
        smoother = ema_from_first if seeds else ema
        return Curve(curve.steps, smoother(curve.values, factor), curve.times)

    def plot(self, **options: Any) -> Any:
        """A Matplotlib figure of the run with its diagnosis. See :func:`lossdoctor.render.pictures.plot_history`."""
        from lossdoctor.render.pictures import plot_history

        return plot_history(self, **options)

    def _repr_html_(self) -> str:
        from lossdoctor.render.notebook import history_html

        return history_html(self)

    # data frames

    def to_pandas(self) -> Any:
        """A wide pandas DataFrame: one row per step, one column per metric, missing where not logged."""
        from lossdoctor.core.frames import to_frame

        return to_frame(self, "pandas")

    def to_polars(self) -> Any:
        """A wide Polars DataFrame: one row per step, one column per metric, null where not logged."""
        from lossdoctor.core.frames import to_frame

        return to_frame(self, "polars")

    @classmethod
    def from_dataframe(cls, frame: Any, *, step: str | None = None, **options: Any) -> TrainingHistory:
        """From any data frame that Narwhals takes (pandas, Polars, PyArrow, …). See :mod:`lossdoctor.core.frames`."""
        from lossdoctor.core.frames import from_frame

        return from_frame(frame, step=step, **options)
