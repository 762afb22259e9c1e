"""One run that is being watched: what is announced of it, how fast it goes, and whether it has stalled or ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.engine import diagnose
from lossdoctor.live.judging.alarms import AT_THE_END, Alarms
from lossdoctor.live.rows import KINDS, LiveEvent, Verdict
from lossdoctor.live.telling.announcer import OF_VERDICTS
from lossdoctor.live.telling.stall import Rhythm, duration
from lossdoctor.render.panel import Shown

_TRUE_WHILE_IT_RUNS = AT_THE_END | {"LD403"}  # LD403: the log ends before the planned end
_SILENT = OF_VERDICTS | {"session_start"}
_ENDS = {"finished": "the run has ended", "crashed": "the run has crashed"}
_BEGINS = frozenset({"restarted", "session_start"})
_RATE_POINTS = 50
_DONE_QUIET = 30.0  # seconds without news after the last planned step: what follows it has come, too
# A run that is opened in its middle is judged at these shares of its points, as if it had been watched until now.
_BEFORE = (0.5, 0.65, 0.8, 0.9)
_JUST_BEFORE = (16, 8)


class Watched:
    """One run.

    Args:
        context, settings: as for :func:`lossdoctor.engine.diagnose`.
    """

    def __init__(self, context: RunContext | None, settings: Settings) -> None:
        self._context = context
        self._settings = replace(settings, metrics={})  # the follower has given them to those that have them
        self._alarms = Alarms()
        self._signature: tuple[object, ...] = ()
        self._events = 0  # of the history's, told
        self._seen: deque[tuple[float, int]] = deque(maxlen=_RATE_POINTS)
        self._rhythm = Rhythm()
        self._stalled = False
        self.history = TrainingHistory()
        self.diagnosis: Diagnosis | None = None
        self.touched = 0.0  # when its files were last written to, seconds since the epoch
        self.quiet = ""  # for how long nothing has come, when that is a stall
        self.followed = False  # something of it came while it was watched

    def take(self, history: TrainingHistory, touched: float | None) -> bool:
        """The run as it is now; whether it differs from what it was."""
        self.history = history
        if touched is not None and touched > self.touched:
            if self.followed and self.touched:
                self._rhythm.add(touched - self.touched, told=self._stalled)
            self.touched, self._stalled = touched, False
        signature = _signature(history)
        if signature == self._signature:
            return False
        self.followed = bool(self._signature)
        self._signature = signature
        if (step := self.last_step) is not None:
            self._seen.append((time.monotonic(), step))
        return True

    def begin_anew(self) -> None:
        """The log was replaced: what was announced of the old one says nothing of the new one."""
        self._alarms = Alarms()
        self._events = 0
        self._seen.clear()
        self.diagnosis = None

    def judge(self, *, final: bool = False) -> Verdict:
        """Judge the run, and see what that changes of what is announced; ``final``: nothing more will come."""
        if self.diagnosis is None:
            for part in _beginnings(self.history):
                self._alarms.judge(self._diagnose(part), _last_step(part) or 0)
            told = self._alarms.announced
            verdict = self._verdict(final)
            return Verdict(verdict.diagnosis, verdict.step, announced=(*told, *verdict.announced))
        return self._verdict(final)

    def _verdict(self, final: bool) -> Verdict:
        self.diagnosis = self._diagnose(self.history)
        return self._alarms.judge(self.diagnosis, self.last_step or 0, final=final)

    def _diagnose(self, history: TrainingHistory) -> Diagnosis:
        return diagnose(history, context=self._context, settings=self._settings)

    def news(self, *, silently: bool = False) -> list[LiveEvent]:
        """Events of the log that have not been told; ``silently`` takes them as told."""
        events = self.history.events
        new = events[min(self._events, len(events)) :]
        self._events = len(events)
        told = [e for e in new if e.get("kind", e.get("event")) not in _SILENT]
        return [] if silently else [_event(e, self.last_step or 0) for e in told]

    @property
    def last_step(self) -> int | None:
        """The last step of the run."""
        return _last_step(self.history)

    def shown(self, now: float) -> tuple[str, list[Shown]]:
        """The status for a panel, and its findings: those of the verdict, with a note where they are not settled.

        What is true of every run that goes on (that its log ends) is left out until it has ended.
        """
        if self.diagnosis is None:
            return "insufficient_data", []
        told = {(f.code, f.metric) for f in self._alarms.announced}
        found = self.diagnosis.findings
        if self.ended(now):
            return self.diagnosis.status, [Shown(f) for f in found]
        going = [f for f in found if f.code not in _TRUE_WHILE_IT_RUNS]
        settled = [f for f in going if f.severity == "info" or (f.code, f.metric) in told]
        shown = [Shown(f, "" if f in settled else "may pass") for f in going]
        here = {(f.code, f.metric) for f in found}
        explained = {code for f in found for code in f.explains}
        gone = [f for f in self._alarms.announced if (f.code, f.metric) not in here and f.code not in explained]
        alarms = [f.severity for f in (*settled, *gone) if f.severity != "info"]
        calm = "healthy" if self.diagnosis.alarm else self.diagnosis.status
        status = max(alarms, key=severity_rank) if alarms else calm
        return status, [*shown, *(Shown(f, "not found now") for f in gone)]

    @property
    def rate(self) -> float | None:
        """Steps a second of late, by the log's own times or else by when they came; None where that is not known."""
        curve = self.history.curve("train_loss") or max(self.history.curves.values(), key=len, default=None)
        if curve is not None and curve.times is not None and len(curve) > 2:
            tail = curve.take(slice(max(0, len(curve) - _RATE_POINTS), len(curve)))
            assert tail.times is not None
            return _slope(tail.times[0], tail.times[-1], int(tail.steps[0]), int(tail.steps[-1]))
        if len(self._seen) > 2:
            (first, step), (last, now) = self._seen[0], self._seen[-1]
            return _slope(first, last, step, now) if last - first > 3 else None
        return None

    @property
    def seconds_left(self) -> float | None:
        """Until the planned steps are done; None where that is not known."""
        planned, rate, step = self.history.context.planned_steps, self.rate, self.last_step
        if not planned or not rate or step is None:
            return None
        return max(0.0, (planned - step) / rate)

    def ended(self, now: float) -> str:
        """How the run ended, in words: what its monitor wrote, or that all planned steps are done; else empty."""
        marks = [e for e in self.history.events if e.get("kind") in _ENDS or e.get("kind") in _BEGINS]
        last = max(marks, key=lambda e: float(e.get("time") or 0.0), default={})
        if last.get("kind") in _ENDS:
            return _ENDS[last["kind"]]
        planned, step = self.history.context.planned_steps, self.last_step
        done = planned is not None and step is not None and step >= planned - 1
        return "all planned steps are done" if done and now - self.touched > _DONE_QUIET else ""

    def stall(self, now: float) -> str:
        """For how long nothing has come, when that is far longer than usual; else empty."""
        quiet = now - self.touched
        if not self.touched or quiet <= self._rhythm.limit() or self.ended(now):
            return ""
        self._stalled = True
        usual = f" (usually every {duration(self._rhythm.typical)})" if self._rhythm.count else ""
        return f"nothing was written for {_roughly(quiet)}{usual}: it has ended, or it hangs"


def _roughly(seconds: float) -> str:
    """A duration that does not change every second."""
    return duration(seconds // 60 * 60 if seconds < 7200 else seconds // 3600 * 3600)


def _slope(start: float, end: float, first: int, last: int) -> float | None:
    return (last - first) / (end - start) if end > start and last > first else None


def _last_step(history: TrainingHistory) -> int | None:
    return max((s.last_step for s in history.segments), default=None)


def _signature(history: TrainingHistory) -> tuple[object, ...]:
    """What differs whenever a verdict may."""
    ends = tuple((n, len(c), c.steps[-1:].tobytes(), c.values[-1:].tobytes()) for n, c in history.curves.items())
    return (history.format, ends, len(history.events), *history.notes)


def _beginnings(history: TrainingHistory) -> list[TrainingHistory]:
    """The run as it was some time ago, so that alarms know what has held for long enough."""
    points = history.points
    cuts = {int(share * points) for share in _BEFORE} | {points - k for k in _JUST_BEFORE}
    reference = history.curve("train_loss") or history.curve("val_loss")
    if reference is None:
        return []
    return [_until(history, int(reference.steps[cut - 1])) for cut in sorted(c for c in cuts if 0 < c < points)]


def _until(history: TrainingHistory, step: int) -> TrainingHistory:
    """What the log held when it came to a step for the first time."""
    curves = {n: _head(c, step) for n, c in history.curves.items()}
    part = TrainingHistory(
        {n: c for n, c in curves.items() if len(c)},
        name=history.name,
        path=history.path,
        format=history.format,
        step_unit=history.step_unit,
        context=history.context,
    )
    part.set_roles({role: name for role, name in history._overrides.items() if name in part})
    return part


def _head(curve: Curve, step: int) -> Curve:
    beyond = np.flatnonzero(curve.steps > step)
    return curve.take(slice(0, int(beyond[0]) if len(beyond) else len(curve)))


def _event(found: Mapping[str, Any], now: int) -> LiveEvent:
    """An event as the log has it; those of text logs name a kind of their own."""
    kind = str(found.get("kind") or found.get("event") or "event")
    message = str(found.get("message") or found.get("text") or KINDS.get(kind, ""))
    step = found.get("step")
    return LiveEvent(kind, step if isinstance(step, int) else now, message, float(found.get("time") or 0.0))


def newest(runs: Sequence[Watched]) -> Watched:
    """The run that was written to last; of several the last one listed."""
    return max(reversed(runs), key=lambda r: r.touched)
