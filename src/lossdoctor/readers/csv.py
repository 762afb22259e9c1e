"""CSV, TSV and their kin: Lightning ``metrics.csv``, Keras CSVLogger, Ultralytics ``results.csv``, any other table."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._context import context_from, flat_yaml
from lossdoctor.readers._csv_blocks import BlockAdder
from lossdoctor.readers._csv_dialect import dialect_of, name_prefix, score
from lossdoctor.readers._csv_exports import by_run, holes, named_by_file
from lossdoctor.readers._csv_rows import RowReader
from lossdoctor.readers._histories import histories
from lossdoctor.readers._lines import LineBlocks, plain
from lossdoctor.readers._table import TableBuilder
from lossdoctor.readers.base import Reader, Source


class CsvReader(Reader):
    """Rows of numbers under a header (or without one), separated by commas, tabs, semicolons or blanks."""

    name: ClassVar[str] = "csv"
    describes: ClassVar[str] = (
        "CSV and TSV tables: Lightning metrics.csv, Keras CSVLogger, Ultralytics results.csv, CatBoost *_error.tsv,"
        " spreadsheets, W&B exports, np.savetxt"
    )

    def sniff(self, source: Source) -> int:
        """Sure (80) of a table whose header names a metric or a step, less of any table of numbers."""
        return score(plain(source.head), source.name, whole=len(source.head) < 60_000)

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history, or one per run where a column names the run."""
        dialect = dialect_of(plain(source.head))
        builder = TableBuilder()
        reader = RowReader(builder, dialect)
        adder = BlockAdder(builder, reader, dialect)
        blocks = LineBlocks(source)
        for block in blocks:
            adder.add(block.data, block.line, block.byte, block.last)
        reader.close()
        notes = [*reader.notes(), *blocks.notes]
        table = builder.finish()
        table.columns = {n: table.columns[n] for n in reader.in_order(table.columns)}
        if not any(len(c.values) for c in table.columns.values()):
            notes.insert(0, f"no column holds numbers: {reader.header_text()}")
        found = histories(table, path=source.path, format=self.name, notes=notes)
        _beside(source, found)
        for history in found:
            history.notes += holes(history)
        if prefix := name_prefix(source.name):
            return [_prefixed(h, prefix) for h in found]
        return [run for h in found for run in by_run(named_by_file(h, source.name))]

    def claims(self, folder: Path, names: frozenset[str]) -> bool:  # noqa: ARG002
        """CatBoost's ``catboost_info`` when its JSON is missing: its learn and test errors are one run."""
        return "learn_error.tsv" in names and "catboost_training.json" not in names

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        """CatBoost's two tables as one run."""
        curves = {}
        notes: list[str] = []
        unit = "step"
        for file in ("learn_error.tsv", "test_error.tsv"):
            if (folder / file).is_file():
                for history in self.read(Source.from_path(folder / file, f"{shown}/{file}")):
                    curves.update(history.curves)
                    notes += history.notes
                    unit = history.step_unit
        return [TrainingHistory(curves, path=shown, format=self.name, step_unit=unit, notes=notes)]


# Where the writer of a table keeps its parameters.
_PARAMETERS = {"metrics.csv": "hparams.yaml", "results.csv": "args.yaml"}


def _beside(source: Source, found: list[TrainingHistory]) -> None:
    """What Lightning's hparams.yaml or Ultralytics' args.yaml beside the table says of the run."""
    name = _PARAMETERS.get(source.name)
    if source.local is None or name is None or len(found) != 1:
        return
    known = flat_yaml(source.local.parent / name)
    if known:
        found[0].context = context_from(known, found[0].step_unit)


def _prefixed(history: TrainingHistory, prefix: str) -> TrainingHistory:
    curves = {f"{prefix}/{name}": curve for name, curve in history.curves.items()}
    return TrainingHistory(
        curves,
        name=history.name,
        path=history.path,
        format=history.format,
        step_unit=history.step_unit,
        notes=history.notes,
    )
