"""What kind of table the first bytes show: separator, header or none, and how sure one can be that it is a log."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

from lossdoctor.core.names import parse
from lossdoctor.readers._axes import axis_rank, is_time
from lossdoctor.readers._lines import text

_SEPARATORS = (b",", b"\t", b";")
_SAMPLE = 60
_TABLE_NAME = re.compile(r"\.(csv|tsv|tab)$", re.IGNORECASE)
_CATBOOST = re.compile(r"^(learn|test)_error\.tsv$")
_NAN_WORDS = frozenset({b"nan", b"inf", b"infinity", b"none", b"null", b"na", b"n/a"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How rows are cut: ``separator`` is None where blanks separate, or where there is one column only."""

    separator: bytes | None
    blanks: bool = False

    def cut(self, line: bytes) -> list[bytes]:
        """The cells of a line without line end, stripped."""
        if b'"' in line and self.separator is not None:
            return _quoted(line, self.separator)
        if self.separator is not None:
            return [c.strip() for c in line.split(self.separator)]
        return line.split() if self.blanks else [line.strip()]


def _quoted(line: bytes, separator: bytes) -> list[bytes]:
    """Cells of a line with quotes; Latin-1 takes any byte there and back."""
    decoded = line.decode("latin-1")
    try:
        cells = next(csv.reader([decoded], delimiter=separator.decode(), skipinitialspace=True), [])
    except csv.Error:
        cells = decoded.split(separator.decode())
    return [c.strip().encode("latin-1", errors="replace") for c in cells]


def number(cell: bytes) -> float | None:
    """The number that a cell holds, or None. ``nan`` and ``inf`` are numbers; ``1_000`` is not.

    >>> number(b"1e-3"), number(b"-inf"), number(b"tensor(0.5)"), number(b"85%"), number(b"abc")
    (0.001, -inf, 0.5, 85.0, None)
    """
    try:
        if b"_" not in cell:
            return float(cell)
    except ValueError:
        pass
    if cell.endswith(b"%"):
        return number(cell[:-1])
    if cell.startswith(b"tensor("):
        return number(cell[7:].rstrip(b")").split(b",")[0])
    return None


def _sample(head: bytes, whole: bool) -> list[bytes]:
    """The first lines that are neither blank nor comments; the last one is left out where the head cuts it."""
    lines = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    return [x for x in lines[: 20 * _SAMPLE] if x.strip() and not is_comment(x)][:_SAMPLE]


def is_comment(line: bytes) -> bool:
    """Whether a line is a remark: it starts with ``#`` and no cell follows as in a header ``#,loss``."""
    return line.startswith((b"#", b"%")) and not line.startswith((b"#,", b"#\t", b"#;"))


def dialect_of(head: bytes) -> Dialect:
    """The dialect of a file, from its first lines."""
    lines = _sample(head, whole=len(head) < 60_000)
    best, best_key = Dialect(None), (0.0, 0)
    for separator in _SEPARATORS:
        cut = Dialect(separator)
        widths = Counter(len(cut.cut(line)) for line in lines)
        if not widths:
            break
        width, count = widths.most_common(1)[0]
        numbers = sum(_is_cell(c) for line in lines[1:] for c in cut.cut(line))
        cells = sum(len(cut.cut(line)) for line in lines[1:]) or 1
        key = (count / len(lines) * numbers / cells if numbers else 0.01 * count / len(lines), width)
        if width > 1 and key > best_key:
            best, best_key = cut, key
    if best.separator is None and _blank_separated(lines):
        return Dialect(None, blanks=True)
    return best


def _is_cell(cell: bytes) -> bool:
    return not cell or number(cell) is not None or cell.lower() in _NAN_WORDS


def _blank_separated(lines: list[bytes]) -> bool:
    """Rows of numbers with blanks between, as ``np.savetxt`` writes them; a header of as many words may come first."""
    rows = [line.split() for line in lines]
    if len(rows) < 2 or len(rows[-1]) < 2:
        return False
    body = rows[1:] if not all(number(c) is not None for c in rows[0]) else rows
    return all(len(r) == len(rows[-1]) for r in rows) and all(number(c) is not None for r in body for c in r)


def is_header(cells: list[bytes]) -> bool:
    """Whether a row names columns: no cell is a number, and some cell is a word."""
    words = [c for c in cells if c]
    return bool(words) and all(number(c) is None for c in words) and any(re.search(rb"[A-Za-z]", c) for c in words)


def column_names(cells: list[bytes]) -> list[str]:
    """Unique names of columns; one without a name is ``""`` when it is the first (an index) and ``colN`` else."""
    names: list[str] = []
    for i, cell in enumerate(cells):
        name = text(cell).strip().strip("\ufeff").strip()
        if not name and i:
            name = f"col{i + 1}"
        base, k = name, 2
        while name in names:
            name, k = f"{base} ({k})", k + 1
        names.append(name)
    return names


def name_prefix(file_name: str) -> str:
    """What a file's name alone says of its columns: CatBoost writes learn and test errors under the same header."""
    found = _CATBOOST.match(file_name)
    return found.group(1) if found else ""


def score(head: bytes, name: str, whole: bool) -> int:
    """How sure one can be that these bytes are a table of numbers, 0 to 100."""
    if not head or b"\0" in head[:4096] or head.lstrip()[:1] in (b"{", b"[", b"<"):
        return 0
    lines = _sample(head, whole)
    named = bool(_TABLE_NAME.search(name))
    if not lines or (b"\n" not in head and b"\r" not in head and not (whole and named)):
        return 0
    dialect = dialect_of(head)
    rows = [dialect.cut(line) for line in lines]
    header = is_header(rows[0])
    body = rows[1:] if header else rows
    width = len(rows[0])
    if width == 1 and not header:
        numbers = sum(number(r[0]) is not None for r in body if len(r) == 1)
        return (60 if named else 35) if numbers == len(body) and len(body) > 1 else 0
    return _scored(rows[0] if header else [], body, width, named, dialect)


def _scored(header: list[bytes], body: list[list[bytes]], width: int, named: bool, dialect: Dialect) -> int:
    known = [text(c) for c in header]
    says = any(parse(n).kind != "other" or axis_rank(n) is not None or is_time(n) for n in known if n)
    if not body:
        return 60 if named and says else 0
    fitting = [r for r in body if abs(len(r) - width) <= max(1, width // 2) and (len(r) > 1 or width == 1)]
    per_column = [[r[j] for r in fitting if j < len(r) and r[j]] for j in range(width)]
    numeric = sum(bool(c) and sum(_is_cell(x) for x in c) * 2 > len(c) for c in per_column)
    if len(fitting) * 2 < len(body) or not numeric:
        return 25 if named and (says or width > 1) else 0
    if not header:
        return 55 if named else 35 if dialect.separator else 25
    if says:
        return 85 if named else 80 if dialect.separator else 60
    return 60 if named else 30
