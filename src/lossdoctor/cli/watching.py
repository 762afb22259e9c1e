"""The watching itself: look, judge, tell, until there is a reason to leave."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lossdoctor.cli.follow import Follower, Look, Pace
from lossdoctor.cli.follow_stdin import StdinSpool
from lossdoctor.cli.watch_view import View
from lossdoctor.cli.watched import Watched, newest
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import LossdoctorError, UsageError, nearest
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.core.report import Report
from lossdoctor.core.vocabulary import at_least
from lossdoctor.live.rows import LiveEvent, Verdict
from lossdoctor.live.telling.announcer import line_of, lines_of
from lossdoctor.live.telling.payloads import event_payload, severity_of, verdict_payload
from lossdoctor.live.telling.stall import duration
from lossdoctor.live.telling.webhooks import Webhook
from lossdoctor.render.panel import PanelState

_TICK = 0.5  # seconds between two looks at the clock


@dataclass(frozen=True)
class Reasons:
    """When to leave, besides Ctrl-C and the end of standard input.

    Attributes:
        once: after one look.
        finish: when the run has ended.
        alarm: when something at or above ``fail_on`` is announced.
        timeout: after so many seconds without anything new; None for never.
        pid: when this process has ended; None for none.
    """

    once: bool = False
    finish: bool = False
    alarm: bool = False
    timeout: float | None = None
    pid: int | None = None


@dataclass
class Watcher:
    """Watches one path.

    Attributes:
        follower: what is at the path.
        view: where it is shown.
        settings, context: as for ``lossdoctor diagnose``.
        reasons: when to leave.
        run: which run to watch, by name, path or number; None for the one that was written to last.
        interval: least seconds between two looks.
        spool: where standard input is kept; None where a path is watched.
        webhook: gets what is announced.
    """

    follower: Follower
    view: View
    settings: Settings
    context: RunContext | None
    reasons: Reasons
    run: str | None = None
    interval: float = 2.0
    spool: StdinSpool | None = None
    webhook: Webhook | None = None
    _runs: dict[str, Watched] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _shown: Watched | None = None
    _problem: str = ""
    _left_for: str = ""

    def watch(self) -> None:
        """Until there is a reason to leave.

        Raises:
            KeyboardInterrupt: the user has one.
            LossdoctorError: there is nothing to watch, and waiting will not change that.
        """
        pace = Pace(self.interval)
        news = time.monotonic()
        while True:
            if pace.due():
                with pace:
                    if self.follower.changed() and self._survived():
                        news = time.monotonic()
            self._notice_stalls()
            self.view.show(self.state(pace.wait))
            if self._leaving(time.monotonic() - news):
                return
            self._sleep()

    @property
    def input_ended(self) -> bool:
        """Whether standard input is watched and has ended."""
        return self.spool is not None and self.spool.ended.is_set()

    def last(self) -> Report:
        """A last look, at everything: what ``lossdoctor diagnose`` says of the runs that were followed.

        Raises:
            LossdoctorError: there is no run.
        """
        self.follower.changed()
        self._look(whole=True)
        runs = [r for r in self._runs.values() if r is self._shown or r.followed]
        for run in runs:
            if run.diagnosis is not None and (self.input_ended or run.ended(time.time())):
                self._judge(run, final=True)
        judged = [r.diagnosis for r in runs if r.diagnosis is not None]
        if not judged:
            raise LossdoctorError(self._problem or f"{self.follower.path}: no run came; check the path")
        errors = [{"path": self.follower.path, "error": self._problem}] if self._problem else []
        return Report(judged, errors)

    def _survived(self) -> bool:
        """A look that may fail inside: the next one may do better, and nobody wants to find the watch gone."""
        try:
            return self._look()
        except (LossdoctorError, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("LOSSDOCTOR_RAISE"):
                raise
            self._problem = f"internal error ({type(error).__name__}: {error}); please report it"
            return False

    def _look(self, *, whole: bool = False) -> bool:
        """Read and judge what is new; whether anything is."""
        look = self.follower.look(whole=whole)
        self._problem = look.problem or (self.spool.problem if self.spool is not None else "")
        if look.hopeless and not self._runs:
            raise LossdoctorError(look.problem)
        self._names = names_of([h.path for h in look.histories])
        new = [self._take(h, look) for h in look.histories]
        runs = [r for r, _ in new]
        if not runs:
            return False
        shown = newest(runs) if self.run is None else self._named(look.histories, runs)
        if shown is not self._shown:
            if self._shown is not None and shown is not None:
                self._say("info", shown, "is newer and is watched now")
            self._shown = shown
        for run, changed in new:
            followed = run.followed and self.run is None
            if (changed and (run is shown or followed)) or (run is shown and run.diagnosis is None):
                self._judge(run)
        return any(changed for _, changed in new)

    def _take(self, history: TrainingHistory, look: Look) -> tuple[Watched, bool]:
        run = self._runs.get(history.path)
        if run is None:
            run = self._runs[history.path] = Watched(self.context, self.settings)
            run.take(history, self.follower.touched(history))
            run.news(silently=True)
            return run, True
        if any(p == history.path or p.startswith(history.path + os.sep) for p in look.replaced):
            self._say("info", run, "the log was replaced: it is read from its beginning, and judged anew")
            run.begin_anew()
        return run, run.take(history, self.follower.touched(history))

    def _named(self, histories: list[TrainingHistory], runs: list[Watched]) -> Watched | None:
        """The run that was asked for; None, and a problem, while there is none."""
        assert self.run is not None
        if self.run.isdecimal() and 1 <= int(self.run) <= len(runs):
            return runs[int(self.run) - 1]
        for history, run in zip(histories, runs, strict=True):
            if self.run in (history.name, history.path):
                return run
        names = [h.name or h.path for h in histories]
        self._problem = f"there is no run {self.run!r} yet{nearest(self.run, names)}; there are {', '.join(names[:12])}"
        return None

    def _judge(self, run: Watched, *, final: bool = False) -> None:
        first = run.diagnosis is None
        verdict = run.judge(final=final)
        unit = run.history.step_unit
        if first:
            self.view.begin(self._name(run), verdict.diagnosis)
        if verdict.changes:
            payload = verdict_payload(verdict, self._name(run), run.history.path)
            self._tell(run, payload, [(severity_of(t.level), t.text) for t in lines_of(verdict)])
            self._alarmed(verdict)
        for event in run.news():
            told = line_of(event, unit)
            payload = event_payload(event, self._name(run), run.history.path, unit=unit)
            self._tell(run, payload, [(severity_of(told.level), told.text)])

    def _alarmed(self, verdict: Verdict) -> None:
        worst = [f for f in (*verdict.announced, *verdict.updated) if at_least(f.severity, self.settings.fail_on)]
        if self.reasons.alarm and worst:
            self._left_for = f"{worst[0].code} {worst[0].name} was found"

    def _notice_stalls(self) -> None:
        run = self._shown
        if run is None:
            return
        before = run.quiet
        run.quiet = "" if self.input_ended else run.stall(time.time())
        if bool(run.quiet) == bool(before) or not run.followed:
            return
        kind, message = ("stalled", run.quiet) if run.quiet else ("went_on", "rows come again")
        event = LiveEvent(kind, run.last_step or 0, message, time.time())
        told = line_of(event, run.history.step_unit)
        payload = event_payload(event, self._name(run), run.history.path, unit=run.history.step_unit)
        self._tell(run, payload, [(severity_of(told.level), told.text)])

    def _tell(self, run: Watched, payload: dict[str, object], lines: list[tuple[str, str]]) -> None:
        self.view.tell(self._name(run), lines, payload)
        if self.webhook is not None:
            self.webhook.send(payload)

    def _say(self, severity: str, run: Watched, text: str) -> None:
        self.view.say(severity, self._name(run), text)

    def _name(self, run: Watched) -> str:
        return self._names.get(run.history.path, run.history.path)

    def state(self, wait: float = 0.0) -> PanelState:
        """What a panel shows; ``wait`` is how many seconds lie between two looks."""
        run = self._shown
        message = self._problem and (f"waiting: {self._problem}" if run is None else f"not read now: {self._problem}")
        if run is None or run.diagnosis is None:
            return PanelState(self.follower.path, message=message or "waiting for a run", foot=self._foot())
        now = time.time()
        status, findings = run.shown(now)
        foot = ([f"written {_clock(run.touched, now)}"] if run.touched else []) + self._foot()
        if wait > max(5.0, 1.5 * self.interval):
            foot.append(f"judged every {duration(wait)}")
        others = sorted((r for r in self._runs.values() if r is not run), key=lambda r: -r.touched)
        return PanelState(
            run=self._name(run),
            diagnosis=run.diagnosis,
            status=status,
            findings=findings,
            rate=None if run.quiet else run.rate,
            seconds_left=run.seconds_left,
            message=message,
            quiet=run.quiet,
            ended=run.ended(now),
            others=[(self._name(r), r.diagnosis) for r in others],
            foot=foot,
        )

    def _foot(self) -> list[str]:
        return [] if self.reasons.once else ["Ctrl-C ends"]

    def _leaving(self, quiet: float) -> bool:
        """Whether there is a reason to leave; it is said."""
        reasons, run = self.reasons, self._shown
        why = self._left_for
        if self.input_ended or reasons.once:
            return True
        if not why and reasons.finish and run is not None:
            why = run.ended(time.time())
        if not why and reasons.timeout is not None and quiet > reasons.timeout:
            why = f"nothing new came for {duration(quiet)}"
        if not why and reasons.pid is not None and not is_running(reasons.pid):
            why = f"process {reasons.pid} has ended"
        if why:
            self.view.say("info", self._name(run) if run is not None else self.follower.path, f"{why}; leaving")
        return bool(why)

    def _sleep(self) -> None:
        if self.spool is not None:
            self.spool.ended.wait(_TICK)
        else:
            time.sleep(_TICK)


def _clock(moment: float, now: float) -> str:
    """When something was, as a clock shows it; of earlier days with the date."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def names_of(paths: Sequence[str]) -> dict[str, str]:
    """Path -> what a run is called here: an event file by its folder, where it is the only one in there.

    >>> names_of(["runs/a/events.out.tfevents.17.host.9", "runs/b.csv", "-"])
    {'runs/a/events.out.tfevents.17.host.9': 'runs/a', 'runs/b.csv': 'runs/b.csv', '-': 'standard input'}
    """
    names = {p: os.path.dirname(p) if ".tfevents." in os.path.basename(p) else p for p in paths}
    given = list(names.values())
    short = {p: n if n and given.count(n) == 1 else p for p, n in names.items()}
    return {p: "standard input" if p == "-" else n for p, n in short.items()}


def is_running(pid: int) -> bool:
    """Whether a process of this number runs.

    Raises:
        UsageError: on a system where that cannot be asked without ending it.
    """
    if os.name != "posix":
        raise UsageError("--pid works on Linux and macOS only; use --timeout instead")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
