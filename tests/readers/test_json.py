"""JSON documents: states, histories and results of real tools, rows and lists of any, and what is no log."""

from __future__ import annotations

import gzip
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers import json_files
from lossdoctor.readers._json_text import closed, parse_json
from lossdoctor.readers.base import Source
from lossdoctor.readers.json_files import JsonReader

DATA = Path(__file__).parents[1] / "data"
READER = JsonReader()


def source(value: Any, name: str = "x.json") -> Source:
    return Source(name, name, data=value if isinstance(value, bytes) else json.dumps(value).encode())


def read(value: Any, name: str = "x.json") -> TrainingHistory:
    assert READER.sniff(source(value, name)) > 0
    (history,) = READER.read(source(value, name))
    return history


def read_file(path: str) -> TrainingHistory:
    source = Source.from_path(DATA / path)
    assert READER.sniff(source) >= 60
    (history,) = READER.read(source)
    return history


def points(history: TrainingHistory, name: str = "loss") -> list[tuple[int, float]]:
    curve = history[name]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def counts(history: TrainingHistory) -> dict[str, int]:
    return {n: len(c) for n, c in history.curves.items()}


# tools


def test_a_public_trainer_state() -> None:
    history = read_file("real/hf_trainer_state/10/trainer_state.json")
    assert counts(history) == {"epoch": 1001, "learning_rate": 1000, "loss": 1000}
    assert points(history)[:2] == [(10, 5.4962), (20, 3.355)]
    assert points(history)[-1] == (10_000, 0.0886)
    assert (history.context.planned_steps, history.context.steps_per_epoch) == (10_000, 412)
    assert history.context.extra["train_loss"] == 0.8600688213944435
    assert history.roles.primary("train_loss") == "loss"


def test_transformers() -> None:
    history = read_file("json/transformers/trainer_state.json")
    assert history["loss"].steps.tolist() == list(range(5, 50, 5))
    assert history["eval_loss"].steps.tolist() == [15, 30, 45]
    assert "train_loss" not in history
    assert history.context.known() == {"planned_steps": 45, "steps_per_epoch": 15, "batch_size": 20}
    checkpoint = read_file("json/transformers/checkpoint_state.json")
    assert checkpoint["loss"].values.tolist() == history["loss"].values[:6].tolist()


def test_a_state_cut_off_is_read_up_to_the_cut() -> None:
    whole = (DATA / "real/hf_trainer_state/10/trainer_state.json").read_bytes()
    history = read(whole[:50_000])
    assert len(history["loss"]) == 471
    assert history.notes == ["the JSON is cut off or damaged at byte 49,989; what comes before was read"]


def test_a_state_that_logged_nothing_says_so() -> None:
    history = read({"log_history": [], "max_steps": 10})
    assert not history.curves
    assert "nothing was logged yet" in history.notes[0]


def test_keras() -> None:
    history = read_file("json/keras/history.json")
    assert counts(history) == dict.fromkeys(("accuracy", "loss", "val_accuracy", "val_loss"), 6)
    assert history.step_unit == "row"
    whole = read_file("json/keras/history_object.json")
    assert whole.step_unit == "epoch"
    assert whole["loss"].steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert whole["loss"].values.tolist() == history["loss"].values.tolist()
    assert whole.context.planned_steps == 6


@pytest.mark.parametrize(
    ("file", "train", "val", "rounds"),
    [
        ("xgboost/evals_result.json", "train/logloss", "eval/logloss", 20),
        ("xgboost/sklearn_evals_result.json", "validation_0/logloss", "validation_1/logloss", 12),
        ("lightgbm/evals_result.json", "training/binary_logloss", "valid_1/binary_logloss", 20),
    ],
)
def test_boosting(file: str, train: str, val: str, rounds: int) -> None:
    history = read_file(f"json/{file}")
    assert len(history[train]) == len(history[val]) == rounds
    assert history.roles.primary("val_loss") == val
    if file != "xgboost/sklearn_evals_result.json":  # which of its sets was trained on, that one does not say
        assert history.roles.primary("train_loss") == train


def test_sklearn() -> None:
    history = read_file("json/sklearn/mlp.json")
    assert counts(history) == {"loss_curve_": 25, "validation_scores_": 25}
    assert history.roles.primary("train_loss") == "loss_curve_"


@pytest.mark.parametrize(("which", "more"), [("one", {}), ("two", {"test1/Logloss": 20, "test1/AUC": 20})])
def test_catboost(which: str, more: dict[str, int]) -> None:
    folder = DATA / f"json/catboost/{which}/catboost_info"
    assert READER.claims(folder, frozenset(p.name for p in folder.iterdir()))
    (history,) = READER.read_folder(folder, "shown")
    assert counts(history) == {"learn/Logloss": 20, "test/Logloss": 20, "test/AUC": 20, **more}
    assert history["learn/Logloss"].steps.tolist() == list(range(20))
    assert history.context.planned_steps == 20
    assert history.context.directions["test/AUC"] == "max"
    assert (history.path, history.name) == ("shown", "")
    table = np.loadtxt(folder / "test_error.tsv", skiprows=1)
    assert history["test/Logloss"].values.tolist() == table[:, 1].tolist()


# shapes


def test_rows() -> None:
    history = read([{"epoch": 1, "loss": 2.0, "val": {"loss": 2.5}}, {"epoch": 2, "loss": 1.0}, "x"])
    assert points(history) == [(1, 2.0), (2, 1.0)]
    assert points(history, "val/loss") == [(1, 2.5)]
    assert history.notes == ["1 entries of the list are no objects and were skipped"]


def test_rows_below_a_key_with_their_configuration() -> None:
    history = read(
        {"config": {"lr": 0.1, "batch_size": 32}, "log": [{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}]}
    )
    assert points(history) == [(10, 2.0), (20, 1.0)]
    assert history.context.known() == {"batch_size": 32, "learning_rate": 0.1}


def test_lists_at_their_own_axes() -> None:
    history = read({"steps": [10, 20, 30], "loss": [3, 2, 1], "val_loss": [2, 1]})
    assert points(history) == [(10, 3.0), (20, 2.0), (30, 1.0)]
    assert points(history, "val_loss") == [(1, 2.0), (2, 1.0)]


def test_nan_is_kept_and_null_left_out() -> None:
    history = read(b'{"loss": [1, NaN, -Infinity], "val_loss": [2, null, 1]}')
    assert math.isnan(history["loss"].values[1])
    assert history["loss"].values[2] == -math.inf
    assert points(history, "val_loss") == [(1, 2.0), (3, 1.0)]
    assert "1 null was left out" in history.notes[0]


def test_values_by_step() -> None:
    assert points(read({"loss": {"10": 2.0, "20": 1.0}})) == [(10, 2.0), (20, 1.0)]


def test_rows_by_step() -> None:
    history = read({"10": {"loss": 2.0}, "20": {"loss": 1.0, "lr": 0.1}})
    assert points(history) == [(10, 2.0), (20, 1.0)]
    assert points(history, "lr") == [(20, 0.1)]


def test_a_data_frame() -> None:
    history = read({"step": {"0": 100, "1": 200}, "loss": {"0": 2.0, "1": 1.0}})
    assert points(history) == [(100, 2.0), (200, 1.0)]


def test_a_download_of_tensorboard() -> None:
    history = read([[1700000000.5, 10, 2.0], [1700000001.5, 20, 1.0]])
    assert points(history) == [(10, 2.0), (20, 1.0)]
    assert history["loss"].times is not None


def test_a_bare_list_needs_a_telling_name() -> None:
    assert points(read([2.0, 1.0], "train_losses.json")) == [(1, 2.0), (2, 1.0)]
    assert READER.sniff(source([2.0, 1.0], "numbers.json")) == 0


def test_numbers_as_texts() -> None:
    assert points(read({"loss": ["2.5", "1.5"]})) == [(1, 2.5), (2, 1.5)]


# no log


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"name": "package", "version": "1.0", "files": ["a", "b"]},
        {"hidden_sizes": [32, 64], "vocab_size": 100, "layers": 2},
        {"train_loss": 0.5, "epoch": 3.0},
        {"images": [{"id": 1, "file": "a"}], "annotations": [{"id": 1, "bbox": [1, 2, 3, 4], "area": 5}]},
        {"cells": [{"cell_type": "code", "execution_count": 3, "source": ["x"]}], "nbformat": 4},
        {"model": {"vocab": {"a": 0, "b": 1}}},
        [[1, 2], [3, 4]],
        "text",
        5,
    ],
)
def test_other_json_is_left_alone(value: Any) -> None:
    assert READER.sniff(source(value)) == 0
    with pytest.raises(NotRecognizedError, match="holds no curve"):
        READER.read(source(value))


def test_json_lines_are_left_to_their_reader() -> None:
    assert READER.sniff(source(b'{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')) == 0


def test_a_broken_document_names_its_place() -> None:
    with pytest.raises(BrokenFileError, match=r"line 2 \(byte \d+\): this is no JSON from here on"):
        READER.read(source(b'{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n'))


def test_too_large_a_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(json_files, "MAX_BYTES", 1 << 20)
    packed = tmp_path / "x.json.gz"
    packed.write_bytes(gzip.compress(b"[" + b" " * (3 << 20)))
    with pytest.raises(BrokenFileError, match="larger than 1 MiB"):
        READER.read(Source.from_path(packed))


def test_depth_is_bounded() -> None:
    for deep in (b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"loss":[NaN' + b",[" * 50_000):
        try:
            READER.read(source(deep))
        except ReadError:
            continue


@pytest.mark.parametrize("cut", range(1, 60))
def test_closing_a_cut_document_gives_json(cut: int) -> None:
    whole = b'{"a": [1, {"b\\"": "x, ]"}, 2.5], "loss": [3, 2, 1], "c": nul'
    mended, used = closed(whole[:cut])
    assert used <= cut
    assert parse_json(mended) is not None


SEEDS = [
    (DATA / "real/hf_trainer_state/10/trainer_state.json").read_bytes()[:2000],
    *((DATA / "json" / f).read_bytes() for f in ("keras/history_object.json", "sklearn/mlp.json")),
    (DATA / "json/catboost/two/catboost_info/catboost_training.json").read_bytes(),
    b'{"loss": {"1": 2.0, "2": NaN}, "rows": [{"step": 1, "loss": 2}, {"step": 2, "loss": null}]}',
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_raise_nothing_else(seed: bytes, data: st.DataObject) -> None:
    out = bytearray(seed[: data.draw(st.integers(0, len(seed)))] if data.draw(st.booleans()) else seed)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(out)))
        out[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b"null", b"true", b"1e999", b"9" * 400, b"-"]),
            )
        )
    damaged = source(bytes(out))
    try:
        _ = damaged.head
    except ReadError:  # it begins like a compressed file by now, and is none: no reader is asked
        return
    assert 0 <= READER.sniff(damaged) <= 100
    with suppress(ReadError):
        READER.read(damaged)
