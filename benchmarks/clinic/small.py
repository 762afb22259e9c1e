"""A clinic that is trained in a few minutes: five faults on each of the three quickest tasks.

For tests and for trying a change; it is drawn from the tuning half and no figure of it is quoted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.clinic import corpus, faults, interventions, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.judged import judge
from benchmarks.clinic.scoring import Case

TASKS = ("diabetes", "cancer", "friedman")
FAULTS = ("nan_in_data", "lr_diverging", "lr_low", "decayed_early", "missing_step")


def _healthy(task: str, seed: int) -> Config:
    spec = tasks.SPECS[task]
    rate = spec.lr["adam"]
    steps = spec.steps if task != "friedman" else 900
    return Config(
        task, seed=seed, lr=rate, batch_size=spec.batch_size, weight_decay=spec.weight_decay, schedule="cosine",
        steps=steps, val_every=steps // 40, log_grad_norm=True,
    )  # fmt: skip


def healthy() -> list[Config]:
    """The healthy runs: four seeds of each task."""
    return [_healthy(task, 900 + seed) for task in TASKS for seed in range(4)]


def sick() -> Iterator[tuple[Config, Config]]:
    """Each fault on each task, with its twin."""
    for task in TASKS:
        for i, name in enumerate(FAULTS):
            twin = _healthy(task, 900 + i % 4)
            fault = faults.get(name)
            if fault.fits(twin):
                yield fault.configure(twin, np.random.default_rng([i, 31])), twin


def train() -> None:
    """Train everything that is not cached; progress on stderr."""
    started = time.time()
    pairs = list(sick())
    for config in healthy():
        corpus.load(config)
    for count, pair in enumerate(pairs, start=1):
        corpus.load(pair[0])
        interventions.outcomes(*pair)
        took = time.time() - started
        print(f"small clinic: {count} of {len(pairs)} sick runs in {took:.0f} s", file=sys.stderr, flush=True)


def cases() -> list[Case]:
    """The judged cases; trains what is missing."""
    found = [Case(judge(corpus.load(config))) for config in healthy()]
    for config, twin in sick():
        case = Case(judge(corpus.load(config), corpus.load(twin)))
        case.outcomes = interventions.outcomes(config, twin)
        found.append(case)
    return found
