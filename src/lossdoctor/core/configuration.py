"""What a run's own configuration (parameters, arguments, hyper-parameters) says of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lossdoctor.core.context import RunContext

_WORDS = re.compile(r"[^a-z0-9]+")
# Field of RunContext -> names of it in the wild, the surest first.
_NAMES: dict[str, tuple[str, ...]] = {
    "classes": ("num_classes", "n_classes", "nb_classes", "classes", "num_labels", "num_class"),
    "planned_steps": ("max_steps", "max_iters", "total_steps", "num_train_steps", "num_iterations", "train_steps",
                      "max_iter", "total_iters", "train_iters", "iterations", "num_boost_round", "n_estimators"),
    "steps_per_epoch": ("steps_per_epoch", "iters_per_epoch", "batches_per_epoch", "num_batches_per_epoch"),
    "batch_size": ("global_batch_size", "total_batch_size", "train_batch_size", "batch_size", "batchsize", "bs",
                   "batch", "per_device_train_batch_size"),
    "warmup_steps": ("warmup_steps", "num_warmup_steps", "warmup_iters", "lr_warmup_steps", "warmup_iterations"),
    "learning_rate": ("learning_rate", "lr", "base_lr", "max_lr", "peak_lr", "lr0"),
    "weight_decay": ("weight_decay", "wd"),
    "clip_norm": ("max_grad_norm", "gradient_clip_val", "clip_grad_norm", "grad_clip_norm", "grad_clip", "clip_grad",
                  "clip_norm", "gradient_clipping"),
}  # fmt: skip
_OPTIMIZER = ("optimizer", "optim", "optimizer_name", "opt", "optimizer_type", "opt_name")
_EPOCHS = ("num_train_epochs", "max_epochs", "num_epochs", "n_epochs", "epochs", "total_epochs")
_INTEGERS = frozenset({"classes", "planned_steps", "steps_per_epoch", "batch_size", "warmup_steps"})
_MAX_EXTRA, _MAX_TEXT = 300, 200


def context_from(config: Mapping[str, Any], step_unit: str = "step", **known: Any) -> RunContext:
    """The context that a configuration gives.

    Args:
        config: names and values, nested or flat; values may be texts ("0.001", "{'value': 3}" is not read).
        step_unit: with ``"epoch"`` the planned steps are the planned epochs.
        known: fields that the reader knows better.

    >>> context_from({"optim": {"lr": "3e-4"}, "num_classes": 10}).known()
    {'classes': 10, 'learning_rate': 0.0003}
    """
    flat = dict(_flat(config))
    by_name: dict[str, Any] = {}
    for key, value in flat.items():  # the shortest path to a name wins: "lr" before "scheduler/lr"
        for name in (_normal(key), _normal(key.rpartition("/")[2])):
            by_name.setdefault(name, value)
    fields: dict[str, Any] = {}
    for field, names in _NAMES.items():
        if field == "planned_steps" and step_unit == "epoch":
            names = _EPOCHS
        found = (positive(by_name[n], integer=field in _INTEGERS) for n in names if n in by_name)
        fields[field] = next((v for v in found if v is not None), None)
    optimizer = next((by_name[n] for n in _OPTIMIZER if isinstance(by_name.get(n), str)), None)
    fields["optimizer"] = optimizer[:_MAX_TEXT] if optimizer and optimizer.lower() != "auto" else None
    fields.update({k: v for k, v in known.items() if v is not None})
    return RunContext(**fields, extra=_scalars(flat))


def _normal(name: str) -> str:
    return _WORDS.sub("_", name.lower()).strip("_")


def _flat(config: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Scalars of nested mappings by their path; the shallow ones first."""
    deeper = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            deeper.append((f"{name}/", value))
        else:
            yield name, value
    if depth < 6:
        for name, value in deeper:
            yield from _flat(value, name, depth + 1)


def _scalars(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in flat.items():
        if len(out) >= _MAX_EXTRA:
            break
        if isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _MAX_TEXT):
            out[key[:_MAX_TEXT]] = value
    return out


def positive(value: Any, *, integer: bool = False) -> float | int | None:
    """A number above 0 out of a number or text, or None (switched off, unknown, -1).

    >>> positive("256", integer=True), positive(-1), positive("auto")
    (256, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number) or number <= 0:
        return None
    if integer:
        return int(number) if number == int(number) else None
    return number
