"""Clean blocks of a table go through C parsers, odd ones row by row: both must say the same, and survive damage."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import _csv_rows, _lines, _numbers
from lossdoctor.readers.base import Source
from lossdoctor.readers.csv import CsvReader

DATA = Path(__file__).parents[1] / "data"
READER = CsvReader()


def source(data: bytes | str) -> Source:
    return Source("log.csv", "log.csv", data=data if isinstance(data, bytes) else data.encode())


def read(data: str) -> TrainingHistory:
    (history,) = READER.read(source(data))
    return history


def points(history: TrainingHistory, name: str = "loss") -> list[tuple[int, float]]:
    curve = history[name]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def _mixed(seed: int, rows: int = 300) -> str:
    rng = random.Random(seed)
    cell = [lambda: f"{rng.uniform(-5, 5):.6g}", lambda: "", lambda: "nan", lambda: "-inf", lambda: f"{rng.random():e}"]
    lines = [f"{i},{rng.choice(cell)()},{rng.choice(cell)()}" for i in range(rows)]
    return "step,loss,val_loss\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("engine", ["polars", "orjson"])
@pytest.mark.parametrize("seed", range(4))
def test_fast_and_slow_agree(engine: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_numbers, "fast_engine", lambda: engine)
    monkeypatch.setattr(_numbers, "_SMALL", 0)
    monkeypatch.setattr(_lines.LineBlocks.__init__, "__defaults__", (997,))
    fast = read(_mixed(seed))
    monkeypatch.setattr("lossdoctor.readers._csv_blocks.parse_block", lambda *_: None)
    slow = read(_mixed(seed))
    assert list(fast.curves) == list(slow.curves)
    for name in fast.curves:
        assert fast[name].same_points(slow[name]), name


@pytest.mark.parametrize("engine", ["polars", "orjson"])
@pytest.mark.parametrize(
    "block", [b"1,2\n3\n", b"1,2\n3,4,5\n", b"1,2\n3,x\n", b'1,2\n"3",4\n', b"1,2\n\n3,4\n", b"1 2,3\n", b"1,-\n", b""]
)
def test_a_block_that_is_not_clean_is_refused(engine: str, block: bytes) -> None:
    assert _numbers.parse_block(block, 2, engine=engine) is None


@pytest.mark.parametrize("engine", ["polars", "orjson"])
def test_a_clean_block(engine: str) -> None:
    (_, a), (rows, b) = _numbers.parse_block(b" 1 ,2.5\r\n2, \r\n-3e-2,7\r\n", 2, engine=engine) or [(None, None)] * 2
    assert a is not None
    assert a.tolist() == [1.0, 2.0, -0.03]
    assert rows is not None
    assert rows.tolist() == [0, 2]
    assert b.tolist() == [2.5, 7.0]


def test_clean_stretches_of_an_odd_file_go_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "step,loss\n" + "".join(f"{i},{i}\n" for i in range(100)) + "100,x\nstep,lr,loss\n"
    text += "".join(f"{i},0.1,{i}\n" for i in range(101, 200)) + "200,0.1,"
    singly = []
    fill = _csv_rows.RowReader._fill
    monkeypatch.setattr(_csv_rows.RowReader, "_fill", lambda self, c, n: (singly.append(n), fill(self, c, n)))
    history = read(text)
    assert singly[:2] == [102, 103]
    assert 3 <= len(singly) <= 66
    assert singly[-1] == 203
    assert points(history) == [(i, float(i)) for i in range(200) if i != 100]
    assert len(history["lr"]) == 100


def test_a_clean_file_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossdoctor.readers._csv_rows.RowReader._fill", lambda *_: pytest.fail("a row was read singly"))
    assert len(read("step,loss\n" + "".join(f"{i},{i}\n" for i in range(100)))["loss"]) == 100


# damage


SEEDS = [
    (DATA / "real/algoperf_csv/05/measurements.csv").read_bytes()[:3000],
    (DATA / "csv/lightning/metrics.csv").read_bytes(),
    (DATA / "csv/ultralytics/padded.csv").read_bytes(),
    b'step,loss,text\n1,2.0,"a\nb"\nstep,loss\n3,nan\n# x\n4,1,2,3\n',
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_raise_nothing_else(seed: bytes, data: st.DataObject) -> None:
    damaged = mutate(seed, data)
    assert 0 <= READER.sniff(source(damaged)) <= 100
    try:
        for history in READER.read(source(damaged)):
            assert all(len(c) <= damaged.count(b"\n") + damaged.count(b"\r") + 1 for c in history.curves.values())
    except ReadError:
        pass


def mutate(seed: bytes, data: st.DataObject) -> bytes:
    """A file cut, with bytes changed, or with bytes put in."""
    out = bytearray(seed[: data.draw(st.integers(0, len(seed)))] if data.draw(st.booleans()) else seed)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(out)))
        if data.draw(st.booleans()):
            out[at : at + 1] = data.draw(st.binary(max_size=3))
        else:
            out[at:at] = data.draw(st.sampled_from([b"\n", b",", b'"', b"\x00", b"nan", b"\xff\xfe", b"1e999", b"#"]))
    return bytes(out)


def test_a_column_that_the_header_does_not_name_is_kept() -> None:
    rows = "".join(f"{e};{1 / e};{2 / e}\n" for e in range(1, 9))
    history = read(f"epoch;loss\n0;0.9\n0\n{rows}")
    assert points(history, "col3") == [(e, 2 / e) for e in range(1, 9)]
    assert len(history["loss"]) == 9
    assert history.roles.names == {"train_loss": ("loss",)}
    wide = (
        "8 rows have more cells than the header; they are called col3; say what they are, as in --metric val_loss=col3"
    )
    assert f"{wide} (first in line 4)" in history.notes
    history.set_roles({"val_loss": "col3"})
    assert history.val_loss[0] == 2.0


def test_a_few_damaged_rows_make_no_column() -> None:
    rows = [f"{e},{1 / e}" for e in range(1, 101)]
    rows[50] += ",51,0.02"
    rows[70] += ",71,0.01"
    history = read("step,loss\n" + "\n".join(rows) + "\n")
    assert list(history.curves) == ["loss"]
    assert history.notes == ["2 rows have more cells than the header; these cells were left out (first in line 52)"]
