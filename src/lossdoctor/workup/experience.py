"""What tests said of runs whose cause is known, and what follows for a run of which it is not.

One source of truth: for a test that says *l* where cause *c* holds,

    likelihood(c) = ((count(l, c) / base(l) + K · ratio(c)) / (count(c) + K)) ^ trust

where the counts are of the clinic's runs (``tests.json`` beside this file, fitted by ``benchmarks/workup_fit.py``),
``base(l)`` is how often the test says *l* of runs of other causes than *l* speaks for, and ``ratio(c)`` is the
likelihood ratio that the test's own result gives for the cause. The ratio is thus a guess worth K runs: where nothing
was counted it stands alone, and where much was it hardly matters. It is the posterior mean of a Dirichlet prior of
strength K around the test's own statement.

``trust`` is for what Bayes' rule does not know: tests are no independent witnesses. Several notice the same thing, and
would be believed several times over. It is fitted on answers about tasks that the counts had not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.probes.result import ProbeResult

FILE = "tests.json"
STRENGTH = 4.0  # K: runs that a test's own ratio is worth
TRUST = 0.6  # of a test of which nothing is known
POINTS = 2.0  # least ratio with which a result speaks for a cause
SPOKEN = 1.2  # mean ratio above which what a test says speaks for a cause too
HIT, FALSE_ALARM = 0.7, 0.05  # of a test of which nothing is known but for which causes it is made


@dataclass(frozen=True)
class Record:
    """What one test said of the clinic's runs.

    Attributes:
        said: what it says -> cause -> how many runs of that cause it said it of.
        ratios: what it says -> cause -> its own likelihood ratio, the mean over the runs.
        steps: what it cost, the median.
        trust: how much of what it says is news beside what the other tests say; the exponent of its likelihoods.
    """

    said: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    steps: int = 0
    trust: float = TRUST

    @cached_property
    def counts(self) -> Mapping[str, float]:
        """Cause -> runs of it on which the test was run."""
        return {c: sum(row.get(c, 0.0) for row in self.said.values()) for c in CAUSES}

    @cached_property
    def runs(self) -> float:
        """All of them."""
        return sum(self.counts.values())

    def base(self, word: str) -> float:
        """How often the test says this of runs of other causes than it speaks for; 0 for what it never said."""
        if word not in self.said:
            return 0.0
        spoken = self.ratios.get(word, {})
        others = [c for c in CAUSES if spoken.get(c, 1.0) <= SPOKEN]
        said = sum(self.said[word].get(c, 0.0) for c in others)
        return (said + 0.5) / (sum(self.counts[c] for c in others) + 1.0)


@dataclass(frozen=True)
class Experience:
    """The records of all tests, and how much they are trusted."""

    records: Mapping[str, Record] = field(default_factory=dict)
    strength: float = STRENGTH
    fitted: Mapping[str, Any] = field(default_factory=dict)

    def likelihoods(self, test: str, result: ProbeResult) -> dict[str, float]:
        """Cause -> how many times likelier this result is where the cause holds than on the whole."""
        own = {c: r for c, r in result.causes.items() if c in CAUSES}
        return self.weighed(test, said(result), own)

    def table(self, test: str, made_for: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """How likely the test says what, under each cause: for choosing, before it is run.

        Args:
            test: its word.
            made_for: cause -> the chance that the test speaks for it where it holds; used where nothing was counted.
        """
        record = self.records.get(test)
        if record is None or not record.runs:
            return _guessed(made_for)
        rows = {
            word: {c: record.base(word) * q for c, q in self.weighed(test, word, record.ratios.get(word, {})).items()}
            for word in record.said
        }
        sums = {c: sum(row[c] for row in rows.values()) for c in CAUSES}
        return {word: {c: q / sums[c] for c, q in row.items()} for word, row in rows.items()}

    def weighed(self, test: str, word: str, own: Mapping[str, float]) -> dict[str, float]:
        """The formula: what a test says and its own ratios -> likelihoods."""
        record = self.records.get(test)
        if record is None:
            return {c: own.get(c, 1.0) for c in CAUSES}
        base = record.base(word)
        if not base:
            return {c: own.get(c, 1.0) ** record.trust for c in CAUSES}
        row, k = record.said[word], self.strength
        return {
            c: ((row.get(c, 0.0) / base + k * own.get(c, 1.0)) / (record.counts[c] + k)) ** record.trust for c in CAUSES
        }


def said(result: ProbeResult) -> str:
    """What a result says: its outcome, and the cause that it speaks for most, if it speaks for any.

    >>> said(ProbeResult(outcome="failed", verdict="", causes={"outliers": 8.0, "bad-data": 3.0}))
    'failed: outliers'
    >>> said(ProbeResult(outcome="passed", verdict="", causes={"outliers": 0.2}))
    'passed'
    """
    strongest = max(result.causes, key=lambda c: (result.causes[c], c), default=None)
    speaks = strongest is not None and result.causes[strongest] >= POINTS
    return f"{result.outcome}: {strongest}" if speaks else result.outcome


def _guessed(made_for: Mapping[str, float]) -> dict[str, dict[str, float]]:
    rows = {
        word: {c: (hit if c == word else FALSE_ALARM / len(made_for)) for c in CAUSES} for word, hit in made_for.items()
    }
    rows["passed"] = {c: max(0.0, 1.0 - sum(row[c] for row in rows.values())) for c in CAUSES}
    return rows


@lru_cache(maxsize=1)
def experience() -> Experience:
    """What was fitted, read once; nothing where the file is not there."""
    import orjson

    path = resources.files("lossdoctor.workup").joinpath(FILE)
    return from_json(orjson.loads(path.read_bytes())) if path.is_file() else Experience()


def from_json(data: Mapping[str, Any]) -> Experience:
    """The experience in a decoded ``tests.json``."""
    records = {
        test: Record(entry["said"], entry["ratios"], int(entry["steps"]), float(entry["trust"]))
        for test, entry in data["tests"].items()
    }
    return Experience(records, float(data["strength"]), data["fitted"])
