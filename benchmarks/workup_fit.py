"""What each test says of runs of known cause, counted: ``python -m benchmarks.workup_fit [--again TEST ...]``.

Runs every test of the menu once on the faulty runs of the clinic's tuning parts (half an hour on one core when nothing
is kept yet; it may be stopped and started at any time), and writes ``src/lossdoctor/workup/tests.json``. The parts that
are held out are never looked at.

The trust in a test is fitted so that the right causes of runs get the most belief when all tests have spoken, counts
and priors being of other tasks than the run's; it is drawn towards what is assumed of an unknown test.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import lossdoctor.workup
from benchmarks import workup_unseen
from benchmarks.clinic import draws
from benchmarks.workup_patients import Case, cases, diagnosis, result_of, said
from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.workup.beliefs import prior
from lossdoctor.workup.experience import FILE, STRENGTH, TRUST, Experience, Record
from lossdoctor.workup.experience import said as said_by
from lossdoctor.workup.menu import MENU

TARGET = Path(lossdoctor.workup.__file__).parent / FILE
TUNING = (0, draws.MORE_FAULTS, draws.MORE_TASKS)
SICK = {0: 104, draws.MORE_FAULTS: 66, draws.MORE_TASKS: 100}
HEALTHY = {0: 12, draws.MORE_FAULTS: 3, draws.MORE_TASKS: 9}
SECOND = 0.5  # weight of a right cause that is not the most exact one
DIGITS = 3
LEAST = 1e-6
GRID = tuple(round(0.1 * k, 1) for k in range(2, 15))  # what a trust may be
DRAWN = 0.02  # how strongly it is drawn to that in an unknown test
ROUNDS = 4


@dataclass(frozen=True)
class Seen:
    """A case with what each test said of it."""

    case: Case
    kept: dict[str, dict[str, Any]]

    @cached_property
    def prior(self) -> dict[str, float]:
        """The causes by the log alone, as they are told to who has not seen the task."""
        with workup_unseen.without(self.case.task):
            return prior(diagnosis(self.case))

    @cached_property
    def weights(self) -> dict[str, float]:
        """Right causes: how much the case counts for each."""
        return {c: SECOND if place else 1.0 for place, c in enumerate(self.case.causes)}


def tuning_cases() -> list[Case]:
    """The runs of known cause that everything is fitted on."""
    return [c for first in TUNING for c in cases(first, SICK[first], HEALTHY[first])]


def collect(todo: Sequence[Case], again: Collection[str] = ()) -> list[Seen]:
    """Every case with what the tests say; progress on stderr."""
    started, out = time.time(), []
    for count, case in enumerate(todo, 1):
        out.append(Seen(case, said(case, again)))
        if count % 20 == 0 and time.time() - started > 1:
            print(f"{count} of {len(todo)} runs in {time.time() - started:.0f} s", file=sys.stderr, flush=True)
    return out


def fitted(seen: Sequence[Seen], strength: float = STRENGTH) -> Experience:
    """The counts, the mean ratios, the median costs, and the trust."""
    known = counted(seen, strength)
    trust = trusted(seen, strength)
    records = {name: replace(record, trust=trust[name]) for name, record in known.records.items()}
    told = {"runs": len(seen), "tasks": len({s.case.task for s in seen})}
    return Experience(records, strength, told)


def counted(seen: Sequence[Seen], strength: float = STRENGTH, trust: float = 1.0) -> Experience:
    """The counts alone, every test being trusted alike."""
    records = {test.name: _record(test.name, seen) for test in MENU}
    return Experience({name: replace(r, trust=trust) for name, r in records.items() if r.runs}, strength)


def trusted(seen: Sequence[Seen], strength: float = STRENGTH) -> dict[str, float]:
    """The trust in each test: coordinate ascent on the mean logarithm of the belief in the right causes."""
    names = [test.name for test in MENU]
    said = {name: np.zeros((len(seen), len(CAUSES))) for name in names}
    for task in {s.case.task for s in seen}:
        known = counted([s for s in seen if s.case.task != task], strength)
        for place, one in enumerate(seen):
            if one.case.task == task:
                for name, entry in one.kept.items():
                    if name in said and "error" not in entry:
                        likelihoods = known.likelihoods(name, result_of(entry))
                        said[name][place] = [math.log(max(likelihoods[c], LEAST)) for c in CAUSES]
    prior = np.log([[one.prior[c] for c in CAUSES] for one in seen])
    right = np.array([[c in one.case.causes for c in CAUSES] for one in seen], dtype=float)
    trust = dict.fromkeys(names, TRUST)
    for _ in range(ROUNDS):
        for name in names:
            rest = prior + sum(trust[other] * said[other] for other in names if other != name)
            trust[name] = max(GRID, key=lambda t: _worth(rest + t * said[name], right) - DRAWN * (t - TRUST) ** 2)
    return trust


def _worth(logs: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return float(np.log((shares * right).sum(axis=1) / shares.sum(axis=1)).mean())


def _record(test: str, seen: Sequence[Seen]) -> Record:
    counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    ratios: dict[str, list[dict[str, float]]] = defaultdict(list)
    steps: list[int] = []
    for one in seen:
        entry = one.kept.get(test, {"error": "not run"})
        if "error" in entry:
            continue
        word = said_by(result_of(entry))
        for cause, weight in one.weights.items():
            counts[word][cause] += weight
        ratios[word].append(entry["causes"])
        steps.append(entry["steps"])
    means = {w: {c: _geometric([r.get(c, 1.0) for r in rows]) for c in CAUSES} for w, rows in ratios.items()}
    return Record(
        {w: dict(row) for w, row in sorted(counts.items())},
        {w: {c: q for c, q in row.items() if q != 1.0} for w, row in sorted(means.items())},
        max(1, int(statistics.median(steps))) if steps else 0,
    )


def _geometric(values: Sequence[float]) -> float:
    return round(math.exp(sum(math.log(max(v, 1e-3)) for v in values) / len(values)), DIGITS)


def as_json(known: Experience) -> dict[str, Any]:
    """The file's content."""
    tests = {
        name: {"said": r.said, "ratios": r.ratios, "steps": r.steps, "trust": r.trust}
        for name, r in known.records.items()
    }
    return {
        "about": "counts of what each test said of the clinic's runs, by true cause; see experience.py",
        "fitted": known.fitted,
        "strength": known.strength,
        "tests": tests,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workup_fit", description=__doc__)
    parser.add_argument("--again", action="append", default=[], help="run this test anew on all runs")
    parser.add_argument("--shard", default="0/1", help="k/n: only collect the k-th of n shares, and write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    k, n = (int(word) for word in options.shard.split("/"))
    seen = collect(tuning_cases()[k::n], options.again)
    workup_unseen.prepare([one.case.task for one in seen])
    if n == 1:
        TARGET.write_text(json.dumps(as_json(fitted(seen)), indent=1, sort_keys=True) + "\n")
        print(f"wrote {TARGET.name}: {len(seen)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
