"""What a work-up is worth on runs of known cause: ``python -m benchmarks.workup [--runs 60] [--held-out] [--all]``.

Right is a cause that the clinic gives for the fault (:mod:`benchmarks.clinic.causes`); causes are compared before any
test (the likeliest one that the diagnosis of the log leads to) and after the work-up. The faulty model is trained again
and tested for real, once; what each test says is kept (:mod:`benchmarks.workup_patients`) and the work-up is played
from that, as it would have run.

On the tuning parts both what was learned of logs and the record of the tests are fitted anew without the task that is
judged. ``--held-out`` judges runs of the parts on which nothing was ever fitted, by what is shipped.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks import workup_unseen
from benchmarks.clinic import draws, frozen
from benchmarks.clinic.judged import share
from benchmarks.workup_fit import Seen, collect, fitted, tuning_cases
from benchmarks.workup_patients import Case, cases, replayed
from lossdoctor.workup.chain import WorkUp
from lossdoctor.workup.experience import Experience, experience
from lossdoctor.workup.working import workup

RUNS = 60
BUDGET = 2000
GUESSES = 3


@dataclass(frozen=True)
class Played:
    """One work-up, and whether it was right."""

    seen: Seen
    result: WorkUp

    def right(self, shares: Sequence[tuple[str, float]], most: int = 1) -> bool:
        return any(c in self.seen.case.causes for c, _ in shares[:most])

    @property
    def before(self) -> list[tuple[str, float]]:
        return sorted(self.result.prior.items(), key=lambda pair: (-pair[1], pair[0]))

    @property
    def after(self) -> list[tuple[str, float]]:
        return list(self.result.ranked)


def played(one: Seen, known: Experience, budget: int = BUDGET) -> Played:
    """The work-up of a case as it would have run, from what its tests said."""
    unused = nn.Linear(1, 1)
    loader = [(torch.zeros(1, 1), torch.zeros(1, 1))]
    optimizer = torch.optim.SGD(unused.parameters(), lr=0.1)
    return Played(
        one,
        workup(
            one.case.history(), unused, None, loader, loader, optimizer=optimizer, budget=budget,
            tests=replayed(one.kept), learned=known, progress=False,
        ),
    )  # fmt: skip


def without_own_task(
    seen: Sequence[Seen], judged: Iterable[Seen], fit: Callable[..., Experience] = fitted
) -> list[Played]:
    """Work-ups by what was learned from all other tasks, of logs and of tests."""
    judged = list(judged)
    workup_unseen.prepare([s.case.task for s in judged])
    out = []
    for task in sorted({s.case.task for s in judged}):
        known = fit([s for s in seen if s.case.task != task])
        with workup_unseen.without(task):
            out += [played(s, known) for s in judged if s.case.task == task]
    return out


def sample(todo: Sequence[Case], runs: int) -> list[Case]:
    """So many cases, drawn once and for all; healthy ones in the share that they have."""
    order = np.random.default_rng(0).permutation(len(todo))
    return [todo[i] for i in sorted(order[:runs])]


def report(results: Sequence[Played]) -> None:
    """The table: before and after, the cost, and what the stated likelihoods are worth."""
    sick = [p for p in results if p.seen.case.causes != ("normal",)]
    well = [p for p in results if p.seen.case.causes == ("normal",)]
    print(f"\n{len(results)} runs of {len({p.seen.case.task for p in results})} tasks, {len(sick)} of them sick")
    print(f"    {'':24}{'first right':>30}{f'among the first {GUESSES}':>30}")
    for name, group in (("sick", sick), ("healthy", well)):
        for when in ("before", "after"):
            one, three = (sum(p.right(getattr(p, when), most) for p in group) if group else 0 for most in (1, GUESSES))
            print(f"    {name + ', ' + when:24}{share(one, len(group)):>30}{share(three, len(group)):>30}")
    out = [p for p in results if p.result.cause is not None]
    print(f"    a cause stands out in {share(len(out), len(results))}; it is right in", end=" ")
    print(share(sum(p.right(p.after) for p in out), len(out)))
    stated = float(np.mean([p.after[0][1] for p in results]))
    right = np.mean([p.right(p.after) for p in results])
    print(f"    mean stated likelihood of the first cause {stated:.2f}, right {right:.2f}")
    steps = np.array([p.result.steps for p in results])
    tests = np.mean([len(p.result.tests) for p in results])
    low, middle, high = np.quantile(steps, [0.1, 0.5, 0.9])
    print(
        f"    steps: median {middle:.0f}, 10 % {low:.0f}, 90 % {high:.0f}, mean {steps.mean():.0f}; {tests:.1f} tests"
    )


def noted(results: Sequence[Played]) -> None:
    """A look at what is held out is written down."""
    sick = [p for p in results if p.seen.case.causes != ("normal",)]
    before, after = (sum(p.right(getattr(p, when)) for p in sick) for when in ("before", "after"))
    table = f"held out: a work-up names the cause of {after} first, the log alone of {before}"
    frozen.note(table, {"healthy": len(results) - len(sick), "sick": len(sick)})


def by_fault(results: Sequence[Played]) -> None:
    """Where it helps and where not."""
    groups: dict[str, list[Played]] = defaultdict(list)
    for p in results:
        groups[p.seen.case.config.fault].append(p)
    print(f"\n    {'fault':24} {'runs':>5} {'before':>7} {'after':>6}   likeliest after")
    for fault, group in sorted(groups.items()):
        before, after = (sum(p.right(getattr(p, when)) for p in group) for when in ("before", "after"))
        named: dict[str, int] = defaultdict(int)
        for p in group:
            named[p.after[0][0]] += 1
        told = ", ".join(f"{c} x{n}" for c, n in sorted(named.items(), key=lambda pair: -pair[1])[:3])
        print(f"    {fault:24} {len(group):5} {before:7} {after:6}   {told}")


def by_test(results: Sequence[Played]) -> None:
    """Which tests were run, and what they cost and told."""
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for p in results:
        for step in p.result.tests:
            groups[step.test].append((step.bits, step.steps))
    print(f"\n    {'test':24} {'run':>5} {'bits expected':>14} {'steps':>7}")
    for test, rows in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        bits, steps = np.mean(rows, axis=0)
        print(f"    {test:24} {len(rows):5} {bits:14.2f} {steps:7.0f}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workup", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="how many, drawn at random but always the same")
    parser.add_argument("--all", action="store_true", help="all runs of the tuning parts")
    parser.add_argument("--held-out", action="store_true", help="runs of the held-out parts, by the shipped record")
    parser.add_argument("--details", action="store_true", help="by fault and by test")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.held_out:
        todo = [c for first in draws.HELD_OUT_PARTS for c in cases(first, 10_000, 15)]
        results = [played(s, experience()) for s in collect(sample(todo, options.runs))]
        noted(results)
    else:
        todo = tuning_cases()
        chosen = todo if options.all else sample(todo, options.runs)
        judged = collect(chosen)
        kept = [Seen(c, s) for c in todo if (s := _kept(c))]
        results = without_own_task(kept, judged)
    report(results)
    if options.details:
        by_fault(results)
        by_test(results)
    return 0


def _kept(case: Case) -> dict[str, dict[str, object]]:
    """What is kept of a case, without running anything."""
    import json

    found: dict[str, dict[str, object]] = json.loads(case.path.read_text()) if case.path.exists() else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
