"""How results are put into words: numbers, steps, the closed vocabularies, statuses with their symbols."""

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action, Cause, Finding
from lossdoctor.render.escape import visible

STATUS_WORDS = {
    "healthy": "healthy",
    "warning": "warning",
    "critical": "critical",
    "insufficient_data": "too little data",
}
SHORT_STATUS = {**STATUS_WORDS, "insufficient_data": "too little"}
GRADE_WORDS = {
    "informational": "look only",
    "cheap": "cheap to try",
    "changes_experiment": "changes the experiment",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs of one kind of terminal. Statuses are told by sign and word, never by colour alone."""

    signs: Mapping[str, str]
    bars: str
    bad: str
    dash: str
    dot: str
    more: str
    arrow: str


UNICODE = Glyphs(
    {"healthy": "✓", "warning": "▲", "critical": "✗", "insufficient_data": "?", "info": "·"},
    *("▁▂▃▄▅▆▇█", "×", "–", "·", "…", "→"),
)
ASCII = Glyphs(
    {"healthy": "+", "warning": "!", "critical": "x", "insufficient_data": "?", "info": "-"},
    *("_.:-=+*#", "x", "-", "|", "...", "->"),
)


def number(value: Any) -> str:
    """A number for people: four significant digits, whole numbers with separators.

    >>> number(0.31234), number(2600), number(float("nan")), number(1e-9)
    ('0.3123', '2,600', 'NaN', '1e-09')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        item = getattr(value, "item", None)  # a NumPy scalar
        if item is None or getattr(value, "ndim", 0) != 0:
            return visible(value, 200)
        return number(item())
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 1e6:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.1f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a whole percentage, never rounded to certainty.

    >>> percent(0.934), percent(0.999)
    ('93%', '>99%')
    """
    if share > 0.995:
        return ">99%"
    return "<1%" if share < 0.005 else f"{share * 100:.0f}%"


def plain(word: str) -> str:
    """A word of a vocabulary as people write it.

    >>> plain("learning-rate-too-high")
    'learning rate too high'
    """
    return visible(word, 200).replace("_", " ").replace("-", " ")


def fitted(name: str, room: int, more: str = "…") -> str:
    """A name that is too long loses its middle: folders tell runs apart at its start, numbers at its end.

    >>> fitted("runs/a/b/c/metrics-07.csv", 15)
    'runs/a/…-07.csv'
    """
    if len(name) <= room:
        return name
    head = (room - len(more) + 1) // 2
    return name[:head] + more + name[len(name) - (room - len(more) - head) :]


def at_step(step: int, unit: str) -> str:
    """A place on the step axis.

    >>> at_step(1200, "step"), at_step(3, "epoch")
    ('step 1,200', 'epoch 3')
    """
    return f"{unit} {step:,}"


def span(diagnosis: Diagnosis) -> str:
    """How long the run is: its points and where they lie."""
    facts = diagnosis.as_dict()
    points = f"{facts['points']:,} point{'' if facts['points'] == 1 else 's'}"
    first, last = facts["first_step"], facts["last_step"]
    if first is None:
        return points
    unit = facts["step_unit"]
    return f"{points}, {at_step(first, unit)}" + ("" if first == last else f" to {last:,}")


def title(diagnosis: Diagnosis) -> str:
    """The run as messages name it."""
    h = diagnosis.history
    return visible(h.path or h.name or "run")


def basis(d: Diagnosis) -> str:
    """What the status rests on; empty when the first finding says the same."""
    return "" if d.findings and d.findings[0].summary == d.basis else visible(d.basis)


def mapping(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Role -> the log's own names, with the terms that were watched besides."""
    roles = diagnosis.history.roles
    out = [(role, ", ".join(visible(n, 200) for n in _few(names))) for role, names in roles.names.items()]
    if roles.auxiliary:
        out.append(("other losses", ", ".join(visible(n, 200) for n in _few(roles.auxiliary))))
    return out


def _few(names: tuple[str, ...], most: int = 6) -> list[str]:
    return [*names[:most], f"and {len(names) - most} more"] if len(names) > most else list(names)


def evidence(finding: Finding) -> list[tuple[str, str]]:
    """The evidence as name and value, both safe to show."""
    out = []
    for key, value in finding.evidence.items():
        if isinstance(value, (list, tuple)):
            shown = ", ".join(number(v) for v in list(value)[:8]) + (", …" if len(value) > 8 else "")
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        else:
            shown = number(value)
        out.append((plain(str(key)), shown))
    return out


def cause(found: Cause) -> str:
    """A cause with its likelihood and the test that would tell."""
    test = f" (test: {visible(found.test, 100)})" if found.test else ""
    return f"{plain(found.name)} {percent(found.likelihood)}{test}"


def action(todo: Action) -> str:
    """An action with its detail, as a sentence without a full stop."""
    words = "Nothing to do" if todo.action == "none" else plain(todo.action).capitalize()
    return f"{words}: {visible(todo.detail)}" if todo.detail else words


def grade(todo: Action) -> str:
    """How safe an action is to try, and how often it helped runs like this one, where that is known.

    >>> grade(Action("reduce_learning_rate", helps=0.81))
    'cheap to try; helped 81% of runs like it'
    """
    helped = "" if todo.helps is None else f"; helped {percent(todo.helps)} of runs like it"
    return GRADE_WORDS[todo.grade] + helped


def confidence(finding: Finding) -> str:
    """The probability that the finding is true, and whether it was calibrated."""
    return f"confidence {percent(finding.confidence)}" + ("" if finding.calibrated else " (not calibrated)")


def where(finding: Finding, unit: str) -> str:
    """Since when: the onset, or that it concerns the whole run."""
    return "whole run" if finding.onset_step is None else f"from {at_step(finding.onset_step, unit)}"


def abstentions(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """What would have to be logged or given -> the codes which that enables, in order."""
    needs: dict[str, list[str]] = {}
    for a in diagnosis.abstained:
        codes = needs.setdefault(visible(a.needs), [])
        if a.code not in codes:
            codes.append(visible(a.code, 40))
    return [(need, ", ".join(codes)) for need, codes in needs.items()]


def grouped(codes: Iterable[str]) -> str:
    """Codes in order, three or more neighbours as a range.

    >>> grouped(["LD202", "LD106", "LD105", "LD107", "LD203", "LD105"])
    'LD105-LD107, LD202, LD203'
    """
    runs: list[list[str]] = []
    for code in sorted(set(codes)):
        if runs and _neighbours(runs[-1][-1], code):
            runs[-1].append(code)
        else:
            runs.append([code])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _neighbours(a: str, b: str) -> bool:
    """Whether code ``b`` is the one after ``a``: the same letters, the next number."""
    first, second = (re.fullmatch(r"([A-Za-z]+)([0-9]{1,9})", code) for code in (a, b))
    return bool(first and second and first[1] == second[1] and int(second[2]) == int(first[2]) + 1)


def shared_folder(runs: Sequence[Diagnosis]) -> str:
    """The folder that all runs share, with its separator; empty when it would save little."""
    paths = [d.history.path for d in runs]
    if len(paths) < 2 or not all(paths):
        return ""
    base = os.path.commonprefix(paths)  # noqa: RUF071 - cut at a separator below; commonpath knows no URLs
    base = base[: base.rfind("/") + 1]
    return visible(base) if len(base) > 3 else ""


def title_under(base: str, diagnosis: Diagnosis) -> str:
    """The run's title without the folder that a list names once, in its heading."""
    return title(diagnosis).removeprefix(base) or "."


def event(found: Mapping[str, Any], unit: str = "step") -> str:
    """An event of the run (a restart, an alert, an action) in one line: what, when, and its message where it has one.

    >>> event({"kind": "rolled_back", "step": 1200, "time": 0.0, "message": "to step 1,100"})
    'rolled back at step 1,200: to step 1,100'
    >>> event({"kind": "session_start", "step": 7})
    'session start: step 7'
    """
    message, step = found.get("message"), found.get("step")
    if isinstance(message, str) and "kind" in found:  # it says all that a person wants; the rest is for programs
        at = f" at {at_step(step, unit)}" if isinstance(step, int) else ""
        return f"{plain(str(found['kind']))}{at}: {visible(message, 300)}"
    parts = [f"{plain(str(k))} {number(v)}" for k, v in found.items() if k not in ("kind", "type", "event")]
    kind = next((found[k] for k in ("kind", "type", "event") if k in found), "event")
    return f"{plain(str(kind))}: {', '.join(parts)}" if parts else plain(str(kind))
