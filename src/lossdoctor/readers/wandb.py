"""Weights & Biases' binary log (``run-<id>.wandb``): the history of an online or offline run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import BrokenFileError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._chunks import chunks
from lossdoctor.readers._context import context_from
from lossdoctor.readers._wandb_rows import Rows
from lossdoctor.readers.base import Reader, Source
from lossdoctor.wire.leveldb import MAGIC, WandbLog
from lossdoctor.wire.proto import WireError
from lossdoctor.wire.wandb import RunInfo, exit_code, record_kind, run_info, update_config

_WINDOW = 4 << 20
_MOST_NOTES = 3


class WandbReader(Reader):
    """``.wandb`` files: history rows become curves, the run's config becomes the context.

    The axis is W&B's ``_step``, or ``trainer/global_step`` where every row has it. Nested values are named with dots.
    """

    name: ClassVar[str] = "wandb"
    describes: ClassVar[str] = "Weights & Biases binary logs (.wandb, online or offline)"

    def sniff(self, source: Source) -> int:
        if source.head.startswith(MAGIC):
            return 100
        return 30 if source.name.endswith(".wandb") and source.head else 0

    def read(self, source: Source) -> list[TrainingHistory]:
        if not source.head.startswith(MAGIC):
            if MAGIC.startswith(source.head[: len(MAGIC)]):
                raise BrokenFileError(source.path, "cut off within its header", where=f"byte {len(source.head):,}")
            raise NotRecognizedError(source.path, f"no W&B log: it does not begin with {MAGIC[:4].decode()}")
        notes: list[str] = []
        run = _Run()
        log = WandbLog()
        for piece in chunks(source, _WINDOW, notes):
            for record in log.feed(piece):
                run.take(record)
        if not run.records and log.damage:
            raise BrokenFileError(
                source.path,
                "not one record of this W&B log can be read: the first one fails its checksum",
                where=f"byte {log.damage[0].offset:,}",
                hint="copy the file again",
            )
        curves, axis_notes = run.rows.curves()
        return [
            TrainingHistory(
                curves,
                name=run.info.display_name or run.info.run_id,
                path=source.path,
                format=self.name,
                context=run.context(),
                notes=[*([] if curves else [run.nothing()]), *axis_notes, *notes, *_damage_notes(log, run)],
                events=run.events(),
            )
        ]


class _Run:
    """What the records of one file tell, as they come."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.info = RunInfo()
        self.config: dict[str, Any] = {}
        self.records = 0
        self.malformed = 0
        self.kinds: dict[str, int] = {}
        self.exit: int | None = None

    def take(self, record: bytes) -> None:
        self.records += 1
        try:
            kind, start, stop = record_kind(record)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if kind == "history":
                self.rows.take(record, start, stop)
            elif kind == "config":
                update_config(self.config, record, start, stop)
            elif kind == "run":
                self.info = run_info(record, start, stop, self.config)
            elif kind == "exit":
                self.exit = exit_code(record, start, stop)
        except WireError:
            self.malformed += 1

    def context(self) -> RunContext:
        config = {k: v for k, v in self.config.items() if k != "_wandb"}
        context = context_from(config)
        known = {"run_id": self.info.run_id, "project": self.info.project, "first_wall_time": self.rows.first_time()}
        return replace(context, extra={**context.extra, **{k: v for k, v in known.items() if v}})

    def events(self) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        if self.info.resumed:
            out.append({"kind": "resumed", "step": self.info.starting_step})
        if self.exit:
            out.append({"kind": "exit", "exit_code": self.exit})
        return out

    def nothing(self) -> str:
        """Why there is no curve."""
        if self.rows.count:
            return f"W&B log without curves: its {self.rows.count:,} history rows hold no numbers"
        names = {"output_raw": "console output", "output": "console output", "stats": "system metrics"}
        held = [f"{names[k]} ({n:,} records)" for k, n in self.kinds.items() if k in names]
        held += ["a summary"] if "summary" in self.kinds else []
        return "W&B log without history rows, so without curves: it holds " + (
            ", ".join(held) if held else "only the run's configuration"
        )


def _damage_notes(log: WandbLog, run: _Run) -> list[str]:
    notes = [
        f"block at byte {d.offset:,} fails its checksum; {d.size:,} bytes are left out"
        if d.reason == "checksum"
        else f"record at byte {d.offset:,} is left out ({d.reason})"
        for d in log.damage[:_MOST_NOTES]
    ]
    if log.damaged > _MOST_NOTES:
        notes.append(f"{log.damaged - _MOST_NOTES:,} further damaged places are left out")
    if run.malformed:
        notes.append(f"{run.malformed:,} records are no valid W&B records; they are left out")
    if log.cut_off is not None:
        begin = f"byte {log.cut_off:,}"
        notes.append(f"last record cut off at byte {log.size:,} (it begins at {begin}); everything before it was read")
    return notes
