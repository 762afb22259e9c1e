"""What a monitor keeps of a run, where, and what it finds: the same as the command line."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor.live import Monitor, Row, Verdict
from lossdoctor.live.actions import LiveAction
from lossdoctor.render.jsonout import strict
from tests.live.runs import Silent, descend, entry, overfit, read, report_of

# what is kept


def test_everything_that_float_takes_is_kept_as_float64(tmp_path: Path) -> None:
    import torch

    logged: dict[str, Any] = {
        "python": 0.1,
        "integer": 2**60 + 1,
        "huge": 10**400,
        "flag": True,
        "text": "0.25",
        "decimal": Decimal("0.3"),
        "numpy": np.float32(0.1),
        "array": np.array([[0.7]]),
        "tensor": torch.tensor(0.1, requires_grad=True),
        "half": torch.tensor([0.1], dtype=torch.bfloat16),
        "nothing": None,
    }
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(3, **logged)
    found = {n: (c.steps.tolist(), c.values.tolist()) for n, c in read(tmp_path / "run").curves.items()}
    assert found == {
        "python": ([3], [0.1]),
        "integer": ([3], [float(2**60)]),
        "huge": ([3], [math.inf]),
        "flag": ([3], [1.0]),
        "text": ([3], [0.25]),
        "decimal": ([3], [0.3]),
        "numpy": ([3], [float(np.float32(0.1))]),
        "array": ([3], [0.7]),
        "tensor": ([3], [float(torch.tensor(0.1))]),
        "half": ([3], [float(torch.tensor(0.1, dtype=torch.bfloat16))]),
    }


def test_what_is_no_number_is_left_out_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __float__(self) -> float:
            raise RuntimeError("no")

    with caplog.at_level(logging.WARNING, "lossdoctor"), Monitor(tmp_path / "run") as monitor:
        for step in range(3):
            monitor.log(step, loss=1.0, note="good", several=np.ones(3), odd=Odd(), z=1j)
    assert list(read(tmp_path / "run").curves) == ["loss"]
    told = [r.getMessage() for r in caplog.records]
    assert [re.findall(r"metric '(\w+)'", t) for t in told] == [["note"], ["several"], ["odd"], ["z"]]
    assert "str 'good'" in told[0]
    assert "shape (3,)" in told[1]


def test_rows_in_the_forms_that_other_loggers_have(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(1, loss=1.0)
        monitor.log(2, {"loss": 2.0, "val/loss": 0.2})
        monitor.log({"loss": 3.0}, step=3)
        monitor.log(step=4, loss=4.0)
        monitor.log({"loss": 5.0}, values=0.5)
    history = read(tmp_path / "run")
    assert history["loss"].values.tolist() == history["loss"].steps.tolist() == [1, 2, 3, 4, 5]
    assert (history["val/loss"].steps.tolist(), history["values"].steps.tolist()) == ([2], [5])


def test_steps_count_on_and_bad_ones_do_not_stop_anything(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(loss=1.0)
        monitor.log(loss=2.0)
        monitor.log(np.int64(10), loss=3.0)
        monitor.log(loss=4.0)
        monitor.log(12.0, loss=5.0)  # type: ignore[arg-type]
        monitor.log("thirteen", loss=6.0)  # type: ignore[arg-type]
        monitor.log(10**30, loss=7.0)
        monitor.log(loss=8.0)
    assert read(tmp_path / "run")["loss"].steps.tolist() == [0, 1, 10, 11, 12, 13, 2**63 - 1, 2**63 - 1]


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.floats() | st.integers(), min_size=1, max_size=4))
def test_any_names_may_be_logged(tmp_path_factory: pytest.TempPathFactory, row: dict[str, float]) -> None:
    folder = tmp_path_factory.mktemp("names") / "run"
    with Monitor(folder, actions=Silent()) as monitor:
        monitor.log(1, **{**row, "self": 2.0, "lossdoctor/event": 1.0})
    stored = {n.encode("utf-8", "replace").decode() for n in row} | {"self"}
    assert set(read(folder).curves) >= stored - {"lossdoctor/event"}
    assert "lossdoctor/event" not in read(folder)


def test_rows_reach_actions_exactly_as_stored(tmp_path: Path) -> None:
    class Keep(LiveAction):
        def __init__(self) -> None:
            self.rows: list[Row] = []

        def on_row(self, monitor: Monitor, row: Row) -> None:  # noqa: ARG002
            self.rows.append(row)

    keep = Keep()
    with Monitor(tmp_path / "run", actions=[keep]) as monitor:
        for step in range(20):
            monitor.log(step, loss=np.float32(0.1 * step), accuracy=step)
    history = read(tmp_path / "run")
    for name in ("loss", "accuracy"):
        curve = history[name]
        assert [(r.step, r.values[name], r.wall_time) for r in keep.rows] == list(
            zip(curve.steps.tolist(), curve.values.tolist(), np.asarray(curve.times).tolist(), strict=True)
        )


# the folder


def test_run_json_tells_of_the_run_and_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hush-hush")

    @dataclass
    class Data:
        path: Path
        shuffle: bool = True

    config = {"lr": 1e-3, "num_classes": 10, "data": Data(Path("train.csv")), "betas": (0.9, 0.999), "act": math.tanh}
    with Monitor(tmp_path / "run", name="first try", config=config, context={"batch_size": 32}) as monitor:
        monitor.log(0, loss=1.0)
    text = (tmp_path / "run" / "run.json").read_text()
    said = json.loads(text)
    assert said["config"] == {
        "lr": 1e-3,
        "num_classes": 10,
        "data": {"path": "train.csv", "shuffle": True},
        "betas": [0.9, 0.999],
        "act": "tanh",
    }
    assert said["name"] == "first try"
    assert said["versions"]["lossdoctor"] == lossdoctor.__version__
    assert len(said["sessions"]) == 1
    import platform

    for secret in ("hush-hush", platform.node() or "\0", os.environ.get("HOME", "\0"), str(tmp_path), str(os.getpid())):
        assert f'"{secret}' not in text
    context = read(tmp_path / "run").context
    assert context.known() == {"classes": 10, "batch_size": 32, "learning_rate": 1e-3}
    assert context.extra["data/path"] == "train.csv"


@pytest.mark.parametrize("config", [argparse.Namespace(lr=0.1), {"lr": 0.1}, {"lr": np.float64(0.1)}])
def test_config_in_the_forms_that_scripts_have(tmp_path: Path, config: Any) -> None:
    with Monitor(tmp_path / "run", config=config) as monitor:
        monitor.log(0, loss=1.0)
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["config"] == {"lr": 0.1}


def test_new_runs_never_share_a_folder(tmp_path: Path) -> None:
    monitors = [Monitor(name="a/b: c", actions=Silent()) for _ in range(3)]
    folders = [m.run_dir for m in monitors]
    assert len(set(folders)) == 3
    for monitor in monitors:
        assert monitor.run_dir is not None
        assert re.fullmatch(r"runs/\d{8}-\d{6}-a-b-c(-\d)?", monitor.run_dir.as_posix())
        descend(monitor, range(5))
        monitor.finish()
    assert len(lossdoctor.read(str(tmp_path / "runs"))) == 3


def test_two_processes_that_start_at_once_have_folders_of_their_own() -> None:
    code = "import lossdoctor\nwith lossdoctor.Monitor(name='x') as m:\n  m.log(0, loss=1.0)\nprint(m.run_dir)"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [p.communicate(timeout=60)[0].strip() for p in started]
    assert len(set(told)) == 2
    assert all(p.returncode == 0 for p in started)


def test_two_living_processes_of_one_folder_are_no_resume(tmp_path: Path) -> None:
    first = Monitor(tmp_path / "run")
    descend(first, range(60))
    second = Monitor(tmp_path / "run")
    descend(second, range(50))
    second.finish()
    first.finish()
    assert [e.kind for e in second.events] == ["finished"]
    lengths = sorted(len(h["loss"]) for h in lossdoctor.read(str(tmp_path / "run")))
    assert lengths in ([50, 60], [60])  # two runs, or the same curves counted once


# judging


def test_the_verdict_is_that_of_the_command_line(tmp_path: Path) -> None:
    seen: list[Verdict] = []
    with Monitor(tmp_path / "run", config={"num_classes": 10}, callbacks=[seen.append]) as monitor:
        overfit(monitor, range(1500))
    assert monitor.diagnosis is not None
    assert "LD301" in [f.code for f in monitor.diagnosis.findings]
    assert any("LD301" in [f.code for f in v.announced] for v in seen)
    report = report_of(tmp_path / "run")
    assert report["skipped"] == 0
    assert report["errors"] == []
    assert report["runs"] == [entry(strict(monitor.diagnosis.as_dict()))]
    written = json.loads((tmp_path / "run" / "diagnosis.json").read_bytes())
    written["runs"] = [entry(run) for run in written["runs"]]
    assert written == {"lossdoctor": "diagnosis", **report}
    announced = [e for e in read(tmp_path / "run").events if e["kind"] == "announced"]
    assert "LD301" in [e["code"] for e in announced]


def test_roles_that_the_script_gives_are_those_of_the_log(tmp_path: Path) -> None:
    roles = {"train_loss": "objective", "val_loss": "quality"}
    for steps in (range(300), range(300, 600)):
        with Monitor(tmp_path / "run", metrics=roles, context={"direction:accuracy": "min"}) as monitor:
            for step in steps:
                monitor.log(step, objective=2.0 * 0.99**step + 0.1, quality=1.0 + max(0, step - 200) * 0.01, loss=1.0)
    history = read(tmp_path / "run")
    assert {role: history.roles.primary(role) for role in roles} == roles
    assert history.context.directions == {"accuracy": "min"}
    assert monitor.diagnosis is not None
    assert report_of(tmp_path / "run")["runs"] == [entry(strict(monitor.diagnosis.as_dict()))]


def test_what_was_told_before_a_resume_is_not_told_again(tmp_path: Path) -> None:
    for start in (0, 200):
        with Monitor(tmp_path, actions=[Silent()]) as monitor:
            for step in range(start, start + 200):
                monitor.log(step, loss=2.0 * 0.97**step + 0.1, grad_norm=math.nan if step >= 120 else 1.0)
    events = [(e["kind"], e.get("code")) for e in read(tmp_path).events if e["kind"] in ("announced", "restarted")]
    assert events == [("announced", "LD107"), ("restarted", None)]


def test_a_resumed_run_is_judged_with_what_went_before(tmp_path: Path) -> None:
    for steps in (range(700), range(600, 1500)):
        with Monitor(tmp_path / "run", name="run", config={"lr": 0.1}) as monitor:
            overfit(monitor, steps)
    history = read(tmp_path / "run")
    assert [e["kind"] for e in history.events if e["kind"] in ("restarted", "finished", "session_start")] == [
        "finished",
        "restarted",
        "finished",
    ]
    restarted = next(e for e in history.events if e["kind"] == "restarted")
    assert (restarted["step"], restarted["last_step"]) == (600, 699)
    assert len(history["loss"]) == 1600
    assert monitor.diagnosis is not None
    assert report_of(tmp_path / "run")["runs"] == [entry(strict(monitor.diagnosis.as_dict()))]
    assert len(json.loads((tmp_path / "run" / "run.json").read_bytes())["sessions"]) == 2


def test_a_run_begun_again_in_its_folder_is_a_run_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        with Monitor(tmp_path / "run", name="run") as monitor:
            descend(monitor, range(100))
    assert "begun again" in monitor.events[0].message
    assert monitor.diagnosis is not None
    assert monitor.diagnosis.history.points == 100
    assert [len(h["loss"]) for h in lossdoctor.read(str(tmp_path / "run"))] == [100, 100]


def test_steps_go_on_where_the_run_stopped(tmp_path: Path) -> None:
    for first in (0, 5):
        with Monitor(tmp_path / "run") as monitor:
            for k in range(5):
                monitor.log(loss=1.0)
                assert monitor.step == first + k
    assert read(tmp_path / "run")["loss"].steps.tolist() == list(range(10))


def test_nothing_logged_leaves_a_folder_that_says_so(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run"):
        pass
    history = read(tmp_path / "run")
    assert not history.curves
    assert history.diagnose().status == "insufficient_data"
