"""What each action means on this very run: the factor, the norm, the step, in the run's own numbers if it has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lossdoctor.core.numbers import short
from lossdoctor.rules.base import Case
from lossdoctor.signal.reading import Reading

FIRST_STEPS = 0.02  # share of the run in which nobody has a checkpoint yet
CLIP_AT = 90  # percentile of the gradient norms at which to clip (Pascanu et al. 2013 clip near the usual norm)


def detail(action: str, case: Case) -> str:
    """The detail of an action on a run; empty for an action that needs none.

    >>> from lossdoctor.core.history import TrainingHistory
    >>> from lossdoctor.engine.cases import build_cases
    >>> history = TrainingHistory({"loss": ([1, 2], [1.0, 0.9]), "lr": ([1, 2], [0.01, 0.01])})
    >>> detail("reduce_learning_rate", build_cases(history, history.context, (), {})[0])
    'divide by 10: 0.01 to 0.001'
    """
    say = _DETAILS.get(action)
    return say(case) if say is not None else ""


def fits(action: str, case: Case) -> bool:
    """Whether an action can be taken: there is nothing to go back to where the loss was lowest at the start."""
    if action not in ("stop_early", "restore_checkpoint"):
        return True
    reading = _kept_by(case)
    return reading is not None and reading.fraction(reading.best_step) > FIRST_STEPS


def _kept_by(case: Case) -> Reading | None:
    """The curve by which one would choose a checkpoint."""
    reading = case.reading("val_loss") or case.reading("train_loss")
    return reading if reading is not None and len(reading) >= 2 else None


def _rate(case: Case) -> float | None:
    reading = case.reading("learning_rate")
    if reading is not None and len(reading) and reading.summary.max_value > 0:
        return float(reading.summary.max_value)
    return case.context.learning_rate


def _scaled(word: str, factor: float) -> Callable[[Case], str]:
    def say(case: Case) -> str:
        rate = _rate(case)
        return word if rate is None else f"{word}: {short(rate)} to {short(rate * factor)}"

    return say


def _decay(case: Case) -> str:
    rate = _rate(case)
    return "let it fall to a tenth or less by the end" + ("" if rate is None else f", from {short(rate)}")


def _warmup(case: Case) -> str:
    steps = case.segment.last_step - case.segment.first_step
    if case.step_unit == "step" and steps >= 20:
        return (
            f"raise the rate from near 0 over the first tenth to fifth of the run ({steps // 10} to {steps // 5} steps)"
        )
    return "raise the rate from near 0 over the first tenth to fifth of the run"


def _clip(case: Case) -> str:
    norms = case.reading("grad_norm")
    if norms is not None and len(norms) >= 10 and norms.n > 0:
        limit = float(np.percentile(norms.y, CLIP_AT))
        if limit > 0:
            return f"at a norm of {short(limit)}, the {CLIP_AT}th percentile of what was logged"
    return "at a norm of 1, or log grad_norm and take its 90th percentile"


def _batch(case: Case) -> str:
    size = case.context.batch_size
    known = "" if size is None else f": {size} to {4 * size}"
    return f"four times as large{known}; by gradient accumulation where memory forbids"


def _best(case: Case) -> str:
    reading = _kept_by(case)
    return "" if reading is None else f"{case.step_unit} {reading.best_step}"


def _stop(case: Case) -> str:
    best = _best(case)
    return f"keep the weights of {best}, where the loss is lowest" if best else ""


def _restore(case: Case) -> str:
    best = _best(case)
    return (
        f"go back to the checkpoint of {best}, and skip the batches after it if one of them did the harm"
        if best
        else ""
    )


def _longer(case: Case) -> str:
    planned = case.context.planned_steps or case.segment.last_step
    return (
        f"three times as long: {planned} to {3 * planned} {case.step_unit}s" if planned > 0 else "three times as long"
    )


def _optimizer(case: Case) -> str:
    known = (case.context.optimizer or "").lower()
    if "adam" in known:
        return "SGD with momentum 0.9 and a rate of 0.01, to see whether the adaptive steps are at fault"
    if "sgd" in known or "momentum" in known:
        return "AdamW at a rate of 0.001"
    return "AdamW at a rate of 0.001 in place of SGD; SGD with momentum 0.9 at 0.01 in place of Adam"


def _says(text: str) -> Callable[[Case], str]:
    return lambda _: text


_DETAILS: Mapping[str, Callable[[Case], str]] = {
    "reduce_learning_rate": _scaled("divide by 10", 0.1),
    "increase_learning_rate": _scaled("multiply by 10", 10.0),
    "decay_learning_rate": _decay,
    "change_schedule": _says("hold the rate over most of the budget, or spread its decay over all of it"),
    "add_warmup": _warmup,
    "change_optimizer": _optimizer,
    "adjust_momentum": _says("from 0.9 to 0.5"),
    "clip_gradients": _clip,
    "change_precision": _says("bfloat16 or float32 in place of float16"),
    "normalize_inputs": _says("each feature to mean 0 and spread 1, by the numbers of the training part"),
    "clean_data": _says("find and drop NaN, Inf, outliers and wrong labels"),
    "shuffle_data": _says("draw a new order in each epoch"),
    "check_data": _says("look at scale, outliers, NaN and labels of some batches"),
    "get_more_data": _says("more examples, or augmentation"),
    "increase_batch_size": _batch,
    "add_regularization": _says("dropout 0.3, or ten times the weight decay"),
    "reduce_regularization": _says("no dropout and no weight decay until the training loss falls"),
    "increase_capacity": _says("four times the width"),
    "reduce_capacity": _says("a quarter of the width"),
    "stop_early": _stop,
    "train_longer": _longer,
    "fix_initialization": _says(
        "He for ReLU, Xavier for tanh, no zeros: the outputs of each layer should have a spread near 1"
    ),
    "check_training_loop": _says("zero_grad, backward and step in each step; the optimizer holds all parameters"),
    "check_validation": _says("the same preprocessing as in training, evaluation mode, enough examples"),
    "restore_checkpoint": _restore,
    "change_loss": _says("Huber in place of squared error; cross-entropy on raw logits, without a softmax before it"),
}
