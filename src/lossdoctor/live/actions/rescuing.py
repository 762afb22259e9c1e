"""How a run is put back: kept states, the learning rate that is lowered and comes back, spoiled buffers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lossdoctor.core.numbers import short
from lossdoctor.live.actions.buffers import Buffers
from lossdoctor.live.actions.rates import RateFactor
from lossdoctor.live.actions.states import Kept, States

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

_SHARE = 0.02  # of the time, for taking states
_MOST_SELDOM = 100  # steps between two states
_JUMP = 2.0  # times the usual learning rate
_SMOOTH = 0.1
_RECENT = 10  # steps


class Rescuer:
    """The hands of :class:`~lossdoctor.live.actions.rescue.Rescue`.

    Attributes:
        steps: optimizer steps made (not those left out).
        attempts: roll-backs since a state was last confirmed.
        rollbacks: all of them.
    """

    def __init__(
        self, keep: int, folder: Path | None, every: int | None, then: str, loader: Any, factor: float, recover: int
    ) -> None:
        self.states = States(keep, folder)
        self.steps = self.attempts = self.rollbacks = 0
        self._every, self._replays, self._loader = every, then == "replay", loader
        self._factor, self._recover = factor, recover
        self._model: Any = None
        self._optimizer: Any = None
        self._scheduler: Any = None
        self._scaler: Any = None
        self._rates: RateFactor | None = None
        self._buffers: Buffers | None = None
        self._rate = 0.0  # planned for this step
        self._before_jump = 0.0  # the usual rate before a jump that was answered
        self._secured_at = 0
        self._jumped_at = -_RECENT - 1
        self._usual_rate = 0.0  # of the steps made lately
        self._cost = 0.0  # seconds to take a state
        self._pace = 0.0  # seconds of a step
        self._last_step = 0.0
        self._proposed_at = 0
        self._good_steps = 0  # since the learning rate was last changed
        self._raised = False  # the last change was upwards
        self._failed_raises = 0

    @property
    def moved(self) -> bool:
        """Whether a step was made since the run was in a state that is known to be good."""
        return not self.states.good or self.steps > self.states.good[-1].taken

    def begin(self, monitor: Monitor, model: Any, optimizer: Any, normal: Any) -> None:
        """Before the first step: how the run starts is the first good state, there being nothing better.

        ``normal``, here and below, is what is normal for the run: a copy of it is kept with every state.
        """
        self._model, self._optimizer = model, optimizer
        self._scheduler, self._scaler = monitor.scheduler, monitor.scaler
        self._rates = RateFactor(optimizer, self._scheduler)
        self._buffers = Buffers(model)
        self.states.propose(lambda: self._taken(monitor, normal))
        self.states.confirm()
        self._last_step = perf_counter()

    def enter(self, monitor: Monitor) -> None:
        """Before a step."""
        assert self._rates is not None
        self._rate = self._rates.planned()
        self._usual_rate = self._usual_rate or self._rate
        if self._before_jump and self._rate <= _JUMP * self._before_jump:  # the planned rate is what it was before
            self._before_jump = 0.0
            self._change_rate(monitor, 1.0 / self._rates.value, "the planned learning rate is back to what it was")
        self._rates.enter()

    @property
    def jumps(self) -> bool:
        """Whether the learning rate of this step is far above that of the steps before."""
        return self._rate > _JUMP * self._usual_rate

    @property
    def rate_jumped(self) -> bool:
        """Whether it did so in this step or one of the last few."""
        return self.jumps or self.steps - self._jumped_at <= _RECENT

    def secure(self, monitor: Monitor, normal: Any) -> None:
        """Before a step with a rate that jumps: the state is good up to here, and may not be for long."""
        if self.steps - self._secured_at > _RECENT and self.steps > self.states.good[-1].taken:
            self._secured_at = self.steps
            self.states.reject()
            self.propose(monitor, normal)
            self.states.confirm()

    def leave(self) -> None:
        """After a step, made or left out."""
        assert self._rates is not None
        self._rates.leave()

    def accept(self, *, check: bool) -> None:
        """The step is made: what the forward passes before it left in the buffers is good (``check`` that)."""
        assert self._buffers is not None
        self._buffers.keep(check)

    def leave_out(self) -> None:
        """The step is left out: nothing of its batch stays."""
        assert self._buffers is not None
        self._buffers.put_back()

    def due(self) -> bool:
        """Whether it is time for a new state."""
        if self.states.candidate is not None:
            return False
        wait = self._every
        if wait is None:
            seldom = self._cost / (_SHARE * self._pace) if self._pace > 0 else _MOST_SELDOM
            wait = int(min(max(10.0, seldom), _MOST_SELDOM))
        return self.steps - self._proposed_at >= wait

    def made(self) -> None:
        """A step was made."""
        now = perf_counter()
        taken, self._last_step = now - self._last_step, now
        self._pace = taken if not self._pace else (1.0 - _SMOOTH) * self._pace + _SMOOTH * taken
        self.steps += 1
        if self.jumps:
            self._jumped_at = self.steps
        self._usual_rate += _SMOOTH * (min(self._rate, _JUMP * self._usual_rate) - self._usual_rate)

    def propose(self, monitor: Monitor, normal: Any) -> None:
        """Keep the state as it is now, as a candidate."""
        self.states.propose(lambda: self._taken(monitor, normal))
        self._proposed_at = self.steps
        self._last_step = perf_counter()

    def confirm(self) -> None:
        """The run stayed normal since the candidate was taken."""
        self.states.confirm()
        self.attempts = 0

    def recover(self, monitor: Monitor) -> None:
        """A good step: after many of them the learning rate comes back by one step."""
        assert self._rates is not None
        if self._rates.value >= 1.0:
            return
        self._good_steps += 1
        if self._good_steps < self._recover * 2**self._failed_raises:
            return
        factor = min(1.0 / self._factor, 1.0 / self._rates.value)
        self._change_rate(monitor, factor, "the run has been good since: the learning rate comes back")
        self._raised = True

    def roll_back(self, monitor: Monitor, why: str) -> Any:
        """Put the run back to the newest good state; an older one, and with a lower rate, when that did not help.

        Returns what was normal in that state.
        """
        assert self._rates is not None
        self.states.reject()
        self.attempts += 1
        self.rollbacks += 1
        if self.attempts >= 3:
            self.states.drop_newest()
        kept = self.states.good[-1]
        steps_lost = self.steps - kept.taken
        self._restore(kept)
        self.steps = self._proposed_at = kept.taken
        monitor.event(
            "rolled_back",
            f"{why}: put back to the state of step {kept.step:,} ({steps_lost:,} optimizer steps earlier)",
            to_step=kept.step,
            steps_lost=steps_lost,
            attempt=self.attempts,
            new_iterator=self._replays and self._loader is not None,
            action="Rescue",
        )
        self._lower(monitor)
        return copy.deepcopy(kept.normal)

    def _lower(self, monitor: Monitor) -> None:
        """The learning rate after a roll-back: what it was before it jumped; or lower, if that trouble comes again."""
        assert self._rates is not None
        if self._raised:
            self._failed_raises += 1
        if self.rate_jumped and self._rate > _JUMP * self._usual_rate * self._rates.value and not self._before_jump:
            self._before_jump = self._usual_rate
            factor = self._usual_rate / self._rate
            self._change_rate(monitor, factor, "the learning rate had jumped up: it is put back to what it was")
        elif self._raised or self._replays or self.attempts >= 2:
            self._change_rate(monitor, self._factor, "the same trouble must not come again")

    def _change_rate(self, monitor: Monitor, factor: float, why: str) -> None:
        assert self._rates is not None
        self._rates.multiply(factor)
        self._good_steps, self._raised = 0, False
        text = f"{why}; it is now {short(self._rates.value)} times the planned one"
        monitor.event("learning_rate_changed", text, factor=factor, of_planned=self._rates.value, action="Rescue")

    def _taken(self, monitor: Monitor, normal: Any) -> Kept:
        from lossdoctor.torchkit.snapshot import Snapshot

        assert self._rates is not None
        began = perf_counter()
        step = monitor.step or 0
        loader = self._loader if self._replays else None
        snapshot = Snapshot.take(self._model, self._optimizer, self._scheduler, self._scaler, loader, step=step)
        self._cost = perf_counter() - began
        return Kept(self.steps, step, self._rates.value, copy.deepcopy(normal), snapshot)

    def _restore(self, kept: Kept) -> None:
        assert self._rates is not None
        assert self._buffers is not None
        snapshot = kept.snapshot()
        if self._replays:
            snapshot.restore(self._model, self._optimizer, self._scheduler, self._scaler, self._loader)
            self._rates.put_back(kept.factor)
        else:
            groups = [{k: _copy(v) for k, v in g.items() if k != "params"} for g in self._optimizer.param_groups]
            replace(snapshot, random=None).restore(self._model, self._optimizer, None, self._scaler)
            for group, present in zip(self._optimizer.param_groups, groups, strict=True):
                for key, value in present.items():
                    group[key] = _kept_object(group.get(key), value)
        self._buffers.keep()


def _copy(value: Any) -> Any:
    return value.clone() if hasattr(value, "clone") else value


def _kept_object(old: Any, value: Any) -> Any:
    """A tensor stays the object that it was."""
    if hasattr(old, "copy_") and hasattr(value, "clone"):
        return old.copy_(value)
    return value
