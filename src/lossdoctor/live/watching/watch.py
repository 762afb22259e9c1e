"""Watching a model: what a run should log besides its loss, measured by itself around the optimizer's steps."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from lossdoctor.live.guard import Guard, described
from lossdoctor.live.watching.amp import LossScale
from lossdoctor.live.watching.gauge import Floats, Gauge, Sums, Wanted, added, readings
from lossdoctor.live.watching.layers import Models, parts, plan_of
from lossdoctor.live.watching.optimizer import PER_VALUE, WatchedOptimizer, plain_optimizer
from lossdoctor.live.watching.pace import LEAST_OFTEN, SHARE, Pace
from lossdoctor.live.watching.ranks import join, shares
from lossdoctor.torchkit.objective import unwrapped

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

_MOST_WAITING = 8  # measurements on their way from a device; older ones are given up


class Watch:
    """Measures a model around its optimizer's steps. Made by :meth:`lossdoctor.Monitor.watch`.

    Logged at every row: ``learning_rate`` (of further groups ``learning_rate/group1``, …), with a scaler
    ``loss_scale`` and ``skipped_steps``. Logged at the row after a measured step: ``grad_norm`` and
    ``grad_norm/<layer>.weight``, ``param_norm``, ``update_ratio`` and ``update_ratio/<layer>.weight``, ``dead_units``
    and ``dead_units/<layer>``, ``nonfinite_grads``.

    Nothing is changed: no hook on the model, no graph, no random generator, no number. On a GPU nothing waits; what
    has not arrived comes with a later row.

    Args:
        monitor: is asked before and told after every step.
        model: a module, also compiled or distributed; or several, by name or in a row.
        optimizer: a torch optimizer, also as Accelerate or Lightning wrap it; or several. Without one, gradients are
            measured when a row is logged.
        scaler: the ``GradScaler`` of mixed-precision training.
        scheduler: kept for actions; the rates are read from the optimizer.
        every: steps between measurements; None: as few as keep them below 0.2 % of the training time, at most 50.
        per_layer: norms and ratios of the weights of each layer too (of blocks, in a model of more than 64 layers).
        updates: ratios of update to weight, from a sample of 65,536 values of each parameter.
        dead_units: units of linear and convolutional layers whose gradient is exactly zero.
        reduce: sums over the processes that share the model (FSDP, tensor parallel); to be given on all of them.
    """

    def __init__(
        self,
        monitor: Monitor,
        model: Models,
        optimizer: Any = None,
        *,
        scaler: Any = None,
        scheduler: Any = None,
        every: int | None = None,
        per_layer: bool = True,
        updates: bool = True,
        dead_units: bool = True,
        reduce: bool = False,
    ) -> None:
        self.monitor, self.scheduler = monitor, scheduler
        self._pool = join() if reduce else None
        if self._pool is not None:
            every = every or LEAST_OFTEN  # a pace of its own would take every process to other steps
        self.wanted = Wanted(per_layer, updates, dead_units)
        self._models = [(prefix, weakref.ref(unwrapped(module))) for prefix, module in parts(model)]
        self._guard = Guard(self._tell)
        self._waiting: deque[tuple[int, int, Gauge]] = deque(maxlen=_MOST_WAITING)
        self._latest: dict[int, Sums] = {}
        self._new: Sums = {}
        self._died: set[str] = set()
        self._pace = Pace(every)
        self.closed = False
        given = optimizer if isinstance(optimizer, list | tuple) else [] if optimizer is None else [optimizer]
        plain = [inner for o in given if hasattr(inner := plain_optimizer(o), "register_step_pre_hook")]
        scaler = scaler if scaler is not None else next((s for o in given if (s := getattr(o, "scaler", None))), None)
        self._scale = LossScale(scaler) if scaler is not None else None
        self.optimizers = [WatchedOptimizer(self, o, i, Pace(every, SHARE / len(plain))) for i, o in enumerate(plain)]

    def collect(self, wait: bool = False) -> dict[str, float]:
        """What is ready for the row being logged; with ``wait`` also what is still on its way. Never raises."""
        if self.closed:
            return {}
        try:
            return self._collected(wait)
        except Exception as error:
            self.failed(error)
            return {}

    def close(self) -> None:
        """Remove all hooks; can be called again."""
        self.closed = True
        for watched in self.optimizers:
            watched.close()
        self._waiting.clear()

    def failed(self, error: Exception) -> None:
        """Something of ours raised: it is told once, and the watch ends."""
        self.close()
        self._guard.failed("watch", "watching the model", error)

    def modules(self) -> list[tuple[str, nn.Module]]:
        """(prefix, module) of the watched models that still live."""
        return [(prefix, module) for prefix, ref in self._models if (module := ref()) is not None]

    def shares(self, parameters: Sequence[Tensor]) -> Floats:
        """Of each parameter the part that counts here."""
        if self._pool is None:
            return np.ones(len(parameters))
        flattened = any(
            type(m).__name__ == "FullyShardedDataParallel" for _, top in self.modules() for m in top.modules()
        )
        return shares(parameters, self._pool.size, flattened)

    def measured(self, index: int, number: int, gauge: Gauge) -> None:
        """An optimizer's measurement with that number was made; its figures may be on their way."""
        self._waiting.append((index, number, gauge))

    def hand_in(self) -> None:
        """Give what has arrived to the other processes, whether or not this one logs."""
        if self._pool is not None:
            self._arrived(False)

    def _collected(self, wait: bool) -> dict[str, float]:
        found: dict[str, float] = {}
        for watched in self.optimizers:
            for group, rate in enumerate(watched.rates()):
                if rate is not None:
                    found[_rate_name(watched.index, group)] = rate
        if self._scale is not None:
            found.update(self._scale.read(wait))
        left_out = sum(watched.left_out for watched in self.optimizers)
        if left_out:
            found["skipped_steps"] = found.get("skipped_steps", 0.0) + left_out
        if not self.optimizers:
            self._measure_here()
        self._arrived(wait)
        if self._pool is not None and self._pool.rank == 0:
            for index, sums in self._pool.totals():
                self._keep(index, sums)
        if self._new:
            total = added(self._latest.values())
            found.update(self._told(readings({key: total[key] for key in self._new})))
            self._new = {}
        return found

    def _arrived(self, wait: bool) -> None:
        while self._waiting and (wait or self._waiting[0][2].ready()):
            index, number, gauge = self._waiting.popleft()
            sums = gauge.sums()
            if index < len(self.optimizers):
                self.optimizers[index].pace.on_device(gauge.device_seconds())
            if self._pool is not None:
                self._pool.post(index, number, sums or {})
            if sums is not None and (self._pool is None or self._pool.rank > 0):
                self._keep(index, sums)

    def _keep(self, index: int, sums: Sums) -> None:
        """What one optimizer's measurement says stands until its next: several optimizers step in turn."""
        self._latest.setdefault(index, {}).update(sums)
        self._new.update(sums)

    def _told(self, found: dict[str, float]) -> dict[str, float]:
        """Without the dead units of layers that never had any."""
        self._died |= {name for name, value in found.items() if name.startswith("dead_units/") and value > 0}
        return {n: v for n, v in found.items() if not n.startswith("dead_units/") or n in self._died}

    def _measure_here(self) -> None:
        """Without an optimizer: the gradients that the models hold now."""
        if not self._pace.due():
            return
        began = perf_counter()
        modules = self.modules()
        parameters = [p for _, module in modules for p in module.parameters() if p.requires_grad]
        plan = plan_of(parameters, modules)
        wanted = Wanted(self.wanted.per_layer, False, self.wanted.units)
        gauge = Gauge(parameters, plan, wanted, self.shares(parameters))
        gauge.gradients()
        gauge.after()
        self._waiting.append((0, 0, gauge))
        cost = perf_counter() - began
        self._pace.paid(cost + PER_VALUE * (5 + len(plan.layers)), own=cost)

    def _tell(self, part: str, error: Exception) -> None:
        self.monitor.event("internal_error", f"{part} failed and was switched off: {described(error)}", part=part)


def _rate_name(optimizer: int, group: int) -> str:
    if optimizer == 0:
        return "learning_rate" if group == 0 else f"learning_rate/group{group}"
    return f"learning_rate/optimizer{optimizer}" + (f".group{group}" if group else "")
