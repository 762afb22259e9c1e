"""What all integrations share: a monitor tied to a framework's run, from which nothing reaches the training."""

from __future__ import annotations

import inspect
import logging
import sys
import weakref
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import LossdoctorError
from lossdoctor.live.guard import Guard, described
from lossdoctor.live.monitor import Monitor

log = logging.getLogger("lossdoctor")
Method = TypeVar("Method", bound=Callable[..., Any])


class MissingFrameworkError(LossdoctorError, ImportError):
    """An integration was imported whose framework is not installed; the message names the extra."""


def framework(module: str, *, extra: str, instead_of: str = "") -> Any:
    """Import a framework's module.

    Args:
        module: what to import, for example ``"lightgbm.callback"``.
        extra: the extra of lossdoctor that installs it.
        instead_of: another package that would do as well, for the message.

    Raises:
        MissingFrameworkError: its package is not installed. One that is there and broken raises its own error.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        also = f" (or {instead_of!r})" if instead_of else ""
        raise MissingFrameworkError(
            f"lossdoctor.integrations.{extra} needs the package {package!r}{also}, which is not installed; "
            f"run: pip install 'lossdoctor[{extra}]'"
        ) from error


class Link:
    """One run of a framework and its monitor.

    A ready monitor is the user's: it is used and left open. One that is made here from keyword arguments is opened when
    a training begins and finished when it ends, so that a second training is a second run (or goes on with the first
    one's ``run_dir``).

    Args:
        owner: the integration's name, for messages.
        monitor: a ready monitor, or None.
        options: keyword arguments of :class:`~lossdoctor.live.monitor.Monitor`.

    Raises:
        TypeError: both a monitor and options, something that is no monitor, or an option that Monitor does not know.
        UsageError: a context that is none.
    """

    def __init__(self, owner: str, monitor: Any, options: Mapping[str, Any]) -> None:
        if monitor is not None and options:
            raise TypeError(f"{owner} takes a ready Monitor or a Monitor's keyword arguments ({', '.join(options)})")
        if monitor is not None and not callable(getattr(monitor, "log", None)):
            raise TypeError(f"{owner}: monitor must be a lossdoctor.Monitor, got {monitor!r}")
        try:
            inspect.signature(Monitor).bind(**options)
        except TypeError as error:
            known = ", ".join(inspect.signature(Monitor).parameters)
            raise TypeError(f"{owner}: {error}; a Monitor takes {known}") from None
        _context(options.get("context"), {})
        self.owner = owner
        self.options = dict(options)
        self.given = monitor
        self.monitor: Any = monitor
        self.running = monitor is not None
        self.guard = Guard(self._tell)

    def _tell(self, part: str, error: Exception) -> None:
        log.warning("%s: %s failed and is switched off; training goes on: %s", self.owner, part, described(error))

    def __deepcopy__(self, memo: dict[int, Any]) -> Link:
        """scikit-learn clones estimators with their callbacks: a copy opens a run of its own."""
        return Link(self.owner, self.given, self.options)

    def open(self, holder: object, config: Mapping[str, Any] | None = None, **facts: Any) -> None:
        """A training begins: make the monitor, unless a ready one was given.

        Args:
            holder: the callback; when it is gone, a run that is still open is finished. That is how one ends of whose
                end the framework says nothing.
            config: the framework's hyper-parameters; the user's own win.
            facts: fields of RunContext that the framework knows; the user's own win.
        """
        if self.given is not None:
            return
        self.close()
        given = self.options.get("config") or {}
        merged = {**config, **given} if config and isinstance(given, Mapping) else given
        context = _context(self.options.get("context"), facts)
        self.monitor = Monitor(**{**self.options, "config": merged, "context": context})
        self.running = True
        weakref.finalize(holder, self.monitor.finish).atexit = False  # at the end of Python, monitors end themselves

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """One row, if a training is under way and there is anything to log."""
        if self.running and values:
            self.monitor.log(step, **{str(n): v for n, v in values.items() if n != "step" and v is not None})

    def watch(self, model: Any, optimizer: Any, **more: Any) -> None:
        """Watch a torch model, with its optimizer where that is one of torch."""
        torch = sys.modules.get("torch")
        if not self.running or torch is None or not isinstance(model, torch.nn.Module):
            return
        optimizer = plain_optimizer(optimizer)
        self.monitor.watch(model, optimizer if isinstance(optimizer, torch.optim.Optimizer) else None, **more)

    @property
    def should_stop(self) -> bool:
        """Whether an action asked for the end of training."""
        return bool(self.guard.run("should_stop", "reading should_stop", getattr, self.monitor, "should_stop", False))

    @property
    def stop_reason(self) -> str:
        """Why, in one sentence."""
        return str(getattr(self.monitor, "stop_reason", "") or "")

    def close(self, error: BaseException | None = None) -> None:
        """The training ended, by an error where one is given. The user's own monitor stays open."""
        if self.given is None and self.running:
            self.running = False
            kind = type(error) if error is not None else None
            self.guard.run("finish", "finishing the run", self.monitor.__exit__, kind, error, None)


def _context(given: Any, facts: Mapping[str, Any]) -> RunContext:
    """What the framework knows of the run, under what the user says of it."""
    known = {k: v for k, v in facts.items() if isinstance(v, str) or (v is not None and 0 < v < float("inf"))}
    if isinstance(given, Mapping):
        given = RunContext.from_pairs(given)
    return RunContext.from_pairs(known).merged(given)


def plain_optimizer(optimizer: Any) -> Any:
    """The torch optimizer inside what Accelerate, DeepSpeed or Lightning wrap around it."""
    for attribute in ("optimizer", "_optimizer"):
        inner = getattr(optimizer, attribute, None)
        if inner is not None and hasattr(inner, "param_groups"):
            return plain_optimizer(inner)
    return optimizer


def hook(method: Method) -> Method:
    """A method of a callback (which has a ``link``) that cannot raise: what fails once is told and left out from then.

    It returns None then, so a method whose result the framework needs does its work in a hook of its own.
    """

    @wraps(method)
    def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
        name = method.__name__
        return self.link.guard.run(name, name, lambda: method(self, *arguments, **named))

    return guarded  # type: ignore[return-value]


def agreed(stop: bool) -> bool:
    """What rank 0 says, on every rank of ``torch.distributed``: one that stopped alone would leave the others waiting.

    A collective call: every rank makes it, or none.
    """
    torch = sys.modules.get("torch")
    dist = getattr(torch, "distributed", None)
    if dist is None or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return stop
    told = [stop]
    dist.broadcast_object_list(told, src=0)
    return bool(told[0])
