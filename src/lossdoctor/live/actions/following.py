"""Which metric of a row an action follows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lossdoctor.core.curve import Curve
from lossdoctor.core.names import parse
from lossdoctor.core.roles import map_roles

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

log = logging.getLogger("lossdoctor")


class Followed:
    """The value of one role in rows that come one after the other.

    By a metric's own name where one is given; else by the monitor's ``metrics``; else by the names in the log, as
    ``lossdoctor diagnose`` maps them. Terms that are logged without their total count as their sum.

    Args:
        role: ``"train_loss"`` or ``"val_loss"``.
        metric: the name in the log, if it is not to be found by itself.
    """

    def __init__(self, role: str, metric: str | None = None) -> None:
        self.role = role
        self.metric = metric
        self.names: tuple[str, ...] = (metric,) if metric else ()
        self._seen: set[str] = set()

    def value(self, monitor: Monitor, values: Mapping[str, float]) -> float | None:
        """The value in a row, or None where it is not in it."""
        if self.metric is None and not self._seen.issuperset(values):
            self._seen.update(values)
            self._map(monitor)
        found = [values[name] for name in self.names if name in values]
        if not found or len(found) < len(self.names):
            return None
        return found[0] if len(found) == 1 else math.fsum(found) if all(map(math.isfinite, found)) else sum(found)

    def _map(self, monitor: Monitor) -> None:
        given = {role: name for role, name in monitor.metrics.items() if name in self._seen}
        curves = {name: Curve(np.zeros(1, np.int64), np.zeros(1)) for name in sorted(self._seen)}
        roles = map_roles(curves, given)
        self.names = roles.terms(self.role) or roles.names.get(self.role, ())[:1]


def is_maximised(name: str) -> bool:
    """Whether more of a metric is better, by its name.

    >>> is_maximised("val_accuracy"), is_maximised("val_loss")
    (True, False)
    """
    return parse(name).kind in ("accuracy", "score")


class Once:
    """Warnings that are given once each, so that nothing fills a log."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, text: str) -> None:
        """Log a warning, unless it was logged before."""
        if text not in self._said:
            self._said.add(text)
            log.warning(text)
