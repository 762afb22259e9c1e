"""All that decides a run: the same configuration gives the same curves."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

# Part of every hash: raise it when a change of the clinic's code changes the curves.
VERSION = 1

SCHEDULES = ("constant", "warmup", "step", "cosine", "warmup_cosine", "linear", "restarts")


@dataclass(frozen=True)
class Config:
    """One run. Steps are optimizer steps; shares are of ``steps``.

    Attributes:
        task, seed: what is trained (see :func:`benchmarks.clinic.tasks.make`).
        fault, params: the fault injected and its numbers; ``"healthy"`` for none.
        optimizer, lr, momentum, weight_decay, clip_norm: of the optimizer; ``lr`` is the peak.
        schedule, warmup: of the learning rate; ``warmup`` is a share, used by the schedules that have one.
        steps: the planned budget, over which the schedule runs; ``stop`` where the run really ends, if earlier.
        batch_size, train_share: of the data.
        width, depth, dropout, activation, cell: changes of the model; None keeps the task's own.
        log_every: steps between logged training losses; 0 logs at the end of each epoch.
        log_mean: log the mean since the last logging instead of the latest batch's loss.
        val_every: steps between evaluations; 0 evaluates after each epoch, -1 never.
        val_size: examples of the validation part that are used; None for all.
        axis: ``"step"`` or, for logs written once per epoch, ``"epoch"``.
        log_lr, log_grad_norm, log_accuracy: what else is logged.
        pretrain: unlogged steps before the run: a fine-tuning that starts low.
        variant: a word for a kind of healthy run (``"tiny_val"``, ``"finetune"``, …).
        remedy: an action of the catalogue that is tried on the run (:mod:`benchmarks.clinic.remedies`); empty for none.
    """

    task: str
    seed: int = 0
    fault: str = "healthy"
    params: tuple[tuple[str, float], ...] = ()
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float | None = None
    schedule: str = "constant"
    warmup: float = 0.05
    steps: int = 1000
    stop: int | None = None
    batch_size: int = 64
    train_share: float = 1.0
    width: int | None = None
    depth: int | None = None
    dropout: float | None = None
    activation: str | None = None
    cell: str | None = None
    log_every: int = 1
    log_mean: bool = False
    val_every: int = 0
    val_size: int | None = None
    axis: str = "step"
    log_lr: bool = True
    log_grad_norm: bool = False
    log_accuracy: bool = False
    pretrain: int = 0
    variant: str = ""
    remedy: str = ""

    @property
    def end(self) -> int:
        """The last step that is run."""
        return self.steps if self.stop is None else min(self.steps, self.stop)

    def param(self, name: str) -> float:
        """A number of the fault; raises KeyError when the fault did not set it."""
        return dict(self.params)[name]

    def change(self, **changes: Any) -> Config:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def with_fault(self, name: str, changes: dict[str, Any] | None = None, **params: float) -> Config:
        """A copy with a fault, its numbers and the fields that it changes."""
        return replace(self, fault=name, params=tuple(sorted(params.items())), **(changes or {}))

    def key(self) -> str:
        """A short hash of all fields and of the clinic's version: the name of the run in the cache."""
        fields = {"version": VERSION, **asdict(self)}
        if not self.remedy:
            del fields["remedy"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def shape(self) -> dict[str, Any]:
        """The changes of the model that are set."""
        fields = ("width", "depth", "dropout", "activation", "cell")
        return {f: getattr(self, f) for f in fields if getattr(self, f) is not None}


def learning_rate_at(config: Config, step: int) -> float:
    """The learning rate of the update at a step, counted from 1.

    >>> c = Config("digits_mlp", lr=1.0, schedule="step", steps=100)
    >>> [round(learning_rate_at(c, s), 3) for s in (1, 50, 51, 76)]
    [1.0, 1.0, 0.1, 0.01]
    """
    done = (step - 1) / max(1, config.steps)
    factor = 1.0
    if config.schedule in ("warmup", "warmup_cosine") and done < config.warmup:
        factor = max(1e-3, done / config.warmup)
    elif config.schedule == "warmup_cosine":
        factor = _cosine((done - config.warmup) / (1.0 - config.warmup))
    elif config.schedule == "cosine":
        factor = _cosine(done)
    elif config.schedule == "restarts":
        factor = _cosine(done * 3.0 % 1.0)
    elif config.schedule == "linear":
        factor = 1.0 - done
    elif config.schedule == "step":
        factor = 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
    elif config.schedule == "decayed_early":
        factor = 1.0 if done < config.param("share") else config.param("factor")
    return config.lr * factor


def _cosine(done: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
