"""End a run that is not worth going on with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lossdoctor.core.errors import UsageError
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.choice import Choice
from lossdoctor.live.rows import Verdict

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor


class StopTraining(LiveAction):
    """Asks for the end of training when a finding is announced, or gets so bad, that the run is not worth its steps.

    It sets ``monitor.should_stop``, which the loop obeys: ``if monitor.should_stop: break``. Integrations do so by
    themselves. While another action is answering the trouble (a ``Rescue`` that leaves bad steps out) it waits, and
    stops the run only if it is still as bad afterwards.

    Args:
        on: from this severity on (``"critical"``, ``"warning"``), or codes or names of findings
            (``["LD101", "overfitting"]``).
        after: least step; findings before it do not stop the run, but those that are still there then do.

    Raises:
        UsageError: no such severity or finding, or a negative step.

    >>> StopTraining(on="warning").choice.severity
    'warning'
    """

    def __init__(self, on: str | Iterable[str] = "critical", *, after: int = 0) -> None:
        if after < 0:
            raise UsageError(f"StopTraining(after=…) is a step of at least 0, got {after!r}")
        self.choice = Choice(on)
        self.after = after
        self._waiting: dict[tuple[str, str], str] = {}  # announced, but too early to stop for, or being answered
        self._answered = False  # by another action, since the last verdict that was looked at

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        for finding in verdict.withdrawn:
            self._waiting.pop((finding.code, finding.metric), None)
        for finding in (*verdict.announced, *verdict.updated):
            key = (finding.code, finding.metric)
            if self.choice.takes(finding):
                self._waiting[key] = f"{finding.severity} {finding.code} {finding.name}: {finding.summary}"
            else:
                self._waiting.pop(key, None)
        if not self._waiting or verdict.step < self.after:
            return
        if any(getattr(action, "answering", False) for action in monitor.actions):
            self._answered = True
            return
        if self._answered:  # an announcement is not taken back at once; what it was about may be over already
            bad = {(f.code, f.metric) for f in verdict.diagnosis.findings if self.choice.takes(f)}
            self._waiting = {key: why for key, why in self._waiting.items() if key in bad}
            self._answered = False
        if self._waiting:
            monitor.stop(next(iter(self._waiting.values())))
