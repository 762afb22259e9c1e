"""The same runs as somebody who watches sees them: how long after its onset a fault is told."""

from __future__ import annotations

import numpy as np

from benchmarks.clinic.judged import Judged
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import map_roles

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
