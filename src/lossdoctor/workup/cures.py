"""What to do about each cause, the most exact remedy first, with the details that this run gives."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action
from lossdoctor.core.vocabulary import ACTIONS, CAUSES
from lossdoctor.engine.details import detail, fits
from lossdoctor.engine.judge import examine

# Checks stand first where the cause is a mistake that only the user can mend.
CURES: dict[str, tuple[str, ...]] = {
    "learning-rate-too-high": ("reduce_learning_rate", "clip_gradients", "decay_learning_rate"),
    "learning-rate-too-low": ("increase_learning_rate", "train_longer", "change_optimizer"),
    "no-warmup": ("add_warmup", "reduce_learning_rate"),
    "learning-rate-decayed-early": ("change_schedule", "train_longer"),
    "no-decay": ("decay_learning_rate",),
    "gradients-explode": ("clip_gradients", "reduce_learning_rate", "fix_initialization"),
    "gradients-vanish": ("fix_initialization", "change_optimizer", "reduce_capacity"),
    "bad-initialization": ("fix_initialization", "add_warmup"),
    "dead-units": ("fix_initialization", "reduce_learning_rate"),
    "frozen-or-detached": ("check_training_loop",),
    "training-loop-bug": ("check_training_loop",),
    "loss-misused": ("change_loss", "check_training_loop"),
    "precision-overflow": ("change_precision", "clip_gradients"),
    "bad-batch": ("clean_data", "restore_checkpoint", "clip_gradients"),
    "bad-data": ("clean_data", "check_data"),
    "inputs-unscaled": ("normalize_inputs",),
    "outliers": ("clean_data", "clip_gradients", "change_loss"),
    "label-noise": ("clean_data", "add_regularization", "stop_early"),
    "labels-uninformative": ("check_data", "clean_data"),
    "data-unshuffled": ("shuffle_data",),
    "data-leak": ("check_validation", "clean_data"),
    "too-little-data": ("get_more_data", "add_regularization", "stop_early"),
    "capacity-exceeds-data": ("add_regularization", "get_more_data", "stop_early", "reduce_capacity"),
    "capacity-too-small": ("increase_capacity",),
    "over-regularized": ("reduce_regularization",),
    "batch-too-small": ("increase_batch_size", "reduce_learning_rate"),
    "momentum-too-high": ("adjust_momentum", "reduce_learning_rate"),
    "clipping-too-tight": ("clip_gradients", "increase_learning_rate"),
    "validation-differs": ("check_validation",),
    "validation-too-small": ("check_validation", "get_more_data"),
    "eval-mode-mismatch": ("check_validation", "check_training_loop"),
    "state-lost-on-resume": ("check_training_loop",),
    "budget-too-short": ("train_longer",),
    "schedule-restart": ("check_training_loop", "change_schedule"),
    "saddle-or-plateau": ("increase_learning_rate", "change_optimizer"),
    "normal": ("none",),
}
# Where the general detail of an action would be wrong for the cause.
SAYS = {
    ("clipping-too-tight", "clip_gradients"): "at a limit ten times as high: it cuts most of the steps",
    ("frozen-or-detached", "check_training_loop"): "every parameter must get a gradient: look for requires_grad=False, "
    "detach(), no_grad(), and parameters that the optimizer does not hold",
    ("state-lost-on-resume", "check_training_loop"): "save and load the optimizer, the scheduler, the scaler and the"
    " sampler beside the model",
    ("schedule-restart", "check_training_loop"): "save and load the scheduler, or give it last_epoch",
    ("eval-mode-mismatch", "check_training_loop"): "model.eval() before each evaluation, model.train() after it",
}  # fmt: skip
if set(CURES) != set(CAUSES) or not {a for actions in CURES.values() for a in actions} <= set(ACTIONS):
    raise AssertionError("every cause of the vocabulary has its actions")


def actions_for(cause: str, diagnosis: Diagnosis) -> tuple[Action, ...]:
    """The actions against a cause, with their details on this run, and the chance to help where the diagnosis knew it.

    >>> from lossdoctor.core.history import TrainingHistory
    >>> healthy = TrainingHistory({"loss": ([1, 2], [1.0, 0.9]), "lr": ([1, 2], [0.01, 0.01])}).diagnose()
    >>> [(a.action, a.detail) for a in actions_for("learning-rate-too-high", healthy)][0]
    ('reduce_learning_rate', 'divide by 10: 0.01 to 0.001')
    """
    case, _ = examine(diagnosis.history)
    known = {a.action: a for f in reversed(diagnosis.findings) for a in f.actions}
    made = []
    for name in CURES[cause]:
        if name != "none" and not fits(name, case):
            continue
        said = SAYS.get((cause, name))
        action = known.get(name) or Action(name, detail(name, case))
        made.append(action if said is None else replace(action, detail=said))
    return tuple(made)
