"""Rows that are not clean numbers, read one by one: ragged, quoted, mixed with text, with headers in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lossdoctor.readers._axes import axis_rank, may_be_absolute_time, parse_time
from lossdoctor.readers._csv_dialect import Dialect, column_names, is_comment, is_header, number
from lossdoctor.readers._histories import is_label
from lossdoctor.readers._lines import text
from lossdoctor.readers._table import MAX_COLUMNS, TableBuilder

# Texts that say "nothing here".
_EMPTY = frozenset({b"none", b"null", b"na", b"n/a", b"-", b"--", b"nil", b"<na>", b"#n/a"})
# A quoted cell longer than this, or over more lines, was never closed.
_QUOTE_BYTES, _QUOTE_LINES = 1 << 20, 2_000
_SHOWN = 8
_UNNAMED_SHARE = 0.1  # a column without a name has a cell in that share of the rows, or it is damage
_TIME = 1e9  # seconds since 1970 are above


@dataclass(slots=True)
class _Tally:
    """How often something odd was met, and where first."""

    count: int = 0
    line: int = 0
    what: str = ""

    def add(self, line: int, what: str = "") -> None:
        if not self.count:
            self.line, self.what = line, what
        self.count += 1


class RowReader:
    """Fills a builder from rows. ``columns`` are the names of the header in force; ``waiting`` an open quote."""

    def __init__(self, builder: TableBuilder, dialect: Dialect) -> None:
        self.columns: list[str] = []
        self.started = False
        self._builder = builder
        self._dialect = dialect
        self._open: list[bytes] = []
        self._open_line = 0
        self._names: list[str] = []
        self._headerless = False
        self._texts: dict[str, _Tally] = {}
        self._unnamed: dict[str, int] = {}
        self._wide, self._short, self._headers, self._quotes = _Tally(), _Tally(), _Tally(), _Tally()
        self._cut_off = ""

    @property
    def waiting(self) -> bool:
        """Whether a quoted cell goes on in the next block."""
        return bool(self._open)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Column names in the order of the headers; where few cells are filled, they were met in another.

        Columns beyond the header are left out where only a few rows have them.
        """
        place = {name: i for i, name in enumerate([*self._names, *self._unnamed])}
        few = self._few()
        return sorted((n for n in names if n not in few), key=lambda n: place.get(n, -1))

    def start(self, data: bytes) -> int:
        """Find the header in the first lines. Returns the bytes used; the rest are rows."""
        used, comment = 0, b""
        while used < len(data):
            end = data.find(b"\n", used)
            end = len(data) if end < 0 else end + 1
            raw = data[used:end].strip()
            if raw and not is_comment(raw):
                return self._start(raw, comment, data, used, end)
            comment = raw or comment
            used = end
        return used

    def _start(self, raw: bytes, comment: bytes, data: bytes, used: int, end: int) -> int:
        self.started = True
        cells = self._dialect.cut(raw)
        if is_header(cells):
            self._set_header(cells)
            self._shift_for_row_names(data[end : end + 8192].split(b"\n")[:6])
            return end
        above = self._dialect.cut(comment.lstrip(b"#% "))
        if len(above) == len(cells) and is_header(above):  # as np.savetxt writes a header
            self._set_header(above)
            return used
        self._headerless = True
        self.columns = self._guessed_names(len(cells), self._cut_lines(data[used : used + 4096]))
        self._names = list(self.columns)
        return used

    def _guessed_names(self, width: int, rows: list[list[bytes]]) -> list[str]:
        """Names for a table without a header: a first column that only rises counts, and one other is the loss.

        Of several others each may be the loss; that is left to the user. Whole numbers alone are no losses.
        """
        if width == 1:
            return ["loss"]
        names = [f"col{i + 1}" for i in range(width)]
        if _rises([number(r[0]) for r in rows]):
            names[0] = "step"
            others = [v for r in rows if len(r) == 2 and (v := number(r[1])) is not None]
            if width == 2 and any(v % 1 for v in others):
                names[1] = "loss"
        return names

    def _cut_lines(self, data: bytes) -> list[list[bytes]]:
        return [c for line in data.split(b"\n")[:20] if (c := self._dialect.cut(line.strip())) and c[0]]

    def _set_header(self, cells: list[bytes]) -> None:
        self.columns = column_names(cells)
        self._names += [n for n in self.columns if n not in self._names]

    def _shift_for_row_names(self, lines: list[bytes]) -> None:
        """A header without a name for the first column (R's row names): every row is one cell wider."""
        rows = [self._dialect.cut(x.strip()) for x in lines if x.strip()][:5]
        wider = len(rows) > 1 and all(len(r) == len(self.columns) + 1 and r[-1] for r in rows)
        if wider and _counts_up([number(r[0].strip(b'"')) for r in rows]):
            self.columns = ["", *self.columns]

    def rows(self, data: bytes, line: int, byte: int, last: bool) -> None:
        """Read lines, the first of which has the given number; ``last`` when the file ends with them."""
        lines = data.split(b"\n")
        unfinished = lines.pop()
        for at, record in self._records(lines, line):
            self._row(record, at)
        if last and unfinished.strip():
            if self._open:
                unfinished = b"\n".join([*self._open, unfinished])
                self._open = []
            self._last_row(unfinished, line + len(lines), byte + len(data) - len(unfinished))

    def close(self) -> None:
        """An open quote at the end of the file is no quote: its lines are rows."""
        lines, self._open = self._open, []
        for i, raw in enumerate(lines):
            self._row(raw, self._open_line + i)
        if lines:
            self._quotes.add(self._open_line)

    def _records(self, lines: list[bytes], line: int) -> Iterator[tuple[int, bytes]]:
        """Lines, those with a quoted line end inside joined."""
        for i, raw in enumerate(lines):
            odd = b'"' in raw and raw.count(b'"') % 2 == 1 and self._dialect.separator is not None
            if not self._open and not odd:
                yield line + i, raw
                continue
            if not self._open:
                self._open_line = line + i
            closes = odd and bool(self._open)
            self._open.append(raw)
            if closes:
                record, self._open = b"\n".join(self._open), []
                yield self._open_line, record
            elif len(self._open) > _QUOTE_LINES or len(self._open) * len(raw) > _QUOTE_BYTES:
                self.close()

    def _last_row(self, raw: bytes, line: int, byte: int) -> None:
        cells = self._dialect.cut(raw.strip(b"\r"))
        if len(cells) < len(self.columns) and len(self.columns) > 1:
            self._cut_off = (
                f"the last line is cut off at byte {byte + len(raw):,} (line {line:,}); its last cell was left out"
            )
            cells = cells[:-1]
            if not cells:
                return
            self._fill(cells, line)
            return
        self._row(raw, line)

    def _row(self, raw: bytes, line: int) -> None:
        raw = raw.strip(b"\r\0") if raw[-1:] == b"\r" or b"\0" in raw else raw
        if not raw or raw.isspace() or is_comment(raw):
            return
        cells = self._dialect.cut(raw)
        if len(cells) < len(self.columns):
            self._short.add(line)
        self._fill(cells, line)

    def _fill(self, cells: list[bytes], line: int) -> None:
        columns, cell_of = self.columns, self._builder.cell
        if len(cells) > len(columns) and any(cells[len(columns) :]):
            if self._is_new_header(cells):
                self._change_header(cells, line)
                return
            self._wide.add(line)
            self._fill_unnamed(cells)
        for i, (name, cell) in enumerate(zip(columns, cells, strict=False)):
            if not cell:
                continue
            try:
                value = float(cell)
            except ValueError:
                if not any(cells[:i]) and self._is_new_header(cells):
                    self._change_header(cells, line)
                    return
                self._odd_cell(name, cell, line)
                continue
            if b"_" in cell:
                self._odd_cell(name, cell, line)
            else:
                cell_of(name, value)
        self._builder.end_row()

    def _fill_unnamed(self, cells: list[bytes]) -> None:
        """Keep numbers beyond the header under made-up names."""
        for i in range(len(self.columns), min(len(cells), MAX_COLUMNS)):
            value = number(cells[i])
            name = f"col{i + 1}"
            if value is not None and name not in self.columns:
                self._unnamed[name] = self._unnamed.get(name, 0) + 1
                self._builder.cell(name, value)

    def _few(self) -> list[str]:
        """Unnamed columns that only a few damaged rows have."""
        least = max(2, _UNNAMED_SHARE * self._builder.rows)
        return [n for n, count in self._unnamed.items() if count < least]

    def _odd_cell(self, name: str, cell: bytes, line: int) -> None:
        value = number(cell)
        if value is None and cell.lower() in _EMPTY:
            return
        if value is None and cell.count(b",") == 1 and self._dialect.separator != b",":  # a decimal comma
            value = number(cell.replace(b",", b"."))
        if value is None and may_be_absolute_time(name):
            value = parse_time(text(cell))
            if value is None:
                return
        if value is not None:
            self._builder.cell(name, value)
        elif is_label(name):
            self._builder.label(name, text(cell))
        else:
            self._texts.setdefault(name, _Tally()).add(line, text(cell[:40]))

    def _is_new_header(self, cells: list[bytes]) -> bool:
        if not is_header(cells):
            return False
        names = column_names(cells)
        known = sum(n in self._names for n in names)
        return known * 2 >= len(names) or any(axis_rank(n) is not None for n in names if n)

    def _change_header(self, cells: list[bytes], line: int) -> None:
        new = [n for n in column_names(cells) if n not in self._names]
        self._headers.add(line, ", ".join(new[:_SHOWN]))
        self._set_header(cells)

    def header_text(self) -> str:
        """The columns' names for a message."""
        shown = ", ".join(n or "(no name)" for n in self._names[:_SHOWN])
        return f"the columns are {shown}" if shown else "there are no rows"

    def notes(self) -> list[str]:
        """What was odd about the file, each with its first line."""
        out = []
        if self._headerless and self.columns:
            out.append(f"there is no header: the columns are called {', '.join(self.columns[:_SHOWN])}{self._advice()}")
        if self._headers.count:
            what = f", with new columns {self._headers.what}" if self._headers.what else ""
            again = f" and {self._headers.count - 1} more" if self._headers.count > 1 else ""
            out.append(f"a header stands again in line {self._headers.line:,}{again}{what}")
        out += self._text_notes()
        rows = (
            (self._wide, f"rows have more cells than the header; {self._about_unnamed()}"),
            (self._short, "rows have fewer cells than the header"),
            (self._quotes, "quotes are never closed"),
        )
        out += [f"{t.count:,} {what} (first in line {t.line:,})" for t, what in rows if t.count]
        if self._cut_off:
            out.append(self._cut_off)
        if self._builder.left_out:
            out.append("there are too many columns; further ones were left out")
        return out

    def _about_unnamed(self) -> str:
        """What became of the cells beyond the header."""
        few = self._few()
        names = [n for n in self._unnamed if n not in few]
        if not names:
            return "these cells were left out"
        shown = ", ".join(names[:_SHOWN])
        return f"they are called {shown}; say what they are, as in --metric val_loss={names[0]}"

    def _advice(self) -> str:
        """How to say which column of a table without a header is the loss, where that is open."""
        first = next((n for n in self.columns if n.startswith("col")), "")
        if "loss" in self.columns or not first:
            return ""
        return f"; say which is the loss, as in --metric train_loss={first}"

    def _text_notes(self) -> list[str]:
        numeric = set(self._builder.names())
        out = []
        words = [n for n in self._texts if n not in numeric]
        if words:
            more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
            out.append(f"columns without numbers were left out: {', '.join(words[:_SHOWN])}{more}")
        mixed = [(n, t) for n, t in self._texts.items() if n in numeric]
        for name, tally in mixed[:_SHOWN]:
            cells = "cell was" if tally.count == 1 else "cells were"
            out.append(f"{name}: {tally.count:,} {cells} not a number (first {tally.what!r} in line {tally.line:,})")
        return out


def _rises(values: list[float | None]) -> bool:
    """Whether the values are whole numbers from 0 on that rise with every row, as steps do. Times do so as well."""
    known = [v for v in values if v is not None and 0 <= v < _TIME and v % 1 == 0]
    return len(known) == len(values) > 1 and all(b > a for a, b in pairwise(known))


def _counts_up(values: list[float | None]) -> bool:
    """Whether the values go up one by one, as row numbers and steps do."""
    known = [v for v in values if v is not None]
    return len(known) == len(values) > 1 and all(b - a == 1 for a, b in pairwise(known))
