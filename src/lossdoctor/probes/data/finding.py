"""What a check of the data finds, and the remedy that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lossdoctor.core.numbers import percent
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.probes.data.remedy import Remedy

MOST_ROWS = 20  # row numbers that a finding holds; it counts all


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """One thing found in the data.

    Attributes:
        check: the check's name: ``"missing"``, ``"scale"``, ….
        severity: ``"critical"``: training on these data fails or misleads; ``"warning"``: it suffers; ``"info"``:
            worth knowing.
        summary: one sentence with its numbers.
        feature: what it concerns, where that is one feature.
        value: the number the check decides by; its meaning is in the summary.
        count: how many rows (or pairs, classes, features) it concerns.
        rows: the first of these rows: indices of the data set or the arrays where they are known.
        numbers: everything else that was measured.
        causes: cause -> likelihood ratio that this finding speaks for.
        remedy: what to do, where code can say it.
    """

    check: str
    severity: str
    summary: str
    feature: str = ""
    value: float = 0.0
    count: int = 0
    rows: tuple[int, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    causes: Mapping[str, float] = field(default_factory=dict)
    remedy: Remedy | None = None

    @property
    def rank(self) -> int:
        """0 for info, 2 for critical."""
        return severity_rank(self.severity)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence: the first few and how many more.

    >>> listed(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    shown = ", ".join(repr(n) for n in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def of(count: int, total: int, what: str = "rows") -> str:
    """A count with its share.

    >>> of(3, 300)
    '3 of 300 rows (1.0 %)'
    """
    return f"{count:,} of {total:,} {what} ({percent(count / max(1, total))})"
