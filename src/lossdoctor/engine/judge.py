"""Judging one run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Abstention, Finding, Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.core.vocabulary import at_least
from lossdoctor.engine.cases import Prepared, build_cases
from lossdoctor.engine.experience import refine
from lossdoctor.engine.ranking import basis_of, order, status_of
from lossdoctor.engine.settings import check_options, chosen_rules
from lossdoctor.rules import plugin_errors
from lossdoctor.rules.base import Case, Rule


def diagnose(
    history: TrainingHistory,
    context: RunContext | None = None,
    measurements: Sequence[Measurement] = (),
    settings: Settings | None = None,
) -> Diagnosis:
    """What is wrong with a run, since when, on what evidence, why, and what to do.

    Args:
        history: the run.
        context: facts that the log does not hold; they go over what the log says.
        measurements: results of active tests.
        settings: selected rules and their options; metrics and context given there apply too.

    Returns:
        A Diagnosis. A rule that crashes is reported in it and the others go on.

    Raises:
        UsageError: the settings name an unknown rule, option, role or metric.

    >>> h = TrainingHistory(loss=[2.0 * 0.9**i + 0.1 for i in range(100)])
    >>> diagnose(h).status
    'healthy'
    """
    settings = settings or Settings()
    if settings.metrics:
        history.set_roles(settings.metrics)
    return diagnose_prepared(history, None, context, measurements, settings)


def diagnose_prepared(
    history: TrainingHistory,
    prepared: Prepared | None,
    context: RunContext | None = None,
    measurements: Sequence[Measurement] = (),
    settings: Settings | None = None,
) -> Diagnosis:
    """The same for a run whose curves were read already: with what was kept of them, not the points themselves.

    The metrics of the settings are taken to be in the history's mapping. Without ``prepared`` the history is read.
    """
    settings = settings or Settings()
    rules = chosen_rules(settings)
    known = history.context
    if settings.context:
        known = known.merged(RunContext.from_pairs(settings.context))
    known = known.merged(context)
    with np.errstate(all="ignore"):  # losses of 1e300 overflow in squares; the rules test for what is finite
        whole, segments = build_cases(history, known, measurements, check_options(settings), prepared)
        findings, abstained, crashed = _run(rules, whole, segments)
        ordered = refine(order(findings), whole, advise=not (settings.select or settings.ignore))
        status = status_of(ordered, whole)
        basis = basis_of(status, ordered, whole)
    return Diagnosis(
        status=status,
        basis=basis,
        findings=ordered,
        history=history,
        abstained=tuple(abstained),
        events=tuple(history.events),
        notes=(*history.notes, *plugin_errors(), *crashed),
        internal_errors=tuple(crashed),
    )


def examine(history: TrainingHistory) -> tuple[Case, tuple[Finding, ...]]:
    """What the rules see of a run and find in it, before anything learned from other runs has a word."""
    with np.errstate(all="ignore"):
        whole, segments = build_cases(history, history.context, (), check_options(Settings()))
        findings, _, _ = _run(chosen_rules(Settings()), whole, segments)
        return whole, order(findings)


def _run(
    rules: Iterable[Rule], whole: Case, segments: Sequence[Case]
) -> tuple[list[Finding], list[Abstention], list[str]]:
    """Every rule on its cases: stability rules on each segment, the others on the run as it survived."""
    findings: list[Finding] = []
    abstained: list[Abstention] = []
    crashed: list[str] = []
    for rule in rules:
        cases = segments if rule.per_segment else [whole]
        waived: list[Abstention] = []
        try:
            for case in cases:
                for result in rule.judge(case):
                    if isinstance(result, Abstention):
                        waived.append(result)
                    else:
                        findings.append(result)
        except Exception as error:  # a rule must never take the others with it
            if os.environ.get("LOSSDOCTOR_RAISE"):
                raise
            crashed.append(
                f"internal error in {rule.code} {rule.name}: {error!r}; the other rules went on, please report it"
            )
            findings.append(_internal(rule, error, whole))
        if len(waived) == len(cases):
            abstained.append(waived[0])
    return findings, abstained, crashed


def _internal(rule: Rule, error: Exception, case: Case) -> Finding:
    return Finding(
        code="LD000",
        name="internal-error",
        severity="info",
        confidence=1.0,
        metric=case.primary[0] if case.primary else "",
        summary=f"the rule {rule.code} {rule.name} failed ({type(error).__name__}); its verdict is missing",
        evidence={"rule": rule.code, "error": repr(error)[:300]},
    )


def assert_healthy(
    history: TrainingHistory, *, fail_on: str = "warning", allow_insufficient: bool = False, **options: Any
) -> Diagnosis:
    """For a test suite: raise AssertionError, with the diagnosis as text, when a run is not healthy.

    Args:
        history: the run.
        fail_on: ``"warning"`` or ``"critical"``.
        allow_insufficient: whether a run too short to judge passes.
        options: passed to :func:`diagnose`.

    >>> assert_healthy(TrainingHistory(loss=[2.0 * 0.9**i + 0.1 for i in range(100)])).status
    'healthy'
    """
    result = diagnose(history, **options)
    bad = any(at_least(f.severity, fail_on) for f in result.findings)
    if bad or (result.status == "insufficient_data" and not allow_insufficient):
        raise AssertionError(f"the run is not healthy:\n{result}")
    return result
