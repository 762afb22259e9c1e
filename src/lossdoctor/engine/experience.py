"""What many runs of known truth taught: how sure a finding is, what most likely causes it, and what most likely helps.

The rules say what is wrong. Forests fitted on the clinic (``benchmarks/advice``) then look at the run's vital signs and
at all that was found, and put the causes and actions of the finding to act on into the order that proved right. They
are stored as plain JSON beside this file; a severity that they raise comes with the signs that moved it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from lossdoctor.core.finding import Action, Cause, Finding
from lossdoctor.core.numbers import percent
from lossdoctor.core.vocabulary import ACTIONS, CAUSES, severity_rank
from lossdoctor.engine.details import detail, fits
from lossdoctor.engine.forest import Forest, Grove
from lossdoctor.engine.inputs import inputs_of
from lossdoctor.rules.base import Case
from lossdoctor.rules.continued import begins_late

FILE = "experience.json"
MOST_ACTIONS, MOST_CAUSES = 4, 5
OWN = 0.05  # what it is worth that the rule itself proposes an action: its authors knew things that no forest sees
HARM = 0.5  # how much of a right action's worth a harmful one costs
CHECK = 0.8  # to look somewhere is worth less than to change what is wrong
LEAST_WORTH = 0.15  # expected worth below which an action is not added to those of the rule
LEAST_CAUSE = 0.08
RULES_SHARE = 0.2  # weight of the rule's own likelihoods against the forest's
# Remarks that become a warning when all of the run looks sick.
RAISED = frozenset({"LD201", "LD203", "LD204", "LD205", "LD207", "LD302", "LD303", "LD305", "LD306"})
# Both keep the best checkpoint: beside one of them the other is no other advice.
KEEPS_BEST = frozenset({"stop_early", "restore_checkpoint"})
# A NaN is an event, and what helps against it its rule knows: of 50 treated runs on tasks that the forests had not
# seen, the rule's own actions in learned order were right first for 94 %, with others added to them for 92 %.
COMPLETE = frozenset({"LD101"})
SHOWN_SIGNS = 3
LEAST_POINTS = 16  # points of the loss below which nothing like the run has been seen


@dataclass(frozen=True)
class Experience:
    """The forests and what else was fitted.

    Attributes:
        ill: the chance that something is wrong at all.
        causes: shares of the causes.
        outcomes: ``"right ACTION"`` and ``"harm ACTION"``: the chances that an action helps, and that it harms.
        confidence: code -> slope and offset that make its rule's confidence (as a logit) a probability.
        alarm: the chance of being ill from which a remark becomes a warning.
        fitted: on what, for people.
    """

    ill: Forest
    causes: Forest
    outcomes: Forest
    confidence: Mapping[str, tuple[float, float]]
    alarm: float
    fitted: Mapping[str, Any]

    @cached_property
    def grove(self) -> Grove:
        """The three forests, asked together."""
        return Grove((self.ill, self.causes, self.outcomes))


@lru_cache(maxsize=1)
def experience() -> Experience:
    """Read once, when it is first needed."""
    import orjson

    data = orjson.loads(resources.files("lossdoctor.engine").joinpath(FILE).read_bytes())
    return Experience(
        ill=Forest.from_json(data["ill"]),
        causes=Forest.from_json(data["causes"]),
        outcomes=Forest.from_json(data["outcomes"]),
        confidence={k: (float(a), float(b)) for k, (a, b) in data["confidence"].items()},
        alarm=float(data["alarm"]),
        fitted=data["fitted"],
    )


def refine(findings: Sequence[Finding], case: Case, *, advise: bool = True) -> tuple[Finding, ...]:
    """The same findings with calibrated confidences, and the first with its causes and actions in the proven order.

    Without ``advise`` causes and actions stay as the rules have them: what was learned rests on what all rules found.
    """
    if not findings:
        return ()
    known = experience()
    first, *rest = (_calibrated(f, known) for f in findings)
    primary = case.primary
    seen = primary is not None and primary[1].summary.n >= LEAST_POINTS
    if advise and seen and first.code != "LD000":
        first = _advised(first, case, inputs_of(case, findings), known)
    return (first, *rest)


def _calibrated(finding: Finding, known: Experience) -> Finding:
    fit = known.confidence.get(finding.code)
    if fit is None or severity_rank(finding.severity) == 0:
        return finding
    sure = min(max(finding.confidence, 0.005), 0.995)
    logit = fit[0] * math.log(sure / (1.0 - sure)) + fit[1]
    return replace(finding, confidence=1.0 / (1.0 + math.exp(-logit)), calibrated=True)


def _advised(finding: Finding, case: Case, inputs: Mapping[str, float], known: Experience) -> Finding:
    ill, causes, outcomes = known.grove.answers(inputs)
    sick = ill["ill"]
    # All runs learned from were whole and had a training loss.
    train = case.reading("train_loss")
    whole = train is not None and not begins_late(train)
    return replace(
        _raised(finding, sick, inputs, known) if whole else finding,
        causes=_causes(finding, causes, sick),
        actions=_actions(finding, case, outcomes),
    )


def _raised(finding: Finding, sick: float, inputs: Mapping[str, float], known: Experience) -> Finding:
    """A remark becomes a warning when the run as a whole looks like the sick ones; with the signs that say so."""
    if finding.code not in RAISED or severity_rank(finding.severity) > 0 or sick < known.alarm:
        return finding
    signs = [name for name, move in known.ill.moved_by(inputs, "ill") if move > 0 and name in inputs][:SHOWN_SIGNS]
    shown = {name: round(inputs[name], 4) for name in signs if not math.isnan(inputs[name])}
    return replace(
        finding,
        severity="warning",
        summary=f"{finding.summary}; its vital signs are those of sick runs ({percent(sick)})",
        evidence={**finding.evidence, "sick": round(sick, 3), **shown},
    )


def _causes(finding: Finding, shares: Mapping[str, float], sick: float) -> tuple[Cause, ...]:
    """The rule's likelihoods and the forest's, weighed against one another; a remark may also be of a normal run."""
    own = {c.name: c.likelihood for c in finding.causes}
    if severity_rank(finding.severity) == 0 and "normal" in own:
        shares = {"normal": 1.0 - sick, **{name: sick * share for name, share in shares.items()}}
    total = sum(own.values()) or 1.0
    mixed = {
        name: RULES_SHARE * own.get(name, 0.0) / total + (1.0 - RULES_SHARE) * shares.get(name, 0.0)
        for name in {*own, *(n for n, s in shares.items() if s >= LEAST_CAUSE)}
    }
    kept = sorted(mixed.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_CAUSES]
    scale = sum(v for _, v in kept) or 1.0
    tests = {c.name: c.test for c in finding.causes}
    return tuple(Cause(name, v / scale, tests.get(name, CAUSES.get(name))) for name, v in kept)


def _actions(finding: Finding, case: Case, chances: Mapping[str, float]) -> tuple[Action, ...]:
    """The rule's actions and those that helped runs like this one, the best first, with the chance that they help."""
    own = {a.action: a for a in finding.actions if a.action != "none"}
    more = finding.code not in COMPLETE
    value: dict[str, float] = {}
    for name in ACTIONS:
        helps, harms = chances.get(f"right {name}", 0.0), chances.get(f"harm {name}", 0.0)
        worth = helps - HARM * harms
        if name in own or (more and worth >= LEAST_WORTH and fits(name, case)):
            value[name] = worth * (CHECK if name.startswith("check_") else 1.0) + (OWN if name in own else 0.0)
    value.pop("none", None)
    if not value:
        return finding.actions
    ranked = sorted(value, key=lambda name: (-value[name], name))
    again = [name for name in ranked if name in KEEPS_BEST][1:]
    ranked = [name for name in ranked if name not in again or name in own][:MOST_ACTIONS]
    return tuple(
        replace(own.get(name) or Action(name, detail(name, case)), helps=chances.get(f"right {name}"))
        for name in ranked
    )
