"""From a history to the cases that rules judge: the run as it survived, and each of its segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.finding import Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import RoleMap
from lossdoctor.core.segments import Segment, curve_pieces
from lossdoctor.rules.base import Case
from lossdoctor.rules.layers import edges
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.summary import summarize

# Roles that some rule reads; the other curves of a log (system metrics, hundreds of layers) are not summarised.
_JUDGED = (
    *("train_loss", "val_loss", "learning_rate", "grad_norm", "param_norm"),
    *("train_accuracy", "val_accuracy", "loss_scale", "epoch"),
)

_COPIES = 8  # most writers of one log whose rows are taken for copies


def build_cases(
    history: TrainingHistory,
    context: RunContext,
    measurements: Sequence[Measurement],
    options: Mapping[str, Mapping[str, float]],
) -> tuple[Case, list[Case]]:
    """The case of the whole run (superseded points left out) and one per segment (the same one when there is one)."""
    roles = history.roles.judged()
    segments = history.segments
    surviving = {name: _surviving(history[name]) for name in _judged_names(roles)}
    whole_span = Segment(segments[0].first_step, segments[-1].last_step) if segments else Segment(0, 0)

    averaged = _epoch_averaged(surviving, roles, history.step_unit)

    def case(curves: Mapping[str, Curve], segment: Segment, index: int) -> Case:
        readings = {n: Reading(summarize(c.steps, c.values)) for n, c in curves.items() if len(c)}
        return Case(
            readings=readings,
            roles=roles,
            context=context,
            segment=segment,
            segments=segments,
            index=index,
            step_unit=history.step_unit,
            measurements=measurements,
            options=options,
            notes=history.notes,
            events=history.events,
            epoch_averaged=averaged,
        )

    whole = case(surviving, whole_span, 0)
    if len(segments) < 2:
        return whole, [whole]
    return whole, [case(_cut(surviving, segments, i), s, i) for i, s in enumerate(segments)]


def _judged_names(roles: RoleMap) -> list[str]:
    names = [n for role in _JUDGED for n in roles.names.get(role, ())]
    losses = [n for n in roles.adversarial if "loss" in n.lower()]
    layers = edges(roles.names.get("layer_grad_norm", ()))
    return list(dict.fromkeys([*names, *layers, *roles.auxiliary, *losses]))


def _surviving(curve: Curve) -> Curve:
    """The curve in the order of its steps, without points that a later segment logged again or that repeat."""
    pieces = curve_pieces(curve)
    if len(pieces) == 1 and pieces[0][1] == 0:
        return _in_order(curve)
    out = _in_order(pieces[0][0])
    for piece, _ in pieces[1:]:
        out = out.joined(_in_order(piece))
    return out


def _in_order(curve: Curve) -> Curve:
    """Rows that several writers mixed up, in the order of their steps; the same row written again is left out."""
    gaps = np.diff(curve.steps)
    if len(gaps) == 0 or (gaps > 0).all():
        return curve
    if (gaps[:-1] < 0).any():  # a last row alone that goes back is a summary
        curve = curve.take(np.argsort(curve.steps, kind="stable"))
    same = (np.diff(curve.steps) == 0) & _equal(curve.values[1:], curve.values[:-1])
    if not same.any() or same.mean() > _COPIES / (_COPIES + 1):  # many rows of one step: a flat loss, per epoch
        return curve
    return curve.take(np.concatenate(([True], ~same)))


def _equal(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def _cut(curves: Mapping[str, Curve], segments: Sequence[Segment], index: int) -> dict[str, Curve]:
    """Each curve between the start of a segment and the start of the next one."""
    out = {}
    for name, curve in curves.items():
        keep = np.ones(len(curve), dtype=bool)
        if index > 0:
            keep &= curve.steps >= segments[index].first_step
        if index + 1 < len(segments):
            keep &= curve.steps < segments[index + 1].first_step
        out[name] = curve.take(keep)
    return out


def _epoch_averaged(curves: Mapping[str, Curve], roles: RoleMap, step_unit: str) -> bool:
    """Whether the training loss is one value per epoch: the log says so, or it comes with every evaluation."""
    train, val = (curves.get(roles.primary(role) or "") for role in ("train_loss", "val_loss"))
    if step_unit == "epoch" and train is not None:  # many values within one epoch are no averages over it
        return len(np.unique(train.steps)) > 0.9 * len(train)
    if train is None or val is None or len(train) != len(val) or len(val) < 4:
        return False
    return bool(np.array_equal(train.steps, val.steps)) and roles.comparable
