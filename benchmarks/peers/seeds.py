"""The rules of the texts that lossdoctor grew from, exactly as they are written there (``TrainingHistory.diagnose``).

Kept as they are, with their faults: the plateau rule divides by a mean that may be negative, and the overfitting rule
cuts the training losses at quarters of the *validation* count.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.base import Opinion, distinct, points
from lossdoctor.core.history import TrainingHistory

RECOMMENDED = {
    "LOSS_EXPLOSION": ("reduce_learning_rate", "clip_gradients"),  # "by 10x", "Add gradient clipping"
    "LOSS_PLATEAU": ("increase_learning_rate", "increase_capacity"),  # "Check model capacity"
    "OVERFITTING": ("add_regularization", "stop_early"),  # "Add dropout", "Use early stopping"
}


def explosion(loss: list[float]) -> bool:
    """NaN or infinite among the last five losses."""
    return len(loss) >= 5 and any(np.isnan(v) or np.isinf(v) for v in loss[-5:])


def plateau(loss: list[float], window: int = 50, threshold: float = 0.001) -> bool:
    """The last 50 losses lie within a thousandth of their mean."""
    if len(loss) < window * 2:
        return False
    recent = loss[-window:]
    with np.errstate(all="ignore"):
        return bool((max(recent) - min(recent)) / np.mean(recent) < threshold)


def overfitting(loss: list[float], val_loss: list[float]) -> bool:
    """The last quarter of validation lies above its first, while the losses at those places fell."""
    if len(val_loss) < 20:
        return False
    n = len(val_loss)
    with np.errstate(all="ignore"):
        early_val, late_val = np.mean(val_loss[: n // 4]), np.mean(val_loss[-n // 4 :])
        early_train, late_train = np.mean(loss[: n // 4]), np.mean(loss[-n // 4 :])
    return bool(late_train < early_train and late_val > early_val)


def issues(loss: list[float], val_loss: list[float]) -> list[str]:
    """The issues in the order in which the texts look for them."""
    found = [
        ("LOSS_EXPLOSION", explosion(loss)),
        ("LOSS_PLATEAU", plateau(loss)),
        ("OVERFITTING", overfitting(loss, val_loss)),
    ]
    return [name for name, there in found if there]


def ask(history: TrainingHistory) -> Opinion:
    """Any issue is an alarm; the advice is what goes with the issues."""
    told = issues(points(history, "train_loss")[1], points(history, "val_loss")[1])
    return Opinion(bool(told), distinct(a for name in told for a in RECOMMENDED[name]), told=tuple(told))
