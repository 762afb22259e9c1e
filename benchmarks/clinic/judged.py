"""Runs of known truth under the eyes of the detectors: what was found, what should have been."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarks.clinic import corpus, faults
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.vocabulary import severity_rank


@dataclass(frozen=True)
class Judged:
    """One run with its truth (a row of the corpus's index) and its diagnosis."""

    truth: dict[str, Any]
    diagnosis: Diagnosis
    points: int
    first_step: int
    last_step: int

    @property
    def fault(self) -> str:
        return str(self.truth["fault"])

    @property
    def alarm_codes(self) -> list[str]:
        """Codes of the findings that are at least a warning."""
        return list(dict.fromkeys(f.code for f in self.diagnosis.findings if severity_rank(f.severity) >= 1))

    @property
    def codes(self) -> list[str]:
        """Codes of all findings, remarks included."""
        return list(dict.fromkeys(f.code for f in self.diagnosis.findings))

    @property
    def right(self) -> list[str]:
        """The codes found that are a right answer for the fault, or for what it led to."""
        wanted = self.truth.get("expected", ())
        return [c for c in self.codes if c in wanted]

    @property
    def status_right(self) -> bool:
        """An alarm for a fault that deserves one; for a lesser fault any remark or alarm; none for a healthy run."""
        status = self.diagnosis.status
        if self.fault == "healthy":
            return status == "healthy"
        if faults.get(self.fault).alarm:
            return self.diagnosis.alarm
        return status != "insufficient_data" and bool(self.right)

    @property
    def onset_found(self) -> int | None:
        """The onset that the first right finding gives."""
        onsets = [f.onset_step for f in self.diagnosis.findings if f.code in self.right and f.onset_step is not None]
        return onsets[0] if onsets else None

    @property
    def onset_error(self) -> float | None:
        """Found onset minus true onset as a share of the run's length; None when either is unknown."""
        true = self.truth["onset_step"]
        if true is None or self.onset_found is None:
            return None
        return (self.onset_found - int(true)) / max(1, self.last_step - self.first_step)


def judge(entry: dict[str, Any], twin: dict[str, Any] | None = None) -> Judged:
    """Diagnose one cached run as its log shows it."""
    run = corpus.restored(entry)
    history = run.history
    steps = [int(row["step"]) for row in run.rows] or [0]
    return Judged(corpus.index_row(entry, twin), history.diagnose(), history.points, min(steps), max(steps))


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> tuple(round(v, 3) for v in wilson(0, 100))
    (0.0, 0.037)
    """
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    scale = 1.0 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def share(hits: int, total: int) -> str:
    """``"9 of 10 (60–98 %)"``: a count with its interval."""
    if total == 0:
        return "none"
    low, high = wilson(hits, total)
    return f"{hits} of {total} ({100 * low:.0f}–{100 * high:.0f} %)"
