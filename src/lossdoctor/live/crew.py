"""The actions and callbacks of a monitor: each is run so that what it raises switches off it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.guard import Guard
from lossdoctor.live.rows import Row, Verdict
from lossdoctor.live.telling.announcer import Announcer

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

_MOMENTS = ("start", "on_row", "on_verdict", "on_event", "before_step", "after_step", "finish")


class Crew:
    """Actions and callbacks in the order given; before them an announcer where none is among them.

    Args:
        actions: one or several.
        callbacks: called with verdicts that change something.
        guard: what they are run by.

    Raises:
        UsageError: a class is given instead of an instance, or something that cannot be called.
    """

    def __init__(
        self,
        actions: Iterable[LiveAction] | LiveAction,
        callbacks: Iterable[Callable[[Verdict], object]] | Callable[[Verdict], object],
        guard: Guard,
    ) -> None:
        self.actions = _checked(actions)
        announced = any(isinstance(a, Announcer) for a in self.actions)
        self._all: tuple[LiveAction, ...] = self.actions if announced else (Announcer(), *self.actions)
        self.callbacks = (callbacks,) if callable(callbacks) else tuple(callbacks)
        for callback in self.callbacks:
            if not callable(callback):
                raise UsageError(f"a callback must be callable with a verdict, not {type(callback).__name__}")
        self._guard = guard
        # Some moments come with every step: those that have nothing to do there are not called.
        self._at = {m: [(i, a) for i, a in enumerate(self._all) if _overrides(a, m)] for m in _MOMENTS}

    def tell(self, monitor: Monitor, moment: str, *what: Any, default: Any = None) -> list[Any]:
        """Call one method of every action that has its own; what each returned."""
        return [self._call(i, a, moment, monitor, *what, default=default) for i, a in self._at[moment]]

    def row(self, monitor: Monitor, row: Row) -> None:
        """A row was stored."""
        for i, action in self._at["on_row"]:
            self._call(i, action, "on_row", monitor, row)

    def verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        """The run was judged."""
        if verdict.changes:
            for i, callback in enumerate(self.callbacks):
                self._guard.run(("callback", i), f"the callback {_named(callback)}", callback, verdict)
        self.tell(monitor, "on_verdict", verdict)

    def _call(self, i: int, action: LiveAction, moment: str, *arguments: Any, default: Any = None) -> Any:
        method = getattr(action, moment)
        return self._guard.run(("action", i), f"the action {_named(action)}", method, *arguments, default=default)


def _checked(actions: Iterable[LiveAction] | LiveAction) -> tuple[LiveAction, ...]:
    found = (actions,) if isinstance(actions, (LiveAction, type)) else tuple(actions)
    for action in found:
        if isinstance(action, type):
            raise UsageError(f"actions must be instances: write {action.__name__}() instead of {action.__name__}")
    return found


def _overrides(action: LiveAction, moment: str) -> bool:
    """Whether it has that method, and its own. One that is no LiveAction may have only some of them."""
    method = getattr(action, moment, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(LiveAction, moment)


def _named(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))
