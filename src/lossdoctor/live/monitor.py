"""The monitor: two lines in a training script."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.rows import LiveEvent, Row, Verdict

log = logging.getLogger("lossdoctor")


class Monitor:
    """Records a run, judges it while it trains, and acts on it where asked. Never raises into training.

    Args:
        run_dir: folder of the run; ``runs/<time>-<name>`` by default. One that holds a run already is gone on with.
        name: short name of the run.
        config: hyper-parameters, kept in ``run.json``; what rules need is taken from it (classes, batch_size, …).
        actions: what may be done to the run; see :mod:`lossdoctor.live.actions`.
        callbacks: called with every :class:`~lossdoctor.live.rows.Verdict` that changes what is announced.
        metrics: role -> metric name, over the automatic mapping.
        context: facts that rules may need.

    >>> with Monitor(run_dir=folder) as monitor:  # doctest: +SKIP
    ...     for step in range(1000):
    ...         monitor.log(step, loss=train_step())
    """

    def __init__(
        self,
        run_dir: str | Path | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        actions: Iterable[LiveAction] = (),
        callbacks: Iterable[Callable[[Verdict], object]] = (),
        metrics: Mapping[str, str] | None = None,
        context: RunContext | Mapping[str, Any] | None = None,
    ) -> None:
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.name = name or ""
        self.config = dict(config or {})
        self.actions = tuple(actions)
        self.callbacks = tuple(callbacks)
        self.metrics = dict(metrics or {})
        self.context = context
        self.step: int | None = None
        self.diagnosis: Diagnosis | None = None
        self.should_stop = False
        self.stop_reason = ""
        self.events: list[LiveEvent] = []
        self.model: Any = None
        self.optimizer: Any = None
        self.scheduler: Any = None
        self.scaler: Any = None

    def log(self, step: int | None = None, **metrics: Any) -> None:
        """Record one row. ``step`` defaults to one more than the last one."""
        at = int(step) if step is not None else (0 if self.step is None else self.step + 1)
        row = Row(at, {k: float(v) for k, v in metrics.items()}, time.time())
        self.step = at
        for action in self.actions:
            action.on_row(self, row)

    def event(self, kind: str, message: str, **details: Any) -> None:
        """Keep an event in the run and tell the actions."""
        happened = LiveEvent(kind, self.step or 0, message, time.time(), details)
        self.events.append(happened)
        for action in self.actions:
            action.on_event(self, happened)

    def stop(self, reason: str) -> None:
        """Ask for the end of training: sets ``should_stop``, which the loop (or an integration) obeys."""
        if not self.should_stop:
            self.should_stop, self.stop_reason = True, reason
            self.event("stopped", reason)

    def finish(self) -> None:
        """End the run: everything is on disk, actions are told."""
        for action in self.actions:
            action.finish(self)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
