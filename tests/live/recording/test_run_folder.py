"""Names of run folders, JSON that is replaced as a whole, and what readers of logs make of the files beside rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lossdoctor
from lossdoctor.core.errors import LossdoctorError
from lossdoctor.live.recording.plain import plain
from lossdoctor.live.recording.ranks import this_rank
from lossdoctor.live.recording.recorder import Recorder
from lossdoctor.live.recording.run_folder import earlier_rows, our_event_files, read_json, safe_name, write_json


@given(st.text())
def test_a_name_is_one_visible_folder(name: str) -> None:
    safe = safe_name(name)
    assert not set(safe) & set('/\\:*?"<>| \0\n')
    assert not safe.startswith((".", "-"))
    assert len(safe) <= 80
    assert safe_name(safe) == safe


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(json_like)
def test_anything_becomes_json_and_stays_so(value: Any) -> None:
    once = plain(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    assert plain(once) == once


def test_endless_configurations_end() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert len(json.dumps(plain(endless))) < 2_000
    assert len(plain({"text": "x" * 10**6})["text"]) == 1000


def test_json_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1, "b": math.nan})
    assert read_json(path) == {"a": 1, "b": "NaN"}

    def fails(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="no"):
        write_json(path, {"a": 2})
    assert read_json(path)["a"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    path.write_text("{")
    assert read_json(path) == {}


def test_rows_come_back_in_their_order_whatever_was_logged_with_what(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, lambda *_: None)
    recorder.open()
    logged = []
    for step in range(200):
        row = {"loss": step / 3} | ({"val_loss": step / 7} if step % 10 == 0 else {})
        logged.append((step, row, 1000.0 + step))
        if step % 20 == 0:
            logged.append((step // 20, {"accuracy": step / 9, "loss": -1.0}, 1000.5 + step))
    for step, row, time in logged:
        recorder.row(row, step, time)
    recorder.close()
    earlier = earlier_rows(our_event_files(tmp_path))
    found = [(r.step, dict(r.values), r.wall_time) for r in earlier.rows()]
    for name in ("loss", "val_loss", "accuracy"):
        assert [(s, r[name], t) for s, r, t in found if name in r] == [
            (s, r[name], t) for s, r, t in logged if name in r
        ]
    assert earlier.last_step == 199


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"RANK": "2"}, (0, 1)),
        ({"RANK": "x", "WORLD_SIZE": "4", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (3, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"RANK": "7", "WORLD_SIZE": "4"}, (0, 1)),
    ],
)
def test_ranks_of_launchers(environment: dict[str, str], expected: tuple[int, int]) -> None:
    assert this_rank(environment) == expected


# beside the rows, for readers of logs


def recorded(folder: Path) -> None:
    with lossdoctor.Monitor(folder, config={"num_classes": 10, "loss": [3.0, 2.0, 1.0]}, rank=0) as monitor:
        for step in range(50):
            monitor.log(step, loss=2.0 * 0.9**step)


def test_lists_in_the_configuration_are_no_curves(tmp_path: Path) -> None:
    recorded(tmp_path)
    (history,) = lossdoctor.read(str(tmp_path))
    assert list(history.curves) == ["loss"]
    assert len(history["loss"]) == 50


@pytest.mark.parametrize("text", ['{"lossdoctor": "run", "conf', '{"lossdoctor": "run", "context": {"clases": 3}}'])
def test_a_damaged_run_json_costs_its_context_alone(tmp_path: Path, text: str) -> None:
    recorded(tmp_path)
    (tmp_path / "run.json").write_text(text)
    (history,) = lossdoctor.read(str(tmp_path))
    assert len(history["loss"]) == 50
    assert history.context.classes is None


def test_a_run_json_of_another_tool_is_read_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps({"history": {"loss": [3.0, 2.0, 1.5, 1.2], "val_loss": [3, 2, 2, 2]}})
    )
    (found,) = lossdoctor.read(str(tmp_path))
    assert found.format == "json"
    assert found["loss"].values.tolist() == [3.0, 2.0, 1.5, 1.2]


def test_a_verdict_alone_is_no_run_with_curves(tmp_path: Path) -> None:
    recorded(tmp_path / "run")
    (history,) = lossdoctor.read(str(tmp_path / "run" / "diagnosis.json"))
    assert not history.curves
    assert "no event file" in history.notes[0]
    for path in our_event_files(tmp_path / "run"):
        path.unlink()
    try:
        found = lossdoctor.read(str(tmp_path / "run"))
    except LossdoctorError:
        return
    assert [h.curves for h in found] == [{}]
