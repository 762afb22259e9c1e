"""Histories as the rows that a live run would have logged, and what offline and live say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live.judging.judge import LiveJudge
from lossdoctor.live.rows import Row

Told = dict[str, object]


def rows_of(history: TrainingHistory) -> list[Row]:
    """One point a row: by segment, then by step, each curve in its own order."""
    points = []
    for place, (name, curve) in enumerate(history.curves.items()):
        goes_back = np.concatenate(([0], np.cumsum(np.diff(curve.steps) < 0))) if len(curve) else []
        for i, segment in enumerate(goes_back):
            points.append((int(segment), int(curve.steps[i]), place, i, name, float(curve.values[i])))
    return [Row(step, {name: value}, 0.0) for _, step, _, _, name, value in sorted(points, key=lambda p: p[:2])]


def judge_of(history: TrainingHistory) -> LiveJudge:
    """A judge that knows of a run what its history says beside the curves."""
    judge = LiveJudge(context=history.context, step_unit=history.step_unit)
    judge.notes, judge.events = list(history.notes), list(history.events)
    return judge


def offline(judge: LiveJudge, rows: Iterable[Row]) -> TrainingHistory:
    """The history of the same rows, as a reader would make it."""
    history = TrainingHistory(
        step_unit=judge.step_unit, context=judge.context, notes=judge.notes, events=judge.events, name=judge.name
    )
    for row in rows:
        for name, value in row.values.items():
            history.add(name, row.step, value)
    return history


def told(diagnosis: Diagnosis) -> Told:
    """All that a diagnosis says, to the last bit; as text, in which NaN equals NaN."""
    parts = ("status", "basis", "findings", "abstained", "events", "notes", "internal_errors")
    return {**{p: repr(getattr(diagnosis, p)) for p in parts}, "as_dict": repr(diagnosis.as_dict())}


def compared(judge: LiveJudge, rows: list[Row], looks: Iterable[int]) -> Iterator[tuple[int, Told, Told]]:
    """After so many rows each: what the judge says and what a diagnosis of the same rows says."""
    reference, done = offline(judge, []), 0
    for look in sorted({*looks, len(rows)}):
        for row in rows[done:look]:
            judge.add(row)
            for name, value in row.values.items():
                reference.add(name, row.step, value)
        done = look
        yield look, told(judge.verdict()), told(reference.diagnose())
