"""Tables inside a log: a header line of names, then rows of cells."""

from __future__ import annotations

import re

from lossdoctor.core.names import parse
from lossdoctor.readers.text.layout import MISSING, Column, Layout, Rows
from lossdoctor.readers.text.words import KNOWN_KINDS, ROLE_KINDS, counter, kind_of, pure_split

_NAME = re.compile(r"^[A-Za-z#%_](?:[\w ./()%#+'-]|@[\d.:]*){0,39}$")
_CELL = re.compile(
    r"^([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf(?:inity)?)(?:/(\d+))?([%a-zA-Zµ]{0,4}):?$", re.I
)
_VALUE = re.compile(r"(?:^|[ (])[-+]?\d*\.?\d+(?:$|[ )%])")
_GAP = re.compile(r"\s{2,}|\t+")
_RULER = re.compile(r"^[\s|+:=_┃│─━┄═╪┼╋├┤┝┥╞╡-]+$")
_BAR = re.compile(r":?\s+\d+%\s?\|.*$|\s+\d+%\s?[█▏▎▍▌▋▊▉━].*$")
_PIPES = str.maketrans("│┃║", "|||")
_SPACY_LOSS = "LOSS "
PATIENCE = 6
EMPTY = frozenset({"", "-", "--", "n/a", "na", "none", "null", "no log", "nolog", "+", "—"})


def is_ruler(line: str) -> bool:
    """Whether the line only draws a line (``-----  ------``)."""
    return bool(_RULER.match(line)) and any(c in line for c in "-─━═=")


def header_names(line: str) -> list[str] | None:
    """The column names when the line looks like the header of a table of metrics, else None.

    >>> header_names("  epoch    train_loss    valid_loss     dur")
    ['epoch', 'train_loss', 'valid_loss', 'dur']
    >>> header_names("the loss of the model") is None
    True
    """
    if len(line) > 400:
        return None
    line = _BAR.sub("", line.translate(_PIPES)).rstrip()
    text = line.strip()
    if "|" in text:
        names = [n.strip() for n in text.strip("|").split("|")]
    elif text.count(",") >= 1 and " " not in text.replace(", ", ","):
        names = [n.strip() for n in text.split(",")]
    else:
        names = [n for n in _GAP.split(text) if n]
        if len(names) < 2 or any(len(n.split()) > 3 for n in names):
            names = text.split()
    if len(names) > 1 and names[0].endswith(":") and _role(names[0][:-1]) is not None:  # "ITER:   LOSS"
        names[0] = names[0][:-1]
    if not 2 <= len(names) <= 60 or not all(_NAME.match(n) and not _VALUE.search(n) for n in names):
        return None
    metrics = sum(kind_of(n) in KNOWN_KINDS or pure_split(n) != "" for n in names)
    known = metrics + sum(_role(n) is not None or kind_of(n) in ROLE_KINDS or kind_of(n) == "clock" for n in names)
    opens = _role(names[0]) is not None or (names[0] == "Class" and metrics > 0)  # Ultralytics' validation
    if metrics == 0 or not (opens or (known * 2 > len(names) and metrics >= 2)):
        return None
    return names


def _role(name: str) -> str | None:
    if name in ("#", "it", "i"):
        return "step"
    if name == "E":
        return "epoch"
    found = counter(name)
    return None if found is None else found[0]


class Table:
    """The table that is open at this place of the log."""

    def __init__(self, names: list[str], header: str, number: int, *, rows: dict[Layout, Rows]) -> None:
        self._names = names
        self._header = _BAR.sub("", header.translate(_PIPES))
        self._separator = "|" if "|" in self._header else ("," if "," in self._header else "")
        self._spans: list[tuple[int, int]] = []
        self.per_class = names[0] == "Class"
        plain = [n.removeprefix("Box(").rstrip(")") for n in names]
        columns, self._kept = _columns(plain, _of_validation(plain))
        self.layout = Layout(tuple(columns), bar="", source=number)
        self._all = rows
        self._rows: Rows | None = None
        self.misses = 0
        self.matched = False

    def ruler(self, line: str) -> None:
        """Take column borders from a line of dashes under the header."""
        spans = [(m.start(), m.end()) for m in re.finditer(r"-+|=+|─+", line)]
        if not self.matched and not self._separator and len(spans) == len(self._names):
            ends = [s for s, _ in spans[1:]] + [10_000]
            self._spans = list(zip([s for s, _ in spans], ends, strict=True))

    def row(self, order: int, line: str) -> bool:
        """Read a line as a row; False when it is none."""
        cells = self.cells(line)
        values = None if cells is None else self._values(cells)
        if values is None:
            self.misses += not self.matched
            return False
        if self._rows is None:
            bar = "table" if _BAR.search(line) else ""
            layout = Layout(self.layout.columns, bar=bar, source=self.layout.source)
            layout = next((k for k in self._all if k.columns == layout.columns and k.bar == bar and k.source), layout)
            self._rows = self._all.setdefault(layout, Rows(layout))
        self.matched = True
        self._rows.values.extend(values)
        self._rows.order.append(order)
        return True

    def overall(self, line: str) -> bool:
        """Whether the line is the row of all classes together in a table per class."""
        return self.per_class and line.lstrip().startswith("all ")

    def cells(self, line: str) -> list[str] | None:
        """The line cut into as many cells as the table has columns, or None."""
        if len(line) > 2_000:
            return None
        line = _BAR.sub("", line.translate(_PIPES)).rstrip()
        cells = line.split()
        if self._separator:
            cells = [c.strip() for c in line.strip().strip("|").split(self._separator)]
        if len(cells) == len(self._names):
            return cells
        if self._spans:
            cells = [line[a:b].strip() for a, b in self._spans]
            return cells if " " not in "".join(cells) else None
        return None

    def _values(self, cells: list[str]) -> list[float] | None:
        values: list[float] = []
        numbers = 0
        for index, cell in enumerate(cells):
            match = _CELL.match(cell)
            kept = self._kept[index]
            if index == 0 and self.per_class and cell == "all":
                continue
            wrong = match is None and cell.lower() not in EMPTY
            if wrong and (index == 0 or (kept and ":" not in cell)):
                return None
            numbers += match is not None
            if kept:
                values.append(float(match.group(1)) if match else MISSING)
        return values if numbers * 2 > len(cells) else None


def _of_validation(names: list[str]) -> frozenset[str]:
    """The columns that tell of the validation though their names do not: Ultralytics' per class, spaCy's scores."""
    if names[0] == "Class":
        return frozenset(names)
    if names[:2] == ["E", "#"] and any(n.startswith(_SPACY_LOSS) for n in names):
        return frozenset(n for n in names if not n.startswith(_SPACY_LOSS))
    return frozenset()


def _columns(names: list[str], validation: frozenset[str]) -> tuple[list[Column], list[bool]]:
    columns: list[Column] = []
    kept = []
    seen: set[str] = set()
    for name in names:
        role = _role(name)
        if role is not None and role not in {c.role for c in columns}:
            order = (counter(name) or ("step", 0))[1]
            columns.append(Column(role, name, order=order))
        elif role is None and pure_split(name):
            columns.append(Column("metric", name, f"{name}/loss", pure_split(name)))
        elif role is None and kind_of(name) not in ("clock", "not") and name not in (*seen, "Class", "Images", "Size"):
            full = f"val/{name}" if name in validation else name
            columns.append(Column("metric", name, full, parse(full).split))
            seen.add(name)
        else:
            kept.append(False)
            continue
        kept.append(True)
    return columns, kept
