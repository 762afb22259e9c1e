"""Several runs in one log become several; a step axis that starts anew with every epoch becomes a global one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.segments import run_starts

# So many equal restarts are no reruns: nobody runs the same script to the same last step that often into one log.
MANY = 20
# Pieces of fewer points, when the log does not count epochs, are more often epochs than runs.
_SHORT = 8
Cuts = list[int]


def split_runs(history: TrainingHistory) -> list[TrainingHistory]:
    """The runs that a log holds, one history each; named ``path#1``, ``path#2``, … when there are several.

    A run begins where the steps of the primary loss (else of the longest curve) return to their first step. Where
    they do so with every epoch of one run, the steps are counted on instead, and a note says so.
    """
    reference = _reference(history)
    if reference is None or len(history[reference]) < 3:
        return [history]
    steps = history[reference].steps
    if not (np.diff(steps) < 0).any():
        return [history]
    resets = _regular_resets(steps)
    if resets and _is_one_run(history, reference, resets):
        return [_count_on(history, reference, resets)]
    starts = run_starts(history[reference])
    if len(starts) < 2:
        return [history]
    if _epochs_go_on(history, reference, starts):  # epochs of different lengths
        return [_count_on(history, reference, starts)]
    return _cut(history, reference, starts)


def _reference(history: TrainingHistory) -> str | None:
    primary = history.roles.primary("train_loss") or history.roles.primary("val_loss")
    curves = history.curves
    longest = max(curves, key=lambda n: len(curves[n]), default=None)
    if primary is not None and longest is not None and len(curves[primary]) * 20 < len(curves[longest]):
        return longest
    return primary or longest


# one axis that resets


def _regular_resets(steps: NDArray[np.int64]) -> Cuts:
    """Indices where pieces of one length and one first step begin (0 included); empty when they are not regular.

    The last piece may be shorter: the run was stopped, or the log is still growing.
    """
    starts = [0, *(np.flatnonzero(np.diff(steps) < 0) + 1).tolist()]
    lengths = np.diff([*starts, len(steps)])
    if len(starts) < 2 or lengths[0] < 2:
        return []
    whole = lengths[:-1]
    usual = np.median(whole)
    same_length = np.abs(whole - usual) <= 1
    same_start = steps[starts] == steps[starts[0]]
    if same_length.mean() < 0.9 or same_start.mean() < 0.9 or lengths[-1] > usual + 1:
        return []
    return starts


def _is_one_run(history: TrainingHistory, reference: str, starts: Cuts) -> bool:
    known = _epochs_go_on(history, reference, starts)
    if known is not None:
        return known
    on, over = _goes_on(history[reference].values, starts)
    short = starts[1] < _SHORT and history.step_unit != "epoch"
    return on or (not over and (short or len(starts) > MANY))


def _epochs_go_on(history: TrainingHistory, reference: str, starts: Cuts) -> bool | None:
    """Whether the logged epoch goes up wherever a piece begins; None when the log has no epoch to each row."""
    epochs = history.roles.primary("epoch")
    if epochs is None or len(history[epochs]) != len(history[reference]):
        return None
    return bool(np.all(np.diff(history[epochs].values[starts]) > 0))


def _goes_on(values: NDArray[np.float64], starts: Cuts) -> tuple[bool, bool]:
    """Whether the pieces go on from one another, and whether they start over.

    Each piece begins nearer to the end of the one before, or nearer to the level at which the first began; on a flat
    or noisy loss neither is clear.
    """
    ends = [*starts[1:], len(values)]
    width = max(1, (starts[1] - starts[0]) // 20)
    heads = np.array([np.median(values[s : min(s + width, e)]) for s, e in zip(starts, ends, strict=True)])
    tails = np.array([np.median(values[max(s, e - width) : e]) for s, e in zip(starts, ends, strict=True)])
    if not (np.isfinite(heads).all() and np.isfinite(tails).all()) or heads[0] == tails[0]:
        return False, False
    nearer = 0.5 if len(starts) > 2 else 0.15  # one restart alone must be clear: on a flat loss it is chance
    from_end, from_start = np.abs(heads[1:] - tails[:-1]), np.abs(heads[1:] - heads[0])
    on, over = from_end < nearer * from_start, from_start < nearer * from_end
    return bool(on.mean() >= 0.8), bool(over.mean() >= 0.8)


def _count_on(history: TrainingHistory, reference: str, starts: Cuts) -> TrainingHistory:
    steps = history[reference].steps
    stride = max(1, int(np.median(np.abs(np.diff(steps)))))
    ends = [*starts[1:], len(steps)]
    spans = [int(steps[s:e].max() - steps[s:e].min()) + stride for s, e in zip(starts, ends, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(spans[:-1])]).astype(np.int64)
    curves, left = {}, []
    for name, curve in history.curves.items():
        cuts = _matching_cuts(curve, history[reference], starts)
        if cuts is None:
            left.append(name)
            curves[name] = curve
            continue
        shift = np.repeat(offsets, np.diff([*cuts, len(curve)]))
        curves[name] = Curve(curve.steps + shift, curve.values, curve.times)
    note = f"the steps start anew {len(starts) - 1:,} times, after {starts[1]:,} points each: counted on as one axis"
    if left:
        note += f"; {', '.join(left[:5])} could not be placed on it and keeps its own steps"
    return _like(history, curves, "", [note])


# several runs


def _cut(history: TrainingHistory, reference: str, starts: Cuts) -> list[TrainingHistory]:
    parts: list[dict[str, Curve]] = [{} for _ in starts]
    unsure: list[str] = []
    for name, curve in history.curves.items():
        cuts = _matching_cuts(curve, history[reference], starts)
        if cuts is None:
            unsure.append(name)
            cuts = _fit_pieces(curve, history[reference], starts)
        for k, (begin, end) in enumerate(zip(cuts, [*cuts[1:], len(curve)], strict=True)):
            if end > begin:
                parts[k][name] = curve.take(slice(begin, end))
    notes = [f"the log holds {len(starts)} runs: its steps return to the start"]
    if unsure:
        notes.append(f"it is not sure to which of them the points of {', '.join(unsure[:5])} belong")
    return [_like(history, curves, f"#{k}", notes) for k, curves in enumerate(parts, 1)]


def _matching_cuts(curve: Curve, reference: Curve, starts: Cuts) -> Cuts | None:
    """Where to cut a curve so that it goes with the pieces of the reference; None when it is not clear."""
    wanted = len(starts)
    if len(curve) == len(reference) and np.array_equal(curve.steps, reference.steps):
        return starts
    if curve.times is not None and reference.times is not None:
        marks = reference.times[starts[1:]]
        if np.all(np.diff(curve.times) >= 0) and np.all(np.diff(marks) >= 0):
            return [0, *np.searchsorted(curve.times, marks, side="left").tolist()]
    own = run_starts(curve)
    if len(own) == wanted:
        return own
    for back in (np.diff(curve.steps) < 0, np.diff(curve.steps) <= 0):
        cuts = [0, *(np.flatnonzero(back) + 1).tolist()]
        if len(cuts) == wanted:
            return cuts
    low = int(curve.steps.min()) if len(curve) else 0
    cuts = [0, *(i for i in (np.flatnonzero(np.diff(curve.steps) < 0) + 1).tolist() if curve.steps[i] == low)]
    return cuts if len(cuts) == wanted else None


def _fit_pieces(curve: Curve, reference: Curve, starts: Cuts) -> Cuts:
    """Give each rising stretch of a curve to the first run, not before the last one used, that reaches as far."""
    reach = [int(reference.steps[s:e].max()) for s, e in zip(starts, [*starts[1:], len(reference)], strict=True)]
    bounds = [0, *(np.flatnonzero(np.diff(curve.steps) < 0) + 1).tolist(), len(curve)]
    cuts = [0] * len(starts)
    run = 0
    for k in range(len(bounds) - 1):
        top = int(curve.steps[bounds[k] : bounds[k + 1]].max())
        if k:
            run = min(run + 1, len(starts) - 1)
        while run < len(starts) - 1 and reach[run] < top:
            run += 1
        for later in range(run + 1, len(starts)):
            cuts[later] = bounds[k + 1]
        if k == 0:
            for later in range(1, run + 1):
                cuts[later] = 0
    return cuts


def _like(history: TrainingHistory, curves: dict[str, Curve], suffix: str, notes: list[str]) -> TrainingHistory:
    return TrainingHistory(
        curves,
        name=f"{history.name}{suffix}" if history.name else "",
        path=f"{history.path}{suffix}" if history.path else "",
        format=history.format,
        step_unit=history.step_unit,
        context=history.context,
        notes=[*history.notes, *notes],
        events=history.events,
    )
