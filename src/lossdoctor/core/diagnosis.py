"""The result of judging one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossdoctor.core.finding import Abstention, Action, Finding
from lossdoctor.core.vocabulary import severity_rank

if TYPE_CHECKING:
    from lossdoctor.core.history import TrainingHistory

# The names that the seeds' diagnose() uses for what we find; other findings are named by their own name.
_SEED_ISSUES = {
    "loss-nonfinite": "LOSS_EXPLOSION",
    "loss-divergence": "LOSS_EXPLOSION",
    "plateau": "LOSS_PLATEAU",
    "flat-line": "LOSS_PLATEAU",
}


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a run. Also answers ``["status"]``, ``["issues"]`` and ``["recommendations"]``.

    Attributes:
        status: ``"healthy"``, ``"warning"``, ``"critical"`` or ``"insufficient_data"``.
        basis: one sentence saying what the status rests on.
        findings: the one to act on first.
        abstained: rules that could not judge, and what they need.
        history: the run that was judged.
    """

    status: str
    basis: str
    findings: tuple[Finding, ...]
    history: TrainingHistory
    abstained: tuple[Abstention, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    internal_errors: tuple[str, ...] = field(default=())

    @property
    def alarm(self) -> bool:
        """Whether the run deserves attention: a status of warning or critical."""
        return self.status in ("warning", "critical")

    @property
    def advice(self) -> Action | None:
        """The first action of the finding to act on."""
        return next((a for f in self.findings for a in f.actions), None)

    @property
    def issues(self) -> list[str]:
        """Findings of at least warning, in the seeds' names, without repeats."""
        alarms = [f for f in self.findings if severity_rank(f.severity) >= 1]
        names = [_SEED_ISSUES.get(f.name, f.name.upper().replace("-", "_")) for f in alarms]
        return list(dict.fromkeys(names))

    @property
    def recommendations(self) -> list[str]:
        """What to do about the issues, as sentences, without repeats."""
        out: dict[str, None] = {}
        for finding in self.findings:
            if severity_rank(finding.severity) >= 1:
                for action in finding.actions:
                    words = action.action.replace("_", " ").capitalize()
                    out[f"{words}: {action.detail}" if action.detail else words] = None
        return list(out)

    def __getitem__(self, key: str) -> Any:
        if key in ("status", "issues", "recommendations"):
            return getattr(self, key)
        raise KeyError(
            f"{key!r}; a diagnosis has 'status', 'issues' and 'recommendations', and attributes for the rest"
        )

    def __contains__(self, key: object) -> bool:
        return key in ("status", "issues", "recommendations")

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def keys(self) -> Iterator[str]:
        """The seeds' keys."""
        return iter(("status", "issues", "recommendations"))

    def as_dict(self) -> dict[str, Any]:
        """The run's entry of the JSON contract; numbers are kept as they are (NaN and Inf included)."""
        h = self.history
        spans = h.segments
        return {
            "run": h.path or h.name,
            "format": h.format,
            "metrics": {role: list(names) for role, names in h.roles.names.items()},
            "points": h.points,
            "first_step": min((s.first_step for s in spans), default=None),
            "last_step": max((s.last_step for s in spans), default=None),
            "step_unit": h.step_unit,
            "segments": [s.as_dict() for s in spans],
            "status": self.status,
            "basis": self.basis,
            "findings": [f.as_dict() for f in self.findings],
            "abstained": [a.as_dict() for a in self.abstained],
            "events": [dict(e) for e in self.events],
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        from lossdoctor.render.notebook import diagnosis_html

        return diagnosis_html(self)

    def __str__(self) -> str:
        from lossdoctor.render.text import diagnosis_text

        return diagnosis_text(self)
