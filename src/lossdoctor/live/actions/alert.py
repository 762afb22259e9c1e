"""Tell somebody, in one line of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.finding import Finding
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.choice import Choice
from lossdoctor.live.rows import KINDS, LiveEvent, Verdict

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

# What a person wants to be told of besides findings.
EVENTS = ("stopped", "rolled_back", "gave_up", "stalled", "went_on", "recording_failed", "crashed")


class Alert(LiveAction):
    """Calls a function with one line of text when a finding is announced, gets worse or heals, and on some events.

    For the verdict itself, with all its numbers, use ``Monitor(callbacks=…)``. The function runs in the training
    thread: what takes long belongs into a thread of its own. What it raises does not reach the training.

    Args:
        callback: takes the line.
        on: the findings that are told: from a severity on, or codes or names of findings.
        events: kinds of events that are told; see :data:`lossdoctor.live.rows.KINDS`.

    Raises:
        UsageError: a severity, finding or kind of event that there is not.

    >>> said = []
    >>> alert = Alert(said.append, on="critical")
    """

    def __init__(
        self, callback: Callable[[str], object], *, on: str | Iterable[str] = "warning", events: Iterable[str] = EVENTS
    ) -> None:
        if not callable(callback):
            raise UsageError(f"Alert needs a function that takes a text, got {callback!r}")
        self.callback = callback
        self.choice = Choice(on)
        self.events = frozenset(events)
        if unknown := sorted(self.events - set(KINDS)):
            known = nearest(unknown[0], KINDS) or f"; there are {', '.join(KINDS)}"
            raise UsageError(f"no kind of event is called {unknown[0]!r}{known}")
        self._told: set[tuple[str, str]] = set()

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        for finding in (*verdict.announced, *verdict.updated):
            if self.choice.takes(finding):
                self._told.add((finding.code, finding.metric))
                self.callback(_sentence(monitor, finding))
        for finding in verdict.withdrawn:
            if (finding.code, finding.metric) in self._told:  # it may be milder now than what was told
                self._told.discard((finding.code, finding.metric))
                self.callback(f"{_run(monitor)}gone: {finding.code} {finding.name}")

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:
        if event.kind in self.events:
            self.callback(f"{_run(monitor)}{event.kind.replace('_', ' ')} at step {event.step:,}: {event.message}")


def _sentence(monitor: Monitor, finding: Finding) -> str:
    first = next(iter(finding.actions), None)
    advice = "" if first is None else f"; try {first.action.replace('_', ' ')}"
    detail = f": {first.detail}" if first is not None and first.detail else ""
    return f"{_run(monitor)}{finding.severity}: {finding.code} {finding.name}: {finding.summary}{advice}{detail}"


def _run(monitor: Monitor) -> str:
    return f"{monitor.name}: " if monitor.name else ""
