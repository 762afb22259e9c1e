"""The judge and the alarms of a monitor: rows in, verdicts out; where judging fails, the run goes on unjudged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lossdoctor.core.configuration import context_from
from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.live.guard import Guard
from lossdoctor.live.recording.run_folder import Earlier
from lossdoctor.live.rows import LiveEvent, Row, Verdict, bounded
from lossdoctor.live.telling.announcer import advice


class Verdicts:
    """Judges the run of a monitor, as ``lossdoctor diagnose`` judges its folder.

    Args:
        config: hyper-parameters; what rules need is taken from it.
        metrics: role -> metric name, over the automatic mapping.
        context: facts that rules may need, over the configuration.
        name: of the run.
        guard: what a failing judge is switched off by.

    Raises:
        UsageError: the metrics name an unknown role.
    """

    def __init__(
        self, config: Mapping[str, Any], metrics: Mapping[str, str], context: RunContext, name: str, guard: Guard
    ) -> None:
        from lossdoctor.live.judging.alarms import Alarms
        from lossdoctor.live.judging.judge import LiveJudge

        known = context_from(config).merged(context)
        self._judge = LiveJudge(metrics or None, known, name=name, format="tensorboard")
        self._alarms = Alarms()
        self._guard = guard
        self._off = False
        self._tags: set[str] = set()

    def belongs_to(self, path: str) -> None:
        """Where the run is kept: its path in diagnoses."""
        self._judge.path = path

    def happened(self, event: LiveEvent) -> None:
        """An event is part of the run that is judged."""
        bounded(self._judge.events, event.as_dict())

    def remind(self, earlier: Earlier, *, rows: bool) -> None:
        """Give the judge what earlier processes left, so that it judges the run that readers of the folder see."""
        self._judge.events[:0] = earlier.events
        if rows:
            for row in earlier.rows():
                self._judge.add(row)
                self._tags.update(row.values)
            self._verdict(earlier.last_step or 0, final=True)  # what was wrong with it then was told then

    def meet(self, names: Mapping[str, Any]) -> None:
        """Rows with these metrics will come."""
        self._tags.update(names)

    def add(self, row: Row) -> bool:
        """Take a row; whether it is time for a verdict."""
        if self._off:
            return False
        try:
            self._judge.add(row)
            return self._judge.due(time.monotonic())
        except Exception as error:
            self._off = True
            self._guard.failed("judge", "judging", error)
            return False

    def verdict(self, step: int, *, final: bool = False) -> Verdict | None:
        """The verdict on the rows so far; None where judging has failed. After a ``final`` one no more rows come."""
        if self._off:
            return None
        found = self._guard.run("judge", "judging", self._verdict, step, final)
        self._off = found is None
        return found

    def _verdict(self, step: int, final: bool) -> Verdict:
        of_epochs = bool(self._tags) and all(tag.startswith("epoch_") for tag in self._tags)  # as Keras logs
        self._judge.step_unit = "epoch" if of_epochs else "step"
        return self._alarms.judge(self._judge.verdict(), step, final=final)

    def with_events(self, diagnosis: Diagnosis) -> Diagnosis:
        """The diagnosis with all that has happened by now."""
        return replace(diagnosis, events=tuple(self._judge.events))


def told(verdict: Verdict, tell: Callable[[str, str, dict[str, Any]], None]) -> None:
    """Make an event of each change that a verdict brings."""
    for kind in ("announced", "updated", "withdrawn"):
        for finding in getattr(verdict, kind):
            tell(kind, f"{finding.code} {finding.name}: {finding.summary}", _facts(finding))


def _facts(finding: Finding) -> dict[str, Any]:
    """What a program wants to know of a finding in an event."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "metric": finding.metric,
        "confidence": round(finding.confidence, 4),
        "onset_step": finding.onset_step,
        "advice": advice(finding),
    }
