"""Lightning's ``EarlyStopping`` as an adviser.

Defaults of Lightning 2: ``EarlyStopping(monitor, min_delta=0.0, patience=3, mode="min", strict=True,
check_finite=True, stopping_threshold=None, divergence_threshold=None)``, here with ``monitor="val_loss"``. It stops
when the monitored value is NaN or infinite, or after three evaluations without an improvement.
"""

from __future__ import annotations

from benchmarks.peers.base import Opinion, first_not_finite, points
from benchmarks.peers.patience import stops
from lossdoctor.core.history import TrainingHistory

PATIENCE = 3


def ask(history: TrainingHistory) -> Opinion:
    """An alarm where the callback would have ended the run."""
    steps, values = points(history, "val_loss")
    bad = first_not_finite(steps, values)
    stop = stops(values, PATIENCE)
    if bad is not None and (stop is None or bad <= steps[stop.at]):
        return Opinion(True, ("reduce_learning_rate", "clip_gradients", "check_data"), bad, told=("check_finite",))
    if stop is None:
        return Opinion(False)
    return Opinion(True, ("stop_early",), steps[stop.best], told=("patience",))
