"""MLflow's two stores as the tool wrote them, and what is hostile or damaged."""

from __future__ import annotations

import gzip
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.mlflow import MlflowReader

DATA = Path(__file__).parents[1] / "data" / "mlflow"
DATABASE = gzip.decompress((DATA / "mlflow.db.gz").read_bytes())
READER = MlflowReader()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    path.write_bytes(DATABASE)
    return path


def claims(folder: Path) -> bool:
    return READER.claims(folder, frozenset(os.listdir(folder)))


def both_stores() -> Iterator[list[TrainingHistory]]:
    yield READER.read_folder(DATA / "mlruns", "mlruns")
    yield READER.read(Source("mlflow.db", "mlflow.db", data=DATABASE))


def test_runs_of_both_stores() -> None:
    for found in both_stores():
        runs = {h.name: h for h in found}
        assert sorted(runs) == ["fast", "slow"]  # the deleted run is left out
        slow, fast = runs["slow"], runs["fast"]
        assert {n: len(c) for n, c in slow.curves.items()} == {"train/loss": 30, "unstepped": 5, "val_loss": 3}
        assert slow["train/loss"].steps.tolist() == list(range(1, 31))
        assert slow["train/loss"].values[1] == pytest.approx(2.3 * 0.95**2)
        assert slow["val_loss"].steps.tolist() == [10, 20, 30]
        times = slow["train/loss"].times
        assert times is not None
        assert times[0] == 1_700_000_001.0
        assert np.isfinite(fast["train/loss"].values[:15]).all()
        assert fast["train/loss"].values[15:17].tolist() == [math.inf, math.inf]
        assert np.isnan(fast["train/loss"].values[17:]).all()
        assert fast.context.known() == {"classes": 10, "batch_size": 32, "learning_rate": 10.0, "optimizer": "sgd"}
        assert fast.context.extra["experiment"] == "digits"
        assert "MLflow says that the run's status is FAILED" in fast.notes
        assert slow.roles.primary("train_loss") == "train/loss"
        assert slow.format == "mlflow"


def test_a_metric_logged_without_steps_is_counted() -> None:
    for found in both_stores():
        curve = found[0]["unstepped"]
        assert curve.steps.tolist() == [1, 2, 3, 4, 5]
        assert "logged without a step and counted in order: unstepped" in found[0].notes


def test_paths_tell_the_runs_apart() -> None:
    for found in both_stores():
        assert len({h.path for h in found}) == 2


# the file store


def test_store_experiment_and_run_are_claimed() -> None:
    assert claims(DATA / "mlruns")
    (experiment,) = [p for p in (DATA / "mlruns").iterdir() if p.is_dir() and p.name != "0" and p.name[0] != "."]
    assert claims(experiment)
    assert len(READER.read_folder(experiment, "e")) == 2
    run = next(p for p in sorted(experiment.iterdir()) if p.is_dir())
    assert claims(run)
    (history,) = READER.read_folder(run, "shown")
    assert history.path == "shown"
    assert not claims(run / "metrics")
    assert not claims(DATA)


def test_odd_lines_of_a_metric_are_counted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "metrics" / "deep").mkdir(parents=True)
    (run / "meta.yaml").write_text("run_id: abc\nrun_name: 'my run'\nstatus: 3\n")
    (run / "metrics" / "deep" / "loss").write_text(
        "1700000000000 2.5 1\nrubbish\n\n1700000001000 NaN 2\n1700000002000 1.5 3 model\n"
    )
    (run / "metrics" / "old").write_text("1700000000000 2.5\n1700000001000 1.5\n")
    assert claims(run)
    (history,) = READER.read_folder(run, "run")
    assert history.name == "my run"
    assert history["deep/loss"].steps.tolist() == [1, 2, 3]
    assert history["old"].steps.tolist() == [1, 2]
    assert "metrics/deep/loss: 1 lines are not 'timestamp value step' and were skipped (first: line 2)" in history.notes


def test_a_run_without_metrics_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "meta.yaml").write_text("run_id: abc\n")
    (history,) = READER.read_folder(tmp_path, "r")
    assert history.notes[0] == "the run logged no metric"


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    shutil.copytree(DATA / "mlruns" / "0", tmp_path / "0")
    assert claims(tmp_path)
    (history,) = READER.read_folder(tmp_path, "m")
    assert history.notes == ["this MLflow store holds no run"]


def test_a_link_out_of_the_store_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1 2 3\n")
    (tmp_path / "run" / "metrics").mkdir(parents=True)
    (tmp_path / "run" / "meta.yaml").write_text("run_id: abc\n")
    (tmp_path / "run" / "metrics" / "loss").symlink_to(tmp_path / "secret")
    (history,) = READER.read_folder(tmp_path / "run", "r")
    assert not history.curves


# the database


def test_a_database_is_known_by_its_tables(database: Path) -> None:
    assert READER.sniff(Source.from_path(database)) >= 90
    other = database.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    assert READER.sniff(Source.from_path(other)) <= 10
    with pytest.raises(NotRecognizedError, match="without MLflow's tables"):
        READER.read(Source.from_path(other))
    assert READER.sniff(Source("x", "x", data=b"step,loss\n")) == 0


def test_a_database_is_not_touched(database: Path) -> None:
    before = sorted(database.parent.iterdir())
    READER.read(Source.from_path(database))
    assert database.read_bytes() == DATABASE
    assert sorted(database.parent.iterdir()) == before


def test_names_that_need_quoting(database: Path) -> None:
    strange = database.rename(database.with_name("a?b #%20c.db"))
    assert len(READER.read(Source.from_path(strange))) == 2


def test_a_write_ahead_log_is_pointed_out(database: Path) -> None:
    database.with_name("mlflow.db-wal").write_bytes(b"x")
    assert any("-wal file" in n for n in READER.read(Source.from_path(database))[0].notes)


def test_a_view_in_place_of_a_table_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE runs (run_uuid TEXT); CREATE VIEW metrics AS SELECT * FROM runs")
    with pytest.raises(NotRecognizedError):
        READER.read(Source.from_path(path))


def test_values_that_are_no_numbers_are_left_out(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE metrics SET value = 'text' WHERE key = 'val_loss' AND step = 10")
        connection.execute("UPDATE metrics SET step = 'x' WHERE key = 'val_loss' AND step = 20")
        connection.commit()
    for history in READER.read(Source.from_path(database)):
        assert len(history["val_loss"]) == 2


def test_an_older_schema(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE runs (run_uuid TEXT, status TEXT);"
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);"
            "INSERT INTO runs VALUES ('r', 'FINISHED');"
            "INSERT INTO metrics VALUES ('loss', 2.0, 1700000000000, 'r'), ('loss', 1.0, 1700000001000, 'r');"
        )
    (history,) = READER.read(Source.from_path(path))
    assert history["loss"].values.tolist() == [2.0, 1.0]
    assert history["loss"].steps.tolist() == [1, 2]


def test_cut_off(database: Path) -> None:
    database.write_bytes(DATABASE[: len(DATABASE) // 3])
    with pytest.raises(BrokenFileError, match="the SQLite database is damaged"):
        READER.read(Source.from_path(database))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_databases_raise_nothing_else(data: st.DataObject) -> None:
    out = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 8))):
        out[data.draw(st.integers(16, len(out) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        out = out[: data.draw(st.integers(16, len(out)))]
    with suppress(ReadError):
        READER.read(Source("x", "x", data=bytes(out)))


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_damaged_files_raise_nothing_else(tmp_path_factory: pytest.TempPathFactory, meta: bytes, metric: bytes) -> None:
    run = tmp_path_factory.mktemp("run")
    (run / "metrics").mkdir()
    (run / "meta.yaml").write_bytes(b"run_id: a\n" + meta)
    (run / "metrics" / "loss").write_bytes(b"1700000000000 2.5 1\n" + metric)
    READER.read_folder(run, "r")


def _small() -> bytes:
    """The database with the tables that matter only: damage then hits what is read."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(DATABASE)
        connection.execute("PRAGMA foreign_keys = OFF")
        kept = {"metrics", "runs", "params", "experiments", "tags"}
        tables = [
            n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if n not in kept
        ]
        for name in tables:
            if not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{name}"')
        connection.commit()
        connection.execute("VACUUM")
        return connection.serialize()


SMALL = _small()
