"""How often somebody is right about runs of known truth, with bootstrap intervals clustered by task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.clinic.causes import CAUSES
from benchmarks.clinic.interventions import Outcomes
from benchmarks.clinic.judged import Judged
from benchmarks.peers.base import Opinion, distinct
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.vocabulary import severity_rank

OURS = "**lossdoctor**"
BLIND = "lossdoctor, from the two losses alone"
# Faults of which loss, validation loss, gradient norm and learning rate can show enough; the rest show at best partly.
SHOW = frozenset(
    """
    lr_diverging lr_nan lr_oscillating lr_low decayed_early stopped_early no_warmup overfitting vanishing_gradients
    zero_init dead_init frozen_parameters exploding_rnn nan_in_data outliers unscaled_inputs unshuffled
    spike_unrecovered missing_step missing_zero_grad large_init exploding_init detached inf_in_data momentum_high
    clipping_low little_data capacity_large fp16_overflow
    """.split()
)
DRAWS = 2000


@dataclass
class Case:
    """One run, what is true of it, and what everybody says of it.

    Attributes:
        run: our judgement with the truth.
        outcomes: what each action leads to; None for healthy runs and where it has not been trained.
        opinions: name -> opinion, ours among them.
        blind: what we say of the two losses alone.
    """

    run: Judged
    outcomes: Outcomes | None = None
    opinions: dict[str, Opinion] = field(default_factory=dict)
    blind: Diagnosis | None = None

    @property
    def all_signals(self) -> bool:
        """Whether gradient norm and learning rate are logged beside the losses."""
        roles = self.run.diagnosis.history.roles.names
        return bool(roles.get("grad_norm") and roles.get("learning_rate"))

    @property
    def task(self) -> str:
        return str(self.run.truth["task"])

    @property
    def healthy(self) -> bool:
        return self.run.fault == "healthy"

    @property
    def treatable(self) -> bool:
        return self.outcomes is not None and self.outcomes.treatable

    @property
    def shows(self) -> bool:
        return self.run.fault in SHOW


def our_opinion(run: Judged) -> Opinion:
    """What lossdoctor says, in the form in which the peers say it.

    The score orders runs for the ROC: first by the severity of the worst finding, then by its confidence.
    """
    return opinion_of(run.diagnosis)


def opinion_of(diagnosis: Diagnosis) -> Opinion:
    """A diagnosis in the form in which the peers speak."""
    found = diagnosis.findings
    rank = max((severity_rank(f.severity) for f in found), default=-1)
    sure = max((f.confidence for f in found if severity_rank(f.severity) == rank), default=0.0)
    onset = next((f.onset_step for f in found if severity_rank(f.severity) >= 1), None)
    advice = distinct(a.action for f in found for a in f.actions)
    return Opinion(diagnosis.alarm, advice, onset, score=rank + 1.0 + sure, told=tuple(f.code for f in found))


@dataclass(frozen=True)
class Share:
    """Hits of a total with a 95 % interval."""

    hits: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else float("nan")

    def __str__(self) -> str:
        if not self.total:
            return "–"
        return f"{100 * self.value:.0f} % ({100 * self.low:.0f}–{100 * self.high:.0f})"


def clustered(cases: Iterable[Case], hit: Callable[[Case], bool], draws: int = DRAWS) -> Share:
    """The share of cases that are hits; the interval draws whole tasks, as runs of one task are alike.

    With fewer than three tasks there is nothing to draw from and the interval is 0 to 1.
    """
    counts: dict[str, list[int]] = {}
    for case in cases:
        both = counts.setdefault(case.task, [0, 0])
        both[0] += hit(case)
        both[1] += 1
    table = np.array(list(counts.values()), dtype=float).reshape(-1, 2)
    hits, total = (int(v) for v in table.sum(axis=0))
    if len(table) < 3:
        return Share(hits, total, 0.0, 1.0)
    drawn = np.random.default_rng(0).integers(len(table), size=(draws, len(table)))
    sums = table[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return Share(hits, total, float(low), float(high))


def first_right(case: Case, name: str) -> bool:
    """Whether the first advice helps."""
    return _right(case, case.opinions[name].advice[:1])


def three_right(case: Case, name: str) -> bool:
    """Whether one of the first three pieces of advice helps."""
    return _right(case, case.opinions[name].advice)


def harmful(case: Case, name: str) -> bool:
    """Whether the first advice makes the run worse."""
    advice = case.opinions[name].advice[:1]
    return case.outcomes is not None and any(case.outcomes.harmful(a) for a in advice)


def only_a_check(case: Case, name: str) -> bool:
    """Whether the first advice is to look somewhere, and not to change anything."""
    return any(a.startswith("check_") for a in case.opinions[name].advice[:1])


def cause_named(case: Case, diagnosis: Diagnosis | None, most: int = 1) -> bool:
    """Whether a right cause is among the likeliest ones of the finding to act on."""
    told = [c.name for f in (diagnosis.findings[:1] if diagnosis else ()) for c in f.causes[:most]]
    return bool(set(told) & set(CAUSES.get(case.run.fault, ())))


def _right(case: Case, advice: Sequence[str]) -> bool:
    return case.outcomes is not None and any(case.outcomes.right(a) for a in advice)


@dataclass(frozen=True)
class Scores:
    """Everything that the side-by-side table shows of one adviser.

    ``checks``: how often the first advice is to look somewhere, (right, all); it is counted in ``first`` too.
    """

    detected: Share
    detected_showing: Share
    false_alarms: Share
    first: Share
    first_showing: Share
    three: Share
    harm: Share
    checks: tuple[int, int]
    auc: float


def scores(cases: Sequence[Case], name: str) -> Scores:
    """How one adviser does: detection and advice on treatable runs, false alarms on healthy ones."""
    asked = [c for c in cases if name in c.opinions]
    good, ill = [c for c in asked if c.healthy], [c for c in asked if c.treatable]
    showing = [c for c in ill if c.shows]
    looking = [c for c in ill if only_a_check(c, name)]

    def alarm(case: Case) -> bool:
        return case.opinions[name].alarm

    return Scores(
        detected=clustered(ill, alarm),
        detected_showing=clustered(showing, alarm),
        false_alarms=clustered(good, alarm),
        first=clustered(ill, lambda c: first_right(c, name)),
        first_showing=clustered(showing, lambda c: first_right(c, name)),
        three=clustered(ill, lambda c: three_right(c, name)),
        harm=clustered(ill, lambda c: harmful(c, name)),
        checks=(sum(first_right(c, name) for c in looking), len(looking)),
        auc=auc([c.opinions[name].score for c in good], [c.opinions[name].score for c in ill]),
    )


def auc(good: Sequence[float], ill: Sequence[float]) -> float:
    """The chance that a sick run is scored above a healthy one, ties counted half.

    >>> auc([0.0, 0.5], [0.5, 1.0])
    0.875
    """
    if not good or not ill:
        return float("nan")
    g, i = np.asarray(good)[:, None], np.asarray(ill)[None]
    return float(((i > g) + 0.5 * (i == g)).mean())


def roc(good: Sequence[float], ill: Sequence[float], at: Sequence[float]) -> Mapping[float, float]:
    """Detection at given shares of false alarms: the best threshold that keeps to each.

    >>> roc([0.1, 0.2, 0.3, 0.9], [0.25, 0.95, 0.8], [0.0, 0.25])
    {0.0: 0.3333333333333333, 0.25: 0.6666666666666666}
    """
    g, i = np.sort(np.asarray(good, dtype=float)), np.asarray(ill, dtype=float)
    out: dict[float, float] = {}
    for share in at:
        allowed = int(share * len(g) + 1e-9)
        limit = g[len(g) - 1 - allowed] if allowed < len(g) else -np.inf
        out[share] = float((i > limit).mean()) if len(i) else float("nan")
    return out
