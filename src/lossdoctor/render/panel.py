"""The panel of a run that is being watched, for a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.text import Text

from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Finding
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.render import words
from lossdoctor.render.bars import bars, columns
from lossdoctor.render.escape import visible
from lossdoctor.render.text_run import STYLES
from lossdoctor.render.words import ASCII, UNICODE, Glyphs

_WIDEST = 120
_LEAST_HEIGHT = 6
# Role -> how it is called here, and its colour. Their order is that of the panel.
_MAIN = {"train_loss": "blue", "val_loss": "magenta"}
_BESIDE = {"learning_rate": "lr", "grad_norm": "grad norm", "val_accuracy": "val acc", "train_accuracy": "train acc"}
_MOST_EVENTS, _MOST_OTHERS = 3, 6


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding as a panel shows it; ``note`` says where it is not simply so (``"may pass"``)."""

    finding: Finding
    note: str = ""


@dataclass(frozen=True)
class PanelState:
    """What a panel shows.

    Attributes:
        run: how the run is called.
        diagnosis: the verdict on the run so far; None while there is none.
        status: what the title says: the verdict's own status, or ``"healthy"`` while no alarm has held for long enough.
        findings: what is shown of the verdict, the one to act on first.
        rate: steps a second, or None.
        seconds_left: until the planned steps are done, or None.
        message: what is waited for, or what is wrong with the log now; empty when all is well.
        quiet: for how long nothing has come, in words, when that is far longer than usual.
        ended: how the run ended, in words; empty while it goes on.
        others: name and verdict of the other runs; None for one not judged.
        foot: remarks on the watching itself; as many as fit are shown.
    """

    run: str
    diagnosis: Diagnosis | None = None
    status: str = "insufficient_data"
    findings: Sequence[Shown] = ()
    rate: float | None = None
    seconds_left: float | None = None
    message: str = ""
    quiet: str = ""
    ended: str = ""
    others: Sequence[tuple[str, Diagnosis | None]] = ()
    foot: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is shown; with each step down, less."""

    rows: int  # lines of a loss curve
    beside: int  # further metrics
    findings: int
    summaries: int  # how many of them with their summary and advice
    events: int
    others: int
    spaced: bool = False


_DETAILS = (
    _Detail(5, 4, 6, 6, _MOST_EVENTS, _MOST_OTHERS, spaced=True),
    _Detail(4, 4, 6, 4, _MOST_EVENTS, _MOST_OTHERS, spaced=True),
    _Detail(3, 3, 5, 3, _MOST_EVENTS, 3, spaced=True),
    _Detail(3, 3, 5, 3, _MOST_EVENTS, 3),
    _Detail(2, 2, 4, 2, 2, 1),
    _Detail(1, 2, 3, 1, 1, 0),
    _Detail(1, 0, 2, 1, 0, 0),
    _Detail(1, 0, 1, 0, 0, 0),
    _Detail(0, 0, 1, 0, 0, 0),
)


class RunPanel:
    """A Rich renderable that shows a :class:`PanelState` within the console's width and height."""

    def __init__(self, state: PanelState) -> None:
        self.state = state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyphs = _glyphs(options)
        width = min(options.max_width, _WIDEST)
        height = max(_LEAST_HEIGHT, options.height or console.size.height) - 1  # the cursor has a line of its own
        lines: list[Text] = []
        for detail in _DETAILS:
            lines = [*_Lines(self.state, detail, width - 4, glyphs, console).all()]
            if len(lines) + 2 <= height:
                break
        lines = lines[: height - 2]
        for line in lines:
            line.truncate(width - 4)
        yield Panel(
            Group(*lines),
            title=self._title(width, glyphs),
            title_align="left",
            subtitle=Text(self._foot(width - 8, glyphs), "dim default"),
            subtitle_align="right",
            box=box.ASCII if glyphs is ASCII else box.ROUNDED,
            border_style=STYLES[self.state.status].removeprefix("bold "),
            width=width,
        )

    def _foot(self, room: int, glyphs: Glyphs) -> str:
        line = ""
        for part in self.state.foot:
            longer = f"{line} {glyphs.dot} {visible(part, 200)}" if line else visible(part, 200)
            line = longer if len(longer) <= room else line
        return line

    def _title(self, width: int, glyphs: Glyphs) -> Text:
        state = self.state
        told = words.SHORT_STATUS[state.status]
        if state.diagnosis is None:
            told = "waiting"
        elif state.status == "healthy" and state.diagnosis.alarm:
            told = "no alarm"
        head = Text(f"{glyphs.signs[state.status]} {told}", STYLES[state.status])
        room = width - len(head) - 8
        return head.append(f"  {words.fitted(visible(state.run, 300), room, glyphs.more)}", "bold default")


def _glyphs(options: ConsoleOptions) -> Glyphs:
    return ASCII if options.ascii_only else UNICODE


class _Lines:
    """The lines of a panel in one detail."""

    def __init__(self, state: PanelState, detail: _Detail, width: int, glyphs: Glyphs, console: Console) -> None:
        self.state, self.detail, self.width, self.glyphs, self.console = state, detail, width, glyphs, console

    def all(self) -> Iterator[Text]:
        state = self.state
        if state.message:
            yield from self._wrapped(Text(), Text(visible(state.message), "" if state.diagnosis is None else "yellow"))
        if state.diagnosis is not None:
            yield from self._run(state.diagnosis)
        yield from self._others()

    def _run(self, d: Diagnosis) -> Iterator[Text]:
        yield from self._place(d)
        if self.state.quiet:
            yield from self._wrapped(
                Text(f"{self.glyphs.signs['warning']} ", "yellow"), Text(visible(self.state.quiet))
            )
        yield from self._curves(d)
        found = [s for s in self.state.findings if s.finding.severity != "info"] or list(self.state.findings)
        if self.detail.spaced:
            yield Text()
        if not found:
            yield from self._wrapped(Text(), Text(visible(d.basis if not d.alarm else ""), "dim"))
        for i, shown in enumerate(found[: self.detail.findings]):
            yield from self._finding(shown, d, full=i < self.detail.summaries)
        hidden = len(found) - self.detail.findings
        if hidden > 0:
            yield Text(f"  and {hidden} more", "dim")
        yield from self._events(d)

    def _place(self, d: Diagnosis) -> Iterator[Text]:
        """Where the run is, how fast it goes, and when it will be done."""
        h = d.history
        spans = h.segments
        parts = []
        if spans:
            last = max(s.last_step for s in spans)
            planned = h.context.planned_steps
            parts.append(words.at_step(last, h.step_unit) + (f" of {planned:,}" if planned else ""))
            if planned:
                parts.append(words.percent(min(last / planned, 1.0)))
        if self.state.ended:
            parts.append(self.state.ended)
        elif self.state.rate is not None:
            parts.append(speed(self.state.rate, h.step_unit))
            if self.state.seconds_left is not None:
                parts.append(f"{time_left(self.state.seconds_left)} left")
        yield from self._joined([visible(p, 100) for p in parts])

    def _joined(self, parts: Sequence[str], style: str = "") -> Iterator[Text]:
        """Parts with dots between, on as many lines as they need."""
        line = ""
        for part in parts:
            longer = f"{line} {self.glyphs.dot} {part}" if line else part
            if line and len(longer) > self.width:
                yield Text(line, style)
                longer = part
            line = longer
        if line:
            yield Text(words.fitted(line, self.width, self.glyphs.more), style)

    def _curves(self, d: Diagnosis) -> Iterator[Text]:
        h = d.history
        main = [r for r in _MAIN if (c := h.curve(r)) is not None and len(c)]
        beside = [r for r in _BESIDE if (c := h.curve(r)) is not None and len(c)][: self.detail.beside]
        spans = h.segments
        if not spans or not self.detail.rows:
            return
        first, last = min(s.first_step for s in spans), max(s.last_step for s in spans)
        labels = {r: visible(h.roles.label(r), 60) if r in _MAIN else _BESIDE[r] for r in (*main, *beside)}
        wide = min(max((len(x) for x in labels.values()), default=0), max(10, self.width // 4))
        room = self.width - wide - 12
        for role in (*main, *beside):
            curve = h.curve(role)
            assert curve is not None
            rows = self.detail.rows if role in _MAIN and self.glyphs is UNICODE else 1
            lines, logarithmic = bars(*columns(curve, first, last, max(room, 0)), rows, self.glyphs)
            last_value = float(curve.values[-1])
            heads = [f"{words.fitted(labels[role], wide, self.glyphs.more):<{wide}} {words.number(last_value):>9}"]
            notes = self._notes(curve, role, logarithmic)
            heads += [f"{note:<{wide + 10}}" for note in notes if len(note) <= wide + 11]
            for i, line in enumerate(lines):
                head = Text(heads[i] if i < len(heads) else " " * (wide + 10), "dim" if i else "")
                if i == 0 and not math.isfinite(last_value):
                    head.stylize("bold red")
                drawn = Text(line, _MAIN.get(role, "dim"))
                drawn.highlight_regex(rf"{self.glyphs.bad}+$", "bold red")
                yield Text.assemble(head, " " * (wide + 12 - len(head)), drawn)

    def _notes(self, curve: Curve, role: str, logarithmic: bool) -> list[str]:
        """What is said under the name of a loss where there is room: where it began, its best value, its scale."""
        fine = np.flatnonzero(np.isfinite(curve.values))
        notes = ["log scale"] if logarithmic else []
        if not len(fine):
            return notes
        best = int(fine[curve.values[fine].argmin()])
        notes.append(f"from {words.number(float(curve.values[fine[0]]))}")
        if role == "val_loss" and best != len(curve) - 1:
            notes.append(f"best {words.number(float(curve.values[best]))} at {int(curve.steps[best]):,}")
        return notes

    def _finding(self, shown: Shown, d: Diagnosis, *, full: bool) -> Iterator[Text]:
        f = shown.finding
        head = Text(f"{self.glyphs.signs[f.severity]} ", STYLES[f.severity])
        name = Text(f"{visible(f.code, 40)} {visible(f.name, 60)}", STYLES[f.severity])
        about = [f.severity, words.where(f, d.history.step_unit)]
        if shown.note:
            about.append(shown.note)
        yield from self._wrapped(head, Text.assemble(name, f"  {f' {self.glyphs.dot} '.join(about)}"))
        if not full:
            return
        yield from self._wrapped(Text("  "), Text(visible(f.summary)), most=3)
        todo = next((a for a in f.actions if a.action != "none"), None)
        if todo is not None:
            yield from self._wrapped(Text("  do: ", "bold green"), Text(words.action(todo)), most=3)

    def _events(self, d: Diagnosis) -> Iterator[Text]:
        told = [e for e in d.events if e.get("kind") not in ("announced", "updated", "withdrawn", "session_start")]
        for found in told[len(told) - self.detail.events :] if self.detail.events else ():
            yield from self._wrapped(Text(), Text(words.event(found, d.history.step_unit), "dim"), most=2)

    def _others(self) -> Iterator[Text]:
        others = self.state.others
        shown = others[: self.detail.others]
        for i, (name, d) in enumerate(shown):
            status = "insufficient_data" if d is None else d.status
            line = Text("other runs " if i == 0 else " " * 11, "dim")
            line.append(f"{self.glyphs.signs[status] if d is not None else ' '} ", STYLES[status])
            finding = next(
                (f for f in (d.findings if d is not None and d.alarm else ()) if severity_rank(f.severity)), None
            )
            told = "" if finding is None else f"  {finding.code} {finding.name}"
            yield line.append(words.fitted(visible(f"{name}{told}", 300), self.width - 13, self.glyphs.more), "dim")
        if len(others) > len(shown):
            yield Text(f"{len(others) - len(shown):,} {'more' if shown else 'other'} runs here", "dim")

    def _wrapped(self, head: Text, body: Text, most: int = 4) -> Iterator[Text]:
        """A text behind a head, its further lines under its first; at most so many, the last one cut."""
        room = max(8, self.width - len(head))
        lines = list(body.wrap(self.console, room, overflow="fold"))
        for i, line in enumerate(lines[:most]):
            line.rstrip()
            if i == most - 1 and len(lines) > most:
                line.truncate(room - len(self.glyphs.more))
                line.append(self.glyphs.more)
            yield Text.assemble(head if i == 0 else " " * len(head), line)


def speed(rate: float, unit: str) -> str:
    """A rate for people.

    >>> speed(12.34, "step"), speed(0.05, "epoch"), speed(0.0001, "step")
    ('12 steps/s', '3 epochs/min', '0.36 steps/h')
    """
    for factor, per in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * factor >= 1 or per == "h":
            return f"{_two_digits(rate * factor)} {unit}s/{per}"
    return ""


def _two_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def time_left(seconds: float) -> str:
    """A rough time span.

    >>> time_left(42), time_left(130), time_left(4000), time_left(90_000)
    ('42 s', '2 min', '1 h 7 min', '1 d 1 h')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(seconds / 3600)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
