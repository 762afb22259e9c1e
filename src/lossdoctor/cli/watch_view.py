"""Where ``lossdoctor watch`` shows what it sees: a panel on a terminal, lines for everything else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.live.telling.payloads import encode
from lossdoctor.render import words
from lossdoctor.render.escape import visible
from lossdoctor.render.panel import PanelState, RunPanel
from lossdoctor.render.text import make_console
from lossdoctor.render.text_run import STYLES

# Severity and text of each.
Lines = Sequence[tuple[str, str]]


class View(Protocol):
    """Shows a run while it is watched."""

    console: Console

    def begin(self, run: str, diagnosis: Diagnosis) -> None:
        """A run is judged for the first time."""

    def show(self, state: PanelState) -> None:
        """How the run is now."""

    def say(self, severity: str, run: str, text: str) -> None:
        """A remark on the watching."""

    def tell(self, run: str, lines: Lines, payload: Mapping[str, Any]) -> None:
        """What was found in a run or happened to it, and the same for programs."""

    def pass_on(self, piece: bytes) -> None:
        """A piece of what is read, for standard output."""

    def close(self) -> None:
        """Nothing more is shown."""


class LineView:
    """One line for each thing that happens, and nothing else: for pipes, logs, dumb terminals and screen readers.

    Args:
        stream: where to.
        as_json: each line is a JSON object: what a webhook sends, or a remark.
    """

    def __init__(self, stream: IO[str], *, as_json: bool = False) -> None:
        self.console = make_console(stream)
        self._as_json = as_json
        self._waiting = ""

    def show(self, state: PanelState) -> None:
        """Only what is waited for is said, once."""
        if state.message and state.message != self._waiting:
            self.say("info", state.run, state.message)
        self._waiting = state.message

    def begin(self, run: str, diagnosis: Diagnosis) -> None:
        """What is watched, so that silence can be told from nothing."""
        self.say("info", run, f"watched: {words.span(diagnosis)}")

    def say(self, severity: str, run: str, text: str) -> None:
        """A line with the time and the severity as a word."""
        self.tell(run, [(severity, text)], {"source": "lossdoctor", "kind": "remark", "run": run, "text": text})

    def tell(self, run: str, lines: Lines, payload: Mapping[str, Any]) -> None:
        """A line each."""
        if self._as_json:
            written = [encode(payload).decode("utf-8", "replace")]
        else:
            now = time.strftime("%H:%M:%S")
            written = [visible(f"{now} {severity}: {run}: {text}") for severity, text in lines]
        for line in written:
            self.console.file.write(line + "\n")
        self.console.file.flush()

    def pass_on(self, piece: bytes) -> None:
        """As it is."""
        write_out(piece)

    def close(self) -> None:
        """Nothing to do."""


class PanelView:
    """A panel that is drawn anew when something has changed; what is said and passed on goes above it."""

    def __init__(self, stream: IO[str]) -> None:
        self.console = make_console(stream)
        self._live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._drawn: tuple[object, ...] = ()
        self._above = threading.Lock()
        self._half = b""  # a line to be passed on that has not ended
        self._live.start()

    def begin(self, run: str, diagnosis: Diagnosis) -> None:
        """The panel says it."""

    def show(self, state: PanelState) -> None:
        """Draw the panel, unless nothing has changed: over a slow line that would only flicker."""
        others = tuple(id(d) for _, d in state.others)
        now = (id(state.diagnosis), others, state.message, state.quiet, state.ended, *state.foot, self.console.size)
        if now != self._drawn:
            self._drawn = now
            self._live.update(RunPanel(state), refresh=True)

    def tell(self, run: str, lines: Lines, payload: Mapping[str, Any]) -> None:  # noqa: ARG002
        """A line each."""
        for severity, text in lines:
            self.say(severity, run, text)

    def say(self, severity: str, run: str, text: str) -> None:
        """A line above the panel, which stays when the panel goes."""
        told = visible(f"{run}: {text}")
        line = Text.assemble((time.strftime("%H:%M:%S "), "dim"), (f"{severity}: ", STYLES[severity]), told)
        self.console.print(line, soft_wrap=True)

    def pass_on(self, piece: bytes) -> None:
        """Above the panel, line by line, where both share a terminal; of a progress bar its last state."""
        if not _is_terminal(sys.stdout):
            write_out(piece)
            return
        with self._above:
            *lines, self._half = (self._half + piece).split(b"\n")
            for line in lines:
                shown = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
                self.console.print(Text.from_ansi(shown), soft_wrap=True)

    def close(self) -> None:
        """Take the panel away and give the cursor back."""
        if self._half:
            self.pass_on(b"\n")
        self._live.stop()


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def write_out(piece: bytes) -> None:
    """All of a piece on standard output, past every buffer."""
    sys.stdout.flush()
    out = sys.stdout.fileno()
    while piece:
        piece = piece[os.write(out, piece) :]


def make_view(*, plain: bool, as_json: bool, once: bool, tee: bool) -> View:
    """A panel where there is a terminal that can show one, else lines.

    With ``tee`` standard output belongs to what is passed on, unless it is the terminal itself.
    """
    stream = sys.stderr if tee and not _is_terminal(sys.stdout) else sys.stdout
    if stream is None:  # started without one
        stream = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    console = make_console(stream)
    if once:
        return NoView(stream)
    if as_json or plain or not console.is_terminal or console.is_dumb_terminal:
        return LineView(stream, as_json=as_json)
    return PanelView(stream)


class NoView:
    """Nothing is shown while one look is taken."""

    def __init__(self, stream: IO[str]) -> None:
        self.console = make_console(stream)

    def begin(self, run: str, diagnosis: Diagnosis) -> None:
        """Nothing."""

    def show(self, state: PanelState) -> None:
        """Nothing."""

    def say(self, severity: str, run: str, text: str) -> None:
        """Nothing."""

    def tell(self, run: str, lines: Lines, payload: Mapping[str, Any]) -> None:
        """Nothing."""

    def pass_on(self, piece: bytes) -> None:
        """As it is."""
        write_out(piece)

    def close(self) -> None:
        """Nothing to do."""
