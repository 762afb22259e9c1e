"""The same runs as somebody who watches sees them: how long after its onset a fault is told, and how often falsely.

``python -m benchmarks.clinic.live`` streams the cached runs of the tuning parts through the live judge and its alarms,
a look at every further 32nd of the rows, and prints what was told of healthy and of sick runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.clinic import corpus
from benchmarks.clinic.judged import Judged, share
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import map_roles
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.live.judging.alarms import Alarms
from lossdoctor.live.judging.judge import LiveJudge
from lossdoctor.live.judging.pace import GROWTH, LEAST_ROWS
from lossdoctor.live.rows import Row

LOOKS = 40  # times that one looks at a run of full length, at equal distances

LOSSES = ("train_loss", "val_loss")


def prefix(history: TrainingHistory, step: int) -> TrainingHistory:
    """What a log holds when a step has been reached for the first time."""
    curves = {}
    for name, curve in history.curves.items():
        late = np.flatnonzero(curve.steps > step)
        end = int(late[0]) if len(late) else len(curve)
        if end:
            curves[name] = (curve.steps[:end], curve.values[:end])
    return TrainingHistory(curves, name=history.name, step_unit=history.step_unit, context=history.context)


def losses_only(history: TrainingHistory) -> TrainingHistory:
    """The same run by a logger that writes training and validation loss and nothing else."""
    roles = map_roles(history.curves)
    kept = {n for role in LOSSES for n in roles.names.get(role, ())}
    curves = {n: (c.steps, c.values) for n, c in history.curves.items() if n in kept}
    return TrainingHistory(curves, name=history.name, step_unit=history.step_unit)


def delay(run: Judged) -> float | None:
    """From the true onset to the first look at which a right finding is told, as a share of the run's length.

    None where the onset is not known, or no right finding is told at the end either.
    """
    onset = run.truth.get("onset_step")
    if onset is None or not run.right:
        return None
    length = max(1, run.last_step - run.first_step)
    wanted = set(run.truth["expected"])
    for look in range(1, LOOKS + 1):
        step = run.first_step + round(length * look / LOOKS)
        if step < onset:
            continue
        told = prefix(run.diagnosis.history, step).diagnose()
        if wanted & {f.code for f in told.findings}:
            return (step - int(onset)) / length
    return None


@dataclass(frozen=True)
class Watched:
    """A run as the live judge saw it.

    Attributes:
        truth: its row of the corpus's index.
        length: in steps.
        looks: how often it was judged.
        raw: (step, code) of every warning or critical finding of every verdict.
        told: (step, code) of what was announced while it ran; ``at_end`` of what was announced at its end only.
        stood: (step, code) of all that was announced and not withdrawn, after every verdict.
        changes: announcements, updates and withdrawals.
    """

    truth: dict[str, Any]
    length: int
    looks: int
    raw: tuple[tuple[int, str], ...]
    told: tuple[tuple[int, str], ...]
    at_end: tuple[tuple[int, str], ...]
    stood: tuple[tuple[int, str], ...]
    changes: int

    def late(self, said: tuple[tuple[int, str], ...]) -> float | None:
        """From the true onset to the first right finding said, as a share of the run's length; None where none was."""
        onset, wanted = int(self.truth["onset_step"]), set(self.truth["expected"])
        steps = [step for step, code in said if code in wanted and step >= onset]
        return (min(steps) - onset) / max(1, self.length) if steps else None


def watched(entry: dict[str, Any], twin: dict[str, Any] | None = None) -> Watched:
    """Stream one cached run through judge and alarms."""
    history = corpus.restored(entry).history
    judge, alarms = LiveJudge(context=history.context, step_unit=history.step_unit), Alarms()
    rows = [Row(int(r["step"]), {k: float(v) for k, v in r.items() if k != "step"}, 0.0) for r in entry["rows"]]
    raw, told, at_end, stood = [], [], [], []
    last = looks = changes = 0
    for count, row in enumerate(rows, start=1):
        judge.add(row)
        end = count == len(rows)
        if not end and count - last < max(LEAST_ROWS, GROWTH * count):
            continue
        last = count
        looks += 1
        diagnosis = judge.verdict()
        raw += [(row.step, f.code) for f in diagnosis.findings if severity_rank(f.severity) >= 1]
        verdict = alarms.judge(diagnosis, row.step)
        told += [(row.step, f.code) for f in verdict.announced]
        stood += [(row.step, f.code) for f in alarms.announced]
        changes += len(verdict.announced) + len(verdict.updated) + len(verdict.withdrawn)
        if end:
            final = alarms.judge(diagnosis, row.step, final=True)
            at_end = [(row.step, f.code) for f in final.announced]
    steps = [row.step for row in rows] or [0]
    truth = corpus.index_row(entry, twin)
    said = (tuple(raw), tuple(told), tuple(at_end), tuple(stood))
    return Watched(truth, max(steps) - min(steps), looks, *said, changes)


def tuning_runs() -> Iterator[Watched]:
    """All cached runs of the parts that thresholds may be tuned on, each once."""
    seen = set()
    for first in (0, corpus.MORE_FAULTS):
        healthy, sick = corpus.SIZES[first]
        pairs = [(corpus.healthy_config(i), None) for i in range(first, first + healthy)]
        drawn = (corpus.sick_config(i, ready=corpus.is_cached) for i in range(first, first + sick))
        for config, twin in [*pairs, *(pair for pair in drawn if pair is not None)]:
            if config.key() not in seen and corpus.is_cached(config):
                seen.add(config.key())
                yield watched(corpus.load(config), None if twin is None else corpus.load(twin))


def _spread(delays: list[float]) -> str:
    if not delays:
        return "none"
    middle, high = np.quantile(delays, [0.5, 0.9])
    return f"median {100 * middle:.1f} % of the run, 90 % within {100 * high:.1f} %"


def main() -> int:
    """Print what was told, and when."""
    runs = list(tuning_runs())
    healthy = [r for r in runs if r.truth["fault"] == "healthy" and r.truth["verified"]]
    sick = [r for r in runs if r.truth.get("expected_alarm") and r.truth["onset_step"] is not None]
    print(f"{len(healthy)} healthy runs, {len(sick)} with a fault of known onset that deserves an alarm")
    print(f"looks at a healthy run                     {np.mean([r.looks for r in healthy]):.0f} on average")
    print(f"healthy, a warning in any verdict          {share(sum(bool(r.raw) for r in healthy), len(healthy))}")
    print(f"healthy, told a warning while it ran       {share(sum(bool(r.told) for r in healthy), len(healthy))}")
    ended = sum(bool(r.told or r.at_end) for r in healthy)
    print(f"healthy, told a warning then or at its end {share(ended, len(healthy))}")
    print(f"most changes of what is told of one run    {max(r.changes for r in runs)}")
    codes = Counter(code for r in healthy for code in {c for _, c in r.told})
    print(f"told falsely                               {dict(codes.most_common())}")
    for name, told in (
        ("right alarm in a verdict", [r.late(r.raw) for r in sick]),
        ("right alarm told while it ran", [r.late(r.stood) for r in sick]),
        ("right alarm told then or at its end", [r.late((*r.stood, *r.at_end)) for r in sick]),
    ):
        found = [d for d in told if d is not None]
        print(f"{name:<42} {share(len(found), len(sick))}, {_spread(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
