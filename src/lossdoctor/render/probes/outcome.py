"""How outcomes of tests are told: by sign and word, never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.probes.checkups.report import CheckupReport, severity
from lossdoctor.probes.result import ProbeResult
from lossdoctor.render import words


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome as it is shown.

    Attributes:
        sign: one character; ``plain`` is its like in ASCII.
        word: for people.
        status: the status whose colours and styles it has in texts, pages and pictures.
    """

    sign: str
    plain: str
    word: str
    status: str


OUTCOMES = {
    "passed": Outcome("✓", "+", "passed", "healthy"),
    "noted": Outcome("!", "!", "worth knowing", "info"),
    "failed": Outcome("✗", "x", "failed", "warning"),
    "unknown": Outcome("?", "?", "cannot tell", "insufficient_data"),
}
STATUS_WORDS = {**words.STATUS_WORDS, "insufficient_data": "cannot tell"}
ERROR = Outcome("✗", "x", "could not run", "critical")
SKIPPED = Outcome("–", "-", "not run", "insufficient_data")


def outcome_of(result: ProbeResult) -> Outcome:
    """How a result is shown; a failed one as severe as it is.

    >>> outcome_of(ProbeResult(outcome="passed", verdict="Fine.")).word
    'passed'
    """
    found = OUTCOMES[result.outcome]
    if severity(result) == "critical":
        return Outcome(found.sign, found.plain, "failed, critical", "critical")
    return found


def status_of(report: CheckupReport) -> Outcome:
    """How the status of a whole checkup is shown.

    >>> status_of(CheckupReport("train.py:make")).word
    'cannot tell'
    """
    status = report.status
    return Outcome(words.UNICODE.signs[status], words.ASCII.signs[status], STATUS_WORDS[status], status)
