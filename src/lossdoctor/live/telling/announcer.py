"""Verdicts and events in words, and told through Python logging."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from lossdoctor.core.finding import Finding
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.rows import LiveEvent, Verdict

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

log = logging.getLogger("lossdoctor")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
# Told with the verdict that made them: said once, not twice.
OF_VERDICTS = frozenset({"announced", "updated", "withdrawn"})
_EVENT_LEVELS = {
    "restarted": logging.INFO,
    "learning_rate_changed": logging.INFO,
    "gradients_clipped": logging.INFO,
    "went_on": logging.INFO,
    "recording_restored": logging.INFO,
    "finished": logging.INFO,
    "gave_up": logging.CRITICAL,
    "crashed": logging.CRITICAL,
}
# What could move a terminal's cursor, hide text or end the line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


class Told(NamedTuple):
    """One line for a person, and how urgent it is (a level of :mod:`logging`)."""

    level: int
    text: str


def lines_of(verdict: Verdict) -> Iterator[Told]:
    """What a verdict changes, one line a finding: new ones, changed ones, and those that are gone.

    >>> from lossdoctor.core.history import TrainingHistory
    >>> diverged = Finding("LD102", "loss-divergence", "critical", 0.9, "loss", "up 12-fold", onset_step=840)
    >>> diagnosis = TrainingHistory().diagnose()
    >>> [told.text for told in lines_of(Verdict(diagnosis, 900, announced=(diverged,)))]
    ['LD102 loss-divergence (critical, from step 840): up 12-fold']
    """
    unit = verdict.diagnosis.history.step_unit
    for finding in verdict.announced:
        yield Told(LEVELS[finding.severity], _sentence(finding, unit))
    for finding in verdict.updated:
        yield Told(LEVELS[finding.severity], _sentence(finding, unit, "now "))
    for finding in verdict.withdrawn:
        name = one_line(f"{finding.code} {finding.name}")
        yield Told(logging.INFO, f"{name} ({one_line(finding.metric, 100)}) is gone at {unit} {verdict.step:,}")


def line_of(event: LiveEvent, unit: str = "step") -> Told:
    """An event as a line."""
    kind = event.kind.replace("_", " ")
    level = _EVENT_LEVELS.get(event.kind, logging.WARNING)
    return Told(level, f"{kind} at {unit} {event.step:,}: {one_line(event.message)}")


def advice(finding: Finding) -> str:
    """The first action of a finding as a sentence without full stop; empty when there is nothing to do.

    >>> from lossdoctor.core.finding import Action
    >>> advice(Finding("LD301", "overfitting", "warning", 0.9, "val_loss", "", actions=(Action("stop_early", "now"),)))
    'stop early: now'
    """
    first = next((a for a in finding.actions if a.action != "none"), None)
    if first is None:
        return ""
    words = first.action.replace("_", " ")
    return one_line(f"{words}: {first.detail}" if first.detail else words)


def one_line(text: object, limit: int = 1_000) -> str:
    r"""Text that is safe in a log: one line, no control characters, not endless.

    >>> one_line("a\x1b[31mb\nc")
    'a [31mb c'
    """
    line = _UNSAFE.sub(" ", str(text)).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _sentence(finding: Finding, unit: str, before: str = "") -> str:
    since = "" if finding.onset_step is None else f", from {unit} {finding.onset_step:,}"
    text = f"{one_line(f'{finding.code} {finding.name}')} ({before}{finding.severity}{since}): "
    text += one_line(finding.summary)
    todo = advice(finding)
    return f"{text}; {todo}" if todo else text


class Announcer(LiveAction):
    """Tells what is found, and what happens to the run, through the logger ``"lossdoctor"``: one line each.

    Findings are logged at the level of their severity (info, warning, critical), withdrawals at info. Where a program
    has configured logging, its handlers and levels decide. Where it has not, lines go to standard error, as Python's
    last resort does, but from info on: who saw an alarm should see that it is over. Monitors have one without asking.

    Args:
        name: put before each line, to tell several runs apart; the monitor's own name by default.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._unit = "step"

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        """Tell what the verdict changes."""
        self._unit = verdict.diagnosis.history.step_unit
        if verdict.changes:
            for told in lines_of(verdict):
                self._say(monitor, told)

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:
        """Tell an event, but for those that a verdict has told."""
        if event.kind not in OF_VERDICTS:
            self._say(monitor, line_of(event, self._unit))

    def _say(self, monitor: Monitor, told: Told) -> None:
        name = one_line(self._name if self._name is not None else monitor.name, 80)
        tell(told.level, f"{name}: {told.text}" if name else told.text)


def tell(level: int, text: str) -> None:
    """Log a line; where no logging is configured at all, write it to standard error."""
    if log.hasHandlers():
        log.log(level, "%s", text)
        return
    least = log.level or logging.INFO  # not the root's, which is WARNING only because nobody has set it
    if level >= least and level > log.manager.disable:
        _write(f"lossdoctor: {text}")


def _write(line: str) -> None:
    """One line on standard error, above a progress bar where there is one."""
    if sys.stderr is None:  # a program without a console
        return
    try:
        bars = sys.modules.get("tqdm.std")
        if bars is not None and getattr(bars.tqdm, "_instances", None):
            bars.tqdm.write(line, file=sys.stderr)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
    except (OSError, ValueError):  # closed, or a pipe that nobody reads any more: there is nobody to tell
        return
