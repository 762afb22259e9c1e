"""What passes through the monitor: rows of metrics, verdicts on the run so far, and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding


@dataclass(frozen=True, slots=True)
class Row:
    """Metrics of one step, as they are stored.

    Attributes:
        step: global step, any int64.
        values: metric -> value; NaN and Inf are kept.
        wall_time: seconds since the epoch.
    """

    step: int
    values: Mapping[str, float]
    wall_time: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A diagnosis of the run so far, and what it changes of what has been announced.

    Attributes:
        diagnosis: what ``lossdoctor diagnose`` says of the same rows.
        step: last step that it knows.
        announced: findings that are told for the first time.
        updated: findings told before that became worse or changed their advice.
        withdrawn: findings told before that are gone.
    """

    diagnosis: Diagnosis
    step: int
    announced: tuple[Finding, ...] = ()
    updated: tuple[Finding, ...] = ()
    withdrawn: tuple[Finding, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.announced or self.updated or self.withdrawn)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that happened to a run besides its metrics; kept in the run and shown by diagnose and report.

    Attributes:
        kind: one word of :data:`KINDS`.
        step: when, in the run's steps.
        message: one sentence for a person.
        wall_time: seconds since the epoch.
        details: numbers and names for a program; JSON values only.
    """

    kind: str
    step: int
    message: str
    wall_time: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The form in which a history's events are kept."""
        return {"kind": self.kind, "step": self.step, "time": self.wall_time, "message": self.message, **self.details}


# Kind of event -> what it says. A closed vocabulary: tools filter by it.
KINDS = {
    "announced": "a finding was announced",
    "updated": "an announced finding became worse or changed its advice",
    "withdrawn": "an announced finding is gone",
    "restarted": "the run was resumed, or its steps went back",
    "stopped": "an action asked for the end of training",
    "rolled_back": "model, optimizer and the rest were put back to an earlier state",
    "skipped_step": "an optimizer step was left out",
    "learning_rate_changed": "an action changed the learning rate",
    "gradients_clipped": "an action began to clip gradients, or changed the limit",
    "gave_up": "an action stopped acting",
    "stalled": "no row came for far longer than usual",
    "went_on": "rows come again after a stall",
    "recording_failed": "rows are kept in memory because they cannot be written",
    "recording_restored": "rows are written again, those kept in memory too",
    "internal_error": "something of lossdoctor failed and was switched off; training was not touched",
    "crashed": "the training raised an exception",
    "finished": "the run was ended on purpose",
}

MOST_EVENTS = 1_000


def bounded(events: list[Any], new: Any) -> None:
    """Append; of more than a thousand the first half and the last ones stay, as the reader of logs keeps them."""
    if len(events) >= MOST_EVENTS:
        del events[MOST_EVENTS // 2]
    events.append(new)
