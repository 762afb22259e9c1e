"""Put a run that goes wrong back to where it was right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.numbers import short
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.following import Followed, Once
from lossdoctor.live.actions.gradients import as_module, measured, names_in, parameters, read
from lossdoctor.live.actions.normal import GradientLevel, LossLevel
from lossdoctor.live.actions.rescuing import Rescuer
from lossdoctor.live.actions.together import agreed, may_act
from lossdoctor.live.rows import Row

if TYPE_CHECKING:
    from lossdoctor.live.actions.gradients import Gradients
    from lossdoctor.live.monitor import Monitor

THEN = ("skip", "replay")
_PATIENCE = 3  # steps in a row that are left out for their gradients alone
_LONG_PATIENCE = 20  # the same, when nothing speaks against the state of the run
_BAD_ROWS = 5  # losses in a row that are not finite
_NO_STEPS = 50  # losses without an optimizer step: it is not called any more
_HOPELESS = 200  # batches left out in a row, at a state that is known to be good
_EVENTS = 10  # steps left out that are told one by one


class Rescue(LiveAction):
    """Keeps a run from being spoiled, by leaving bad steps out and, where that is not enough, by going back.

    *Before* every optimizer step it looks at the gradients. Where one is not finite, or their norm is out of all
    proportion to the run's recent ones, the step is left out: weights, moments and running statistics are as if that
    batch had not come. When steps have to be left out again and again, or the loss leaves its level for good, the run
    is put back, bit for bit, to the last state that is known to be good. A state is known to be good when the run
    stayed normal for ``confirm`` steps after it. When the same trouble comes again before a new state is confirmed, the
    learning rate is lowered too, each time; it comes back in the same steps, one for every ``recover`` good steps, and
    more slowly after each relapse. After ``attempts`` of that in a row it gives up: the run is left in its last good
    state and ``monitor.stop`` is called.

    What is normal is judged by the run's own noise (:mod:`lossdoctor.live.actions.normal`).

    With ``then="skip"`` only what was learned goes back: model, optimizer state and loss scale. Data, schedule and
    random generators go on, so the run does not meet the same batches again and ends on its schedule. With
    ``then="replay"`` everything goes back, the scheduler, the generators and the position of the ``loader`` too, and
    the learning rate is lowered at once: without that it would go the same way again. A loader whose running iterator
    does not follow ``load_state_dict`` needs a new ``iter(loader)``; the event ``rolled_back`` tells when.

    The roll-back is carried out at the next optimizer step, in the place of that step, where the state that was taken
    after an earlier step fits in without a seam; log once a step, and nothing else is asked of the loop.

    **Costs.** One norm of all gradients at every step, and copies of model and optimizer: ``keep`` good ones and one
    candidate, made so seldom that they take about 2 % of the time (but every 100 steps at least). On a GPU a look
    before the step means to wait for the device; by default (``wait=None``) it is therefore made one step late there,
    and a bad step is answered by going back. ``wait=True`` looks before the step on a GPU as well.

    Needs ``monitor.watch(model, optimizer, scheduler=…, scaler=…)`` with one optimizer. Put it before
    :class:`ClipGradients`, which hides what it looks for. Of losses that a ``GradScaler`` makes overflow it sees
    nothing, and need not: the scaler leaves those steps out by itself.

    Args:
        metric: the loss to follow; the training loss by default.
        then: ``"skip"`` or ``"replay"``.
        loader: its position is kept, where it has ``state_dict`` and ``load_state_dict``; used with ``"replay"``.
        keep: number of good states.
        folder: keep them on disk, and not in memory (:meth:`lossdoctor.torchkit.snapshot.Snapshot.load` reads them).
        every: least number of steps between two states; by the time that they take when None.
        confirm: steps that must be normal after a state before it counts as good.
        factor: what the learning rate is lowered by.
        recover: good steps after which the learning rate takes one step back up.
        attempts: roll-backs in a row, without a state confirmed between them, before it gives up.
        most: roll-backs of the whole run before it gives up.
        wait: look at the gradients before the step (True) or one step late (False).
        shared: in a training of several processes, that this action is in the monitor of every one of them
            (``Monitor(every_rank=True)``): then all do the same, at the price of one tiny collective a step. Without,
            it does nothing there.

    Attributes:
        skipped: steps that were left out.
        rollbacks: times that the run was put back.

    Raises:
        UsageError: a number or word out of range.
    """

    def __init__(
        self,
        metric: str | None = None,
        *,
        then: str = "skip",
        loader: Any = None,
        keep: int = 2,
        folder: str | Path | None = None,
        every: int | None = None,
        confirm: int = 20,
        factor: float = 0.3,
        recover: int = 50,
        attempts: int = 6,
        most: int = 30,
        wait: bool | None = None,
        shared: bool = False,
    ) -> None:
        if then not in THEN:
            raise UsageError(f"Rescue(then=…) is one of {', '.join(THEN)}, got {then!r}{nearest(str(then), THEN)}")
        if not 0 < factor < 1:
            raise UsageError(f"Rescue(factor=…) is between 0 and 1, got {factor!r}")
        counts = {"keep": keep, "every": every, "confirm": confirm, "recover": recover, "attempts": attempts}
        for name, count in {**counts, "most": most}.items():
            if count is not None and count < 1:
                raise UsageError(f"Rescue({name}=…) is at least 1, got {count!r}")
        self.shared, self.wait, self.confirm, self.most, self.attempts = shared, wait, confirm, most, attempts
        self.skipped = 0
        self._loss = Followed("train_loss", metric)
        self._losses = LossLevel()
        self._norms = GradientLevel()
        self._rescuer = Rescuer(keep, None if folder is None else Path(folder), every, then, loader, factor, recover)
        self._optimizer: Any = None
        self._names: dict[int, str] = {}
        self._coming: Any = None  # norms of the step before, where they are looked at late
        self._wanted = ""  # why the run is to be put back at the next step
        self._uneasy = False  # the last loss was not normal
        self._left_out = False  # this step
        self._due = self._far = self._unheard = False  # as agreed by all processes: see _judged
        self._in_a_row = self._far_losses = 0  # steps left out, and losses among theirs that are far out too
        self._rows = self._rows_since = self._rows_without_a_step = self._bad_rows = 0
        self._off = False
        self._once = Once()

    @property
    def rollbacks(self) -> int:
        """Times that the run was put back."""
        return self._rescuer.rollbacks

    @property
    def answering(self) -> bool:
        """A step was left out, the last loss was not normal, or the run is about to be put back."""
        acts = self._optimizer is not None and not self._off
        return acts and (self._left_out or self._uneasy or bool(self._wanted))

    # moments

    def before_step(self, monitor: Monitor, optimizer: Any) -> bool:
        if self._off or not self._has_begun(monitor, optimizer):
            return True
        self._rows_without_a_step = 0
        self._rescuer.enter(monitor)
        seen, late = self._look(optimizer)
        infinite, high, trouble = self._judged(seen)
        self._left_out = True
        if trouble:
            return self._put_back(monitor, self._wanted or "another process met trouble")
        if (infinite or high) and not self._let_through(monitor, seen, infinite, late):
            return False
        if seen is not None and seen.skipped and not late:
            self._rescuer.leave_out()
            return True  # the scaler leaves it out
        if seen is not None:
            self._norms.accept(seen.norm)
        self._in_a_row = 0
        self._rescuer.accept(check=not late)
        self._left_out = False
        if self._rescuer.jumps and not self._uneasy and not late:
            self._rescuer.secure(monitor, (self._losses, self._norms))
        return True

    def after_step(self, monitor: Monitor, optimizer: Any) -> None:
        if self._off or optimizer is not self._optimizer:
            return
        self._rescuer.leave()
        if self._left_out:
            return
        self._rescuer.made()
        if self._uneasy:
            self._rescuer.states.reject()
            return
        self._rescuer.recover(monitor)
        candidate = self._rescuer.states.candidate
        if candidate is None and self._due:
            self._rescuer.propose(monitor, (self._losses, self._norms))
            self._rows_since = 0
        elif candidate is not None and self._rescuer.steps - candidate.taken >= self.confirm and not self._unheard:
            self._rescuer.confirm()

    def on_row(self, monitor: Monitor, row: Row) -> None:
        loss = None if self._off else self._loss.value(monitor, row.values)
        if loss is None:
            return
        self._rows += 1
        self._rows_since += 1
        self._rows_without_a_step += 1
        if self._left_out:  # the loss of the batch that was left out: it says nothing of a trend
            self._far_losses += not math.isfinite(loss) or self._losses.is_far(loss)
            return
        verdict = self._losses.add(loss)
        self._bad_rows = self._bad_rows + 1 if verdict == "nonfinite" else 0
        self._uneasy = verdict != "normal"
        if verdict == "diverged":
            self._wanted = f"the loss ({short(loss)}) has left its level for good"
        elif self._bad_rows >= _BAD_ROWS and self._rows > self._bad_rows:
            self._wanted = f"the loss was not finite {self._bad_rows} times in a row"
        stuck = self._rows_without_a_step >= _NO_STEPS and self._optimizer is not None
        if self._wanted and stuck and not self.shared:
            self._put_back(monitor, self._wanted)  # a GradScaler leaves every step out: none comes at which to go back

    def finish(self, monitor: Monitor) -> None:  # noqa: ARG002
        self._rescuer.states.close()
        if self._optimizer is None and not self._off:
            self._once.warn(
                "Rescue has watched over nothing: it needs monitor.watch(model, optimizer) before the first step"
            )

    # what they are made of

    def _has_begun(self, monitor: Monitor, optimizer: Any) -> bool:
        if self._optimizer is None:
            several = isinstance(monitor.optimizer, list | tuple) and len(monitor.optimizer) > 1
            if several:
                self._once.warn("Rescue acts on one optimizer and does nothing here, where there are several")
            if several or not may_act("Rescue", self.shared, self._once):
                self._off = True
                return False
            model = as_module(monitor.model)
            self._optimizer, self._names = optimizer, names_in(model, optimizer)
            self._rescuer.begin(monitor, model, optimizer, (self._losses, self._norms))
        return optimizer is self._optimizer

    def _judged(self, seen: Gradients | None) -> tuple[bool, bool, bool]:
        """Gradients that are not finite, gradients far too large, a loss for which to go back; alike on all processes.

        So is all else that what is done next depends on.
        """
        here = (
            seen is not None and not seen.skipped and not math.isfinite(seen.norm),
            seen is not None and self._norms.is_high(seen.norm),
            bool(self._wanted),
            self._uneasy,
            self._rescuer.due(),
            self._far_losses > self._in_a_row // 2,
            self._rows > 0 and self._rows_since < 3,  # too few since the candidate was taken
        )
        infinite, high, trouble, *rest = map(bool, agreed(*here) if self.shared else here)
        self._uneasy, self._due, self._far, self._unheard = rest
        return infinite, high, trouble

    def _look(self, optimizer: Any) -> tuple[Gradients | None, bool]:
        """The gradients of this step, or (late) of the one before."""
        pending = measured(optimizer, self._names)
        late = self.wait is False or (self.wait is None and any(p.is_cuda for p in parameters(optimizer)[:1]))
        if not late:
            return (None if pending is None else read(pending)), False
        before, self._coming = self._coming, pending
        return (None if before is None else read(before)), True

    def _let_through(self, monitor: Monitor, seen: Gradients | None, infinite: bool, late: bool) -> bool:
        """Meet bad gradients; True when there is nothing to be said against the step after all."""
        what = self._described(seen, infinite)
        if late:
            return self._put_back(monitor, what)
        if not self._in_a_row:
            self._far_losses = 0
        self._in_a_row += 1
        # Weights that came from an ordinary step are good: then it is the batches. Otherwise it may be the weights.
        doubtful = self._uneasy or self._rescuer.rate_jumped
        if self._in_a_row > _PATIENCE:
            if not (infinite or self._far):
                self._norms.forget()  # the losses are as ever: larger gradients are the new normal
                return True
            if self._rescuer.moved and (doubtful or self._in_a_row > _LONG_PATIENCE):
                return self._put_back(monitor, f"{what}, for the {self._in_a_row}th time in a row")
            if self._in_a_row >= _HOPELESS:  # the state is a good one, so these are the batches
                return self._give_up(monitor, f"{what}, for {self._in_a_row} batches in a row")
        self._rescuer.leave_out()
        self.skipped += 1
        if self.skipped <= _EVENTS or self.skipped & (self.skipped - 1) == 0:
            monitor.event("skipped_step", f"{what}: the step was left out", skipped=self.skipped, action="Rescue")
        return False

    def _described(self, seen: Gradients | None, infinite: bool) -> str:
        if seen is None:
            return "another process met bad gradients"
        if infinite:
            where = ", ".join(seen.nonfinite[:3]) + (" and more" if len(seen.nonfinite) > 3 else "")
            return f"gradients are not finite ({where})" if where else "gradients are not finite"
        return f"the gradient norm is {short(seen.norm)} where {short(self._norms.usual)} is usual"

    def _put_back(self, monitor: Monitor, why: str) -> bool:
        """Go back; always False, as the step at which it happens is left out."""
        self._wanted, self._uneasy, self._left_out = "", False, True
        self._in_a_row = self._bad_rows = 0
        self._coming = None
        self._losses, self._norms = self._rescuer.roll_back(monitor, why)
        self._losses.cut()
        if self._rescuer.attempts >= self.attempts or self._rescuer.rollbacks >= self.most:
            return self._give_up(monitor, f"put back {self._rescuer.rollbacks} times")
        return False

    def _give_up(self, monitor: Monitor, why: str) -> bool:
        self._off = True
        self._rescuer.leave_out()
        self._rescuer.leave()
        reason = f"Rescue gave up ({why}); the run is in its last good state"
        monitor.event("gave_up", reason, rollbacks=self.rollbacks, skipped=self.skipped, action="Rescue")
        monitor.stop(reason)
        return False
