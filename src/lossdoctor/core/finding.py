"""Findings, their causes and actions, and the measurements that active tests hand to rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.vocabulary import ACTIONS


@dataclass(frozen=True, slots=True)
class Cause:
    """A possible cause, its likelihood among the causes of this finding (0 to 1), and the cheapest test for it."""

    name: str
    likelihood: float
    test: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "likelihood": round(self.likelihood, 3), "test": self.test}


@dataclass(frozen=True, slots=True)
class Action:
    """A remedy with its concrete detail (the factor, the norm, the step to restore) and safety grade.

    ``helps`` is the chance that it helps, by what it did to runs like this one; None where that is not known.
    """

    action: str
    detail: str = ""
    safety: str = ""
    helps: float | None = None

    @property
    def grade(self) -> str:
        return self.safety or ACTIONS[self.action]

    def as_dict(self) -> dict[str, Any]:
        told = {"action": self.action, "detail": self.detail, "safety": self.grade}
        return told if self.helps is None else {**told, "helps": round(self.helps, 3)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One disease found in a run. Field meanings: the JSON contract in docs/json.md.

    ``onset_step`` is the first step at which it is so, in global steps, or None when it concerns the whole run.
    ``evidence`` holds plain numbers and short strings; ``explains`` the codes of findings this one accounts for.
    """

    code: str
    name: str
    severity: str
    confidence: float
    metric: str
    summary: str
    onset_step: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    actions: tuple[Action, ...] = ()
    explains: tuple[str, ...] = ()
    calibrated: bool = False
    segment: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity,
            "confidence": round(self.confidence, 3),
            "calibrated": self.calibrated,
            "onset_step": self.onset_step,
            "metric": self.metric,
            "summary": self.summary,
            "evidence": dict(self.evidence),
            "causes": [c.as_dict() for c in self.causes],
            "explains": list(self.explains),
            "actions": [a.as_dict() for a in self.actions],
            "segment": self.segment,
        }


@dataclass(frozen=True, slots=True)
class Abstention:
    """A rule that could not judge, and what would have to be logged or given to let it."""

    code: str
    needs: str

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "needs": self.needs}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number that an active test found on the model, for rules to judge.

    ``name`` is the quantity (``"initial_loss"``, ``"eval_mode_gap"``), ``detail`` what else the test saw.
    """

    name: str
    value: float
    unit: str = ""
    step: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
