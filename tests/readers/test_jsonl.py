"""JSON lines: the dialects of Detectron2, OpenMMLab, W&B and Hugging Face, and what is met between the lines."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import _lines, _numbers, _template
from lossdoctor.readers._template import Template
from lossdoctor.readers.base import Source
from lossdoctor.readers.jsonl import JsonLinesReader

DATA = Path(__file__).parents[1] / "data"
READER = JsonLinesReader()


def source(data: bytes | str, name: str = "metrics.json") -> Source:
    return Source(name, name, data=data if isinstance(data, bytes) else data.encode())


def read(data: bytes | str) -> TrainingHistory:
    (history,) = READER.read(source(data))
    return history


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


def points(history: TrainingHistory, name: str = "loss") -> list[tuple[int, float]]:
    curve = history[name]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def test_detectron2() -> None:
    text = lines(
        {"data_time": 0.1, "eta_seconds": 9.0, "iteration": 19, "loss_cls": 1.5, "lr": 0.001, "total_loss": 2.5},
        {"data_time": 0.1, "eta_seconds": 8.0, "iteration": 39, "loss_cls": 1.0, "lr": 0.002, "total_loss": 2.0},
        {"bbox/AP": 12.5, "iteration": 39},
    )
    assert READER.sniff(source(text)) >= 80
    history = read(text)
    assert points(history, "total_loss") == [(19, 2.5), (39, 2.0)]
    assert points(history, "bbox/AP") == [(39, 12.5)]
    assert history.roles.primary("train_loss") == "total_loss"


def test_mmengine_as_the_tool_wrote_it() -> None:
    source = Source.from_path(DATA / "jsonl/mmengine/vis_data/scalars.json")
    assert READER.sniff(source) >= 80
    (history,) = READER.read(source)
    assert history["loss"].steps.tolist() == list(range(5, 65, 5))
    # The validation rows say step 1, 2, 3, 4: the epoch. They belong to the end of it.
    assert points(history, "val/accuracy/top1") == [(15, 71.0), (30, 76.0), (45, 84.0), (60, 83.0)]
    assert any("count epochs as their step" in n for n in history.notes)


def test_mmengine_that_validates_by_iteration_keeps_its_steps() -> None:
    text = lines(
        {"loss": 2.0, "iter": 10, "step": 10},
        {"mIoU": 0.5, "step": 10},
        {"loss": 1.0, "iter": 20, "step": 20},
        {"mIoU": 0.6, "step": 20},
    )
    history = read(text)
    assert points(history, "val/mIoU") == [(10, 0.5), (20, 0.6)]
    assert history.notes == []


def test_old_openmmlab_counts_on_over_epochs() -> None:
    train = [
        {"mode": "train", "epoch": e, "iter": i, "lr": 0.1, "loss": 3.0 - e - i / 1000}
        for e in (1, 2)
        for i in (50, 100)
    ]
    val = [{"mode": "val", "epoch": e, "iter": 700, "lr": 0.1, "bbox_mAP": e / 10} for e in (1, 2)]
    text = lines({"env_info": "linux", "seed": 0, "exp_name": "a.py"}, *train[:2], val[0], *train[2:], val[1])
    history = read(text)
    assert history["train/loss"].steps.tolist() == [50, 100, 150, 200]
    assert points(history, "val/bbox_mAP") == [(100, 0.1), (200, 0.2)]
    assert "iter starts anew in each epoch; steps are counted on, 100 to an epoch" in history.notes


def test_wandb_history() -> None:
    text = lines(
        {"loss": 2.0, "_step": 0, "_runtime": 1.5, "_timestamp": 1700000000.5},
        {"loss": 1.0, "_step": 1, "_runtime": 2.5, "_timestamp": 1700000001.5, "grads": {"_type": "histogram"}},
    )
    history = read(text)
    assert points(history) == [(0, 2.0), (1, 1.0)]
    assert list(history.curves) == ["loss"]
    assert history["loss"].times is not None


def test_hugging_face_rows() -> None:
    text = lines(
        {"loss": 2.0, "learning_rate": 1e-4, "epoch": 0.5, "step": 10},
        {"eval_loss": 2.1, "epoch": 1.0, "step": 20},
        {"train_runtime": 12.0, "train_loss": 1.9, "total_flos": 1e15, "epoch": 1.0, "step": 20},
    )
    history = read(text)
    assert list(history.curves) == ["loss", "learning_rate", "epoch", "eval_loss"]
    assert history.context.extra["train_loss"] == 1.9


def test_nested_objects_are_joined_with_slashes() -> None:
    history = read(
        lines({"step": 1, "train": {"loss": 2.0, "acc": {"top1": 0.5}}}, {"step": 2, "train": {"loss": 1.0}})
    )
    assert points(history, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert points(history, "train/acc/top1") == [(1, 0.5)]


def test_numbers_as_texts() -> None:
    assert points(read('{"step": "1", "loss": "2.5"}\n{"step": "2", "loss": "nan"}\n'))[0] == (1, 2.5)


@pytest.mark.parametrize("word", ["NaN", "nan", "Infinity", "-Infinity", "inf"])
def test_values_that_json_does_not_know(word: str) -> None:
    history = read(f'{{"step": 1, "loss": 2.0, "t": "a"}}\n{{"step": 2, "loss": {word}, "t": "a"}}\n')
    value = history["loss"].values[1]
    assert math.isnan(value) if "n" in word.lower()[:1] else math.isinf(value)


def test_null_true_and_lists_are_no_values() -> None:
    history = read(
        '{"step": 1, "loss": 2.0, "ok": true, "x": null, "l": [1, 2]}\n{"step": 2, "loss": 1, "lr": [0.1]}\n'
    )
    assert list(history.curves) == ["loss", "lr"]
    assert history.notes == ["1 lists of values were left out: a curve needs one number per row"]


def test_lines_that_are_no_json_are_skipped_and_counted() -> None:
    history = read('{"step": 1, "loss": 2}\nwarning: slow\n{"step": 2, "loss": 1}\n{broken}\n{"step": 3, "loss": 0}\n')
    assert [s for s, _ in points(history)] == [1, 2, 3]
    assert history.notes == ["2 lines that are no JSON were skipped (first: line 2)"]


def test_a_cut_off_last_line() -> None:
    text = '{"step": 1, "loss": 2}\n{"step": 2, "lo'
    history = read(text)
    assert points(history) == [(1, 2.0)]
    assert history.notes == [f"the last line is cut off at byte {len(text)} and was left out"]


def test_several_runs_in_one_file_keep_the_order_of_arrival() -> None:
    text = lines(*({"step": s, "loss": float(s)} for _ in range(2) for s in (1, 2, 3)))
    assert [s for s, _ in points(read(text))] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("field", ["mode", "split", "phase", "dataset"])
def test_a_split_field_marks_the_metrics(field: str) -> None:
    history = read(lines({field: "train", "step": 1, "loss": 2.0}, {field: "val", "step": 1, "loss": 2.5}))
    assert list(history.curves) == ["train/loss", "val/loss"]


def test_byte_order_mark_and_line_ends() -> None:
    assert points(read(b'\xef\xbb\xbf{"step": 1, "loss": 2}\r\n\r\n{"step": 2, "loss": 1}\r\n')) == [(1, 2.0), (2, 1.0)]


def test_a_whole_number_beyond_float64() -> None:
    assert points(read('{"step": 1, "loss": 1' + "0" * 400 + "}\n"))[0][1] == math.inf


def test_deep_nesting_ends() -> None:
    deep = '{"a":' * 3000 + "1" + "}" * 3000
    assert points(read(f'{{"step": 1, "loss": 2}}\n{deep}\n{{"step": 2, "loss": 1}}\n')) == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b'{\n  "loss": [1, 2]\n}\n',
        b'{"name": "a", "id": 1}\n{"name": "b", "id": 2}\n',
        b'{"prompt": "' + b"long " * 30 + b'", "score": 0.5}\n' * 2,
        b"\x00{",
    ],
)
def test_other_things_are_left_alone(data: bytes) -> None:
    assert READER.sniff(source(data)) == 0


def test_no_json_at_all_is_not_recognised() -> None:
    with pytest.raises(NotRecognizedError, match="no line is a JSON object"):
        READER.read(source("a\nb\n"))


def test_objects_without_a_number_say_so() -> None:
    history = read('{"event": "start"}\n{"event": "end"}\n')
    assert not history.curves
    assert history.notes == ["no number in any of 2 JSON lines"]


# the fast way and the slow way


@pytest.mark.parametrize("engine", ["polars", "orjson"])
@pytest.mark.parametrize("kind", ["clean", "nan", "mixed", "nested"])
def test_fast_and_slow_agree(engine: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for i in range(400):
        row: dict[str, object] = {"step": i, "loss": float(rng.normal()), "lr": 10.0 ** -float(rng.integers(1, 9))}
        if kind == "nan" and i % 50 == 7:
            row["loss"] = float(rng.choice([np.nan, np.inf, -np.inf]))
        if kind == "mixed" and i % 20 == 3:
            row = {"step": i, "val_loss": 1.0, "name": "x"}
        rows.append({"a": row, "step": i} if kind == "nested" else row)
    monkeypatch.setattr("lossdoctor.readers._template.fast_engine", lambda: engine)
    monkeypatch.setattr(_numbers, "fast_engine", lambda: engine)
    monkeypatch.setattr(_numbers, "_SMALL", 0)
    monkeypatch.setattr(_template, "_SMALL", 0)
    monkeypatch.setattr(_lines.LineBlocks.__init__, "__defaults__", (2000,))
    fast = read(lines(*rows))
    monkeypatch.setattr(Template, "of", classmethod(lambda *_: None))
    slow = read(lines(*rows))
    assert set(fast.curves) == set(slow.curves)
    for name in fast.curves:
        assert fast[name].same_points(slow[name]), name


@pytest.mark.parametrize("engine", ["polars", "orjson"])
@pytest.mark.parametrize(
    "second",
    [
        '{"loss": 1, "step": 2}',
        '{"step": 2}',
        '{"step": 2, "loss": 1, "lr": 3}',
        '{"step": 2, "loss": null}',
        '{"step": 2, "loss": "1"}',
        '{"step": 2, "loss": true}',
        '{"step": 2, "step": 3}',
        '{"step": 2, "lr": 3}',
    ],
)
def test_a_line_of_another_make_is_not_taken_for_the_same(
    engine: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossdoctor.readers._template.fast_engine", lambda: engine)
    monkeypatch.setattr(_numbers, "fast_engine", lambda: engine)
    monkeypatch.setattr(_numbers, "_SMALL", 0)
    monkeypatch.setattr(_template, "_SMALL", 0)
    history = read('{"step": 1, "loss": 5}\n' + second + "\n")
    row = json.loads(second)
    loss = row.get("loss")
    expected = [(1, 5.0)]
    if loss is not None and loss is not True:
        expected.append((int(row["step"]), float(loss)))
    assert points(history) == expected


SEEDS = [
    (DATA / "jsonl/mmengine/vis_data/scalars.json").read_bytes(),
    b'{"mode": "train", "epoch": 1, "iter": 1, "loss": NaN}\n{"mode": "val", "epoch": 1, "iter": 9, "mAP": "0.5"}\n'
    * 3,
    b'{"_step": 1, "loss": 2.0, "_timestamp": 1700000000, "a": {"b": [1]}}\nx\n{"_step": 2, "loss": 1.0}\n',
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_raise_nothing_else(seed: bytes, data: st.DataObject) -> None:
    out = bytearray(seed[: data.draw(st.integers(0, len(seed)))] if data.draw(st.booleans()) else seed)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(out)))
        out[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b"\n", b"{", b"}", b'"', b"\\", b"\x01", b"[[", b"9" * 30])
            )
        )
    damaged = source(bytes(out))
    assert 0 <= READER.sniff(damaged) <= 100
    with suppress(ReadError):
        READER.read(damaged)
