"""The TensorBoard reader on real files, against TensorBoard's own EventAccumulator, and on broken ones."""

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.tensorboard import TensorBoardReader
from lossdoctor.wire import file_header, scalars_record, session_start
from lossdoctor.wire.framing import frame_record

DATA = Path(__file__).parents[1] / "data"
REAL = DATA / "real" / "tensorboard"
MADE = DATA / "tensorboard"
READER = TensorBoardReader()


def read(path: Path) -> TrainingHistory:
    (history,) = READER.read(Source.from_path(path))
    return history


def read_bytes(data: bytes, name: str = "events.out.tfevents.1.host") -> TrainingHistory:
    (history,) = READER.read(Source(name, name, data=data))
    return history


def file_of(folder: Path) -> Path:
    (path,) = [p for p in folder.rglob("*tfevents*") if p.is_file()]
    return path


def counts(history: TrainingHistory) -> dict[str, int]:
    return {name: len(curve) for name, curve in history.curves.items()}


# real files: names and point counts written down by looking at them

_EVALUATED = "validation/num_examples test/num_examples".split()
_FASTMRI = [*_EVALUATED, *(f"{s}/{m}" for s in ("train", "validation", "test") for m in ("ssim", "loss"))]
_TIMES = "total_duration accumulated_submission_time accumulated_eval_time accumulated_logging_time".split()
_MAP = [f"{s}/{m}" for s in ("train", "validation", "test") for m in ("accuracy", "loss", "mean_average_precision")]
EXPECTED: dict[str, dict[str, int]] = {
    "16": {"loss": 60, "grad_norm": 60, "global_step": 80, "score": 20, "preemption_count": 20}
    | dict.fromkeys([*_FASTMRI, *_TIMES], 19),
    "17": {},
    "18": {"global_step": 85, "score": 85, "preemption_count": 85} | dict.fromkeys([*_FASTMRI, *_TIMES], 84),
    "19": {"loss": 595, "grad_norm": 595, "global_step": 673, "score": 78, "preemption_count": 78}
    | dict.fromkeys([*_MAP, "validation/num_examples", "test/num_examples", *_TIMES], 77),
    "20": {"loss": 164, "grad_norm": 164, "global_step": 166, "score": 2, "preemption_count": 2}
    | dict.fromkeys(["train/loss", "validation/loss", "test/loss", *_TIMES], 1)
    | dict.fromkeys(["validation/num_examples", "test/num_examples"], 1),
}


@pytest.mark.parametrize("number", sorted(EXPECTED))
def test_real_files(number: str) -> None:
    path = file_of(REAL / number)
    assert READER.sniff(Source.from_path(path)) == 100
    history = read(path)
    assert counts(history) == EXPECTED[number]
    assert history.events == []
    assert len(history.notes) == (number == "17")


def test_a_real_file_to_the_digit() -> None:
    history = read(file_of(REAL / "19"))
    loss = history["loss"]
    assert (loss.steps[0], loss.steps[-1], loss.values[0]) == (0, 59400, pytest.approx(0.7456391))
    assert loss.times is not None
    assert loss.times[0] == pytest.approx(1715876996.4, abs=1)
    assert history.roles.primary("train_loss") == "loss"
    assert history.roles.primary("val_loss") == "validation/loss"
    assert history.context.extra["first_wall_time"] == 1715876976.0


def test_a_file_with_only_a_graph_says_so() -> None:
    history = read(file_of(REAL / "17"))
    assert history.notes == ["event file without scalars: it holds only 2 graphs"]


@pytest.mark.parametrize(
    "path", [*sorted(REAL.rglob("*tfevents*")), *sorted(MADE.rglob("*tfevents*"))], ids=lambda p: p.name
)
def test_against_event_accumulator(path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    theirs = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False)
    theirs.Reload()
    expected = {t: [(e.step, e.value, e.wall_time) for e in theirs.Scalars(t)] for t in theirs.Tags()["scalars"]}
    for tag in theirs.Tags()["tensors"]:
        if theirs.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            events = [(e, make_ndarray(e.tensor_proto)) for e in theirs.Tensors(tag)]
            points = [(e.step, float(a.item()), e.wall_time) for e, a in events if a.size == 1]
            expected |= {tag: points} if points else {}
    history = read(path)
    assert set(history.curves) == set(expected)
    for tag, points in expected.items():
        curve = history[tag]
        assert curve.times is not None
        ours = np.stack([curve.steps, curve.values, curve.times], axis=1)
        np.testing.assert_array_equal(ours, np.array(points))


# made files


def test_torch_summary_writer() -> None:
    first, second = (read(p) for p in sorted((MADE / "torch").iterdir()))
    assert counts(first) == {"train/loss": 40, "train/lr": 40, "val/loss": 4}
    loss = first["train/loss"].values
    assert math.isnan(loss[7])
    assert math.isinf(loss[11])
    assert first["val/loss"].steps.tolist() == [9, 19, 29, 39]
    # add_hparams writes a file of its own
    assert counts(second) == {"hp/loss": 1}
    known = second.context.known()
    assert known == {"batch_size": 32, "learning_rate": 0.01, "optimizer": "adam"}


def test_tensorboardx() -> None:
    history = read(file_of(MADE / "tensorboardx"))
    assert counts(history) == {"loss": 40, "accuracy": 40}
    assert history["loss"].steps.tolist() == list(range(0, 4000, 100))


def test_tf1_rows_and_a_resume() -> None:
    history = read(file_of(MADE / "tf1"))
    assert counts(history) == {"loss": 50, "acc": 30}
    assert [(e["kind"], e["step"]) for e in history.events] == [("session_start", 0), ("session_start", 20)]
    assert [(s.first_step, s.last_step) for s in history.segments] == [(0, 19), (20, 39)]


def test_tf2_tensors_of_every_type() -> None:
    history = read(file_of(MADE / "tf2"))
    assert counts(history) == dict.fromkeys(["loss", "loss64", "half", "count", "small", "flag"], 30)
    assert history["count"].values.tolist() == [1000 * s - 5 for s in range(30)]
    assert history["small"].values.tolist() == [-s for s in range(30)]
    assert history["flag"].values.tolist() == [s % 2 for s in range(30)]
    assert history["loss64"].values[3] == 2.0 * math.exp(-3 / 20) + 0.1 * math.sin(3 * 1.7)


def test_keras_keeps_its_names_and_counts_epochs() -> None:
    for folder in ("train", "validation"):
        history = read(file_of(MADE / "keras" / folder))
        assert counts(history) == {"epoch_loss": 20}
        assert history.step_unit == "epoch"


def test_images_texts_and_graphs_only() -> None:
    history = read(file_of(MADE / "nothing"))
    assert counts(history) == {}
    assert history.notes == ["event file without scalars: it holds only 1 graph, 1 image, 1 text"]


def test_arguments_of_hugging_faces_trainer() -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    text = '{"per_device_train_batch_size": 8, "learning_rate": 5e-05, "max_steps": 300, "optim": "adamw_torch"}'
    event = Event(wall_time=2.0, summary=Summary(value=list(text_pb("args/text_summary", text).value)))
    history = read_bytes(file_header(1.0) + frame_record(event.SerializeToString()))
    assert history.context.known() == {
        **{"planned_steps": 300, "batch_size": 8, "learning_rate": 5e-05, "optimizer": "adamw_torch"},
    }


# broken and odd files

GOOD = file_header(1.0) + b"".join(scalars_record({"loss": float(i)}, i, 2.0 + i) for i in range(100))


def test_cut_off_tail_is_told_with_its_byte() -> None:
    history = read_bytes(GOOD[:-10])
    assert len(history["loss"]) == 99
    assert history.notes == [
        f"last record cut off at byte {len(GOOD) - 10:,} (it begins at byte {len(GOOD) - 42:,}); "
        "everything before it was read"
    ]


def test_a_checksum_failure_is_told_with_its_byte() -> None:
    raw = bytearray(GOOD)
    at = len(GOOD) - 2 * 42
    raw[at + 30] ^= 1
    history = read_bytes(bytes(raw))
    assert len(history["loss"]) == 99
    assert history.notes == [f"record at byte {at:,} fails its checksum; it is left out"]


def test_lost_framing_is_told_and_reading_goes_on() -> None:
    history = read_bytes(GOOD + b"x" * 1000 + GOOD + b"y" * 70)
    assert len(history["loss"]) == 200
    assert history.notes == [
        f"1,000 bytes from byte {len(GOOD):,} on are no records; reading went on behind them",
        f"nothing can be read from byte {2 * len(GOOD) + 1000:,} to the end (70 bytes)",
    ]


def test_many_damaged_places_are_summed_up() -> None:
    raw = bytearray(GOOD)
    for i in range(10):
        raw[len(GOOD) - 42 * (i + 3) + 20] ^= 1
    notes = read_bytes(bytes(raw)).notes
    assert len(notes) == 4
    assert notes[-1] == "7 further damaged places are left out"


@pytest.mark.parametrize(
    ("data", "where", "problem"),
    [
        (b"\0" * 1000, "byte 0", "no length field has its checksum"),
        (GOOD[:30], "byte 0", "the first one is cut off"),
        (GOOD[:20] + b"zz" + GOOD[22:42], "byte 0", "fails its checksum"),
    ],
)
def test_nothing_readable_is_a_broken_file(data: bytes, where: str, problem: str) -> None:
    with pytest.raises(BrokenFileError) as caught:
        read_bytes(data)
    assert caught.value.where == where
    assert problem in caught.value.problem
    assert caught.value.hint


def test_other_tfrecord_files_are_not_recognised() -> None:
    example = frame_record(b"\x0a\x0c\x0a\x0a\x0a\x01x\x12\x05\x1a\x03\x0a\x01\x05") * 20
    assert READER.sniff(Source("train.tfrecord", "train.tfrecord", data=example)) == 0
    with pytest.raises((NotRecognizedError, BrokenFileError)):
        READER.read(Source("train.tfrecord", "train.tfrecord", data=frame_record(b"\xff\xff") * 3))


@pytest.mark.parametrize("head", [b"", b"step,loss\n1,2\n", b"\x89PNG\r\n\x1a\n" + bytes(50), bytes(100)])
def test_other_files_are_not_claimed(head: bytes) -> None:
    assert READER.sniff(Source("a.bin", "a.bin", data=head)) == 0


def test_gzip_whole_and_cut_off() -> None:
    data = file_header(1.0) + b"".join(scalars_record({"loss": float(i * i)}, i, 2.0 + i) for i in range(5000))
    packed = gzip.compress(data)
    assert len(read_bytes(packed)["loss"]) == 5000
    history = read_bytes(packed[: len(packed) // 2])
    assert 100 < len(history["loss"]) < 5000
    assert any("compressed data is damaged or cut off" in n for n in history.notes)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    assert len(read_bytes(bytes(broken)).notes) >= 1


def test_a_resumed_run_of_ours() -> None:
    history = read_bytes(file_header(1.0) + session_start(70, 1.5) + scalars_record({"loss": 0.1}, 70, 2.0))
    assert history.events == [{"kind": "session_start", "step": 70, "time": 1.5}]
    assert history["loss"].values[0] == 0.1


SAMPLES = [file_of(MADE / n).read_bytes() for n in ("tf1", "tf2", "tensorboardx", "nothing")]
SAMPLES.append(sorted((MADE / "torch").iterdir())[1].read_bytes())


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_files_raise_only_our_errors(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(raw)))
        chunk = data.draw(st.binary(max_size=20))
        raw[at : at + data.draw(st.integers(0, 30))] = chunk
    source = Source("events.out.tfevents.1", "events.out.tfevents.1", data=bytes(raw))
    READER.sniff(source)
    with contextlib.suppress(ReadError):
        (history,) = READER.read(source)
        assert all(len(c.steps) == len(c.values) for c in history.curves.values())


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_contents_with_right_checksums(data: st.DataObject) -> None:
    """Checksums stop most mutations at the door: here the contents are mutated and framed anew."""
    sample = data.draw(st.sampled_from(SAMPLES))
    records, at = [], 0
    while at < len(sample):
        length = int.from_bytes(sample[at : at + 8], "little")
        records.append(bytearray(sample[at + 12 : at + 12 + length]))
        at += length + 16
    for _ in range(data.draw(st.integers(1, 10))):
        record = data.draw(st.sampled_from(records))
        where = data.draw(st.integers(0, len(record)))
        record[where : where + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=12))
    with contextlib.suppress(ReadError):
        read_bytes(b"".join(frame_record(bytes(r)) for r in records))


def test_zstandard_cut_off() -> None:
    zstandard = pytest.importorskip("zstandard")
    data = b"".join(scalars_record({"loss": float(i * i)}, i, 2.0 + i) for i in range(20_000))
    packed = zstandard.ZstdCompressor().compress(file_header(1.0) + data)
    assert len(read_bytes(packed)["loss"]) == 20_000
    assert read_bytes(packed[: len(packed) // 2]).notes
