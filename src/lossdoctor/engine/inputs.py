"""What the forests are asked with: the vital signs of a run, and what the rules found in it."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.finding import Finding
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.engine.vitals import names as sign_names
from lossdoctor.engine.vitals import vitals
from lossdoctor.rules.base import Case

# A fixed list, so that a rule added later does not change what a fitted forest is asked.
CODES = tuple(
    f"LD{n}" for n in (*range(101, 111), *range(201, 211), *range(301, 310), *range(401, 406))
)  # fmt: skip


def names() -> tuple[str, ...]:
    """All inputs, in their fixed order."""
    return (*sign_names(), *CODES)


def inputs_of(case: Case, findings: Iterable[Finding]) -> dict[str, float]:
    """Vital signs, and for each code 0 where it was not found, else 1 to 3 by its severity."""
    told = dict.fromkeys(CODES, 0.0)
    for finding in findings:
        for code in (finding.code, *finding.explains):
            if code in told:
                told[code] = max(told[code], 1.0 + severity_rank(finding.severity))
    return vitals(case) | told
