"""Whether a run goes on from a trained checkpoint: it then starts low and may stay level without being sick."""

from __future__ import annotations

from lossdoctor.rules.base import Case
from lossdoctor.signal.reading import Reading


def is_continued(case: Case, reading: Reading, learned_accuracy: float) -> bool:
    """Whether the log shows a continued run: high accuracy from the start, late epochs, or steps that start late.

    Args:
        case: what the rule sees.
        reading: the loss.
        learned_accuracy: first accuracy from which the model counts as trained, 0 to 1 (or percent in the log).
    """
    return _starts_accurate(case, learned_accuracy) or _starts_late(case, reading)


def _starts_accurate(case: Case, learned: float) -> bool:
    for role in ("val_accuracy", "train_accuracy"):
        accuracy = case.reading(role)
        if accuracy is None or not len(accuracy):
            continue
        first = float(accuracy.y[0])
        if (first / 100 if first > 1.5 else first) >= learned:
            return True
    return False


def _starts_late(case: Case, reading: Reading) -> bool:
    epochs = case.reading("epoch")
    if epochs is not None and len(epochs) and epochs.y[0] >= 1 and epochs.y[0] > 0.5 * epochs.y[-1]:
        return True
    s = reading.summary
    interval = (s.last_step - s.first_step) / max(s.n - 1, 1)
    return case.index == 0 and s.first_step > 20 * max(interval, 1) and s.first_step > 0.5 * s.last_step
