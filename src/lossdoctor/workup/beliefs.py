"""How likely each cause is: before any test, after a test, and what a test can be expected to tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.core.vocabulary import CAUSES, severity_rank

Shares = Mapping[str, float]  # cause -> its share; all causes of the vocabulary, the sum is 1
Table = Mapping[str, Shares]  # what a test may say -> cause -> how likely it says so where that cause holds

# Mass that a diagnosis leaves to causes which none of its findings names. On runs of tasks that nothing was fitted on,
# the true cause is among those named in about two of three.
ELSEWHERE = 0.3
LATER = 0.2  # weight of each further finding against the one before it: the first is the one to act on
REMARK = 0.25  # weight of a finding that is information only
HEALTHY = 0.4  # share of "normal" where nothing at all was found
RARELY_NORMAL = 0.02  # and where there is an alarm
DOUBT = 0.5  # "normal" counts half of what the log alone says: who asks for a work-up has a reason to
LEAST = 1e-6  # no cause is ever ruled out for good


def prior(diagnosis: Diagnosis) -> dict[str, float]:
    """What a diagnosis holds possible: the causes of its findings, and some mass for all others.

    >>> from lossdoctor.core.history import TrainingHistory
    >>> shares = prior(TrainingHistory(loss=[2.0 * 0.9**i + 0.1 for i in range(100)]).diagnose())
    >>> round(shares["normal"], 2), round(sum(shares.values()), 6)
    (0.25, 1.0)
    """
    named: dict[str, float] = {}
    for place, finding in enumerate(_telling(diagnosis.findings)):
        weight = LATER**place * (finding.confidence if severity_rank(finding.severity) else REMARK * finding.confidence)
        total = sum(c.likelihood for c in finding.causes)
        for cause in finding.causes:
            named[cause.name] = named.get(cause.name, 0.0) + weight * cause.likelihood / total
    normal = RARELY_NORMAL if diagnosis.alarm else HEALTHY
    elsewhere = {c: (normal if c == "normal" else (1.0 - normal) / (len(CAUSES) - 1)) for c in CAUSES}
    total = sum(named.values())
    if total:
        elsewhere = {c: (1.0 - ELSEWHERE) * named.get(c, 0.0) / total + ELSEWHERE * p for c, p in elsewhere.items()}
    return updated(elsewhere, {"normal": DOUBT})


def _telling(findings: Iterable[Finding]) -> Iterable[Finding]:
    return (f for f in findings if sum(c.likelihood for c in f.causes if c.name in CAUSES) > 0)


def updated(shares: Shares, likelihoods: Mapping[str, float]) -> dict[str, float]:
    """Bayes' rule; causes without a likelihood have 1.

    >>> round(updated({"a": 0.5, "b": 0.5}, {"a": 3.0})["a"], 2)
    0.75
    """
    raised = {c: max(LEAST, p * likelihoods.get(c, 1.0)) for c, p in shares.items()}
    total = sum(raised.values())
    return {c: p / total for c, p in raised.items()}


def ranked(shares: Shares) -> list[tuple[str, float]]:
    """The causes, the likeliest first."""
    return sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))


def stands_out(shares: Shares, sure: float, ahead: float) -> bool:
    """Whether one cause has at least the share ``sure``, and ``ahead`` times that of the second."""
    (_, first), (_, second) = ranked(shares)[:2]
    return first >= sure and first >= ahead * second


def information(shares: Shares, table: Table) -> float:
    """What a test is expected to tell of the cause, in bits: the mutual information of the cause and what it says.

    >>> information({"a": 0.5, "b": 0.5}, {"yes": {"a": 1.0, "b": 0.0}, "no": {"a": 0.0, "b": 1.0}})
    1.0
    """
    told = 0.0
    for row in table.values():
        overall = sum(p * row.get(c, 0.0) for c, p in shares.items())
        if overall > 0:
            told += sum(
                p * q * math.log2(q / overall) for c, p in shares.items() if p > 0 and (q := row.get(c, 0.0)) > 0
            )
    return max(0.0, told)


def uncertainty(shares: Shares) -> float:
    """The entropy in bits: how much there is to tell."""
    return -sum(p * math.log2(p) for p in shares.values() if p > 0)
