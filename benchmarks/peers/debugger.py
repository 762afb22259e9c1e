"""Four built-in rules of Amazon SageMaker Debugger, from their documentation (they run in its service only).

Documented defaults (docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html):

- LossNotDecreasing: ``num_steps=10``, ``diff_percent=0.1``, ``increase_threshold_percent=5``, ``mode=GLOBAL``.
  Evaluated every ``num_steps`` against the latest saved loss at least ``num_steps`` back.
- Overfit: ``start_step=0``, ``patience=1``, ``ratio_threshold=0.1``: (mean validation − mean training loss) / mean
  training loss.
- ExplodingTensor: any NaN or infinite value in a collected tensor (``only_nan=False``).
- VanishingGradient: mean absolute gradient below ``threshold=0.0000001``.

How we read what the documentation leaves open: a rise is excused up to ``increase_threshold_percent``, a fall of less
than ``diff_percent`` is not; percentages are of the earlier loss; the mean training loss is that since the last
evaluation; every logged loss counts as saved. Our logs hold the norm of all gradients and no mean, so VanishingGradient
is asked about the norm, which is larger. The documentation advises a remedy for Overfit only ("regularize your model");
the others are given the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.peers.base import Opinion, distinct, first_not_finite, merged, points
from lossdoctor.core.history import TrainingHistory

NUM_STEPS, DIFF_PERCENT, INCREASE_THRESHOLD_PERCENT = 10, 0.1, 5.0
PATIENCE, RATIO_THRESHOLD = 1, 0.1
VANISHING = 0.0000001

REMEDIES = {
    "ExplodingTensor": ("reduce_learning_rate", "clip_gradients", "check_data"),
    "VanishingGradient": ("fix_initialization", "increase_learning_rate"),
    "Overfit": ("add_regularization", "stop_early"),
    "LossNotDecreasing": ("reduce_learning_rate", "increase_learning_rate", "check_training_loop"),
}


def comparisons(steps: list[int], num_steps: int = NUM_STEPS) -> Iterator[tuple[int, int]]:
    """Which saved steps LossNotDecreasing compares, as indices (now, before).

    The documentation's example: saved every three steps, step 21 is compared with 9 and step 33 is the next.

    >>> saved = list(range(9, 40, 3))
    >>> [(saved[i], saved[j]) for i, j in comparisons(saved)]
    [(21, 9), (33, 21)]
    """
    if not steps:
        return
    last, before = steps[0], 0
    for now, step in enumerate(steps):
        if step - last < num_steps:
            continue
        while before + 1 < now and steps[before + 1] <= step - num_steps:
            before += 1
        yield now, before
        last = step


def not_decreasing(steps: list[int], losses: list[float]) -> int | None:
    """The first step at which LossNotDecreasing fires, or None."""
    for now, before in comparisons(steps):
        fall = 100.0 * (losses[before] - losses[now]) / abs(losses[before]) if losses[before] else 0.0
        if math.isfinite(fall) and (0.0 <= fall < DIFF_PERCENT or fall < -INCREASE_THRESHOLD_PERCENT):
            return steps[now]
    return None


def overfit(history: TrainingHistory) -> int | None:
    """The first step at which Overfit fires, or None."""
    since: list[float] = []
    mean, over = math.nan, 0
    for step, row in merged(history, "train_loss", "val_loss"):
        if "train_loss" in row:
            since.append(row["train_loss"])
        if "val_loss" not in row:
            continue
        if since:
            mean = sum(since) / len(since)
            since = []
        ratio = (row["val_loss"] - mean) / mean if mean else math.nan
        over = over + 1 if ratio > RATIO_THRESHOLD else 0
        if over >= PATIENCE:
            return step
    return None


def vanishing(steps: list[int], norms: list[float]) -> int | None:
    """The first step at which the gradient norm lies below the threshold, or None."""
    return next((s for s, v in zip(steps, norms, strict=True) if v < VANISHING), None)


def ask(history: TrainingHistory) -> Opinion:
    """Any rule that fires is an alarm; advice in the order NaN, gradients, overfitting, loss."""
    bad = [first_not_finite(*points(history, role)) for role in ("train_loss", "val_loss", "grad_norm")]
    fired = {
        "ExplodingTensor": min((b for b in bad if b is not None), default=None),
        "VanishingGradient": vanishing(*points(history, "grad_norm")),
        "Overfit": overfit(history),
        "LossNotDecreasing": not_decreasing(*points(history, "train_loss")),
    }
    told = tuple(name for name, at in fired.items() if at is not None)
    onset = fired[told[0]] if told else None
    return Opinion(bool(told), distinct(a for name in told for a in REMEDIES[name]), onset, told=told)
