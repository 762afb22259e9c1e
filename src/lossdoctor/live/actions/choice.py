"""Which findings an action answers to: from a severity on, or some codes."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Finding
from lossdoctor.core.vocabulary import SEVERITIES, at_least


class Choice:
    """A severity, or codes and names of findings.

    Args:
        on: ``"info"``, ``"warning"`` or ``"critical"``; or a code (``"LD301"``), a name (``"overfitting"``), a prefix
            of codes (``"LD1"``), or several of them.

    Raises:
        UsageError: a word that is none of these.

    >>> Choice(["overfitting", "LD101"]).codes == {"LD301", "LD101"}
    True
    """

    def __init__(self, on: str | Iterable[str]) -> None:
        words = (on,) if isinstance(on, str) else tuple(on)
        self.severity = words[0] if len(words) == 1 and words[0] in SEVERITIES else ""
        self.codes = frozenset() if self.severity else _codes(words)

    def takes(self, finding: Finding) -> bool:
        """Whether a finding is one of those."""
        return at_least(finding.severity, self.severity) if self.severity else finding.code in self.codes


def _codes(words: tuple[str, ...]) -> frozenset[str]:
    from lossdoctor.core.options import Settings
    from lossdoctor.engine.settings import chosen_rules

    if not words:
        raise UsageError(f"no findings chosen: give one of {', '.join(SEVERITIES)}, or codes and names of findings")
    try:
        return frozenset(rule.code for rule in chosen_rules(Settings(select=words)))
    except UsageError as error:
        raise UsageError(f"{error}; a severity ({', '.join(SEVERITIES)}) stands alone") from None
