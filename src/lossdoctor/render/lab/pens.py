"""Which colour, dash and marker a line gets: the same in every panel of a picture, and told apart without hue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lossdoctor.lab.result import Band, Line, Panel
from lossdoctor.render.style import DASHES, Style

# The style's colours in the order in which neighbours differ most, in lightness as in hue.
ORDER = (0, 1, 2, 3, 7, 6, 4, 5)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


@dataclass(frozen=True)
class Pen:
    """How one line is drawn: ``number`` counts the lines of a picture that have a colour of their own."""

    color: str
    dash: Any
    marker: str
    number: int


def color(number: int, look: Style) -> str:
    """The colour of this number; after the last one the cycle begins anew."""
    return look.cycle[ORDER[number % len(ORDER)]]


def key(line: Line) -> str:
    """What gives a line its colour: its group, else its label."""
    return line.group or line.label


def is_reference(line: Line) -> bool:
    """A dashed line of no group is there to compare with: a theory, a profile under a path."""
    return line.style == "dashed" and line.group is None


def numbering(panels: Iterable[Panel]) -> dict[str, int]:
    """Key -> number, in the order of first appearance; references are not counted."""
    numbers: dict[str, int] = {}
    for panel in panels:
        drawn: list[Line | Band] = [*(line for line in panel.lines if not is_reference(line)), *panel.bands]
        for item in drawn:
            numbers.setdefault(item.group or item.label, len(numbers))
    return numbers


def turn_of(line: Line, seen: dict[str, int]) -> int:
    """How many named lines of its group came before; one without a name is more of the same as the last one."""
    before = seen.get(key(line), 0)
    seen[key(line)] = before + bool(line.label)
    return before if line.label else max(0, before - 1)


def pens(panel: Panel, look: Style, numbers: Mapping[str, int]) -> list[Pen]:
    """A pen for each line of a panel.

    Lines of one group share the colour and differ by dash; after the last colour the cycle begins anew with the next
    dash.
    """
    seen: dict[str, int] = {}
    out = []
    references = 0
    for line in panel.lines:
        if is_reference(line):
            out.append(Pen(look.soft, DASHES[1 + references % 3], "", -1))
            references += 1
            continue
        number = numbers.get(key(line), 0)
        turn = turn_of(line, seen)
        dash = DASHES[(turn + number // len(ORDER)) % len(DASHES)]
        if line.style == "dashed" or (line.group is None and "validation" in line.label.lower()):
            dash = DASHES[1]  # training and validation are told apart without colour, as everywhere
        out.append(Pen(color(number, look), dash, MARKERS[number % len(MARKERS)], number))
    return out
