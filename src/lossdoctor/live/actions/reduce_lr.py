"""Lower the learning rate when the loss no longer falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError
from lossdoctor.core.numbers import percent, short
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.flatness import Flatness
from lossdoctor.live.actions.following import Followed, Once, is_maximised
from lossdoctor.live.actions.rates import RateFactor
from lossdoctor.live.actions.together import agreed, may_act
from lossdoctor.live.rows import Row

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor


class ReduceLR(LiveAction):
    """Multiplies the learning rate by a factor each time the loss has stopped falling, as far as its noise can tell.

    Flat is judged by a test (Davis King's: for how many of the last values can a decrease not be claimed?), not by a
    tolerance and a patience; see :class:`~lossdoctor.live.actions.flatness.Flatness`.

    It works beside a scheduler: what is left of its schedule is multiplied by the factor too. Where the rate is set
    anew at every step, by hand or by a scheduler that is not known, the factor is put on for each step and taken off
    after it; see :class:`~lossdoctor.live.actions.rates.RateFactor`. Give the scheduler to
    ``monitor.watch(model, optimizer, scheduler=…)``, which is needed in any case.

    Args:
        metric: what to follow; the validation loss where one is logged, else the training loss.
        factor: of each reduction, between 0 and 1.
        flat: share of the values since the last reduction that must be without a decrease.
        min_values: least number of values without a decrease.
        cooldown: values after a reduction before the next can be judged.
        min_lr: no group is brought below it.
        most: reductions after which it says that it gave up.
        shared: in a training of several processes, that this action is in the monitor of every one of them
            (``Monitor(every_rank=True)``); without, it does nothing there.

    Attributes:
        reductions: how many there were.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(
        self,
        metric: str | None = None,
        *,
        factor: float = 0.3,
        flat: float = 0.4,
        min_values: int = 20,
        cooldown: int = 10,
        min_lr: float = 0.0,
        most: int = 4,
        shared: bool = False,
    ) -> None:
        if not 0 < factor < 1:
            raise UsageError(f"ReduceLR(factor=…) is between 0 and 1, got {factor!r}")
        if not 0 < flat <= 1 or min_values < 3 or cooldown < 0 or min_lr < 0 or most < 1:
            raise UsageError(
                "ReduceLR needs flat above 0 and at most 1, min_values of at least 3, cooldown and min_lr of at least "
                f"0 and most of at least 1, got {flat!r}, {min_values!r}, {cooldown!r}, {min_lr!r} and {most!r}"
            )
        self.factor, self.cooldown, self.min_lr, self.most = factor, cooldown, min_lr, most
        self.shared = shared
        self.reductions = 0
        self._validation = Followed("val_loss", metric)
        self._training = Followed("train_loss", metric)
        self._by_validation = metric is not None
        self._flat = Flatness(share=flat, least=min_values)
        self._rest = 0  # values that are still passed over
        self._wanted = False
        self._done = False
        self._factors: dict[int, RateFactor] = {}
        self._once = Once()

    def on_row(self, monitor: Monitor, row: Row) -> None:
        if self._done:
            return
        value = self._value(monitor, row)
        if value is None:
            return
        if self._rest > 0 or self._wanted:
            self._rest = max(0, self._rest - 1)
        elif self._flat.add(value):
            self._wanted = True

    def before_step(self, monitor: Monitor, optimizer: Any) -> bool:
        if not may_act("ReduceLR", self.shared, self._once):
            return True
        rates = self._factors.get(id(optimizer))
        if rates is None:
            rates = self._factors[id(optimizer)] = RateFactor(optimizer, _scheduler_of(monitor.scheduler, optimizer))
        if self.shared:
            self._wanted = bool(agreed(self._wanted)[0])
        if self._wanted:
            self._wanted = False
            self._reduce(monitor)
        rates.enter()
        return True

    def after_step(self, monitor: Monitor, optimizer: Any) -> None:  # noqa: ARG002
        rates = self._factors.get(id(optimizer))
        if rates is not None:
            rates.leave()

    def finish(self, monitor: Monitor) -> None:  # noqa: ARG002
        if self._wanted and not self._factors:
            self._once.warn(
                "ReduceLR could not lower the learning rate: it needs monitor.watch(model, optimizer) before training"
            )

    def _value(self, monitor: Monitor, row: Row) -> float | None:
        """What is followed, so that less is better. From the first validation on, training losses are passed over."""
        value, followed = self._validation.value(monitor, row.values), self._validation
        if value is not None and not self._by_validation:
            self._by_validation = True
            self._flat.restart()
        if value is None and not self._by_validation:
            value, followed = self._training.value(monitor, row.values), self._training
        if value is None:
            return None
        return -value if is_maximised(followed.names[0]) else value

    def _reduce(self, monitor: Monitor) -> None:
        rates = [r for factor in self._factors.values() for r in factor.rates() if r > 0]
        factor = max(self.factor, self.min_lr / min(rates)) if rates else 1.0
        if self.reductions >= self.most or factor > 0.99:
            self._done = True
            at = "is at its least" if factor > 0.99 else f"was lowered {self.reductions} times"
            monitor.event("gave_up", f"the loss is flat again, and the learning rate {at}", action="ReduceLR")
            return
        for each in self._factors.values():
            each.multiply(factor)
        self.reductions += 1
        self._rest = self.cooldown
        self._flat.restart()
        before = max(rates)
        monitor.event(
            "learning_rate_changed",
            f"the loss is flat: the learning rate is now {percent(factor)} of what it was ({short(before * factor)})",
            factor=factor,
            before=before,
            now=before * factor,
            action="ReduceLR",
        )


def _scheduler_of(schedulers: Any, optimizer: Any) -> Any:
    """Of several schedulers those of one optimizer."""
    if not isinstance(schedulers, list | tuple):
        return schedulers
    return [s for s in schedulers if getattr(s, "optimizer", optimizer) is optimizer]
