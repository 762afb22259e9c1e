"""Hugging Face Transformers: a callback for ``Trainer``.

>>> from lossdoctor.integrations.transformers import LossDoctorCallback  # doctest: +SKIP
>>> Trainer(model, args, callbacks=[LossDoctorCallback()], ...).train()  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from typing import Any

from lossdoctor.integrations._link import Link, agreed, framework, hook

TrainerCallback: Any = framework("transformers", extra="transformers").TrainerCallback
log = logging.getLogger("lossdoctor")

# What Trainer logs of the machine, and the mean loss of the whole training that it logs last: no curves.
_SPEED = ("_runtime", "_per_second", "_time", "_flos")
_CONFIG = (
    *("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "optim"),
    *("lr_scheduler_type", "warmup_steps", "warmup_ratio", "num_train_epochs", "max_steps", "label_smoothing_factor"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "fp16", "bf16", "seed", "data_seed"),
)


class LossDoctorCallback(TrainerCallback):
    """Records what Trainer logs, judges it while it trains, and ends the training where an action asks for it.

    There are rows where Trainer logs: set ``logging_steps`` (500 by default) to 10 or less. Leave
    ``logging_nan_inf_filter`` on, as it is by default: Trainer then writes a loss of NaN as 0 or as the mean of others,
    and the watched gradients tell of it; without the filter, one NaN turns every later loss that Trainer logs into NaN.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        watch: watch model and optimizer; see ``Monitor.watch``.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one and on other ranks than 0.
    """

    def __init__(self, monitor: Any = None, *, watch: bool = True, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorCallback for Transformers", monitor, options)
        self.watch = watch

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    @hook
    def on_train_begin(self, args: Any, state: Any, control: Any, **found: Any) -> None:
        if not state.is_world_process_zero:
            return
        if not args.logging_nan_inf_filter:
            log.warning(
                "with logging_nan_inf_filter=False, one loss of NaN turns all later ones that Trainer logs to NaN"
            )
        elif not self.watch:
            log.warning("Trainer hides losses of NaN, and watch=False hides the gradients that would tell of them")
        loader: Any = found.get("train_dataloader")
        accumulated = args.gradient_accumulation_steps
        self.link.open(
            self,
            {k: getattr(args, k) for k in _CONFIG if getattr(args, k, None) is not None},
            planned_steps=state.max_steps,
            steps_per_epoch=-(-len(loader) // accumulated) if hasattr(loader, "__len__") else None,
            batch_size=args.train_batch_size * accumulated * args.world_size,
            warmup_steps=args.get_warmup_steps(state.max_steps),
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            clip_norm=args.max_grad_norm,
            optimizer=str(getattr(args.optim, "value", args.optim)),
        )
        if self.watch:
            self.link.watch(found.get("model"), found.get("optimizer"), scheduler=found.get("lr_scheduler"))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **found: Any) -> None:
        if state.is_world_process_zero:
            self._record(state.global_step, logs or {})
        # Every rank comes here at the same steps, and Trainer has just gathered the loss: they agree at no cost.
        if agreed(self.link.should_stop):
            control.should_training_stop = True

    @hook
    def _record(self, step: int, logs: Any) -> None:
        summary = "train_runtime" in logs
        numbers = {k: v for k, v in logs.items() if isinstance(v, (int, float)) and not k.endswith(_SPEED)}
        self.link.log(step, {} if summary else numbers)

    def on_step_end(self, args: Any, state: Any, control: Any, **found: Any) -> None:
        if args.world_size == 1 and self.link.should_stop:  # several ranks agree where they log
            control.should_training_stop = True

    @hook
    def on_train_end(self, args: Any, state: Any, control: Any, **found: Any) -> None:
        self.link.close()
