"""The hooks of a watched optimizer: they measure around its steps and ask the actions before each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossdoctor.live.watching.gauge import Gauge
from lossdoctor.live.watching.layers import Plan, parameters_of, plan_of
from lossdoctor.live.watching.pace import Pace

if TYPE_CHECKING:
    from lossdoctor.live.watching.watch import Watch

PER_VALUE = 5e-6  # seconds that recording and judging take for each value of a measurement


def plain_optimizer(optimizer: Any) -> Any:
    """The torch optimizer inside the wrappers of Accelerate, Lightning and their like, whose hooks are called."""
    for _ in range(8):
        inner = getattr(optimizer, "optimizer", None) or getattr(optimizer, "_optimizer", None)
        if not isinstance(inner, torch.optim.Optimizer):
            break
        optimizer = inner
    return optimizer


class WatchedOptimizer:
    """One optimizer of a :class:`~lossdoctor.live.watching.watch.Watch`.

    The hooks are the optimizer's own (``register_step_pre_hook``), which it leaves out when it is copied or pickled;
    the model gets none. The optimizer is held weakly.
    """

    def __init__(self, watch: Watch, optimizer: Any, index: int, pace: Pace) -> None:
        self.index, self.pace = index, pace
        self.optimizer: weakref.ref[Any] = weakref.ref(optimizer)
        self.steps = 0
        self.left_out = 0
        self._rates: list[float | None] | None = None
        self._watch = watch
        self._plan: Plan | None = None
        self._gauge: Gauge | None = None
        self._asked = False
        self._cost = 0.0
        self._handles = [
            optimizer.register_step_pre_hook(_not_compiled(self._before)),
            optimizer.register_step_post_hook(_not_compiled(self._after)),
        ]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._gauge = [], None

    def rates(self) -> list[float | None]:
        """The learning rate of every group at the last step since this was asked, or else as it is now.

        None for one that lives on a GPU: to read it would wait for the device.
        """
        optimizer = self.optimizer()
        rates, self._rates = self._rates, None
        if rates is None:
            rates = [] if optimizer is None else [_rate(group) for group in optimizer.param_groups]
        return rates

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        changed: tuple[Any, Any] | None = None
        try:
            changed = self._enter(optimizer, args, kwargs)
        except Exception as error:
            self._watch.failed(error)
        return changed

    def _enter(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        self.steps += 1
        self._rates = [_rate(group) for group in optimizer.param_groups]
        self._gauge, self._asked, self._cost = None, False, 0.0
        if self.pace.due() and not _capturing():
            began = perf_counter()
            self._gauge = self._prepared(optimizer)
            with self._gauge.timed():
                self._gauge.before()
            self._cost = perf_counter() - began
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self._gradients_are_there(optimizer)
            return None
        told = self._telling(closure, optimizer)
        return ((args[0], told, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": told})

    def _telling(self, closure: Callable[[], Any], optimizer: Any) -> Callable[[], Any]:
        """The closure, after whose first call the gradients of the step are there."""

        def told() -> Any:
            loss = closure()
            if not self._asked:
                try:
                    self._gradients_are_there(optimizer)
                except Exception as error:
                    self._watch.failed(error)
            return loss

        return told

    def _gradients_are_there(self, optimizer: Any) -> None:
        self._asked = True
        if self._gauge is not None:
            began = perf_counter()
            with self._gauge.timed():
                self._gauge.gradients(getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None))
            self._cost += perf_counter() - began
        if not self._watch.monitor.before_step(optimizer):
            self.left_out += 1
            for parameter in parameters_of(optimizer):
                parameter.grad = None

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        try:
            gauge, self._gauge = self._gauge, None
            if gauge is not None and self._asked:
                began = perf_counter()
                with gauge.timed():
                    gauge.after()
                self._watch.measured(self.index, self.pace.count, gauge)
                self._cost += perf_counter() - began
                self.pace.paid(self._cost + PER_VALUE * self._values(), own=self._cost)
            self._watch.hand_in()
            self._watch.monitor.after_step(optimizer)
        except Exception as error:
            self._watch.failed(error)

    def _prepared(self, optimizer: Any) -> Gauge:
        parameters = parameters_of(optimizer)
        if self._plan is None or self._plan.ids != tuple(map(id, parameters)):
            self._plan = plan_of(parameters, self._watch.modules())
        return Gauge(parameters, self._plan, self._watch.wanted, self._watch.shares(parameters))

    def _values(self) -> int:
        return 5 + 2 * len(self._plan.layers) if self._plan is not None else 0


def _not_compiled(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, which ``torch.compile`` leaves alone. Its switch costs as much as the hook: it is used where needed."""
    apart: Callable[..., Any] = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]

    def called(optimizer: Any, args: Any, kwargs: Any) -> Any:
        return (apart if torch.compiler.is_compiling() else hook)(optimizer, args, kwargs)

    return called


def _rate(group: Mapping[str, Any]) -> float | None:
    rate = group.get("lr")
    if rate is None or (isinstance(rate, Tensor) and rate.device.type != "cpu"):
        return None
    return float(rate)


def _capturing() -> bool:
    """Whether a CUDA graph is being recorded, into which nothing of ours may come."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    return torch.cuda.is_current_stream_capturing()
