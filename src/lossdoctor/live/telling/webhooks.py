"""Verdicts and events sent to a URL: as JSON, or as Slack and what is compatible with it take them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from lossdoctor.core.vocabulary import SEVERITIES, severity_rank
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.rows import KINDS, LiveEvent, Verdict
from lossdoctor.live.telling.announcer import OF_VERDICTS
from lossdoctor.live.telling.payloads import encode, event_payload, slack, verdict_payload
from lossdoctor.live.telling.posting import Refusal, Retry, checked, place, post

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor

log = logging.getLogger("lossdoctor")

_FIRST_WAIT = 1.0  # seconds; doubled each time
_LONGEST_WAIT = 60.0
_LAST_WAIT = 0.3  # between two tries when the run has ended


class Webhook(LiveAction):
    """Sends what is found in a run, and what happens to it, to a URL.

    A thread of its own sends; training never waits for it. What cannot be delivered is tried again, later and later
    (1 s, doubled up to a minute, or as the server's ``Retry-After`` says), then dropped with one warning. A server that
    refuses (status 400 to 499 but for 408, 425 and 429) is not asked twice for the same message.

    The URL is a secret (who knows a Slack webhook can post): it is never logged, only its host is.

    Args:
        url: ``https://…`` or ``http://…``.
        style: ``"json"`` (docs/how-to/watch-a-run.md describes it), or ``"slack"`` (Slack, Mattermost, Rocket.Chat,
            Discord with ``/slack`` at the URL's end).
        least: findings below this severity are not sent: ``"info"``, ``"warning"`` or ``"critical"``.
        events: kinds of events to send (see :data:`lossdoctor.live.rows.KINDS`); all of them by default, except those
            that a verdict tells.
        headers: further headers, such as ``{"Authorization": "Bearer …"}``.
        timeout: seconds that a server may take to answer.
        retries: how often a message is tried again, 0 or more.
        queue: how many messages may wait, 1 or more; the oldest gives way.
        flush: seconds that ``finish`` waits for messages still to be sent.

    Raises:
        ValueError: not an http(s) URL, an unknown style, severity or event, or a number out of its range.

    >>> Webhook("https://hooks.example.com/services/T0/B0/secret", style="slack")
    <Webhook slack hooks.example.com>
    """

    def __init__(
        self,
        url: str,
        *,
        style: Literal["json", "slack"] = "json",
        least: str = "info",
        events: Collection[str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        retries: int = 5,
        queue: int = 100,
        flush: float = 3.0,
    ) -> None:
        self._url = checked(url)
        if style not in ("json", "slack"):
            raise ValueError(f"unknown webhook style {style!r}; styles are json and slack")
        if least not in SEVERITIES:
            raise ValueError(f"unknown severity {least!r}; severities are {', '.join(SEVERITIES)}")
        if unknown := sorted(set(events or ()) - KINDS.keys()):
            raise ValueError(f"unknown event {unknown[0]!r}; events are {', '.join(KINDS)}")
        if not (timeout > 0 and retries >= 0 and queue >= 1 and flush >= 0):
            raise ValueError(
                "a webhook needs timeout > 0, retries >= 0, queue >= 1 and flush >= 0, "
                f"got {timeout}, {retries}, {queue} and {flush}"
            )
        self.style = style
        self.least = least
        self.events = frozenset(KINDS if events is None else events) - OF_VERDICTS
        self.headers = dict(headers or {})
        self.timeout, self.retries, self.flush = timeout, retries, flush
        self.sent = self.lost = 0
        self._waiting: deque[bytes] = deque(maxlen=queue)
        self._wake = threading.Condition()
        self._busy = False  # a message is being sent: it is no longer in the queue
        self._until: float | None = None  # set by finish: the time at which trying ends
        self._thread: threading.Thread | None = None
        self._abandoned = False  # finish has counted the message that is being sent as lost
        self._warned = False

    def __repr__(self) -> str:
        return f"<Webhook {self.style} {place(self._url)}>"

    def start(self, monitor: Monitor) -> None:  # noqa: ARG002
        """A run begins, perhaps after another was finished."""
        self._until = None

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:
        """Send what the verdict changes."""
        groups = (verdict.announced, verdict.updated, verdict.withdrawn)
        least = severity_rank(self.least)
        kept = [tuple(f for f in group if severity_rank(f.severity) >= least) for group in groups]
        if any(kept):
            changed = Verdict(verdict.diagnosis, verdict.step, *kept)
            self.send(verdict_payload(changed, monitor.name, _folder(monitor)))

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:
        """Send an event."""
        if event.kind in self.events:
            unit = monitor.diagnosis.history.step_unit if monitor.diagnosis is not None else "step"
            self.send(event_payload(event, monitor.name, _folder(monitor), unit=unit))

    def send(self, payload: Mapping[str, Any]) -> None:
        """Put one payload (as :mod:`lossdoctor.live.telling.payloads` makes them) into the queue; returns at once."""
        body = encode(slack(payload) if self.style == "slack" else payload)
        with self._wake:
            if len(self._waiting) == self._waiting.maxlen:
                self._lose(1, f"more than {self._waiting.maxlen} messages wait")
            self._waiting.append(body)
            if self._thread is None or not self._thread.is_alive():  # the first message, or in a forked process
                self._thread = threading.Thread(target=self._work, name="lossdoctor-webhook", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def finish(self, monitor: Monitor) -> None:  # noqa: ARG002
        """The run ends: see :meth:`drain`."""
        self.drain()

    def drain(self) -> None:
        """Wait until everything is sent, at most ``flush`` seconds; waits between tries are cut short."""
        with self._wake:
            self._until = end = time.monotonic() + self.flush
            self._wake.notify_all()
            while (self._waiting or self._busy) and (left := end - time.monotonic()) > 0:
                self._wake.wait(left)
            if unsent := len(self._waiting) + self._busy:
                self._waiting.clear()
                self._lose(unsent, "the run has ended")
                self._abandoned = self._busy

    def _work(self) -> None:
        """The thread: one message after another, each until it is delivered or given up."""
        while True:
            with self._wake:
                while not self._waiting:
                    self._wake.wait()
                body = self._waiting.popleft()
                self._busy = True
            try:
                self._deliver(body)
            except Exception as error:  # a thread of its own: nobody else would see it, and the next may go through
                self._lose(1, type(error).__name__)
            with self._wake:
                self._busy = self._abandoned = False
                self._wake.notify_all()

    def _deliver(self, body: bytes) -> None:
        for attempt in range(self.retries + 1):
            try:
                post(self._url, body, self.headers, self.timeout)
            except Refusal as no:
                self._lose(not self._abandoned, str(no))
                return
            except Retry as failed:
                if attempt == self.retries or not self._back_off(attempt, failed.after):
                    tries = "1 try" if attempt == 0 else f"{attempt + 1} tries"
                    self._lose(not self._abandoned, f"{failed}, {tries}")
                    return
            else:
                self.sent += 1
                return

    def _back_off(self, attempt: int, after: float | None) -> bool:
        """Wait before the next try; False when the run ends before it may be made."""
        end = time.monotonic() + (min(_FIRST_WAIT * 2.0**attempt, _LONGEST_WAIT) if after is None else after)
        with self._wake:
            while (left := end - time.monotonic()) > 0:
                if self._until is not None:
                    if after is not None and end > self._until:
                        return False
                    if after is None:
                        left = min(left, _LAST_WAIT)
                        end = min(end, time.monotonic() + left)
                self._wake.wait(left)
            return self._until is None or time.monotonic() < self._until

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if not self._warned:  # one warning: a server that is down must not fill the log of a run
            self._warned = True
            text = (
                "lossdoctor: %s of the webhook at %s cannot be delivered (%s); further ones are dropped without a word"
            )
            log.warning(text, "a message" if count == 1 else f"{count} messages", place(self._url), why)


def _folder(monitor: Monitor) -> str:
    return "" if monitor.run_dir is None else str(monitor.run_dir)
