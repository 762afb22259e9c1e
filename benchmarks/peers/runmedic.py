"""runmedic 0.1.1 (from the package index, MIT, no dependencies): its own code on the same curves.

Its findings carry fixes in words; each fix is read as the action that it describes, in its order. A finding of severity
``warning`` or ``critical`` is an alarm.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.peers.base import Opinion, distinct, points
from lossdoctor.core.history import TrainingHistory

# Our roles under names that runmedic knows.
NAMES = {"train_loss": "train/loss", "val_loss": "val/loss", "learning_rate": "lr", "grad_norm": "grad_norm"}

# What a fix describes, the first match counts: runmedic's words -> our action.
WORDS = (
    ("restore_checkpoint", r"resume from|keep the checkpoint"),
    ("clip_gradients", r"clip gradients"),
    ("change_precision", r"bf16|gradscaler"),
    ("check_data", r"check a batch|sample ids|inspect the batch|look at the batches|duplicates between|labels"),
    ("clean_data", r"filter them|per-sample loss"),
    ("shuffle_data", r"shuffles"),
    ("change_loss", r"numerically stable"),
    ("increase_learning_rate", r"10x higher learning rate"),
    ("reduce_learning_rate", r"lower the peak|lower peak"),
    ("add_warmup", r"warmup"),
    ("decay_learning_rate", r"decaying schedule|check the scheduler"),
    ("add_regularization", r"add regularization"),
    ("get_more_data", r"more data|smaller model"),
    ("stop_early", r"stop earlier|early stopping"),
    ("check_training_loop", r"overfit a single batch|requires_grad|zero_grad|detect_anomaly"),
    ("check_validation", r"model\.eval"),
)


def action_of(fix: str) -> str | None:
    """The action that a fix describes, or None.

    >>> action_of("Clip gradients: `torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)`")
    'clip_gradients'
    """
    text = fix.lower()
    return next((action for action, words in WORDS if re.search(words, text)), None)


def findings(history: TrainingHistory) -> list[Any]:
    """What runmedic finds; raises ImportError when it is not installed."""
    checks, model, roles = (import_module(f"runmedic.{name}") for name in ("checks", "model", "roles"))
    run = model.Run(history.name, "lossdoctor", "")
    for role, name in NAMES.items():
        for step, value in zip(*points(history, role), strict=True):
            run.get(name).add(step, value)
    run.finalize()
    return list(checks.run_checks(run, roles.detect(run)))


def ask(history: TrainingHistory) -> Opinion:
    """Its verdict and its fixes."""
    found = findings(history)
    loud = [f for f in found if f.severity in ("critical", "warning")]
    actions = (action_of(fix) for f in found for fix in f.fixes)
    onset = next((int(f.step) for f in loud if f.step is not None), None)
    return Opinion(bool(loud), distinct(a for a in actions if a), onset, told=tuple(f.check for f in found))


def available() -> bool:
    """Whether runmedic is installed."""
    return find_spec("runmedic") is not None
