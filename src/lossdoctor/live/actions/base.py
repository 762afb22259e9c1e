"""What every action has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossdoctor.live.rows import LiveEvent, Row, Verdict

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor


class LiveAction:
    """Something that is done to a live run, because the user asked for it. Subclass it and override the moments needed.

    Every method is called in the training thread, in the order of the actions given. What it raises does not reach the
    training: the action is switched off with one warning and an event.

    ``monitor`` gives the run: ``step``, ``diagnosis``, ``stop(reason)``, ``event(kind, message, **details)``,
    and after ``monitor.watch(model, optimizer)`` also ``model``, ``optimizer``, ``scheduler``, ``scaler``.
    """

    @property
    def answering(self) -> bool:
        """Whether it is dealing with something that went wrong: an action that would end the run for that waits."""
        return False

    def start(self, monitor: Monitor) -> None:
        """The run begins (or goes on): before the first row of this process."""

    def on_row(self, monitor: Monitor, row: Row) -> None:
        """A row was stored."""

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        """The run was judged."""

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:
        """An event was stored."""

    def before_step(self, monitor: Monitor, optimizer: Any) -> bool:  # noqa: ARG002
        """Before an optimizer step of a watched run. False leaves the step out: gradients are dropped."""
        return True

    def after_step(self, monitor: Monitor, optimizer: Any) -> None:
        """After an optimizer step of a watched run."""

    def finish(self, monitor: Monitor) -> None:
        """The run ends."""
