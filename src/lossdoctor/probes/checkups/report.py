"""What a checkup found: the results of its tests, what could not be run, and the causes that they speak for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.finding import Cause
from lossdoctor.core.vocabulary import CAUSES, SEVERITIES, at_least, severity_rank
from lossdoctor.probes.checkups.advice import ADVICE
from lossdoctor.probes.result import ProbeResult

SCHEMA_VERSION = 1
# A failed test is a warning: training may go on, but not as well as it could. It is critical where training cannot
# work at all: not even one batch can be learned, or a measurement of this table is above its bound.
CRITICAL_TESTS = frozenset({"overfit_one_batch"})
CRITICAL_ABOVE = {"nonfinite_gradients": 0.0}
_MOST_CAUSES = 6
_LIKELY = 0.1  # from this share on a cause has its advice among the next steps
_SPOKEN_FOR = 2.0  # below, what the tests say for a cause is next to nothing


def severity(result: ProbeResult) -> str | None:
    """``"critical"`` or ``"warning"`` of a failed test, ``"info"`` of one whose result is worth knowing, else None.

    Critical is what keeps training from working at all: not even one batch can be learned (``overfit_one_batch``),
    gradients are not finite, or a finding of the result itself is critical (``check_data``).

    >>> severity(ProbeResult(outcome="noted", verdict="")), severity(ProbeResult(outcome="failed", verdict=""))
    ('info', 'warning')
    """
    if result.outcome != "failed":
        return "info" if result.outcome == "noted" else None
    above = any(m.value > CRITICAL_ABOVE[m.name] for m in result.measurements if m.name in CRITICAL_ABOVE)
    above |= any(getattr(finding, "severity", "") == "critical" for finding in getattr(result, "findings", ()))
    return "critical" if above or result.test in CRITICAL_TESTS else "warning"


def _plain(word: str) -> str:
    return word.replace("-", " ")


def _counted(tests: int) -> str:
    return f"{tests} test{'' if tests == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class CheckupError:
    """A test that could not be run.

    Attributes:
        test: its word.
        error: what, where and, where it is known, what to do.
        where: ``"file.py:12"``, the line of the user's code that raised; empty where none did.
    """

    test: str
    error: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A test that was not run, and why."""

    test: str
    why: str


@dataclass(frozen=True)
class CheckupReport:
    """All results of a checkup.

    Attributes:
        target: what was tested, in words.
        results: in the order in which the tests were run.
        errors: tests that could not be run; the others went on.
        skipped: tests that were left out, and why.
        facts: (what, value) of the target: its model, its parameters, its batches.
        seed: of everything drawn at random; None: as the generators were.
    """

    target: str
    results: tuple[ProbeResult, ...] = ()
    errors: tuple[CheckupError, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    seed: int | None = None
    titles: Mapping[str, str] = field(default_factory=dict)  # of the tests, also of those that gave no result

    def title(self, test: str) -> str:
        """A test's title, or its word in plain letters where it has none."""
        found = next((r.title for r in self.results if r.test == test), "") or self.titles.get(test, "")
        return found or test.replace("_", " ")

    @property
    def status(self) -> str:
        """``"critical"``, ``"warning"``, ``"healthy"``, or ``"insufficient_data"``: no test could tell, or most could
        not be run."""
        worst = max((severity_rank(s) for s in map(severity, self.results) if s), default=0)
        if worst:
            return SEVERITIES[worst]
        return "healthy" if any(r.passed for r in self.results) and not self.mostly_broken else "insufficient_data"

    @property
    def mostly_broken(self) -> bool:
        """Whether more tests could not be run than gave a result."""
        return len(self.errors) > len(self.results)

    @property
    def basis(self) -> str:
        """What the status rests on, in one sentence."""
        if not self.results:
            return "No test could be run."
        counts = {o: sum(r.outcome == o for r in self.results) for o in ("failed", "noted", "unknown", "passed")}
        words = {"failed": "failed", "noted": "worth knowing", "unknown": "could not tell", "passed": "passed"}
        parts = [f"{n} {words[o]}" for o, n in counts.items() if n]
        parts += [f"{len(self.errors)} could not be run"] if self.errors else []
        return f"Of {_counted(len(self.results) + len(self.errors))}: {', '.join(parts)}."

    @property
    def steps(self) -> int:
        """Optimizer steps and evaluations of a batch that all tests cost."""
        return sum(r.steps for r in self.results)

    @property
    def seconds(self) -> float:
        """Wall time of all tests."""
        return sum(r.seconds for r in self.results)

    def worst_first(self) -> list[ProbeResult]:
        """The results that tell something: failed ones, critical first, then those worth knowing."""
        told = [r for r in self.results if severity(r)]
        return sorted(told, key=lambda r: -severity_rank(severity(r) or "info"))

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes that the results speak for, the likeliest first.

        All causes of the vocabulary are taken as equally likely before, and the tests as independent: each result
        multiplies what it says onto them. Listed are those for which a result speaks that failed or is worth knowing;
        the others keep their share of the whole.
        """
        weights = dict.fromkeys(CAUSES, 1.0)
        for result in self.results:
            for cause, ratio in result.causes.items():
                weights[cause] *= ratio
        total = sum(weights.values())
        named = {c for r in self.worst_first() for c, ratio in r.causes.items() if ratio > 1 and c != "normal"}
        found = [c for c in CAUSES if c in named and weights[c] >= _SPOKEN_FOR]
        ranked = sorted(found, key=lambda c: -weights[c])[:_MOST_CAUSES]
        return tuple(Cause(c, weights[c] / total, CAUSES[c]) for c in ranked)

    def evidence(self, cause: str) -> dict[str, float]:
        """Test -> how strongly its result speaks for (above 1) or against (below 1) a cause."""
        return {r.test: r.causes[cause] for r in self.results if r.causes.get(cause, 1.0) != 1.0}

    @property
    def broken(self) -> tuple[tuple[CheckupError, tuple[str, ...]], ...]:
        """The errors, each with the titles of all tests that it kept from running: one mistake often stops many."""
        groups: dict[str, list[CheckupError]] = {}
        for error in self.errors:
            groups.setdefault(error.where or error.error, []).append(error)
        return tuple((found[0], tuple(self.title(e.test) for e in found)) for found in groups.values())

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do, the most urgent first: mend what raised, then the likeliest causes, then what would tell more."""
        steps = [
            f"Mend {error.where}, which kept {_counted(len(titles))} from running: {error.error}"
            for error, titles in self.broken
            if error.where
        ]
        likely = [c for c in self.causes if c.likelihood >= _LIKELY]
        steps += [f"{_plain(c.name).capitalize()}: {ADVICE[c.name]}." for c in likely[:3]]
        ran = {r.test for r in self.results}
        for test in dict.fromkeys(c.test for c in likely[:2] if c.test and c.test not in ran and c.test != "log_more"):
            named = [_plain(c.name) for c in likely[:2] if c.test == test]
            steps.append(f"The test {test} would tell more about: {', '.join(named)}.")
        return tuple(steps)

    def fails(self, fail_on: str) -> bool:
        """Whether a result reaches ``fail_on`` (``"warning"``, ``"critical"`` or ``"never"``)."""
        return any(at_least(s, fail_on) for s in map(severity, self.results) if s)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values: the fields of docs/how-to/checkup.md."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "status": self.status,
            "basis": self.basis,
            "facts": dict(self.facts),
            "seed": self.seed,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "causes": [{**c.as_dict(), "evidence": self.evidence(c.name)} for c in self.causes],
            "next_steps": list(self.next_steps),
            "results": [
                {**r.as_dict(), "severity": severity(r), "rows": [list(row) for row in r.rows()]} for r in self.results
            ],
            "skipped": [{"test": s.test, "why": s.why} for s in self.skipped],
            "errors": [{"test": e.test, "error": e.error, "where": e.where} for e in self.errors],
        }

    def __str__(self) -> str:
        found = [f"  {r.title or r.test}: {r.verdict}" for r in self.worst_first()]
        steps = [f"  {i}. {step}" for i, step in enumerate(self.next_steps, 1)]
        return "\n".join(
            [f"{self.target}: {self.status}. {self.basis}", *found, *(["Next steps", *steps] if steps else [])]
        )

    _repr_html_ = ProbeResult._repr_html_  # the one way from here to the renderers
