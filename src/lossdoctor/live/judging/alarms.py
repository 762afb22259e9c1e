"""What of the verdicts is told: once, when it holds; again, when it gets worse; and that it is gone, when it is.

Verdicts on a run that grows are many tests of one run, and a finding near its limit comes and goes. So a warning has to
hold while the run grows by a share before it is told, and to be gone for longer before it is withdrawn. What is told of
one finding therefore changes at most so often as a run can grow by that share: its number is bounded by the logarithm
of the length.

That a run does not get on is true of every run at first. Such a finding has to hold while the run grows by half and by
64 points, and that a run was stopped too early is told at its end only. On the clinic's healthy runs this brings the
share that is ever told a warning from one in seven (at any of some thirty looks) to one in fifty, at the price of a
few per cent of the run's length until a fault is told (``benchmarks/clinic/live.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.live.rows import Verdict

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must be so before it is told.

    Attributes:
        verdicts: consecutive verdicts that must say so.
        growth: share of the points, when first said, that must have come since.
        points: least number of points that must have come since.
    """

    verdicts: int
    growth: float
    points: int

    def enough(self, verdicts: int, since: int, now: int) -> bool:
        """Whether so many verdicts from one number of points to another are enough."""
        return verdicts >= self.verdicts and now - since >= max(self.points, math.ceil(self.growth * since))


WARNING = Patience(verdicts=2, growth=0.05, points=8)
CRITICAL = Patience(verdicts=1, growth=0.0, points=0)
PROGRESS = Patience(verdicts=2, growth=0.5, points=64)
ADVICE = Patience(verdicts=3, growth=0.1, points=16)
GONE = Patience(verdicts=3, growth=0.15, points=32)
# Findings that say "not yet" while a run goes on: flat, stuck at chance, slow, on a plateau, underfitted.
NOT_YET = frozenset({"LD201", "LD202", "LD203", "LD204", "LD302"})
AT_THE_END = frozenset({"LD205"})  # that it was stopped too early


class Alarms:
    """Turns verdicts into what is announced, updated and withdrawn. A finding is known by its code and its metric.

    A warning is announced when consecutive verdicts have said it while the run grew by a twentieth (by half, where it
    says that the run does not get on); a critical finding at once. An announced one is there as long as it is found, of
    whatever severity, or explained by another; it is withdrawn when it is gone in verdicts over which the run grew by a
    seventh. It is updated when it becomes critical, and when its first advice has changed for good. What the last
    verdict of a run says is told as it is.

    Args:
        least: severity from which a finding is announced.

    >>> from lossdoctor.core.history import TrainingHistory
    >>> broken = TrainingHistory(loss=[2.0] * 9 + [float("nan")] * 9).diagnose()
    >>> [f.code for f in Alarms().judge(broken, step=18).announced]
    ['LD101']
    """

    def __init__(self, least: str = "warning") -> None:
        self._least = severity_rank(least)
        self._states: dict[Key, _State] = {}
        self._points = 0

    @property
    def announced(self) -> tuple[Finding, ...]:
        """What is announced and not withdrawn, as it was last found."""
        return tuple(s.finding for s in self._states.values() if s.told)

    def judge(self, diagnosis: Diagnosis, step: int, *, final: bool = False) -> Verdict:
        """What a verdict on the run up to a step changes; after a ``final`` one what is announced is what it says."""
        self._points = points = max(self._points, diagnosis.history.points)
        found = _by_key(diagnosis.findings)
        explained = {code for f in diagnosis.findings for code in f.explains}
        for key in found:
            self._states.setdefault(key, _State(found[key]))
        announced, updated, withdrawn = [], [], []
        for key, state in list(self._states.items()):
            finding = found.get(key)
            if finding is not None:
                change = state.seen(finding, points, self._least, final)
            else:
                change = state.missed(points, key[0] in explained, final)
            if change == "announced":
                announced.append(state.finding)
            elif change == "updated":
                updated.append(state.finding)
            elif change == "withdrawn":
                withdrawn.append(state.finding)
            if finding is None and not state.told:
                del self._states[key]
        return Verdict(diagnosis, step, tuple(announced), tuple(updated), tuple(withdrawn))


def _by_key(findings: Iterable[Finding]) -> dict[Key, Finding]:
    """The worst finding of each code and metric, the first among equals."""
    found: dict[Key, Finding] = {}
    for finding in findings:
        key = (finding.code, finding.metric)
        if key not in found or severity_rank(finding.severity) > severity_rank(found[key].severity):
            found[key] = finding
    return found


class _State:
    """One finding: since when it is said, told, or gone."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        self.told = False
        self._worst = 0  # severity that was told
        self._advice = ""  # first action that was told
        self._bad: _Run | None = None  # verdicts in a row that say it, of a severity that is announced
        self._gone: _Run | None = None  # verdicts in a row without it
        self._other: tuple[str, _Run] | None = None  # verdicts in a row with another first action

    def seen(self, finding: Finding, points: int, least: int, final: bool) -> str:
        """The verdict says it; what this changes."""
        self.finding, self._gone = finding, None
        rank = severity_rank(finding.severity)
        if rank < least:
            self._bad = None
        else:
            self._bad = self._bad or _Run(points)
            self._bad.count += 1
        if not self.told:
            return self._announced(rank, points, final)
        if rank > self._worst and rank >= 2:
            self._tell(rank)
            return "updated"
        return self._advised(points)

    def _announced(self, rank: int, points: int, final: bool) -> str:
        code = self.finding.code
        if self._bad is None or (code in AT_THE_END and not final):
            return ""
        patience = CRITICAL if rank >= 2 else PROGRESS if code in NOT_YET else WARNING
        if not final and not self._bad.enough(patience, points):
            return ""
        self.told = True
        self._tell(rank)
        return "announced"

    def _advised(self, points: int) -> str:
        advice = _first_action(self.finding)
        if advice == self._advice:
            self._other = None
            return ""
        if self._other is None or self._other[0] != advice:
            self._other = (advice, _Run(points))
        self._other[1].count += 1
        if not self._other[1].enough(ADVICE, points):
            return ""
        self._tell(self._worst)
        return "updated"

    def _tell(self, rank: int) -> None:
        self._worst, self._advice, self._other = rank, _first_action(self.finding), None

    def missed(self, points: int, explained: bool, final: bool) -> str:
        """The verdict does not say it; what this changes."""
        self._bad = self._other = None
        if not self.told or explained:
            self._gone = None
            return ""
        self._gone = self._gone or _Run(points)
        self._gone.count += 1
        if not final and not self._gone.enough(GONE, points):
            return ""
        self.told = False
        return "withdrawn"


class _Run:
    """Verdicts in a row that say the same."""

    def __init__(self, points: int) -> None:
        self.count, self.since = 0, points

    def enough(self, patience: Patience, points: int) -> bool:
        return patience.enough(self.count, self.since, points)


def _first_action(finding: Finding) -> str:
    return finding.actions[0].action if finding.actions else ""
