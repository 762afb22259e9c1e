"""Parquet, wide and long, with either package, without any, and damaged."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, MissingDependencyError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import parquet as under_test
from lossdoctor.readers.base import Source
from lossdoctor.readers.parquet import ParquetReader

DATA = Path(__file__).parents[1] / "data" / "parquet"
READER = ParquetReader()
pl = pytest.importorskip("polars")
ENGINES = ["polars", "pyarrow"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test reads with either package."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
        monkeypatch.setattr(under_test, "_loader", lambda _: under_test._with_pyarrow)


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] in packages:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)


def written(frame: Any) -> Source:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return Source("x.parquet", "x.parquet", data=buffer.getvalue())


@pytest.mark.usefixtures("engine")
def test_wide() -> None:
    source = Source.from_path(DATA / "wide.parquet")
    assert READER.sniff(source) >= 90
    (history,) = READER.read(source)
    assert {n: len(c) for n, c in history.curves.items()} == {"train_loss": 100, "val_loss": 10}
    assert history["val_loss"].steps.tolist() == list(range(0, 200, 20))
    times = history["train_loss"].times
    assert times is not None
    assert times[:2].tolist() == [1_700_000_000.0, 1_700_000_002.0]
    assert history.notes == ["columns without numbers were left out: note"]
    assert history.format == "parquet"


@pytest.mark.usefixtures("engine")
def test_long_with_two_runs() -> None:
    a, b = READER.read(Source.from_path(DATA / "long.parquet"))
    assert (a.name, b.name) == ("a", "b")
    assert {n: len(c) for n, c in a.curves.items()} == {"loss": 100, "val_loss": 10}
    assert np.allclose(b["loss"].values, 2 * a["loss"].values)
    assert a["val_loss"].steps.tolist() == list(range(0, 200, 20))


@pytest.mark.usefixtures("engine")
def test_null_is_not_logged_and_nan_is_kept() -> None:
    frame = pl.DataFrame({"step": [1, 2, 3], "loss": [1.0, None, float("nan")], "ok": [True, False, True]})
    (history,) = READER.read(written(frame))
    assert history["loss"].steps.tolist() == [1, 3]
    assert np.isnan(history["loss"].values[1])


@pytest.mark.usefixtures("engine")
def test_small_types_and_categories() -> None:
    frame = pl.DataFrame(
        {
            "step": pl.Series([1, 2], dtype=pl.UInt16),
            "loss": pl.Series([2.5, 1.5], dtype=pl.Float32),
            "split": ["train", "val"],
        }
    ).with_columns(pl.col("split").cast(pl.Categorical))
    (history,) = READER.read(written(frame))
    assert list(history.curves) == ["train/loss", "val/loss"]


@pytest.mark.usefixtures("engine")
def test_without_number_columns() -> None:
    (history,) = READER.read(written(pl.DataFrame({"a": ["x", "y"]})))
    assert not history.curves
    assert history.notes[0] == "no column holds numbers"


@pytest.mark.usefixtures("engine")
def test_an_empty_frame() -> None:
    (history,) = READER.read(
        written(pl.DataFrame({"step": [], "loss": []}, schema={"step": pl.Int64, "loss": pl.Float64}))
    )
    assert not history.curves


def test_without_any_package(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "polars", "pyarrow")
    source = Source.from_path(DATA / "wide.parquet")
    assert READER.sniff(source) >= 90
    with pytest.raises(MissingDependencyError, match=r"pip install 'lossdoctor\[fast\]'"):
        READER.read(source)


@pytest.mark.usefixtures("engine")
def test_a_small_file_that_unfolds_beyond_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MAX_CELLS", 1000)
    frame = pl.DataFrame({"step": range(2000), "loss": [0.0] * 2000})
    with pytest.raises(BrokenFileError, match="2,000 rows of 2 number columns"):
        READER.read(written(frame))


@pytest.mark.usefixtures("engine")
def test_cut_off() -> None:
    data = (DATA / "wide.parquet").read_bytes()
    with pytest.raises(BrokenFileError, match="the Parquet data is damaged"):
        READER.read(Source("x", "x", data=data[:-100]))


def test_only_the_magic_number_counts() -> None:
    assert READER.sniff(Source("x.parquet", "x.parquet", data=b"step,loss\n1,2\n")) == 0


SEEDS = [(DATA / name).read_bytes() for name in ("wide.parquet", "long.parquet")]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_raise_nothing_else(seed: bytes, data: st.DataObject) -> None:
    out = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(4, len(out) - 1))
        out[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        out = out[: data.draw(st.integers(4, len(out)))]
    try:
        for history in READER.read(Source("x", "x", data=bytes(out))):
            assert isinstance(history, TrainingHistory)
    except ReadError:
        pass
