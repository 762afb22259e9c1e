"""PyTorch Lightning: a callback for the ``Trainer`` of ``lightning`` and of ``pytorch_lightning``.

>>> from lossdoctor.integrations.lightning import LossDoctorCallback  # doctest: +SKIP
>>> Trainer(callbacks=[LossDoctorCallback()]).fit(model, data)  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lossdoctor.core.names import parse
from lossdoctor.integrations._link import Link, framework, hook

_PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}


def _callback_classes() -> tuple[type, ...]:
    """The Callback of what the user has imported (of both, for both), else of what is installed."""
    names = [n for n, module in _PACKAGES.items() if module in sys.modules]
    names = names or [n for n in _PACKAGES if find_spec(n)][:1] or ["lightning"]
    modules = (framework(_PACKAGES[n], extra="lightning", instead_of="pytorch_lightning") for n in names)
    return tuple(m.Callback for m in modules)


class _Hooks:
    """What the callback does; see :class:`LossDoctorCallback`."""

    def __init__(self, monitor: Any = None, *, watch: bool = True, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorCallback for Lightning", monitor, options)
        self.watch = watch
        self._sum: Any = None  # of the losses of the batches whose gradients are accumulated
        self._batches = 0
        self._at = 0
        self._rates: dict[str, float] = {}
        self._seen: dict[str, Any] = {}
        self._per_step: set[str] = set()

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    @hook
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._at, self._sum, self._batches = trainer.global_step, None, 0
        self._seen, self._per_step = {}, set()
        if not trainer.is_global_zero:
            return
        batches, accumulated = trainer.num_training_batches, trainer.accumulate_grad_batches
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        self.link.open(
            self,
            dict(pl_module.hparams),
            planned_steps=trainer.estimated_stepping_batches,
            steps_per_epoch=None if batches == float("inf") else -(-batches // accumulated),
            clip_norm=None if trainer.gradient_clip_algorithm == "value" else trainer.gradient_clip_val,
            optimizer=type(optimizer).__name__ if optimizer is not None else None,
        )
        if self.watch and len(trainer.optimizers) == 1:
            self.link.watch(pl_module, optimizer, scaler=getattr(trainer.precision_plugin, "scaler", None))

    @hook
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._fresh(trainer)  # the means of the last epoch, which Lightning computes once more after its end

    @hook
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Learning rates are read before the step: after it, the scheduler has set those of the next one."""
        groups = [g for o in trainer.optimizers for g in o.param_groups] if self.link.running else []
        self._rates = {f"learning_rate/group{i}" if i else "learning_rate": g["lr"] for i, g in enumerate(groups)}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.link.running:
            self._record_step(trainer, outputs)
        # Ranks have to agree, which is a collective call: not at every step.
        if trainer.world_size == 1 or (batch_idx + 1) % max(trainer.log_every_n_steps, 1) == 0:
            self._obey(trainer)

    @hook
    def _record_step(self, trainer: Any, outputs: Any) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._sum = loss.detach() if self._sum is None else self._sum + loss.detach()
            self._batches += 1
        if trainer.global_step == self._at:
            return  # gradients are still being accumulated
        self._at = trainer.global_step
        logged = self._fresh(trainer)
        values = {n.removesuffix("_step"): v for n, v in logged.items()}
        self._per_step |= set(values)
        if self._sum is not None and not any(_is_total_loss(n) for n in values):
            # Lightning divides a returned loss by the number of batches that it accumulates over.
            shared = trainer.accumulate_grad_batches if trainer.lightning_module.automatic_optimization else 1
            values["train_loss"] = self._sum * (shared / self._batches)
        self._sum, self._batches = None, 0
        self.link.log(self._at, {**self._rates, **values})

    @hook
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Means over an epoch, of what is not logged at every step."""
        self._record_epoch(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        self._record_validation(trainer)
        if trainer.world_size > 1:
            self._obey(trainer)

    @hook
    def _record_validation(self, trainer: Any) -> None:
        self._record_epoch(trainer)

    def _record_epoch(self, trainer: Any) -> None:
        found = self._fresh(trainer) if self.link.running else {}
        values = {n.removesuffix("_epoch"): v for n, v in found.items() if not n.endswith("_step")}
        self.link.log(trainer.global_step, {n: v for n, v in values.items() if n not in self._per_step})

    def _fresh(self, trainer: Any) -> dict[str, Any]:
        """Metrics logged since the last look. Lightning keeps old ones in its dict, as the very same objects."""
        now = dict(trainer.callback_metrics)
        fresh = {n: v for n, v in now.items() if self._seen.get(n) is not v}
        self._seen = now
        return fresh

    def _obey(self, trainer: Any) -> None:
        stop = self.link.should_stop
        if trainer.world_size > 1:
            stop = bool(trainer.strategy.broadcast(stop))
        if stop:
            trainer.should_stop = True

    @hook
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.link.close(exception)

    @hook
    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.link.close()


def _is_total_loss(name: str) -> bool:
    parsed = parse(name)
    return parsed.bare == ("loss",) and parsed.split in ("", "train")


class LossDoctorCallback(_Hooks, *_callback_classes()):  # type: ignore[misc]
    """Records the loss of every optimizer step and whatever is given to ``self.log``, at the step it belongs to.

    Judges it while it trains and sets ``trainer.should_stop`` where an action asks for the end. The loss that
    ``training_step`` returns is recorded as ``train_loss``, unless a training loss is logged at every step already.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        watch: watch model and optimizer (if there is one only); see ``Monitor.watch``.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one and on other ranks than 0.
    """
