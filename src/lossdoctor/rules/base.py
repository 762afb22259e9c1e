"""What a rule is and what it sees: judgement only, on bounded summaries."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from lossdoctor.core.context import RunContext
from lossdoctor.core.finding import Abstention, Action, Cause, Finding, Measurement
from lossdoctor.core.options import Option
from lossdoctor.core.roles import RoleMap
from lossdoctor.core.segments import Segment
from lossdoctor.signal.reading import Reading

SECTIONS = ("What it sees", "Why it matters", "When it is wrong", "What to try", "References")


@dataclass(frozen=True)
class Case:
    """One segment of one run, as rules see it.

    Attributes:
        readings: metric name -> the reading of its curve in this segment.
        roles: which metric plays which role.
        context: what else is known of the run.
        segment: the stretch being judged; ``segments`` all of the run's.
        step_unit: the unit of the steps.
        measurements: what active tests found on the model.
        options: code -> option name -> value, already checked.
        events: what the log says happened (session starts, resumes, crashes), as the reader found it.
        epoch_averaged: whether the training loss looks averaged over epochs.
    """

    readings: Mapping[str, Reading]
    roles: RoleMap
    context: RunContext
    segment: Segment
    segments: Sequence[Segment] = ()
    index: int = 0
    step_unit: str = "step"
    measurements: Sequence[Measurement] = ()
    options: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    events: Sequence[Mapping[str, Any]] = ()
    epoch_averaged: bool = False

    def reading(self, role: str) -> Reading | None:
        """The primary reading of a role, or None when the run does not log it."""
        name = self.roles.primary(role)
        return None if name is None else self.readings.get(name)

    @cached_property
    def primary(self) -> tuple[str, Reading] | None:
        """The loss that every rule judges.

        The training loss; the validation loss when only that is logged, or when the training loss stops in the first
        half of it (a column filled only for the first steps says nothing about the rest of the run).
        """
        found = [
            (n, self.readings[n])
            for r in ("train_loss", "val_loss")
            if (n := self.roles.primary(r)) in self.readings and n
        ]
        if not found:
            return None
        if len(found) == 2 and len(found[1][1]) >= 4:
            train, val = found[0][1].summary, found[1][1].summary
            if train.last_step - val.first_step < 0.5 * (val.last_step - val.first_step):
                return found[1]
        return found[0]

    def losses(self) -> list[tuple[str, Reading]]:
        """Every loss-like metric: primary training and validation loss first, then the auxiliary terms."""
        names = [*self.roles.names.get("train_loss", ()), *self.roles.names.get("val_loss", ()), *self.roles.auxiliary]
        return [(n, self.readings[n]) for n in dict.fromkeys(names) if n in self.readings]

    def option(self, rule: Rule, name: str) -> float:
        """The value of a rule's option: the user's, else its default."""
        given = self.options.get(rule.code)
        return given[name] if given is not None and name in given else _defaults(type(rule))[name]


@lru_cache(maxsize=256)
def _defaults(rule: type[Rule]) -> dict[str, float]:
    return {o.name: o.default for o in rule.options}


class Rule(abc.ABC):
    """One finding. A subclass is final, lives in a file of its own and has a docstring with the fixed sections.

    Attributes:
        code, name, severity: from the catalogue.
        needs: what the rule cannot judge without, in words; shown when it abstains.
        options: its declared thresholds.
        per_segment: whether it judges each segment apart (stability) or the run as it survived its restarts.
        preview: new rules start in preview and run only when selected by their full code.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[str]
    needs: ClassVar[str] = "a training loss"
    options: ClassVar[tuple[Option, ...]] = ()
    per_segment: ClassVar[bool] = False
    preview: ClassVar[bool] = False

    @abc.abstractmethod
    def judge(self, case: Case) -> Iterable[Finding | Abstention]:
        """The findings in one segment; an Abstention when the rule cannot judge; nothing when all is well."""

    def finding(
        self,
        case: Case,
        *,
        metric: str,
        summary: str,
        confidence: float,
        severity: str | None = None,
        onset_step: int | None = None,
        evidence: Mapping[str, object] | None = None,
        causes: Sequence[Cause] = (),
        actions: Sequence[Action] = (),
        explains: Sequence[str] = (),
    ) -> Finding:
        """A finding of this rule with its code, name and segment filled in."""
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity or self.severity,
            confidence=min(max(confidence, 0.0), 1.0),
            metric=metric,
            summary=summary,
            onset_step=onset_step,
            evidence=dict(evidence or {}),
            causes=tuple(sorted(causes, key=lambda c: -c.likelihood)),
            actions=tuple(actions),
            explains=tuple(explains),
            segment=case.index,
        )

    def abstain(self, needs: str | None = None) -> Abstention:
        """Say that the rule cannot judge, and why."""
        return Abstention(self.code, needs or self.needs)
