"""JSON lines: Detectron2 ``metrics.json``, MMEngine ``scalars.json``, old OpenMMLab logs, W&B history, any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from lossdoctor.core.errors import NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._context import context_from
from lossdoctor.readers._histories import histories
from lossdoctor.readers._json_text import looks_like_row, parse_json, parse_rows
from lossdoctor.readers._lines import Block, LineBlocks, plain
from lossdoctor.readers._openmmlab import settle
from lossdoctor.readers._rows import ObjectRows
from lossdoctor.readers._table import TableBuilder
from lossdoctor.readers._template import Template
from lossdoctor.readers.base import Reader, Source


class JsonLinesReader(Reader):
    """One JSON object per line; lines that are none are skipped and counted."""

    name: ClassVar[str] = "jsonl"
    describes: ClassVar[str] = (
        "JSON lines: Detectron2 metrics.json, MMEngine scalars.json, OpenMMLab *.log.json, W&B history, any loop's"
    )

    def sniff(self, source: Source) -> int:
        """Sure (85) when lines are objects with a metric or a step; no of any other objects."""
        head = plain(source.head)
        if head.lstrip()[:1] in (b"", b"<") or b"{" not in head[:20_000] or b"\0" in head[:4096]:
            return 0
        lines = [x for x in head.split(b"\n")[:200] if x.strip()]
        if len(source.head) > 60_000 and len(lines) > 1:
            lines.pop()
        objects = [x for x in lines if x.lstrip()[:1] == b"{"]
        rows = [row for x in objects[:50] if isinstance(row := parse_json(x), dict)]
        if not rows or len(objects) * 2 < len(lines):
            return 0
        telling = sum(looks_like_row(row) for row in rows)
        if not telling:
            return 0
        if len(lines) == 1:
            return 45
        return 85 if telling * 4 >= len(rows) else 40

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history, or one per run where a field names the run."""
        reading = _Reading()
        blocks = LineBlocks(source)
        for block in blocks:
            reading.block(block)
        if not reading.objects:
            raise NotRecognizedError(source.path, "no line is a JSON object", hint="check that this is a log")
        table = reading.builder.finish()
        notes = [*reading.notes(), *blocks.notes]
        if not any(len(c.values) for c in table.columns.values()):
            notes.insert(0, f"no number in any of {reading.objects:,} JSON lines")
        axis = settle(table)
        context = context_from(reading.rows.facts) if reading.rows.facts else None
        return histories(table, path=source.path, format=self.name, notes=notes, context=context, axis=axis)


class _Reading:
    """The state while one file is read."""

    def __init__(self) -> None:
        self.builder = TableBuilder()
        self.rows = ObjectRows(self.builder)
        self.objects = 0
        self._template: Template | None = None
        self._others = 0
        self._first_other = 0
        self._cut = ""

    def block(self, block: Block) -> None:
        """Rows of a block: at once where all lines are of one make, else one by one."""
        data = block.data
        if not data.strip():
            return
        if self._template is None or not self._template.fits(data):
            self._template = Template.of(data)
        count = None if self._template is None else self._template.fill(self.builder, data)
        if count is not None:
            self.objects += count
            return
        lines = data.split(b"\n")
        done = 0
        template = self._template
        for start, stop, pieces in template.runs(data) if template is not None else ():
            done = stop
            if pieces is None or template is None:
                self._singly(block, lines, start, stop)
            else:
                self.builder.block(list(template.names), pieces, stop - start)
                self.objects += stop - start
        self._singly(block, lines, done, len(lines))

    def _singly(self, block: Block, lines: list[bytes], start: int, stop: int) -> None:
        for at, (line, row) in enumerate(self._parsed(lines[start:stop]), start):
            if isinstance(row, dict):
                self.objects += 1
                self.rows.add(row)
            elif line.strip():
                self._other(line, block, at, last=block.last and at == len(lines) - 1)

    def _parsed(self, lines: list[bytes]) -> Iterator[tuple[bytes, Any]]:
        """Each line with what it says. Some hundred lines are parsed at once, singly where that fails."""
        for start in range(0, len(lines), 512):
            some = lines[start : start + 512]
            parsed = parse_rows(some)
            if parsed is None:
                parsed = [parse_json(x) if x.lstrip()[:1] == b"{" else None for x in some]
            yield from zip(some, parsed, strict=True)

    def _other(self, line: bytes, block: Block, at: int, last: bool) -> None:
        if last and line.lstrip()[:1] == b"{":
            self._cut = f"the last line is cut off at byte {block.byte + len(block.data):,} and was left out"
            return
        if not self._others:
            self._first_other = block.line + at
        self._others += 1

    def notes(self) -> list[str]:
        """What was odd about the file."""
        out = []
        if self._others:
            lines = "line that is no JSON was" if self._others == 1 else "lines that are no JSON were"
            out.append(f"{self._others:,} {lines} skipped (first: line {self._first_other:,})")
        if self._cut:
            out.append(self._cut)
        if self.rows.lists:
            out.append(f"{self.rows.lists:,} lists of values were left out: a curve needs one number per row")
        if self.builder.left_out:
            out.append("there are too many fields; further ones were left out")
        return out
