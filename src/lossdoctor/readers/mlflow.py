"""MLflow: the ``mlruns/`` file store and the SQLite database, one history per run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._mlflow_files import is_experiment, is_run, is_store, runs_in
from lossdoctor.readers._mlflow_runs import Points, Run
from lossdoctor.readers.base import Reader, Source

_MAGIC = b"SQLite format 3\x00"
# A row of metrics takes at least this many bytes: more rows than fit are a damaged or hostile file.
_LEAST_ROW = 8


class MlflowReader(Reader):
    """MLflow's two local stores. A database is opened read-only and never written to."""

    name: ClassVar[str] = "mlflow"
    describes: ClassVar[str] = "MLflow: mlruns/ folders and SQLite databases"

    def sniff(self, source: Source) -> int:
        """Sure (95) of an SQLite database with MLflow's tables; a doubtful 10 of any other one."""
        if not source.head.startswith(_MAGIC):
            return 0
        if source.local is None or source.compressed:  # looking inside would take all of it: reading will tell
            return 60
        try:
            database, _ = _connect(source)
            with closing(database):
                return 95 if {"metrics", "runs"} <= _tables(database) else 10
        except (sqlite3.Error, UnicodeDecodeError, ReadError):
            return 60

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history per run that was not deleted."""
        try:
            database, size = _connect(source)
            with closing(database):
                return [run.history() for run in _database_runs(database, source, size)]
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise BrokenFileError(
                source.path,
                f"the SQLite database is damaged ({error})",
                where="database pages",
                hint="run: sqlite3 FILE 'PRAGMA integrity_check', or copy the file again",
            ) from None

    def claims(self, folder: Path, names: frozenset[str]) -> bool:
        """A run, an experiment, or a whole file store."""
        return is_run(folder, names) or is_experiment(folder, names) or is_store(folder, names)

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        """The runs of a file store; one history without curves when it has none."""
        found = [run.history() for run in runs_in(folder, shown)]
        if not found:
            found = [TrainingHistory(path=shown, format=self.name, notes=["this MLflow store holds no run"])]
        return found


def _connect(source: Source) -> tuple[sqlite3.Connection, int]:
    """The database, and its size in bytes."""
    if source.local is not None and not source.compressed:
        # Immutable: no lock, no journal, no -wal or -shm file beside the user's database.
        uri = f"file:{quote(str(source.local.absolute()))}?mode=ro&immutable=1"
        database = sqlite3.connect(uri, uri=True)
        size = source.local.stat().st_size
    else:
        data = source.read_bytes()
        if data[18:20] == b"\x02\x02":  # journal mode WAL, which a database in memory cannot have
            data = data[:18] + b"\x01\x01" + data[20:]
        database = sqlite3.connect(":memory:")
        database.deserialize(data)
        size = len(data)
    database.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
        database.execute(f"PRAGMA {pragma}")
    return database, size


def _tables(database: sqlite3.Connection) -> set[str]:
    """Names of the real tables: a view or a virtual table of such a name could run anything on being read."""
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return {name for name, sql in found if "virtual" not in str(sql).lower()[:20]}


def _database_runs(database: sqlite3.Connection, source: Source, size: int) -> list[Run]:
    tables = _tables(database)
    if not {"metrics", "runs"} <= tables:
        raise NotRecognizedError(
            source.path, "this is an SQLite database without MLflow's tables", hint="name a file with losses in it"
        )
    runs, deleted = _runs(database, source, tables)
    for run_id, key, value in _rows(database, "params", ("run_uuid", "key", "value"), tables):
        if run_id in runs:
            runs[run_id].params[str(key)] = str(value)
    limit = size // _LEAST_ROW
    columns = ("run_uuid", "key", "value", "timestamp", "step", "is_nan")
    for count, (run_id, key, value, time, step, is_nan) in enumerate(_rows(database, "metrics", columns, tables)):
        if count > limit:
            raise sqlite3.DatabaseError("table metrics has more rows than the file can hold")
        run = runs.get(run_id)
        number = float("nan") if is_nan else _number(value)
        if run is not None and number is not None:
            run.metrics.setdefault(str(key), Points()).add(_number(time) or 0.0, number, _number(step) or 0.0)
    found = list(runs.values())
    if not found:
        found = [Run(source.path, notes=["this MLflow database holds no run"])]
    if deleted:
        found[0].notes.append(
            "1 deleted run was left out" if deleted == 1 else f"{deleted:,} deleted runs were left out"
        )
    if source.local is not None and Path(f"{source.local}-wal").exists():
        found[0].notes.append("there is a -wal file beside the database; what it holds is not read until it is merged")
    return found


def _runs(database: sqlite3.Connection, source: Source, tables: set[str]) -> tuple[dict[Any, Run], int]:
    experiments = dict(_rows(database, "experiments", ("experiment_id", "name"), tables))
    columns = ("run_uuid", "name", "status", "lifecycle_stage", "experiment_id", "start_time")
    rows = sorted(_rows(database, "runs", columns, tables), key=lambda r: (_number(r[5]) or 0.0, str(r[0])))
    tags = _rows(database, "tags", ("run_uuid", "key", "value"), tables)
    names = {run_id: value for run_id, key, value in tags if key == "mlflow.runName"}
    runs: dict[Any, Run] = {}
    deleted = 0
    for run_id, name, status, stage, experiment, _ in rows:
        if stage == "deleted":
            deleted += 1
            continue
        label = str(name or names.get(run_id) or run_id)
        runs[run_id] = Run(source.path, label, str(status or ""), str(experiments.get(experiment, "")))
    if len(runs) > 1:
        for run_id, run in runs.items():
            run.path = f"{source.path}#{run_id}"
    return runs, deleted


def _rows(
    database: sqlite3.Connection, table: str, columns: tuple[str, ...], tables: set[str]
) -> Iterator[tuple[Any, ...]]:
    """Rows of a table in the order of arrival; a column that an older MLflow lacks is None."""
    if table not in tables:
        return
    have = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    wanted = ", ".join(f'"{c}"' if c in have else "NULL" for c in columns)
    yield from database.execute(f"SELECT {wanted} FROM {table}")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
