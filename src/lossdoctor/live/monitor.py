"""The monitor: two lines in a training script."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import UsageError
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.crew import Crew
from lossdoctor.live.guard import Guard, described
from lossdoctor.live.judging.verdicts import Verdicts, told
from lossdoctor.live.recording import lifetime
from lossdoctor.live.recording.plain import plain
from lossdoctor.live.recording.ranks import this_rank
from lossdoctor.live.recording.storage import Storage
from lossdoctor.live.recording.values import arrived, numbers, results
from lossdoctor.live.rows import KINDS, MOST_EVENTS, LiveEvent, Row, Verdict, bounded
from lossdoctor.live.telling.announcer import log, tell
from lossdoctor.wire.encode import EVENT_TAG

if TYPE_CHECKING:
    from lossdoctor.live.watching.watch import Watch

WARNING = 30  # of Python's logging
_MOST_WAITING = 1_000  # rows on their way from a GPU
_INT64 = 1 << 63


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
        rank: of this process among those of one training; found out by default. Others than rank 0 do nothing.
        every_rank: let every rank record and judge its own run, in folders ``rank1``, ``rank2``, … of ``run_dir``.

    Attributes:
        run_dir: where the run is kept; None on a rank that keeps nothing.
        step: the last step logged, or None.
        diagnosis: what was found the last time the run was judged, or None.
        should_stop, stop_reason: whether, and why, an action asks for the end of training.
        events: what happened in this process; of more than a thousand the first 500 and the last.

    Raises:
        UsageError: an argument is none of those above. Once training runs, nothing is raised.

    >>> import tempfile
    >>> with Monitor(tempfile.mkdtemp(), config={"lr": 0.1}) as monitor:
    ...     for step in range(100):
    ...         monitor.log(step, loss=2.0 * 0.9**step + 0.1)
    >>> monitor.diagnosis.status
    'healthy'
    """

    def __init__(
        self,
        run_dir: str | Path | None = None,
        name: str | None = None,
        config: Any = None,
        *,
        actions: Iterable[LiveAction] | LiveAction = (),
        callbacks: Iterable[Callable[[Verdict], object]] = (),
        metrics: Mapping[str, str] | None = None,
        context: RunContext | Mapping[str, Any] | None = None,
        rank: int | None = None,
        every_rank: bool = False,
    ) -> None:
        self.name = name or ""
        self.config = _config(config)
        self.metrics = dict(metrics or {})
        self.context = context if isinstance(context, RunContext) else RunContext.from_pairs(context or {})
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.step: int | None = None
        self.diagnosis: Diagnosis | None = None
        self.should_stop = False
        self.stop_reason = ""
        self.events: list[LiveEvent] = []
        self.model: Any = None
        self.optimizer: Any = None
        self.scheduler: Any = None
        self.scaler: Any = None
        self.rank = this_rank()[0] if rank is None else int(rank)
        self._rank_given = rank is not None or every_rank
        self._lock = threading.RLock()
        self._guard = Guard(self._internal_error)
        self._crew = Crew(actions, callbacks, self._guard)
        self.actions, self.callbacks = self._crew.actions, self._crew.callbacks
        self._ended = False
        self._began = False
        self._warned: set[str] = set()
        self._known: set[tuple[str, ...]] = set()
        self._waiting: deque[tuple[int, dict[str, Any], float]] = deque()
        self._watches: list[Watch] = []
        self._off = self.rank > 0 and not every_rank
        if self._off:
            self.run_dir = None
            log.info("rank %d records nothing: rank 0 does", self.rank)
            return
        self._verdicts = Verdicts(self.config, self.metrics, self.context, self.name, self._guard)
        if every_rank and self.rank and self.run_dir is not None:
            self.run_dir = self.run_dir / f"rank{self.rank}"
        self._storage = Storage(self.run_dir, self.name, self.config, self.metrics, _pairs(self.context), self._event)
        self._storage.open()
        self.run_dir = self._storage.folder
        self._verdicts.belongs_to(str(self.run_dir))
        if self._storage.earlier is not None:
            self.step = self._storage.earlier.last_step
        lifetime.begin(self)
        self._crew.tell(self, "start")

    # what a training calls

    def log(
        self, step: int | Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None, /, **metrics: Any
    ) -> None:
        """Record one row: ``log(step, loss=…)``, ``log(step, {"val/loss": …})``, ``log(loss=…, step=…)``.

        Args:
            step: any integer; one more than the last one by default, 0 at first.
            values: metrics by any name.
            metrics: metrics. All are anything that ``float()`` takes, tensors of one element too; None is not logged.
                A value on a GPU is copied without waiting; its row is kept when it has arrived, before all later ones.
        """
        if self._off:
            if self._ended:
                self._warn("ended", "log() after finish(): the run is ended, nothing more is recorded")
            return
        try:
            with self._lock:
                if values is not None:
                    metrics = {**values, **metrics}
                if isinstance(step, Mapping):  # log({"loss": …}, step=…), as other loggers have it
                    metrics, step = {**step, **metrics}, None
                self._log(metrics.pop("step", None) if step is None else step, metrics)
        except Exception as error:
            self._guard.failed("log", "recording", error)

    def event(self, kind: str, message: str, **details: Any) -> None:
        """Keep an event in the run and tell the actions. ``kind`` is a word of :data:`lossdoctor.live.rows.KINDS`."""
        if self._off:
            return
        try:
            with self._lock:
                self._event(kind, message, details)
        except Exception as error:
            self._guard.failed("event", "keeping events", error)

    def stop(self, reason: str) -> None:
        """Ask for the end of training: sets ``should_stop``, which the loop (or an integration) obeys."""
        if not self.should_stop:
            self.should_stop, self.stop_reason = True, reason
            self.event("stopped", reason)

    def watch(self, model: Any, optimizer: Any = None, *, scaler: Any = None, scheduler: Any = None, **how: Any) -> Any:
        """Log norms, learning rates and more of a torch model with every row. See
        :class:`lossdoctor.live.watching.watch.Watch`, which is returned."""
        from lossdoctor.live.watching.watch import Watch

        watch = Watch(self, model, optimizer, scaler=scaler, scheduler=scheduler, **how)
        self.model, self.optimizer, self.scheduler, self.scaler = model, optimizer, scheduler, scaler
        self._watches.append(watch)
        return watch

    def before_step(self, optimizer: Any) -> bool:
        """Ask all actions before an optimizer step; False when one of them wants it left out."""
        if self._off:
            return True
        return all(wanted is not False for wanted in self._crew.tell(self, "before_step", optimizer, default=True))

    def after_step(self, optimizer: Any) -> None:
        """Tell all actions of an optimizer step."""
        if not self._off:
            self._crew.tell(self, "after_step", optimizer)

    def finish(self) -> None:
        """End the run: the last verdict is given, everything is on disk, actions are told."""
        self._end(None)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    # rows

    def _log(self, step: int | None, metrics: dict[str, Any]) -> None:
        now = time.time()
        at = self.step = self._step(step)
        if not self._began:
            self._begin(at, now)
            if self._off:
                return
        complete = True
        for value in metrics.values():
            if type(value) is not float:
                metrics, complete = numbers(metrics, self._refuse)
                break
        for watch in self._watches:
            seen = self._guard.run(("watch", id(watch)), "watching the model", watch.collect)
            if seen:
                metrics = {**seen, **metrics}
        names = tuple(metrics)
        if names not in self._known:
            metrics = self._well_named(metrics)
        if not metrics:
            return
        if complete and not self._waiting:
            self._keep(Row(at, metrics, now))
        else:
            self._waiting.append((at, metrics, now))
            self._drain(wait=len(self._waiting) > _MOST_WAITING)

    def _step(self, step: int | None) -> int:
        if type(step) is int and -_INT64 <= step < _INT64:
            return step
        following = 0 if self.step is None else min(self.step + 1, _INT64 - 1)
        if step is None:
            return following
        try:
            return max(-_INT64, min(int(step), _INT64 - 1))
        except Exception:
            self._warn("step", f"step {step!r} is no integer; rows are counted on from the last step instead")
            return following

    def _well_named(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Names as a file can hold them; the names of this row are remembered when they are so already."""
        good = {n.encode("utf-8", "replace").decode(): v for n, v in metrics.items() if n != EVENT_TAG}
        if EVENT_TAG in metrics:
            self._warn(EVENT_TAG, f"the name {EVENT_TAG!r} is taken: events are kept under it; that metric is left out")
        if len(self._known) >= MOST_EVENTS:
            self._known.clear()
        self._verdicts.meet(good)
        if good.keys() == metrics.keys():
            self._known.add(tuple(metrics))
        return good

    def _drain(self, *, wait: bool) -> None:
        """Keep the rows whose numbers have arrived, in order; ``wait`` for the first (or, at the end, for all)."""
        while self._waiting and (wait or arrived(self._waiting[0][1])):
            wait = wait and self._ended
            at, metrics, now = self._waiting.popleft()
            values = results(metrics, self._refuse)
            if values:
                self._keep(Row(at, values, now))

    def _keep(self, row: Row) -> None:
        self._storage.recorder.row(row.values, row.step, row.wall_time)
        due = self._verdicts.add(row)
        self._crew.row(self, row)
        if due:
            self._judge_now(row.step)

    def _begin(self, step: int, now: float) -> None:
        """Before the first row: whether this process is to write at all, and how it goes on from an earlier one."""
        self._began = True
        if not self._rank_given and this_rank()[0] > 0:  # torch.distributed was initialised after the monitor was made
            self.rank = this_rank()[0]
            self._storage.undo()
            self._leave_to_parent()
            lifetime.end(self)
            return
        if self._storage.shared:
            self._warn("shared", f"another process writes to {self.run_dir} too: these rows are a run of their own")
        earlier = self._storage.earlier
        self._storage.earlier = None
        if earlier is None or not len(earlier):
            return
        self._storage.recorder.restart(step, now)
        over = earlier.starts_over(step)
        self._guard.run("remind", "reading the earlier rows", lambda: self._verdicts.remind(earlier, rows=not over))
        last = earlier.last_step
        how = f"{'begun again' if over else 'resumed'} at step {step:,}, after step {last:,}"
        self._event("restarted", how, {"last_step": last})

    def _judge_now(self, step: int, *, final: bool = False) -> None:
        verdict = self._verdicts.verdict(step, final=final)
        if verdict is None:
            return
        self.diagnosis = verdict.diagnosis
        told(verdict, self._event)
        self._crew.verdict(self, verdict)
        self._storage.diagnosis(verdict.diagnosis)

    # events and the rest

    def _event(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        if kind not in KINDS:
            raise UsageError(f"unknown kind of event {kind!r}; there are {', '.join(KINDS)}")
        happened = LiveEvent(kind, self.step or 0, message, time.time(), plain(dict(details)))
        bounded(self.events, happened)
        self._storage.event(happened)
        self._verdicts.happened(happened)
        self._crew.tell(self, "on_event", happened)

    def _refuse(self, name: str, found: str) -> None:
        self._warn(name, f"metric {name!r} is no number ({found}); it is left out")

    def _warn(self, key: str, message: str) -> None:
        if key not in self._warned and len(self._warned) < MOST_EVENTS:
            self._warned.add(key)
            tell(WARNING, message)

    def _internal_error(self, part: str, error: Exception) -> None:
        with self._lock:
            self._event("internal_error", f"{part} failed and is switched off ({described(error)})", {"part": part})

    def _end(self, error: BaseException | None) -> None:
        if self._off or self._ended:
            return
        try:
            with self._lock:
                self._ended = True
                self._finish(error)
        except Exception as failure:
            self._guard.failed("finish", "ending the run", failure)
        finally:
            self._off = True
            lifetime.end(self)

    def _finish(self, error: BaseException | None) -> None:
        for watch in self._watches:
            self._guard.run(("watch", id(watch)), "watching the model", watch.close)
        self._guard.run("arrivals", "waiting for values from the GPU", lambda: self._drain(wait=True))
        if self._began and self.step is not None:
            self._judge_now(self.step, final=True)
        self._event(*_ending(error), {})
        self._crew.tell(self, "finish")
        lost = self._storage.close()
        if self.diagnosis is not None:
            self.diagnosis = self._verdicts.with_events(self.diagnosis)
            self._storage.diagnosis(self.diagnosis, at_once=True)
        if lost:
            tell(WARNING, f"{lost:,} rows and events of {self.run_dir} could not be written and are lost")

    def _leave_to_parent(self) -> None:
        """In a forked process: nothing is written, nothing is ended."""
        self._off = True
        self._storage.recorder.abandon()

    def __copy__(self) -> Monitor:
        return self  # as a logger: a copy of a trainer logs to the same run

    def __deepcopy__(self, memo: Any) -> Monitor:
        return self

    def __reduce__(self) -> Any:
        return _silent, (self.name,)  # sent to another process it does nothing there

    def __repr__(self) -> str:
        return f"<Monitor {self.name or self.run_dir}: step {self.step}>"


def _silent(name: str) -> Monitor:
    return Monitor(name=name, rank=1)


def _config(config: Any) -> dict[str, Any]:
    found = plain(config if config is not None else {})
    if not isinstance(found, dict):
        raise UsageError(f"config must be a mapping, a namespace or a dataclass, not {type(config).__name__}")
    return found


def _pairs(context: RunContext) -> dict[str, Any]:
    """A context in the form of ``--context``."""
    return {**context.known(), **{f"direction:{metric}": way for metric, way in context.directions.items()}}


def _ending(error: BaseException | None) -> tuple[str, str]:
    if error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
        return "finished", "the run was ended"
    if isinstance(error, KeyboardInterrupt):
        return "finished", "interrupted from the keyboard"
    return "crashed", described(error)
