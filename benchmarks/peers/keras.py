"""Keras's ``EarlyStopping`` and ``TerminateOnNaN`` as an adviser.

Defaults of Keras 3: ``EarlyStopping(monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto",
baseline=None, restore_best_weights=False, start_from_epoch=0)``; ``TerminateOnNaN()`` ends a training at the first
batch whose loss is NaN or infinite. With patience 0 the first evaluation that is not better ends the training; people
set 5 to 10, so a second peer has 10. Where it ends a training it gives advice: to stop there, or, on NaN, what its
users do.
"""

from __future__ import annotations

from benchmarks.peers.base import Opinion, first_not_finite, points
from benchmarks.peers.patience import stops
from lossdoctor.core.history import TrainingHistory

PATIENCE = 0
USUAL_PATIENCE = 10


def ask(history: TrainingHistory) -> Opinion:
    """The callbacks with their defaults."""
    return opinion(history, PATIENCE)


def ask_patiently(history: TrainingHistory) -> Opinion:
    """The callbacks with a patience of 10."""
    return opinion(history, USUAL_PATIENCE)


def opinion(history: TrainingHistory, patience: int) -> Opinion:
    """An alarm where either callback would have ended the run."""
    bad = first_not_finite(*points(history, "train_loss"))
    steps, values = points(history, "val_loss")
    stop = stops(values, patience, spares_first=True)
    if bad is not None and (stop is None or bad <= steps[stop.at]):
        return Opinion(True, ("reduce_learning_rate", "clip_gradients", "check_data"), bad, told=("TerminateOnNaN",))
    if stop is None:
        return Opinion(False)
    return Opinion(True, ("stop_early",), steps[stop.best], told=("EarlyStopping",))
