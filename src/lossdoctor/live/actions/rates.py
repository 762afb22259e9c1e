"""Multiplying the learning rate of a run, whoever else sets it: a scheduler, the loop by hand, or nobody."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

# Where schedulers of torch keep the rates that their next values come from; in a group, and in the scheduler.
_IN_GROUP = ("lr", "initial_lr", "max_lr", "min_lr")
_IN_SCHEDULER = ("base_lrs", "max_lrs", "min_lrs", "eta_min")
_INNER = ("_schedulers", "scheduler", "_scheduler")  # chained, sequential; wrappers of frameworks


class RateFactor:
    """A factor on the learning rates of one optimizer's groups that lasts.

    Three ways, found by themselves:

    - nobody sets the rate: the groups' ``lr`` is multiplied, and stays so (also in checkpoints);
    - a scheduler of torch that is known: the rates from which it computes (``base_lrs``, ``initial_lr``, ``max_lr``,
      ``eta_min``, …) are multiplied too, so what is left of its schedule is the planned one times the factor;
    - the rate is set to its planned value all the same (by hand, by a scheduler that is not known): that is seen at
      once, and from then on the factor is put on for the step and taken off after it, so that whoever sets the
      rate meets the value that he left.

    Call :meth:`enter` before and :meth:`leave` after each optimizer step.
    """

    def __init__(self, optimizer: Any, scheduler: Any = None) -> None:
        self.value = 1.0
        self.held = False  # the factor is put on at each step only
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._known = False  # the scheduler is
        self._left: list[tuple[float, float]] | None = None  # per group: rate before the last change, and after it
        self._planned: list[Any] | None = None  # rates to give back after the step

    def multiply(self, factor: float) -> None:
        """Change all rates by a factor from now on."""
        self.value *= factor
        if self.held:
            return
        before = self.rates()
        for group in self._optimizer.param_groups:
            for key in _IN_GROUP:
                if key in group:
                    group[key] = _times(group[key], factor)
        known = False
        for scheduler in _flat(self._scheduler):
            known = known or hasattr(scheduler, "base_lrs")
            for key in _IN_SCHEDULER:
                if key in vars(scheduler):
                    setattr(scheduler, key, _times(getattr(scheduler, key), factor))
        on_device = any(getattr(group["lr"], "is_cuda", False) for group in self._optimizer.param_groups)
        self._known = known
        self._left = None if on_device else list(zip(before, self.rates(), strict=True))

    def put_back(self, value: float) -> None:
        """The rates (and the scheduler) are those of an earlier moment, when the factor was ``value``; it stays."""
        wanted, self.value, self._left = self.value, self.value if self.held else value, None
        if not self.held and wanted != value:
            self.multiply(wanted / value)
            self.value = wanted

    def rates(self) -> list[float]:
        """The rate of every group as it is now; waits for a rate that lives on a GPU."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def planned(self) -> float:
        """The largest rate of all groups without the factor, as it is before :meth:`enter`.

        Rates that live on a GPU are left out; 0 where all do.
        """
        found = [group["lr"] for group in self._optimizer.param_groups]
        rate = max((float(r) for r in found if not getattr(r, "is_cuda", False)), default=0.0)
        return rate if self.held else rate / self.value

    def enter(self) -> None:
        """Before a step."""
        if self._left is not None:
            self._look(self._left)
        if self.held and self.value != 1.0 and self._planned is None:
            groups = self._optimizer.param_groups
            self._planned = [float(group["lr"]) for group in groups]
            for group in groups:
                group["lr"] = _times(group["lr"], self.value)

    def leave(self) -> None:
        """After a step."""
        if self._planned is not None:
            for group, planned in zip(self._optimizer.param_groups, self._planned, strict=True):
                group["lr"] = _set(group["lr"], planned)
            self._planned = None

    def _look(self, left: list[tuple[float, float]]) -> None:
        """When the rate is first set after a change: to what it would have been without that change?"""
        now = self.rates()
        if now == [after for _, after in left]:
            return  # nobody has set it yet
        self._left = None
        for (before, after), rate in zip(left, now, strict=True):
            if before != after and before > 0 and after > 0 and rate > 0:
                # of a schedule that was changed too, chance can bring a rate near to the old one
                near = 0.1 if self._known else 1.0
                self.held = self.held or abs(math.log(rate / before)) < near * abs(math.log(rate / after))


def _flat(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those inside it."""
    if scheduler is None:
        return
    if isinstance(scheduler, list | tuple):
        for each in scheduler:
            yield from _flat(each)
        return
    yield scheduler
    for key in _INNER:
        yield from _flat(vars(scheduler).get(key) if hasattr(scheduler, "__dict__") else None)


def _times(value: Any, factor: float) -> Any:
    """A number, a tensor (kept the same object: graphs and other groups hold it) or a list of them, times a factor."""
    if isinstance(value, list | tuple):
        return type(value)(_times(v, factor) for v in value)
    if isinstance(value, int | float) or value is None:
        return value if value is None else value * factor
    return value.mul_(factor)


def _set(old: Any, value: float) -> Any:
    return value if isinstance(old, int | float) else old.fill_(value)
