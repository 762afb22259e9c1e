"""What a work-up did, test by test, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action
from lossdoctor.core.numbers import percent
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.result import ProbeResult
from lossdoctor.workup.beliefs import ranked

SHOWN = 8  # causes in charts
LEAST_SHOWN = 0.015  # share below which a cause is not worth its bar
LEAST_BITS = 0.02  # what a test must be expected to tell to be worth running
MOVED = 1.5  # times that a likelihood must be moved to be told


@dataclass(frozen=True)
class Step:
    """One test of the chain.

    Attributes:
        test: its name.
        why: for what it was chosen, in words.
        bits: how much it was expected to tell; ``allowed``: the steps that it might have taken.
        result: what it gave; None when it raised.
        error: what it raised; empty otherwise.
        likelihoods: cause -> how many times likelier its result is under it than on the whole.
        before, after: the shares of the causes.
        steps: what it cost; 0 where it only read the data.
    """

    test: str
    why: str
    bits: float
    allowed: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    result: ProbeResult | None = None
    error: str = ""
    likelihoods: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0

    @property
    def told(self) -> str:
        """What it found and what that changed, in words."""
        if self.result is None:
            return f"It failed: {self.error} The likelihoods stay as they were."
        return f"{self.result.verdict} {self._moved()}"

    def _moved(self) -> str:
        total = sum(self.before[c] * q for c, q in self.likelihoods.items()) or 1.0
        ratios = {c: q / total for c, q in self.likelihoods.items()}
        raised = [c for c, _ in ranked(self.after)[:5] if ratios.get(c, 1.0) >= MOVED][:3]
        lowered = [c for c, p in ranked(self.before)[:5] if ratios.get(c, 1.0) <= 1 / MOVED and p > 0.02][:3]
        parts = []
        if raised:
            parts.append("likelier: " + ", ".join(f"{c} ({_from_to(self.before[c], self.after[c])})" for c in raised))
        if lowered:
            parts.append("less so: " + ", ".join(f"{c} ({_from_to(self.before[c], self.after[c])})" for c in lowered))
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}." if text else "This moves no cause by much."

    def as_dict(self) -> dict[str, Any]:
        told = {n: getattr(self, n) for n in ("test", "why", "bits", "allowed", "error", "steps")}
        result = None if self.result is None else self.result.as_dict()
        moved = {n: dict(getattr(self, n)) for n in ("before", "after", "likelihoods")}
        return {**told, "told": self.told, **moved, "result": result}


@dataclass(frozen=True)
class Untried:
    """A test that was not run, why not, and how much it would be expected to tell now, in bits."""

    test: str
    why: str
    bits: float


@dataclass(frozen=True, kw_only=True)
class WorkUp(ProbeResult):
    """The chain of tests, and the causes as they stand after it.

    Attributes:
        cause: the one that stands out, or None.
        prior, posterior: cause -> its share before and after; all causes of the vocabulary.
        tests: what was run, in order.
        untried: what was not, that which would tell most first.
        stopped: why the work-up ended, in words.
        actions: what to do about the likeliest cause, the most exact first.
        before: the diagnosis of the log alone; ``diagnosis``: of the log and all that was measured.
        budget: steps that were allowed; ``steps`` is what was used.
    """

    title: ClassVar[str] = "Work-up"

    cause: str | None = None
    prior: Mapping[str, float] = field(default_factory=dict)
    posterior: Mapping[str, float] = field(default_factory=dict)
    tests: tuple[Step, ...] = ()
    untried: tuple[Untried, ...] = ()
    stopped: str = ""
    actions: tuple[Action, ...] = ()
    before: Diagnosis
    diagnosis: Diagnosis
    budget: int = 0

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """The causes after the tests, the likeliest first."""
        return tuple(ranked(self.posterior))

    def chain(self) -> str:
        """The whole reasoning in plain words."""
        codes = ", ".join(f"{f.code} {f.name}" for f in self.before.findings[:3]) or "no finding"
        lines = [f"The log says: {self.before.status} ({codes}).", f"Before any test: {shares(self.prior)}."]
        for number, step in enumerate(self.tests, 1):
            lines += [f"{number}. {step.test} ({counted(step.steps, 'step')}): {step.why}.", f"   {step.told}"]
        lines.append(f"Stopped: {self.stopped}.")
        lines.append(f"After the tests: {shares(self.posterior)}.")
        lines += [f"What to do: {_said(a)}." for a in self.actions]
        for missed in self.untried:
            if missed.why.startswith("it needs") and missed.bits >= LEAST_BITS:
                lines.append(f"{missed.test} could have told more ({missed.bits:.2f} bits): {missed.why}.")
        new = [f for f in self.diagnosis.findings if f.code not in {g.code for g in self.before.findings}]
        lines += [f"What was measured adds {f.code} {f.name}: {f.summary}." for f in new]
        return "\n".join(lines)

    def rows(self) -> tuple[tuple[str, str], ...]:
        likely = [(c, p) for c, p in self.ranked[:5] if p >= LEAST_SHOWN]
        return (
            *((c, f"{percent(p)} (before {percent(self.prior[c])})") for c, p in likely),
            *(("do", _said(a)) for a in self.actions),
            *((f"test {n}, {s.test}", s.told) for n, s in enumerate(self.tests, 1)),
            ("cost", f"{self.steps:,} of {self.budget:,} steps in {counted(len(self.tests), 'test')}"),
            ("stopped", self.stopped),
        )

    def charts(self) -> tuple[Chart, ...]:
        tops = dict.fromkeys(c for c, _ in [*self.ranked[:SHOWN], *ranked(self.prior)[:4]])
        names = [c for c in tops if max(self.prior[c], self.posterior[c]) >= LEAST_SHOWN]
        names.sort(key=lambda c: -self.posterior[c])
        out = []
        for title, causes in (("Before the tests", self.prior), ("After the tests", self.posterior)):
            bars = tuple((c, round(100 * causes[c], 1)) for c in names)
            out.append(Chart(title, x_label="how likely, %", bars=bars))
        if len(self.tests) > 1:
            x = list(range(len(self.tests) + 1))
            moves = [self.prior, *(s.after for s in self.tests)]
            lines = tuple(Line(c, x, [100 * m[c] for m in moves]) for c in names[:5])
            marks = tuple(Mark(n, s.test) for n, s in enumerate(self.tests, 1))
            out.append(Chart("Test by test", "tests so far", "how likely, %", lines=lines, marks=marks))
        return tuple(out)

    def as_dict(self) -> dict[str, Any]:
        plain = ("outcome", "verdict", "steps", "seconds", "cause", "stopped", "budget")
        return {
            "test": self.test,
            "title": self.title,
            **{name: getattr(self, name) for name in plain},
            "prior": dict(self.prior),
            "posterior": dict(self.posterior),
            "causes": dict(self.causes),
            "tests": [s.as_dict() for s in self.tests],
            "untried": [asdict(u) for u in self.untried],
            "actions": [a.as_dict() for a in self.actions],
            "measurements": [asdict(m) for m in self.measurements],
            "before": self.before.as_dict(),
            "diagnosis": self.diagnosis.as_dict(),
        }


def counted(number: int, what: str) -> str:
    """``"1 test"``, ``"2 tests"``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def shares(causes: Mapping[str, float], most: int = 4) -> str:
    """The likeliest causes in words."""
    return ", ".join(f"{c} {percent(p)}" for c, p in ranked(causes)[:most] if p >= 0.005)


def _from_to(before: float, after: float) -> str:
    return f"{percent(before)} to {percent(after)}"


def _said(action: Action) -> str:
    words = action.action.replace("_", " ")
    return f"{words}: {action.detail}" if action.detail else words
