"""Whether a log shows a run from its beginning, and whether the run goes on from a trained checkpoint.

A continued run starts low and may stay level without being sick. Of a log that begins late, nobody knows how far the
loss had fallen before.
"""

from __future__ import annotations

import math

from lossdoctor.rules.base import Case
from lossdoctor.signal.reading import Reading

_MANY = 5  # classes from which a loss of half of ln K is not a matter of their shares


def is_continued(case: Case, reading: Reading, learned_accuracy: float) -> bool:
    """Whether the log shows a continued run: far better than guessing from the start, late epochs, or late steps.

    Args:
        case: what the rule sees.
        reading: the loss.
        learned_accuracy: first accuracy from which the model counts as trained, 0 to 1 (or percent in the log).
    """
    return _starts_accurate(case, learned_accuracy) or _starts_late(case, reading) or _starts_low(case, reading)


def begins_late(reading: Reading) -> bool:
    """Whether the first rows of the run are not in the log, so that its first value is not where training started.

    At least two logging intervals and a hundredth of the run are missing: less is how loggers begin.
    """
    first, last = reading.summary.first_step, reading.summary.last_step
    return first > 2 * max(_interval(reading), 1.0) and first > 0.01 * last


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
    return case.index == 0 and s.first_step > 20 * max(_interval(reading), 1) and s.first_step > 0.5 * s.last_step


def _starts_low(case: Case, reading: Reading) -> bool:
    """Whether the first loss is less than half of what guessing among the known classes gives.

    Unequal shares of the classes lower what guessing gives, but among many classes rarely by half.
    """
    classes = case.context.classes
    known = classes is not None and classes >= _MANY and reading.positive
    return known and reading.start.value < 0.5 * math.log(classes or 1)


def _interval(reading: Reading) -> float:
    """Mean distance of the logged steps."""
    s = reading.summary
    return (s.last_step - s.first_step) / max(s.n - 1, 1)
