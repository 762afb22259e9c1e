"""The W&B readers on real files, on files that wandb itself wrote, and on broken ones."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.wandb import WandbReader
from lossdoctor.wire.leveldb import MAGIC, WandbLog, fragment
from lossdoctor.wire.proto import bytes_field, key, varint

DATA = Path(__file__).parents[1] / "data"
REAL = DATA / "real" / "wandb_bin"
MADE = DATA / "wandb"
READER = WandbReader()


def read(path: Path) -> TrainingHistory:
    (history,) = READER.read(Source.from_path(path))
    return history


def made(name: str) -> TrainingHistory:
    return read(MADE / name / f"run-{name}.wandb")


def read_bytes(data: bytes) -> TrainingHistory:
    (history,) = READER.read(Source("run-x.wandb", "run-x.wandb", data=data))
    return history


def rows(*items: dict[str, str], steps: bool = True) -> bytes:
    """A .wandb file with one history record per dict of key -> JSON text."""
    out = MAGIC + b"\0"
    for i, row in enumerate(items):
        body = b"".join(
            bytes_field(1, bytes_field(1, k.encode()) + bytes_field(16, v.encode())) for k, v in row.items()
        )
        step = bytes_field(2, key(1, 0) + varint(i)) if steps else b""
        out += fragment(1, bytes_field(2, body + step))
    return out


# real files


def test_a_real_run_cut_off_within_a_record() -> None:
    history = read(REAL / "32" / "run-91jx1qc0.wandb")
    assert history.name == "91jx1qc0"
    assert len(history.curves) == 75
    assert {n: len(history[n]) for n in ("train/CrossEntropyLoss", "train/Perplexity", "optim/total_grad_norm")} == {
        **{"train/CrossEntropyLoss": 4, "train/Perplexity": 4, "optim/total_grad_norm": 4},
    }
    loss = history["train/CrossEntropyLoss"]
    assert loss.steps.tolist() == [1, 2, 3, 4]
    assert loss.values == pytest.approx([11.3074465, 10.6164951, 10.4197111, 10.6570702])
    assert loss.times is not None
    assert history.notes == [
        "last record cut off at byte 163,840 (it begins at byte 163,796); everything before it was read"
    ]
    assert history.context.learning_rate == 0.0003
    assert history.context.optimizer == "adamw"


def test_a_real_run_without_history() -> None:
    history = read(REAL / "31" / "run-2d9ho7u1.wandb")
    assert history.name == "OLMo-20M-tied-emb-1000"
    assert history.curves == {}
    assert history.notes == [
        "W&B log without history rows, so without curves: it holds console output (15 records), a summary"
    ]


# files that wandb wrote


def test_nested_values_nan_and_inf() -> None:
    history = made("plain")
    assert {n: len(c) for n, c in sorted(history.curves.items())} == {
        **{"lr": 60, "train.acc": 60, "train.loss": 60, "val/loss": 6},
    }
    loss = history["train.loss"].values
    assert math.isnan(loss[7])
    assert loss[8] == math.inf
    finite = [i for i in range(60) if i not in (7, 8)]
    assert loss[finite] == pytest.approx([2 * math.exp(-i / 20) for i in finite])
    assert history["val/loss"].steps.tolist() == [9, 19, 29, 39, 49, 59]
    assert history["lr"].times is not None
    assert history.notes == []


def test_config_becomes_context() -> None:
    context = made("plain").context
    assert context.known() == {
        **{"classes": 10, "planned_steps": 60, "batch_size": 64, "learning_rate": 0.003, "optimizer": "adamw"},
    }
    assert context.extra["run_id"] == "plain"
    assert "_wandb" not in str(context.extra)


def test_global_step_of_the_trainer_is_the_axis() -> None:
    history = made("lightning")
    assert {n: len(c) for n, c in sorted(history.curves.items())} == {"epoch": 20, "train_loss": 10, "val_loss": 10}
    assert history["val_loss"].steps.tolist() == list(range(49, 500, 50))
    assert history.notes == ["steps are trainer/global_step, which every row has"]


def test_records_over_several_blocks() -> None:
    history = made("long")
    assert len(history.curves) == 321
    assert history["layer.7.norm"].values.tolist() == pytest.approx([7.0, 7.1, 7.2, 7.3])
    assert history["loss"].values.tolist() == [1.0, 0.9, 0.8, 0.7]


def test_a_run_that_logged_nothing() -> None:
    history = made("nothing")
    assert history.curves == {}
    assert history.notes[0].startswith("W&B log without history rows, so without curves")


# details


def test_values_of_every_kind() -> None:
    history = read_bytes(
        rows(
            {"a": "1", "b": '"NaN"', "c": '"Infinity"', "d": "NaN", "e": "-Infinity", "f": "true", "g": "null"},
            {"a": "2.5e-3", "h": '"text"', "i": "[1,2]", "j": '{"_type":"histogram","values":[1]}', "k": "1e999"},
            {"a": "x", "l": '{"m":{"n":3,"o":"NaN"},"p":false}', "b": "-7", "": "1", "q": ""},
        )
    )
    values = {n: c.values.tolist() for n, c in history.curves.items()}
    assert values["a"] == [1.0, 0.0025]
    assert math.isnan(values["b"][0])
    assert values["b"][1] == -7
    assert values["c"] == [math.inf]
    assert math.isnan(values["d"][0])
    assert values["e"] == [-math.inf]
    assert values["k"] == [math.inf]
    assert values["l.m.n"] == [3.0]
    assert math.isnan(values["l.m.o"][0])
    assert set(values) == {"a", "b", "c", "d", "e", "k", "l.m.n", "l.m.o"}


def test_step_and_time_axes() -> None:
    history = read_bytes(
        rows(
            {"loss": "3", "_step": "10", "_timestamp": "1.7e9", "_runtime": "1"},
            {"loss": "2", "_step": "20", "_timestamp": "1.7000001e9", "_runtime": "2"},
        )
    )
    loss = history["loss"]
    assert list(history.curves) == ["loss"]
    assert loss.steps.tolist() == [10, 20]
    assert loss.times is not None
    assert loss.times.tolist() == [1.7e9, 1.7000001e9]
    assert history.context.extra["first_wall_time"] == 1.7e9
    # neither: rows are counted
    assert read_bytes(rows({"loss": "3"}, {"loss": "2"}, steps=False))["loss"].steps.tolist() == [0, 1]


def test_a_global_step_that_some_rows_lack_is_a_metric() -> None:
    history = read_bytes(rows({"loss": "3", "trainer/global_step": "5"}, {"loss": "2"}))
    assert history["loss"].steps.tolist() == [0, 1]
    assert history["trainer/global_step"].values.tolist() == [5]


def test_resume_and_a_bad_exit_are_events() -> None:
    run = bytes_field(17, bytes_field(1, b"abc") + key(14, 0) + varint(500) + key(18, 0) + varint(1))
    end = bytes_field(18, key(1, 0) + varint(137))
    history = read_bytes(rows({"loss": "1"}) + fragment(1, run) + fragment(1, end))
    assert history.events == [{"kind": "resumed", "step": 500}, {"kind": "exit", "exit_code": 137}]


def test_a_damaged_block_is_told() -> None:
    raw = bytearray((MADE / "long" / "run-long.wandb").read_bytes())
    raw[33_000] ^= 1
    history = read_bytes(bytes(raw))
    assert "block at byte 32,768 fails its checksum" in history.notes[0]
    assert 0 < len(history["loss"]) < 4


def test_rows_without_numbers() -> None:
    history = read_bytes(rows({"a": '"x"'}))
    assert history.notes == ["W&B log without curves: its 1 history rows hold no numbers"]


def test_a_malformed_record_is_left_out() -> None:
    history = read_bytes(rows({"loss": "1"}) + fragment(1, b"\x12\xff") + rows({"loss": "1"})[7:])
    assert len(history["loss"]) == 2
    assert history.notes == ["1 records are no valid W&B records; they are left out"]


@pytest.mark.parametrize(
    ("data", "error", "problem"),
    [
        (MAGIC[:5], BrokenFileError, "cut off within its header"),
        (b"not a log", NotRecognizedError, "does not begin with :W&B"),
        (MAGIC + b"\0" + b"\xff" * 40_000, BrokenFileError, "fails its checksum"),
    ],
)
def test_broken_files(data: bytes, error: type[ReadError], problem: str) -> None:
    with pytest.raises(error) as caught:
        read_bytes(data)
    assert problem in str(caught.value)


def test_sniffing() -> None:
    assert READER.sniff(Source.from_path(MADE / "plain" / "run-plain.wandb")) == 100
    assert READER.sniff(Source("a", "a", data=MAGIC + b"\0")) == 100
    assert READER.sniff(Source("a.csv", "a.csv", data=b"step,loss\n")) == 0


SAMPLES = [(MADE / n / f"run-{n}.wandb").read_bytes() for n in ("nothing", "lightning")]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_files_raise_only_our_errors(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=20))
    source = Source("run-x.wandb", "run-x.wandb", data=bytes(raw))
    with contextlib.suppress(ReadError):  # sniffing too: a mutation may begin like a gzip file and not be one
        READER.sniff(source)
        READER.read(source)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_records_with_right_checksums(data: st.DataObject) -> None:
    records = [bytearray(r) for r in WandbLog().feed(data.draw(st.sampled_from(SAMPLES)))]
    for _ in range(data.draw(st.integers(1, 10))):
        record = data.draw(st.sampled_from(records))
        at = data.draw(st.integers(0, len(record)))
        record[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=12))
    with contextlib.suppress(ReadError):
        read_bytes(MAGIC + b"\0" + b"".join(fragment(1, bytes(r)) for r in records if len(r) < 30_000))


@pytest.mark.slow
def test_what_wandb_writes_now(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    spec = importlib.util.spec_from_file_location("make_wandb", DATA / "make_wandb.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    for name in ("plain", "lightning", "long", "nothing"):
        now, then = read(tmp_path / name / f"run-{name}.wandb"), made(name)
        assert {n: len(c) for n, c in now.curves.items()} == {n: len(c) for n, c in then.curves.items()}
        assert now.notes == then.notes
