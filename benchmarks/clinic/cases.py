"""A part of the corpus as cases: judged by us and by the peers, scored by what each remedy led to."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

from benchmarks.clinic import corpus, interventions
from benchmarks.clinic.config import Config
from benchmarks.clinic.judged import judge
from benchmarks.clinic.live import losses_only
from benchmarks.clinic.scoring import BLIND, OURS, Case, opinion_of, our_opinion
from benchmarks.peers import PEERS, runmedic
from benchmarks.peers.trees import Example, Trees

TREES = "a tree ensemble on curve features, task unseen"


def of_part(first: int, limits: tuple[int, int] | None = None) -> list[Case]:
    """All cached healthy runs of a part, then its cached sick runs; remedies only where all of them are trained."""
    healthy, sick = limits or corpus.SIZES[first]
    found: list[Case] = []
    for i in range(healthy):
        config = corpus.healthy_config(first + i)
        if corpus.is_cached(config):
            found.append(Case(judge(corpus.load(config))))
    for config, twin in _sick(first, sick):
        case = Case(judge(corpus.load(config), corpus.load(twin)))
        outcomes = interventions.outcomes(config, twin, train=False)
        case.outcomes = None if outcomes.missing else outcomes
        found.append(case)
    return found


def _sick(first: int, count: int) -> Iterator[tuple[Config, Config]]:
    for i in range(count):
        drawn = corpus.sick_config(first + i, ready=corpus.is_cached)
        if drawn is not None and corpus.is_cached(drawn[0]):
            yield drawn


def examples(cases: list[Case]) -> list[Example]:
    """What the tree ensemble is fitted on: healthy and treatable runs."""
    fit = [c for c in cases if (c.healthy and c.run.truth["verified"]) or c.treatable]
    return [
        Example(c.run.diagnosis.history, c.task, not c.healthy, c.outcomes.rightful if c.outcomes else None)
        for c in fit
    ]


def ask_all(cases: list[Case], trees: Trees | None) -> None:
    """Let everybody speak about every case."""
    for case in cases:
        history = case.run.diagnosis.history
        case.opinions[OURS] = our_opinion(case.run)
        case.blind = losses_only(history).diagnose()
        case.opinions[BLIND] = opinion_of(case.blind)
        for name, ask in PEERS.items():
            if ask is runmedic.ask and not runmedic.available():
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peers divide by zero and take logarithms of nothing
                case.opinions[name] = ask(history)
        told = trees.ask(history, case.task) if trees is not None else None
        if told is not None:
            case.opinions[TREES] = told
    if not runmedic.available():
        print("runmedic is not installed and is left out: pip install runmedic==0.1.1", file=sys.stderr)
