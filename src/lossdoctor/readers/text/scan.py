"""One pass over the lines. Each shape is analysed once; after that a line costs one split and one look-up."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.readers.text.fields import Fields, analyse
from lossdoctor.readers.text.layout import Block, Layout, Rows
from lossdoctor.readers.text.matcher import Match, matcher_of
from lossdoctor.readers.text.shapes import loose, split, to_float
from lossdoctor.readers.text.tables import PATIENCE, Table, header_names, is_ruler
from lossdoctor.readers.text.words import split_of

MAX_SHAPES = 200_000
MAX_LAYOUTS = 4_000
MAX_EVENTS = 20
HOT = 12

_EVENTS = (
    (
        "out_of_memory",
        re.compile(r"CUDA out of memory|OutOfMemoryError|OOM when allocating|RESOURCE_EXHAUSTED: Out of mem"),
    ),
    ("nonfinite_message", re.compile(r"[Ll]oss (?:is|was|=) (?:nan|inf)\b|NaN or Inf found|[Nn]an loss encountered")),
    ("traceback", re.compile(r"^\W*Traceback \(most recent call last\)")),
    ("killed", re.compile(r"^(?:Killed|Segmentation fault|Bus error)|DUE TO TIME LIMIT|oom-kill")),
)
_EVENT_HINT = re.compile(r"memory|[Tt]raceback|Killed|fault|Memory|EXHAUSTED|OOM|oom|[Nn]a[nN]\b|inf\b|LIMIT")
_SECTION = re.compile(
    r"^\W*(?:(?:running|starting|start|begin|beginning|performing|doing|now|results?|metrics|on|of|for|the)\s+)*"
    r"(train\w*|valid\w*|val|eval\w*|test\w*)\b(?:\W+\w+){0,4}\W*$",
    re.I,
)
# "Early stopping, best iteration is:", "Stopping. Best iteration:": the record on the next line is an echo.
_ECHO = re.compile(
    r"\bbest\s+(?:iteration|round|epoch|step|score|model|result)s?(?:\s+(?:is|was|at|found))*\s*:\s*$", re.I
)
_GROUP = re.compile(r"^\s*[|│]\s*([\w.-]+/)\s*[|│]\s*[|│]\s*$")


@dataclass(slots=True)
class _Plan:
    """What to do with a line of numbers: which of them to put where."""

    extend: Callable[[Iterable[str]], None]
    append: Callable[[int], None]
    slots: tuple[int, ...]


def _never(_line: str) -> None:
    return None


@dataclass(slots=True, eq=False)
class _Kind:
    """The lines of one shape.

    Attributes:
        plan: a _Plan, a method for special lines, or None for lines that say nothing.
        seen: how often it was taken apart; from ``HOT`` on it is worth a matcher, and later, if that fails, another.
        match: takes a line of this kind and no other.
        pick: the numbers of the match's groups in the order of the plan; None where that is their own.
        after, before_that: the kinds that followed it last, and before that; they are tried first.
    """

    plan: Any
    seen: int = 0
    match: Match = _never
    pick: tuple[int, ...] | None = None
    after: _Kind = field(default=None)  # type: ignore[assignment]
    before_that: _Kind = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.after = self.after or self  # itself, until something follows: it cannot match yet
        self.before_that = self.before_that or self

    def learn(self, parts: list[str]) -> None:
        """Make the matcher. Special lines get all their numbers, except that most ask for none."""
        slots: tuple[int, ...] = ()
        if self.plan.__class__ is _Plan:
            slots = self.plan.slots
        elif self.plan is not None and len(parts) <= 5:
            slots = tuple(range(1, len(parts), 2))
        self.match = matcher_of(parts, slots, every=self.seen > HOT) or _never
        ranked = sorted(slots)
        if list(slots) != ranked:
            self.pick = tuple(ranked.index(s) + 1 for s in slots)


class Scan:
    """What a log holds, line kind by line kind.

    Attributes:
        rows: the rows of every layout.
        sections: (order, split) of lines such as ``Validation:``.
        echoes: order of lines after which an earlier record is printed once more.
        fillers: order of lines that belong to a box of key-value lines without being one.
        numbers_only: the numbers of lines that hold one number and nothing else.
        numbered: number and value, in turn, of lines such as ``1200: 0.53``.
        events: tracebacks, out-of-memory errors and the like, with their line.
        lines: lines seen.
    """

    def __init__(self) -> None:
        self.rows: dict[Layout, Rows] = {}
        self.sections: list[tuple[int, str]] = []
        self.echoes: list[int] = []
        self.fillers: array[int] = array("q")
        self.events: list[dict[str, Any]] = []
        self.lines = 0
        self.numbers_only: array[float] = array("d")
        self.numbered: array[float] = array("d")
        self._kinds: dict[int, _Kind] = {}
        self._loose: dict[int, Any] = {}
        self._table: Table | None = None
        self._tables = 0
        self._group = ""
        self._last = _Kind(None)
        self._number, self._whole = 0, True

    def feed(self, number: int, lines: Iterable[str]) -> None:
        """Read a batch of lines, the first of which is line ``number`` of the file."""
        lines = list(lines)
        self._number, self._whole = number - self.lines - 1, True
        if any("\r" in text for text in lines):
            self._whole = False
            for self._number, text in enumerate(lines, number):
                self._run(text.split("\r"))
        else:
            self._run(lines)
        for rows in self.rows.values():
            rows.settle()

    def _run(self, lines: list[str]) -> None:
        order, last = self.lines, self._last
        for raw in lines:
            order += 1
            if not raw:
                continue
            kind = last.after
            found = kind.match(raw)
            if found is None:
                kind = last.before_that
                found = kind.match(raw)
            if found is None:
                kind = self._slowly(order, raw)
            elif (plan := kind.plan) is not None:
                numbers = found.groups() if kind.pick is None else found.group(*kind.pick)
                if plan.__class__ is _Plan:
                    plan.extend(numbers)
                    plan.append(order)
                else:
                    plan(order, raw, numbers)
            if last.after is not kind:
                last.before_that = last.after
                last.after = kind
            last = kind
        self.lines, self._last = order, last

    def _slowly(self, order: int, raw: str) -> _Kind:
        """Take one line apart."""
        line = raw
        while "  " in line:
            line = line.replace("  ", " ")
        parts = split(line)
        shape = hash("\0".join(parts[::2]))
        kind = self._kinds.get(shape) or self._learn(shape, raw, line, parts)
        kind.seen += 1
        if kind.seen in (HOT, 4 * HOT):
            kind.learn(parts)
        plan = kind.plan
        if plan is None:
            return kind
        if plan.__class__ is not _Plan:
            plan(order, raw, parts[1::2])
            return kind
        plan.extend([parts[j] for j in plan.slots])
        plan.append(order)
        return kind

    def blocks(self) -> list[Block]:
        """The rows as arrays, in the order in which their first lines came."""
        found = [Block.of(rows) for rows in self.rows.values() if len(rows.order)]
        return sorted(found, key=lambda b: int(b.order[0]))

    def _learn(self, shape: int, raw: str, line: str, parts: list[str]) -> _Kind:
        """Find out what a new shape is, and remember it."""
        if len(self._kinds) >= MAX_SHAPES:
            self._kinds.clear()
        text = "\0".join(parts[::2])
        near = loose(text)
        if near != text and len(parts) > 1:
            key = hash(near)
            if key not in self._loose:
                if len(self._loose) >= MAX_SHAPES:
                    self._loose.clear()
                self._loose[key] = self._plan(raw, line, parts)
            plan = self._loose[key]
        else:
            plan = self._plan(raw, line, parts)
        kind = self._kinds[shape] = _Kind(plan)
        return kind

    def _plan(self, raw: str, line: str, parts: list[str]) -> Any:
        if _EVENT_HINT.search(line):
            for name, pattern in _EVENTS:
                if pattern.search(line):
                    return self._event(name)
        if _ECHO.search(line):
            return self._echo
        if len(parts) == 1:
            return self._plan_text(raw)
        if len(parts) == 3 and not parts[0].strip() and not parts[2].strip():
            return self._bare_number
        numeric = _starts_with_number(parts)
        if not numeric and header_names(raw) is not None:
            return self._open_table
        if self._table is not None and (numeric or self._table.overall(line)) and self._table.cells(raw) is not None:
            return self._table_row
        if len(parts) == 5 and numeric and parts[2].strip() == ":" and not parts[4].strip():
            return self._numbered
        fields = analyse(line.strip(" "), split(line.strip(" ")))
        if fields is None:
            if line.lstrip()[:1] in "|│" and len(parts) <= 7:
                return self._filler
            return self._table_row if numeric else None
        return self._make(fields, line)

    def _make(self, fields: Fields, line: str) -> Any:
        layout = fields.layout
        if self._group and layout.single and line.lstrip()[:1] in "|│":
            layout = _prefixed(layout, self._group)
        rows = self.rows.get(layout)
        if rows is None:
            if len(self.rows) >= MAX_LAYOUTS:
                return None
            rows = self.rows[layout] = Rows(layout)
        return _Plan(rows.waiting.extend, rows.order.append, fields.slots)

    def _plan_text(self, raw: str) -> Any:
        """A line without numbers may open a table or a section, or draw a ruler."""
        if is_ruler(raw):
            return self._ruler
        if header_names(raw) is not None:
            return self._open_table
        if _GROUP.match(raw):
            return self._open_group
        match = _SECTION.match(raw) if len(raw) < 120 else None
        if match and split_of(match.group(1).lower()):
            section = split_of(match.group(1).lower())
            return lambda order, _raw, _numbers: self.sections.append((order, section))
        return None

    # what special lines do

    def _event(self, name: str) -> Any:
        def act(order: int, raw: str, _numbers: Sequence[str]) -> None:
            if len(self.events) < MAX_EVENTS:
                line = self._number + order * self._whole
                self.events.append({"event": name, "line": line, "text": raw.strip()[:200]})

        return act

    def _open_table(self, _order: int, raw: str, _numbers: Sequence[str]) -> None:
        names = header_names(raw)
        if names is None or (self._table is not None and self._table._names == names):
            return
        self._tables += 1
        self._table = Table(names, raw, self._tables, rows=self.rows)

    def _ruler(self, _order: int, raw: str, _numbers: Sequence[str]) -> None:
        self._group = ""
        if self._table is not None:
            self._table.ruler(raw)

    def _open_group(self, order: int, raw: str, _numbers: Sequence[str]) -> None:
        match = _GROUP.match(raw)
        self._group = match.group(1) if match else ""
        self.fillers.append(order)

    def _echo(self, order: int, _raw: str, _numbers: Sequence[str]) -> None:
        self.echoes.append(order)

    def _filler(self, order: int, _raw: str, _numbers: Sequence[str]) -> None:
        self.fillers.append(order)

    def _table_row(self, order: int, raw: str, _numbers: Sequence[str]) -> None:
        if self._table is not None and not self._table.row(order, raw) and self._table.misses > PATIENCE:
            self._table = None

    def _numbered(self, order: int, raw: str, numbers: Sequence[str]) -> None:
        if self._table is None or not self._table.row(order, raw):
            self.numbered.extend((to_float(numbers[0]), to_float(numbers[1])))

    def _bare_number(self, _order: int, _raw: str, numbers: Sequence[str]) -> None:
        self.numbers_only.append(to_float(numbers[0]))


def _starts_with_number(parts: list[str]) -> bool:
    return not parts[0].strip(" \t|│")


def _prefixed(layout: Layout, group: str) -> Layout:
    from dataclasses import replace

    columns = tuple(
        replace(c, key=group + c.key, name=group + c.name) if c.role == "metric" and "/" not in c.name else c
        for c in layout.columns
    )
    return replace(layout, columns=columns)
