"""What would have helped: every sick run trained again with every remedy, and how advice is scored by it.

``python -m benchmarks.clinic.interventions [--part N] [--sick N] [--task NAME]`` trains what is not cached yet (quick
tasks first) and may be stopped and started at any time; :func:`outcomes` reads the cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clinic import corpus, remedies, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import run
from lossdoctor.core.vocabulary import ACTIONS

BETTER = 0.05  # share of the level by which a right action lowers the final held-out loss, and a harmful one raises it
TREATABLE = 1.0 / 3.0
QUICK_FIRST = (  # tasks by the time that a run takes: from a third of a second to eleven seconds
    "diabetes cancer friedman digits_inpaint digits_mlp autoencoder digits_cnn moons_flow chars_transformer chars_gru"
).split()


IN_TURN = 6  # sick runs of a task that are treated before it is the next task's turn


@dataclass(frozen=True)
class Outcomes:
    """What each action led to on one sick run.

    Attributes:
        fault: what was injected.
        base: final held-out loss of the sick run; infinite when it was lost to NaN.
        final: action -> final held-out loss with it; actions that change nothing are given ``base``.
        cured: final held-out loss of the twin without the fault.
        scale: the level that shares are of: the base, or for densities (losses below zero) what can be learned.
        missing: actions that have not been trained yet.
    """

    fault: str
    base: float
    final: dict[str, float]
    cured: float
    scale: float
    missing: tuple[str, ...] = ()

    def gain(self, action: str) -> float:
        """By what share of the level the action lowers the final loss; 1 for a run saved from NaN, -1 for one lost."""
        return _gain(self.base, self.final.get(action, self.base), self.scale)

    def right(self, action: str) -> bool:
        """Whether following the advice helps; a check is right when the fault lies where it tells to look."""
        if action in remedies.CHECKS:
            return remedies.names_the_fault(action, self.fault)
        return self.gain(action) >= BETTER

    def harmful(self, action: str) -> bool:
        """Whether following the advice makes it worse."""
        return self.gain(action) <= -BETTER

    @property
    def treatable(self) -> bool:
        """Some action, or the repair that a check leads to, improves the run by a third."""
        checked = any(remedies.names_the_fault(c, self.fault) for c in remedies.CHECKS)
        best = _gain(self.base, self.cured, self.scale) if checked else 0.0
        return max([best, *(self.gain(a) for a in self.final)]) >= TREATABLE

    @property
    def rightful(self) -> tuple[str, ...]:
        """All right actions, the best first; checks last."""
        helping = (a for a in self.final if a not in remedies.CHECKS and self.right(a))
        trained = sorted(helping, key=lambda a: -self.gain(a))
        return (*trained, *(c for c in remedies.CHECKS if self.right(c)))


def _gain(before: float, after: float, scale: float) -> float:
    if not math.isfinite(before):
        return 1.0 if math.isfinite(after) else 0.0
    if not math.isfinite(after):
        return -1.0
    return (before - after) / max(scale, 1e-9)


def path_of(config: Config) -> Path:
    """Where the end of a treated run is cached."""
    return corpus.CACHE / "remedies" / f"{config.key()}.json"


def final_loss(config: Config, *, train: bool = True) -> float | None:
    """The final held-out loss of a treated run from the cache; trained when it is not there, or None."""
    path = path_of(config)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return float(found["final"])
    if not train:
        return None
    started = time.process_time()
    made = run(config)
    ends = [row["test"] for row in made.truth]
    final = float(np.mean(ends)) if ends and made.truth[-1]["step"] is not None else math.inf
    reached = bool(ends) and math.isfinite(final) and _to_the_end(config, made.truth)
    entry = {"key": config.key(), "remedy": config.remedy, "final": str(final if reached else math.inf)}
    entry["seconds"] = str(round(time.process_time() - started, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(entry))
    part.replace(path)
    return float(entry["final"])


def _to_the_end(config: Config, truth: list[dict[str, float]]) -> bool:
    back = dict(config.params).get("back", 0.0) if config.fault == "resume_no_state" else 0.0
    return truth[-1]["step"] >= config.end - back


def outcomes(sick: Config, twin: Config, *, train: bool = True) -> Outcomes:
    """What each action leads to on a sick run whose log and twin are in the corpus."""
    entry, healthy = corpus.load(sick), corpus.load(twin)
    truth, cured = entry["truth"], healthy["truth"]
    missing: list[str] = []
    base = truth["final"] if truth["finite"] else math.inf
    if sick.fault == "double_softmax":  # it is measured by a loss that is not the task's
        again = remedies.treated(sick, remedies.AS_IT_WAS)
        found = final_loss(again, train=train) if again is not None else None
        missing += [remedies.AS_IT_WAS] * (found is None)
        base = base if found is None else found
    if not math.isfinite(base):
        base = math.inf
    final: dict[str, float] = {}
    for action in ACTIONS:
        config = remedies.treated(sick, action)
        if action == "stop_early" or (action == "restore_checkpoint" and config is None):
            final[action] = at_best_checkpoint(entry)
        elif config is None:
            final[action] = base
        elif (found := final_loss(config, train=train)) is None:
            missing.append(action)
        else:
            final[action] = found
    density = tasks.SPECS[sick.task].kind == "density"
    scale = cured["initial"] - tasks.SPECS[sick.task].good if density else abs(base)
    return Outcomes(sick.fault, base, final, cured["final"], scale, tuple(missing))


def at_best_checkpoint(entry: dict[str, Any]) -> float:
    """Held-out loss at the checkpoint that the log would make one keep: the lowest validation, else training loss."""
    metric = "val_loss" if any("val_loss" in row for row in entry["rows"]) else "loss"
    if not any(metric in row for row in entry["rows"]):  # two players' losses do not say which checkpoint to keep
        last = float(entry["held_out"][-1]["test"])
        return last if math.isfinite(last) else math.inf
    logged = [(row["step"], row[metric]) for row in entry["rows"] if metric in row and math.isfinite(row[metric])]
    if not logged:
        return math.inf
    if metric == "loss":  # single batches are too noisy to choose by
        values = np.array([v for _, v in logged])
        width = max(1, len(values) // 20)
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        best = logged[int(np.argmin(smooth)) + width - 1][0]
    else:
        best = min(logged, key=lambda p: p[1])[0]
    nearest = min(entry["held_out"], key=lambda row: abs(row["step"] - best))
    return float(nearest["test"]) if math.isfinite(nearest["test"]) else math.inf


def pairs(first: int, sick: int | None = None) -> Iterator[tuple[Config, Config]]:
    """The cached sick runs of a part with their twins: some of each task in turn, quick tasks first.

    A stopped clinic has then trained something of every task.
    """
    found: list[tuple[Config, Config]] = []
    for i in range(corpus.SIZES[first][1] if sick is None else sick):
        drawn = corpus.sick_config(first + i, ready=corpus.is_cached)
        if drawn is not None and corpus.is_cached(drawn[0]):
            found.append(drawn)
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for sick_run, _ in found:
        turns.append((seen[sick_run.task] // IN_TURN, _slowness(sick_run.task)))
        seen[sick_run.task] += 1
    for _, pair in sorted(zip(turns, found, strict=True), key=lambda both: both[0]):
        yield pair


def _slowness(task: str) -> int:
    return QUICK_FIRST.index(task) if task in QUICK_FIRST else -1  # the newer tasks are all quick


def work(first: int, sick: int | None = None, only: Iterable[str] = (), shard: str = "0/1") -> None:
    """Train all remedies of a part, or the k-th of n shards of it; progress on stderr."""
    started = time.time()
    k, n = (int(word) for word in shard.split("/"))
    todo = [p for p in pairs(first, sick) if not only or p[0].task in only][k::n]
    for count, pair in enumerate(todo, start=1):
        outcomes(*pair)
        if count % 5 == 0 or count == len(todo):
            took = time.time() - started
            print(f"remedies of {count} of {len(todo)} runs in {took:.0f} s", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clinic.interventions", description=__doc__)
    parser.add_argument("--part", type=int, default=0, choices=sorted(corpus.SIZES), help="of the corpus")
    parser.add_argument("--sick", type=int, help="only the first N sick runs")
    parser.add_argument("--task", action="append", default=[], help="only these tasks")
    parser.add_argument("--shard", default="0/1", help="k/n: the k-th of n equal shares of the work, from 0")
    options = parser.parse_args(arguments)
    work(options.part, options.sick, options.task, options.shard)
    return 0


if __name__ == "__main__":
    sys.exit(main())
