"""When to stop, and which weights to keep: the statistical rule beside rules of patience, on the clinic's tasks.

Every run is trained to its end, and at each evaluation the loss on held-out data is noted, which no rule sees. A rule
then reads the evaluations one by one. Its *regret* is how much worse the weights that it keeps are than the best that
the run ever had, in percent of the best's held-out loss (of what it fell by where losses are negative); *saved* is the
share of the steps after its stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from benchmarks.clinic import draws, faults, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import loop_of
from benchmarks.peers.patience import stops
from lossdoctor.live.actions.improvement import Improvement

OVERFITTING = ("overfitting", "little_data", "label_noise", "capacity_large")
FEW = 10  # evaluations; with fewer no rule has anything to decide
LONGEST = 3500  # steps of a run that is trained here

# The evaluations of a run -> (index of the one whose weights are kept, index of the last one that is made).
Rule = Callable[[list[float]], tuple[int, int]]


@dataclass(frozen=True)
class Evaluated:
    """A run as a rule sees it (``seen``), and what is true of it at the same moments."""

    name: str
    sick: bool
    seen: list[float]
    true: list[float]

    def regret(self, kept: int) -> float:
        """Of the weights of one evaluation, in percent."""
        best = min(self.true)
        unit = best if best > 0 else max(self.true) - best
        return 100.0 * (self.true[kept] - best) / unit


def statistical(values: list[float]) -> tuple[int, int]:
    """The rule of :class:`lossdoctor.live.actions.EarlyStopping`, with its defaults."""
    curve, kept = Improvement(), 0
    for i, value in enumerate(values):
        judged = curve.add(value)
        kept = i if judged.best else kept
        if judged.stop:
            return kept, i
    return kept, len(values) - 1


def patient(patience: int) -> Rule:
    """Keras's and Lightning's rule, which restores the lowest evaluation at the end of a run too."""

    def rule(values: list[float]) -> tuple[int, int]:
        stop = stops(values, patience)
        return (stop.best, stop.at) if stop else (int(np.argmin(values)), len(values) - 1)

    return rule


RULES: dict[str, Rule] = {
    "statistical (ours)": statistical,
    "patience 3 (Lightning's default)": patient(3),
    "patience 5": patient(5),
    "patience 10 (as people set Keras)": patient(10),
    "none: the last weights": lambda values: (len(values) - 1, len(values) - 1),
}


def evaluated(config: Config) -> Evaluated:
    """Train a run and note what is true at each of its evaluations."""
    loop = loop_of(config)
    seen: list[float] = []
    true: list[float] = []
    note = loop._log

    def log(loss: float, norm: float, lr: float) -> None:
        before = len(loop.rows)
        note(loss, norm, lr)
        for row in loop.rows[before:]:
            if "val_loss" in row:
                seen.append(row["val_loss"])
                true.append(
                    loop.task.evaluate("test")
                )  # the held-out data of the clinic's truth holds the validation's too

    loop._log = log  # type: ignore[method-assign]
    loop._note_truth = lambda: None  # type: ignore[method-assign]
    loop.run()
    return Evaluated(f"{config.task}/{config.fault}", config.fault != "healthy", seen, true)


def configs(first: int, count: int) -> Iterator[Config]:
    """Healthy runs of a part of the clinic, and for each one that overfits: quick ones, from its first index on."""
    index, found = first, 0
    while found < count and index < first + draws.PARTS[first].healthy:
        config, index = draws.healthy_config(index), index + 1
        quick = tasks.SPECS[config.task].kind not in ("language", "adversarial") and config.end <= LONGEST
        if not quick or config.val_every < 0 or not 0 < config.val_every <= config.end // FEW:
            continue
        yield config
        sick = _overfitted(config, found, np.random.default_rng([index, 5]))
        if sick is not None:
            yield sick
        found += 1


def _overfitted(config: Config, turn: int, rng: Generator) -> Config | None:
    for name in (*OVERFITTING[turn % 4 :], *OVERFITTING[: turn % 4]):
        fault = faults.get(name)
        if fault.fits(config):
            return fault.configure(config, rng)
    return None


@dataclass(frozen=True)
class Score:
    """One rule over several runs; regrets in percent."""

    runs: int
    mean: float
    high: float
    over_five: float
    saved: float

    @classmethod
    def of(cls, rule: Rule, runs: list[Evaluated]) -> Score:
        """Apply a rule to runs."""
        decided = [(run, *rule(run.seen)) for run in runs]
        regrets = np.array([run.regret(kept) for run, kept, _ in decided])
        saved = np.array([1.0 - (last + 1) / len(run.seen) for run, _, last in decided])
        return cls(
            len(runs), float(regrets.mean()), float(np.quantile(regrets, 0.9)), float((regrets > 5).mean()),
            float(saved.mean()),
        )  # fmt: skip
