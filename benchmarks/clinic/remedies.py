"""A fixed table: every action of the catalogue as one change of a run, so that advice can be tried and not only judged.

A remedy changes the configuration, or reaches into data, model and loss before training; the seed and the budget (in
steps) stay, but for ``train_longer``. Some actions need no training of their own: ``stop_early`` and, where no bad
batch is to be skipped, ``restore_checkpoint`` are read off the run's own checkpoints; actions that change nothing on
this run (``shuffle_data`` on shuffled data, ``get_more_data`` where all there is was used, ``none``) leave it as it
was; and ``check_*`` actions change nothing but tell where to look (:func:`names_the_fault`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from lossdoctor.core.vocabulary import ACTIONS

if TYPE_CHECKING:
    from benchmarks.clinic.faults.base import Fault
    from benchmarks.clinic.train import Loop

Change = Callable[[Config], Config | None]

BAD_BATCHES = frozenset({"nan_in_data", "spikes_recovering", "spike_unrecovered", "inf_in_data", "gan_nan"})
BAD_DATA = BAD_BATCHES | {"outliers", "shuffled_labels", "label_noise", "masked_labels", "label_leak"}
# Whose faults a check names: it is right when the fault lies where it tells to look.
CHECKS = {
    "check_data": BAD_DATA | {"unscaled_inputs", "unshuffled", "missing_as_zero", "class_imbalance"},
    "check_training_loop": frozenset(
        {
            "missing_step",
            "missing_zero_grad",
            "frozen_parameters",
            "double_softmax",
            "resume_no_state",
            "detached",
            "wrong_reduction",
            "trained_in_eval_mode",
            "sampler_restart",
            "resume_no_schedule",
            "fp16_overflow",
        }
    ),
    "check_validation": frozenset(
        {"val_shift", "validated_in_train_mode", "batchnorm_stale", "tiny_validation", "label_leak"}
    ),
}
AS_IT_WAS = "as_it_was"  # no action: the run again, measured by the task's own loss


@dataclass(frozen=True)
class Remedy:
    """One action as a change.

    Attributes:
        change: the changed configuration, or None where the action changes nothing on this run.
        cures: names of faults that it takes away.
        prepare: changes data, model or loss once they are made.
    """

    change: Change = lambda config: config
    cures: frozenset[str] = frozenset()
    prepare: Callable[[Loop], None] = lambda loop: None  # noqa: ARG005

    def undoes(self, fault: Fault) -> bool:
        """Whether the fault is gone with this remedy."""
        return fault.name in self.cures


def names_the_fault(action: str, fault: str) -> bool:
    """Whether a ``check_*`` action tells to look where the fault is.

    >>> names_the_fault("check_data", "outliers"), names_the_fault("check_data", "missing_step")
    (True, False)
    """
    return fault in CHECKS.get(action, ())


def _decayed(config: Config) -> Config | None:
    return None if config.schedule in ("cosine", "warmup_cosine") else config.change(schedule="cosine")


def _rescheduled(config: Config) -> Config:
    """Another schedule over the whole budget: decaying for a constant one, constant for one that decays."""
    return config.change(
        schedule="cosine" if config.schedule in ("constant", "warmup", "decayed_early") else "constant"
    )


def _warmed(config: Config) -> Config:
    decays = config.schedule not in ("constant", "warmup")
    return config.change(schedule="warmup_cosine" if decays else "warmup", warmup=0.2)


def _other_optimizer(config: Config) -> Config:
    """From SGD to Adam and back, at the rates that people start with."""
    if config.optimizer.startswith("adam"):
        return config.change(optimizer="momentum", lr=0.01)
    return config.change(optimizer="adam", lr=1e-3)


def _less_momentum(config: Config) -> Config | None:
    return config.change(momentum=0.5) if config.optimizer == "momentum" else None


def _wider(config: Config, factor: float) -> Config | None:
    old = config.width or tasks.SPECS[config.task].shape.width
    least = 2  # heads of the transformer
    new = max(least, int(old * factor) // 2 * 2)
    return None if new == old else config.change(width=new)


def _regularized(config: Config) -> Config:
    dropout = config.dropout if config.dropout is not None else tasks.SPECS[config.task].shape.dropout
    decay = 10.0 * config.weight_decay if config.weight_decay else 1e-3
    return config.change(weight_decay=decay, dropout=max(0.3, dropout))


def _unregularized(config: Config) -> Config | None:
    bare = config.change(weight_decay=0.0, dropout=0.0)
    has_dropout = config.dropout is None and tasks.SPECS[config.task].shape.dropout > 0
    return bare if config.weight_decay or config.dropout or has_dropout else None


def _only(*kinds: str) -> Change:
    return lambda config: config if tasks.SPECS[config.task].kind in kinds else None


def _only_faults(*names: str) -> Change:
    return lambda config: config if config.fault in names else None


def _numbers_only(config: Config) -> Config | None:
    """Inputs that are codes are not normalised."""
    scaled = _only("classification", "regression", "autoencoding")(config)
    return None if tasks.SPECS[config.task].codes else scaled


def _more_data(config: Config) -> Config | None:
    """All of the data, or, where classes are missing, more of those."""
    if config.fault == "class_imbalance":
        return config
    return config.change(train_share=1.0) if config.train_share < 1.0 else None


def _imputed(loop: Loop) -> None:
    """Where zeros stand for missing values, the mean of the column takes their place; what was there is lost."""
    if loop.config.fault != "missing_as_zero":
        return
    splits = loop.task.splits
    x: Tensor = splits.train[0]
    filled = torch.full_like(x[:1], loop.memory["fill"])
    missing = x == filled
    mean = torch.where(missing, torch.zeros_like(x), x).sum(dim=0) / (~missing).sum(dim=0).clamp(min=1)
    for part in ("train", "val", "test"):
        inputs, targets = getattr(splits, part)
        setattr(splits, part, (torch.where(inputs == filled, mean.expand_as(inputs), inputs), targets))


def _normalized(loop: Loop) -> None:
    """Inputs of mean 0 and spread 1 by the training part; what is far out is left far out."""
    splits = loop.task.splits
    x: Tensor = splits.train[0]
    mean, spread = x.mean(dim=0, keepdim=True), x.std(dim=0, keepdim=True)
    spread = torch.where(spread > 1e-6 * x.abs().max(), spread, torch.ones_like(spread))
    for part in ("train", "val", "test"):
        inputs, targets = getattr(splits, part)
        setattr(splits, part, ((inputs - mean) / spread, targets))


def _keep(seen: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor) -> None:
    seen.append(output)


def _reshuffled(loop: Loop) -> None:
    loop.task.shuffle = True


@torch.no_grad()
def _initialized(loop: Loop) -> None:
    """Fresh weights; linear and convolutional layers so that their outputs have spread 1 on a batch (LSUV)."""
    for module in loop.task.model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    layers = [m for m in loop.task.model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if tasks.SPECS[loop.config.task].kind in ("language", "density", "adversarial"):
        return
    x = loop.task.splits.train[0][:256]
    for layer in layers[:-1]:
        nn.init.orthogonal_(layer.weight.flatten(1))
        if layer.bias is not None:
            layer.bias.zero_()
        seen: list[Tensor] = []
        handle = layer.register_forward_hook(partial(_keep, seen))
        loop.task.model(x)
        handle.remove()
        if seen:
            spread = float(seen[-1].std())
            layer.weight.div_(max(spread, 1e-6))


def _robust_loss(loop: Loop) -> None:
    """The loss that was meant, of squared errors the robust form, for training; the end is measured by the task's."""
    spec = loop.task.spec
    if loop.config.fault == "wrong_reduction":
        return  # the mean of the same loss is enough
    loop.task.loss_fn = _huber if spec.kind in ("regression", "autoencoding") else spec.loss_fn


def _huber(output: Tensor, target: Tensor) -> Tensor:
    return 2.0 * F.huber_loss(output, target)


def _changed_loss(config: Config) -> Config | None:
    kind = tasks.SPECS[config.task].kind
    misused = config.fault in ("double_softmax", "wrong_reduction")
    return config if misused or kind in ("regression", "autoencoding") else None


_ORDER = ("unshuffled", "sampler_restart")  # of the data: sorted (reshuffling mends it), or begun again and again
TABLE: dict[str, Remedy] = {
    "reduce_learning_rate": Remedy(lambda c: c.change(lr=c.lr / 10)),
    "increase_learning_rate": Remedy(lambda c: c.change(lr=c.lr * 10)),
    "decay_learning_rate": Remedy(_decayed),
    "change_schedule": Remedy(_rescheduled),
    "add_warmup": Remedy(_warmed),
    "change_optimizer": Remedy(_other_optimizer),
    "adjust_momentum": Remedy(_less_momentum),
    "clip_gradients": Remedy(lambda c: c.change(clip_norm=c.clip_norm / 10 if c.clip_norm else 1.0)),
    "normalize_inputs": Remedy(_numbers_only, prepare=_normalized),
    "clean_data": Remedy(_only_faults(*BAD_DATA, "missing_as_zero"), cures=frozenset(BAD_DATA), prepare=_imputed),
    "shuffle_data": Remedy(_only_faults(*_ORDER), cures=frozenset(_ORDER[1:]), prepare=_reshuffled),
    "get_more_data": Remedy(_more_data, cures=frozenset({"class_imbalance"})),
    "change_precision": Remedy(_only_faults("fp16_overflow"), cures=frozenset({"fp16_overflow"})),
    "increase_batch_size": Remedy(lambda c: c.change(batch_size=4 * c.batch_size)),
    "add_regularization": Remedy(_regularized),
    "reduce_regularization": Remedy(_unregularized),
    "increase_capacity": Remedy(lambda c: _wider(c, 4.0)),
    "reduce_capacity": Remedy(lambda c: _wider(c, 0.25)),
    "train_longer": Remedy(lambda c: c.change(steps=3 * c.steps, stop=None)),
    "fix_initialization": Remedy(prepare=_initialized),
    "change_loss": Remedy(_changed_loss, cures=frozenset({"wrong_reduction"}), prepare=_robust_loss),
    "restore_checkpoint": Remedy(_only_faults(*BAD_BATCHES), cures=BAD_BATCHES),  # and skip the bad batches
}
# These are no changes.
UNTRAINED = frozenset({"stop_early", "none", *CHECKS})
if set(TABLE) | UNTRAINED != set(ACTIONS):
    raise AssertionError("every action of the catalogue has its line in the table")
_NONE = Remedy()


def get(config: Config) -> Remedy:
    """The remedy of a configuration; raises KeyError when there is no such action."""
    return TABLE[config.remedy] if config.remedy not in ("", AS_IT_WAS) else _NONE


def treated(config: Config, action: str) -> Config | None:
    """The configuration of the run with an action taken, or None where the action changes nothing of its training."""
    if action == AS_IT_WAS:
        return _bare(config).change(remedy=AS_IT_WAS)
    if action in UNTRAINED:
        return None
    changed = TABLE[action].change(config)
    return None if changed is None else _bare(changed).change(remedy=action)


def _bare(config: Config) -> Config:
    """What is logged does not matter to a run of which only the end is measured."""
    plain: dict[str, Any] = {"log_every": 1, "log_mean": False, "val_every": -1, "val_size": None, "axis": "step"}
    return config.change(**plain, log_lr=False, log_grad_norm=False, log_accuracy=False)
