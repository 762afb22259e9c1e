"""From a history to the cases that rules judge: the run as it survived, and each of its segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.finding import Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import LOSSES, RoleMap
from lossdoctor.core.segments import Segment
from lossdoctor.engine.surviving import surviving
from lossdoctor.rules.base import Case
from lossdoctor.rules.layers import edges
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.summary import summarize

# Roles that some rule reads; the other curves of a log (system metrics, hundreds of layers) are not summarised.
_JUDGED = (
    *("train_loss", "val_loss", "learning_rate", "grad_norm", "param_norm"),
    *("train_accuracy", "val_accuracy", "loss_scale", "epoch"),
)

Readings = Mapping[str, Reading]


@dataclass(frozen=True)
class Prepared:
    """A run's curves as rules read them: made from its history, or kept up to date while the run grows.

    Attributes:
        roles: the mapping for rules, where a sum stands in the place of its terms.
        segments: the stretches between restarts.
        whole: metric name -> the reading of what survived its restarts; curves without a point are left out.
        parts: the same for each segment; empty where there are fewer than two.
        epoch_averaged: whether the training loss is one value per epoch.
    """

    roles: RoleMap
    segments: Sequence[Segment]
    whole: Readings
    parts: Sequence[Readings]
    epoch_averaged: bool


def prepare(history: TrainingHistory) -> Prepared:
    """Read all of a history that rules look at."""
    roles = history.roles.judged()
    segments = history.segments
    curves = {name: surviving(history[name]) for name in judged_names(roles)}
    parts = range(len(segments)) if len(segments) > 1 else ()
    train, val = (curves.get(roles.primary(role) or "") for role in LOSSES)
    return Prepared(
        roles=roles,
        segments=segments,
        whole=_readings(curves),
        parts=[_readings({n: c.take(within(c.steps, segments, i)) for n, c in curves.items()}) for i in parts],
        epoch_averaged=epoch_averaged(
            history.step_unit,
            roles.comparable,
            None if train is None else len(train),
            None if val is None else len(val),
            lambda: len(np.unique(train.steps)) if train is not None else 0,
            lambda: train is not None and val is not None and np.array_equal(train.steps, val.steps),
        ),
    )


def build_cases(
    history: TrainingHistory,
    context: RunContext,
    measurements: Sequence[Measurement],
    options: Mapping[str, Mapping[str, float]],
    prepared: Prepared | None = None,
) -> tuple[Case, list[Case]]:
    """The case of the whole run (superseded points left out) and one per segment (the same one when there is one)."""
    known = prepared or prepare(history)
    segments = known.segments
    whole_span = Segment(segments[0].first_step, segments[-1].last_step) if segments else Segment(0, 0)

    def case(readings: Readings, segment: Segment, index: int) -> Case:
        return Case(
            readings=readings,
            roles=known.roles,
            context=context,
            segment=segment,
            segments=segments,
            index=index,
            step_unit=history.step_unit,
            measurements=measurements,
            options=options,
            notes=history.notes,
            events=history.events,
            epoch_averaged=known.epoch_averaged,
        )

    whole = case(known.whole, whole_span, 0)
    if not known.parts:
        return whole, [whole]
    return whole, [case(known.parts[i], s, i) for i, s in enumerate(segments)]


def judged_names(roles: RoleMap) -> list[str]:
    """The curves that some rule reads, the sums of terms among them."""
    names = [n for role in _JUDGED for n in roles.names.get(role, ())]
    losses = [n for n in roles.adversarial if "loss" in n.lower()]
    layers = edges(tuple(roles.names.get("layer_grad_norm", ())))
    return list(dict.fromkeys([*names, *layers, *roles.auxiliary, *losses]))


def within(steps: NDArray[np.int64], segments: Sequence[Segment], index: int) -> NDArray[np.bool_]:
    """Which steps lie between the start of a segment and the start of the next one."""
    keep = np.ones(len(steps), dtype=bool)
    if index > 0:
        keep &= steps >= segments[index].first_step
    if index + 1 < len(segments):
        keep &= steps < segments[index + 1].first_step
    return keep


def _readings(curves: Mapping[str, Curve]) -> dict[str, Reading]:
    return {n: Reading(summarize(c.steps, c.values)) for n, c in curves.items() if len(c)}


def epoch_averaged(
    step_unit: str,
    comparable: bool,
    train: int | None,
    val: int | None,
    distinct: Callable[[], int],
    same_steps: Callable[[], bool],
) -> bool:
    """Whether the training loss is one value per epoch: the log says so, or it comes with every evaluation.

    Args:
        step_unit: the unit of the log's steps.
        comparable: whether both losses measure the same quantity.
        train, val: number of points of the training and of the validation loss; None where there is none.
        distinct: how many different steps the training loss has.
        same_steps: whether both are logged at the same steps.
    """
    if step_unit == "epoch" and train is not None:  # many values within one epoch are no averages over it
        return distinct() > 0.9 * train
    if train is None or train != val or val < 4:
        return False
    return comparable and same_steps()
