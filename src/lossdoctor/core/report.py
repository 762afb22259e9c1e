"""The results of a batch: many diagnoses, a comparison of runs, and what a rule says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.options import Option
from lossdoctor.core.vocabulary import STATUSES, at_least

SCHEMA_VERSION = 1
# The order in which people want to see runs: the sick first, the undecided after the healthy.
_ORDER = {"critical": 0, "warning": 1, "insufficient_data": 2, "healthy": 3}


@dataclass(frozen=True)
class Report:
    """What one call of ``lossdoctor diagnose`` found.

    Attributes:
        runs: one diagnosis per run, in the order in which they were found.
        errors: what could not be read, each with ``path`` and ``error``.
        skipped: files in searched folders that nothing recognises.
    """

    runs: Sequence[Diagnosis] = ()
    errors: Sequence[Mapping[str, str]] = ()
    skipped: int = 0

    def counts(self) -> dict[str, int]:
        """Status -> number of runs, for every status.

        >>> Report().counts()
        {'insufficient_data': 0, 'healthy': 0, 'warning': 0, 'critical': 0}
        """
        return {status: sum(d.status == status for d in self.runs) for status in STATUSES}

    def worst_first(self) -> list[Diagnosis]:
        """The runs, sick ones first; within a status in the order in which they were found."""
        return sorted(self.runs, key=lambda d: _ORDER[d.status])

    def fails(self, fail_on: str) -> bool:
        """Whether a finding reaches ``fail_on`` (``"warning"``, ``"critical"`` or ``"never"``)."""
        return any(at_least(f.severity, fail_on) for d in self.runs for f in d.findings)

    def as_dict(self) -> dict[str, Any]:
        """The JSON contract; numbers are kept as they are (NaN and Inf included)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "skipped": self.skipped,
            "runs": [d.as_dict() for d in self.runs],
            "errors": [dict(e) for e in self.errors],
        }


@dataclass(frozen=True, slots=True)
class RuleDoc:
    """What a rule says about itself: for ``lossdoctor explain``, for SARIF and for the docs.

    ``sections`` maps the fixed headings of the rule's docstring to their text; ``summary`` is its first line.
    """

    code: str
    name: str
    severity: str
    summary: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[Option] = ()
    needs: str = ""
    preview: bool = False


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One run of a comparison.

    Attributes:
        run: its name.
        final: its level at the end (NaN when it did not end finite).
        noise: the standard error of that level.
        best, best_step: its best value and where (None when it has none).
    """

    run: str
    final: float
    noise: float
    best: float
    best_step: int | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "final": self.final,
            "noise": self.noise,
            "best": self.best,
            "best_step": self.best_step,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which of several runs is better on one metric, by how much, beyond their noise or not, and since when.

    Attributes:
        metric: what was compared, by role or name.
        rows: one per run, in the order given.
        winner: the better run, or None when nobody is ahead beyond noise.
        margin: distance of the two best final levels, in the metric's unit.
        p_value: chance of such a margin without a difference; None when it could not be tested.
        beyond_noise: whether the margin is real.
        since_step: from where on the winner stays ahead; None when that cannot be said.
        sentence: all of it in one sentence.
        lower_is_better: direction of the metric.
    """

    metric: str
    rows: Sequence[ComparisonRow]
    winner: str | None
    margin: float
    p_value: float | None
    beyond_noise: bool
    since_step: int | None
    sentence: str
    step_unit: str = "step"
    lower_is_better: bool = True
    notes: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "rows": [r.as_dict() for r in self.rows],
            "winner": self.winner,
            "margin": self.margin,
            "p_value": self.p_value,
            "beyond_noise": self.beyond_noise,
            "since_step": self.since_step,
            "sentence": self.sentence,
            "step_unit": self.step_unit,
            "lower_is_better": self.lower_is_better,
            "notes": list(self.notes),
        }
