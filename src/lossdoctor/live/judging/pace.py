"""When to judge: often while little is known, rarely later, never for more than a share of the time."""

from __future__ import annotations

LEAST_ROWS = 8  # new rows that are worth another look
GROWTH = 1 / 32  # looks lie so far apart, as a share of the rows: a run of a million rows is looked at some 350 times
FIRST = 0.005  # seconds that the first verdict is expected to cost
LONGEST = 30.0  # seconds after which a run is looked at again however few rows came


class Pace:
    """Decides whether a verdict is due.

    It is when enough rows came since the last one (a share of all, or some and half a minute), and when what verdicts
    have cost and this one will cost stays within a share of the time since the start. :meth:`hurry` makes the next one
    due whatever it costs; that happens once per loss, when it is no longer finite.

    Args:
        share: of the time since the first question, how much may be spent.

    >>> pace = Pace()
    >>> pace.due(0.0, 100), pace.due(60.0, 100)
    (False, True)
    >>> pace.judged(100, 0.005)
    >>> pace.due(61.0, 102), pace.due(61.0, 108), pace.due(92.0, 108)
    (False, True, True)
    """

    def __init__(self, share: float = 0.001) -> None:
        self.share = share
        self.spent = 0.0  # seconds of all verdicts
        self.looks = 0
        self._began: float | None = None
        self._now = 0.0
        self._last_rows = 0
        self._last_time = 0.0
        self._cost = FIRST  # what a verdict is expected to cost
        self._hurry = False

    def hurry(self) -> None:
        """Something happened that must not wait."""
        self._hurry = True

    def due(self, now: float, rows: int) -> bool:
        """Whether to judge now, at a time in seconds of any clock, with so many rows."""
        if self._began is None:
            self._began = self._last_time = now
        self._now = now
        if self._hurry:
            return True
        new = rows - self._last_rows
        if new < LEAST_ROWS or (new < GROWTH * rows and now - self._last_time < LONGEST):
            return False
        return self.spent + self._cost <= self.share * (now - self._began)

    def judged(self, rows: int, seconds: float) -> None:
        """A verdict was given on so many rows; it took so long."""
        self.looks += 1
        self.spent += seconds
        # One after a restart reads all rows, and one beside busy neighbours waits: both say little of the next.
        self._cost = max(min(seconds, 2.0 * self._cost), 0.8 * self._cost)
        self._last_rows, self._last_time = rows, self._now
        self._hurry = False
