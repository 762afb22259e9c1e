"""Runs of the tuning half as rows to learn from: their vital signs, what the rules say, and what is true of them.

Every run is taken as its logger wrote it, with every signal logged, the same without any context, and with the two
losses alone, so that nothing is learned about loggers. The held-out halves are never read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.clinic import corpus, interventions
from benchmarks.clinic.causes import CAUSES
from benchmarks.clinic.config import Config
from benchmarks.clinic.interventions import Outcomes
from benchmarks.clinic.live import losses_only
from lossdoctor.core.context import RunContext
from lossdoctor.core.finding import Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.engine.inputs import inputs_of
from lossdoctor.engine.judge import examine

PARTS = (0, corpus.MORE_FAULTS, corpus.MORE_TASKS)  # of the corpus that may be learned from
VARIANTS = ("as logged", "all signals", "all signals, no context", "losses alone")


@dataclass(frozen=True)
class Row:
    """One run by one logger.

    Attributes:
        key, task, fault, variant: which run, and how it was logged.
        inputs: what the forests are asked with.
        findings: what the rules say, before anything learned has a word.
        sick: a fault did visible harm; ``treatable`` where some action helps by a third (None: not trained yet).
        right, harmful: actions that were right or harmful; None where they have not all been trained.
        causes: the right causes.
        expected: codes that are true of the run.
    """

    key: str
    task: str
    fault: str
    variant: str
    inputs: dict[str, float]
    findings: tuple[Finding, ...]
    sick: bool
    treatable: bool | None = None
    right: frozenset[str] | None = None
    harmful: frozenset[str] | None = None
    causes: tuple[str, ...] = ()
    expected: frozenset[str] = field(default_factory=frozenset)

    @property
    def healthy(self) -> bool:
        return self.fault == "healthy"


def without_context(history: TrainingHistory) -> TrainingHistory:
    """The same curves, and nothing known about them."""
    curves = {n: (c.steps, c.values) for n, c in history.curves.items()}
    return TrainingHistory(curves, name=history.name, step_unit=history.step_unit, context=RunContext())


def _histories(config: Config) -> Iterator[tuple[str, TrainingHistory]]:
    drawn = corpus.restored(corpus.load(config)).history
    yield VARIANTS[0], drawn
    if corpus.is_cached(corpus.fully_logged(config)):
        full = corpus.restored(corpus.load(corpus.fully_logged(config))).history
        yield VARIANTS[1], full
        yield VARIANTS[2], without_context(full)
    yield VARIANTS[3], losses_only(drawn)


def rows(parts: Sequence[int] = PARTS) -> Iterator[Row]:
    """All rows of the cached runs of some parts of the tuning half, healthy ones first.

    Raises:
        ValueError: a part is held out.
    """
    if held := set(parts) & set(corpus.HELD_OUT_PARTS):
        raise ValueError(f"nothing may be learned from the held-out part {min(held)}")
    for first in parts:
        for i in range(corpus.SIZES[first][0]):
            config = corpus.healthy_config(first + i)
            if corpus.is_cached(config) and not corpus.load(config)["truth"]["flaw"]:
                for variant, history in _histories(config):
                    yield _row(config, variant, history, corpus.index_row(corpus.load(config)), None)
    for first in parts:
        for config, twin in interventions.pairs(first):
            found = interventions.outcomes(config, twin, train=False)
            truth = corpus.index_row(corpus.load(config), corpus.load(twin))
            for variant, history in _histories(config):
                yield _row(config, variant, history, truth, None if found.missing else found)


def _row(
    config: Config, variant: str, history: TrainingHistory, truth: dict[str, object], found: Outcomes | None
) -> Row:
    case, findings = examine(history)
    healthy = config.fault == "healthy"
    return Row(
        key=config.key(),
        task=config.task,
        fault=config.fault,
        variant=variant,
        inputs={k: v for k, v in inputs_of(case, findings).items() if not math.isnan(v)},
        findings=findings,
        sick=not healthy and bool(truth.get("visible")),
        treatable=None if found is None else found.treatable,
        right=None if found is None else frozenset(a for a in found.final if found.right(a)),
        harmful=None if found is None else frozenset(a for a in found.final if found.harmful(a)),
        causes=() if healthy else CAUSES[config.fault],
        expected=frozenset(truth.get("expected", ())),  # type: ignore[call-overload]
    )
