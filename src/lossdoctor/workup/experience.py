"""What tests said of runs whose cause is known, and what follows for a run of which it is not.

One source of truth: for a test that says *l* where cause *c* holds,

    likelihood(c) ∝ (count(l, c) / share(l) + K · ratio(c)) / (count(c) + K)

where the counts are of the clinic's runs (``tests.json`` beside this file, fitted by ``benchmarks/workup_fit.py``),
``share(l)`` is how often the test says *l* at all, and ``ratio(c)`` is the likelihood ratio that the test's own result
gives for the cause. The ratio is thus a guess worth K runs: where nothing was counted it stands alone, and where much
was it hardly matters. It is the posterior mean of a Dirichlet prior of strength K around the test's own statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.probes.result import ProbeResult

FILE = "tests.json"
STRENGTH = 4.0  # K: runs that a test's own ratio is worth
POINTS = 2.0  # least ratio with which a result speaks for a cause
HIT, FALSE_ALARM = 0.7, 0.05  # of a test of which nothing is known but for which causes it is made


@dataclass(frozen=True)
class Record:
    """What one test said of the clinic's runs.

    Attributes:
        said: what it says -> cause -> how many runs of that cause it said it of.
        ratios: what it says -> cause -> its own likelihood ratio, the mean over the runs.
        steps: what it cost, the median.
    """

    said: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    steps: int = 0

    def count(self, cause: str) -> float:
        """Runs of a cause on which the test was run."""
        return sum(row.get(cause, 0.0) for row in self.said.values())

    @property
    def runs(self) -> float:
        return sum(sum(row.values()) for row in self.said.values())

    def share(self, word: str) -> float:
        """How often the test says this at all; 0 for what it never said."""
        return sum(self.said.get(word, {}).values()) / self.runs if self.runs else 0.0


@dataclass(frozen=True)
class Experience:
    """The records of all tests, and how much they are trusted."""

    records: Mapping[str, Record] = field(default_factory=dict)
    strength: float = STRENGTH
    fitted: Mapping[str, Any] = field(default_factory=dict)

    def likelihoods(self, test: str, result: ProbeResult) -> dict[str, float]:
        """Cause -> how many times likelier this result is where the cause holds than on the whole."""
        own = {c: r for c, r in result.causes.items() if c in CAUSES}
        return self._mixed(test, said(result), own)

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
            word: {c: record.share(word) * q for c, q in self._mixed(test, word, record.ratios.get(word, {})).items()}
            for word in record.said
        }
        sums = {c: sum(row[c] for row in rows.values()) for c in CAUSES}
        return {word: {c: q / sums[c] for c, q in row.items()} for word, row in rows.items()}

    def _mixed(self, test: str, word: str, own: Mapping[str, float]) -> dict[str, float]:
        record = self.records.get(test, Record())
        share = record.share(word)
        if not share:
            return {c: own.get(c, 1.0) for c in CAUSES}
        row = record.said[word]
        return {
            c: (row.get(c, 0.0) / share + self.strength * own.get(c, 1.0)) / (record.count(c) + self.strength)
            for c in CAUSES
        }


def said(result: ProbeResult) -> str:
    """What a result says, in a word: the cause that it speaks for most, or its outcome where it speaks for none.

    >>> said(ProbeResult(outcome="failed", verdict="", causes={"outliers": 8.0, "bad-data": 3.0}))
    'outliers'
    >>> said(ProbeResult(outcome="passed", verdict="", causes={"outliers": 0.2}))
    'passed'
    """
    strongest = max(result.causes, key=lambda c: (result.causes[c], c), default=None)
    return strongest if strongest is not None and result.causes[strongest] >= POINTS else result.outcome


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
        test: Record(entry["said"], entry["ratios"], int(entry["steps"])) for test, entry in data["tests"].items()
    }
    return Experience(records, float(data["strength"]), data["fitted"])
