"""The monitor as a training script sees it: what it keeps, how it goes on, and that nothing of it reaches training."""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live import LiveEvent, Monitor, Row, Verdict
from lossdoctor.live.actions import LiveAction
from lossdoctor.render.jsonout import strict


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)


def read(folder: str | Path | None) -> TrainingHistory:
    assert folder is not None
    (history,) = lossdoctor.read(str(folder))
    return history


def descend(monitor: Monitor, steps: range) -> None:
    for step in steps:
        monitor.log(step, loss=2.0 * 0.97**step + 0.1, learning_rate=0.1)


def overfit(monitor: Monitor, steps: range) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(10_000, 2)) * 0.01
    for step in steps:
        loss = 2.0 * 0.99**step + 0.05 + noise[step, 0]
        monitor.log(step, loss=loss)
        if step % 5 == 0:
            monitor.log(step, val_loss=loss + max(0.0, (step - 200) * 0.004) + noise[step, 1])


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


class Silent(lossdoctor.live.telling.Announcer):  # type: ignore[name-defined, misc]
    """In place of the announcer: tells nothing."""

    def _say(self, *_: Any) -> None:
        return


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


def entry(run: dict[str, Any]) -> dict[str, Any]:
    """A run's entry without its path: a folder with one event file is told by that file."""
    return {k: v for k, v in run.items() if k != "run"}


def report_of(folder: Path) -> Any:
    """What the command line says of the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", "diagnose", str(folder), "-f", "json", "--fail-on", "never"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    report = json.loads(done.stdout)
    report["runs"] = [entry(run) for run in report["runs"]]
    return report


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


# ends


def train_and_raise(folder: Path, error: BaseException) -> None:
    with Monitor(folder) as monitor:
        monitor.log(0, loss=1.0)
        raise error


def test_an_exception_leaves_an_event_and_goes_on_its_way(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train_and_raise(tmp_path / "run", ZeroDivisionError("division by zero"))
    assert [(e["kind"], e["message"]) for e in read(tmp_path / "run").events] == [
        ("crashed", "ZeroDivisionError: division by zero")
    ]


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyboardInterrupt(), "finished"), (SystemExit(0), "finished"), (SystemExit(3), "crashed")]
)
def test_how_a_run_ended(tmp_path: Path, error: BaseException, kind: str) -> None:
    with pytest.raises(type(error)):
        train_and_raise(tmp_path / "run", error)
    assert [e["kind"] for e in read(tmp_path / "run").events] == [kind]


@pytest.mark.parametrize(("line", "kind"), [("pass", "finished"), ("1 / 0", "crashed"), ("sys.exit(0)", "finished")])
def test_a_script_that_ends_without_finish(tmp_path: Path, line: str, kind: str) -> None:
    code = f"import lossdoctor, sys\nm = lossdoctor.Monitor('run')\nfor s in range(50): m.log(s, loss=1.0)\n{line}"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    history = read(tmp_path / "run")
    assert [e["kind"] for e in history.events if e["kind"] != "announced"] == [kind]
    assert (tmp_path / "run" / "diagnosis.json").exists()


def test_after_the_end_nothing_is_recorded_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor(tmp_path / "run")
    monitor.log(0, loss=1.0)
    monitor.finish()
    monitor.finish()
    monitor.log(1, loss=1.0)
    monitor.log(2, loss=1.0)
    assert len(read(tmp_path / "run")["loss"]) == 1
    assert sum("after finish()" in r.getMessage() for r in caplog.records) == 1


# nothing escapes


class Broken(LiveAction):
    """Raises at one moment."""

    def __init__(self, moment: str) -> None:
        self.calls = 0
        setattr(self, moment, self._fail)

    def _fail(self, *_: Any) -> None:
        self.calls += 1
        raise RuntimeError("a fault of the action")


class Counts(LiveAction):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:  # noqa: ARG002
        self.seen.append(event.kind)

    def on_verdict(self, monitor: Monitor, verdict: Verdict) -> None:  # noqa: ARG002
        self.seen.append("verdict")

    def finish(self, monitor: Monitor) -> None:  # noqa: ARG002
        self.seen.append("finish")


@pytest.mark.parametrize("moment", ["start", "on_verdict", "on_event", "before_step", "after_step", "finish"])
def test_a_failing_action_is_switched_off_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE", raising=False)
    broken, counts = Broken(moment), Counts()
    with Monitor(tmp_path / "run", actions=[broken, counts]) as monitor:
        descend(monitor, range(40))
        monitor.event("skipped_step", "as an example")
        assert monitor.before_step(None)
        monitor.after_step(None)
        monitor.event("skipped_step", "as an example")
    assert broken.calls == 1
    assert counts.seen.count("internal_error") == 1
    assert counts.seen.count("verdict") >= 1
    assert counts.seen[-1] == "finish"
    history = read(tmp_path / "run")
    assert len(history["loss"]) == 40
    (told,) = [e for e in history.events if e["kind"] == "internal_error"]
    assert told["message"] == "the action Broken failed and is switched off (RuntimeError: a fault of the action)"


def test_failing_callbacks_judges_and_rows_do_not_reach_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lossdoctor.live.judging import LiveJudge

    monkeypatch.delenv("LOSSDOCTOR_RAISE", raising=False)

    def bad(*_: Any) -> None:
        raise ValueError("bad")

    class RowBroken(LiveAction):
        def on_row(self, monitor: Monitor, row: Row) -> None:  # noqa: ARG002
            raise ValueError("bad")

    with Monitor(tmp_path / "a", callbacks=[bad], actions=RowBroken()) as monitor:
        for step in range(50):
            monitor.log(step, loss=math.nan)
    assert [e.kind for e in monitor.events if e.kind != "announced"] == ["internal_error", "internal_error", "finished"]
    for method in ("add", "due", "verdict"):
        with monkeypatch.context() as patch:
            patch.setattr(LiveJudge, method, bad)
            with Monitor(tmp_path / method) as monitor:
                descend(monitor, range(50))
        assert [e.kind for e in monitor.events] == ["internal_error", "finished"]
        assert len(read(tmp_path / method)["loss"]) == 50


def test_a_path_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with Monitor(tmp_path / "file" / "run") as monitor:
        descend(monitor, range(100))
        assert monitor.diagnosis is None or monitor.diagnosis.status == "healthy"
        (tmp_path / "file").unlink()
    assert monitor.diagnosis is not None
    assert [e.kind for e in monitor.events] == ["recording_failed", "finished", "recording_restored"]
    assert sum(r.levelno >= logging.WARNING for r in caplog.records) == 1
    history = read(tmp_path / "file" / "run")
    assert len(history["loss"]) == 100
    assert [e["kind"] for e in history.events] == ["recording_failed", "finished", "recording_restored"]
    assert sorted(p.name[:6] for p in (tmp_path / "file" / "run").iterdir()) == ["diagno", "events", "run.js"]


def test_rows_that_are_lost_in_the_end_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with Monitor(tmp_path / "file" / "run") as monitor:
        descend(monitor, range(10))
    assert "could not be written and are lost" in caplog.records[-1].getMessage()


def test_what_is_given_wrong_is_told_at_once(tmp_path: Path) -> None:
    class Mine(LiveAction):
        pass

    with pytest.raises(UsageError, match=r"write Mine\(\) instead of Mine"):
        Monitor(tmp_path / "run", actions=[Mine])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="did you mean 'val_loss'"):
        Monitor(tmp_path / "run", metrics={"val_los": "x"})
    with pytest.raises(UsageError, match="unknown context key 'clases'"):
        Monitor(tmp_path / "run", context={"clases": 10})
    with pytest.raises(UsageError, match="config must be"):
        Monitor(tmp_path / "run", config=3)
    with pytest.raises(UsageError, match="callback must be callable"):
        Monitor(tmp_path / "run", callbacks=[3])  # type: ignore[list-item]
    assert not (tmp_path / "run").exists()


def test_an_unknown_kind_of_event_does_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE", raising=False)
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(0, loss=1.0)
        monitor.event("danced", "no such kind")
    (told,) = [e for e in monitor.events if e.kind == "internal_error"]
    assert "unknown kind of event 'danced'" in told.message


def test_stop_is_asked_for_once(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(7, loss=1.0)
        monitor.stop("enough")
        monitor.stop("more than enough")
    assert (monitor.should_stop, monitor.stop_reason) == (True, "enough")
    first = read(tmp_path / "run").events[0]
    assert (first["kind"], first["step"], first["message"]) == ("stopped", 7, "enough")


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(5, loss=1.0)
        monitor.event("rolled_back", "to step 3 → für immer", to=3, loss=math.nan, states=["model", "rng"], kind_of="x")
    event = monitor.events[0].as_dict()
    assert event["loss"] == "NaN"
    assert read(tmp_path / "run").events[0] == event


def test_thousands_of_events_stay_bounded(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run", actions=Silent()) as monitor:
        for step in range(1500):
            monitor.log(step, loss=1.0)
            monitor.event("skipped_step", "one more")
    history = read(tmp_path / "run")
    assert len(history.events) == len(monitor.events) == 1000
    assert [e["step"] for e in (history.events[0], history.events[499], history.events[-2])] == [0, 499, 1499]
    assert "events between the first and the last" in " ".join(history.notes)


# threads, forks, ranks


def test_rows_of_several_threads_are_all_there(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:

        def work(k: int) -> None:
            for step in range(300):
                monitor.log(step, **{f"loss{k}": float(step)})

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = read(tmp_path / "run")
    assert not history.notes
    for k in range(4):
        assert history[f"loss{k}"].values.tolist() == list(range(300))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_writes_nothing(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        descend(monitor, range(10))
        forked = multiprocessing.get_context("fork").Process(target=_in_worker, args=(monitor,))
        forked.start()
        forked.join(30)
        assert forked.exitcode == 0
        descend(monitor, range(10, 20))
    history = read(tmp_path / "run")
    assert history["loss"].steps.tolist() == list(range(20))
    assert [e["kind"] for e in history.events] == ["finished"]


def _in_worker(monitor: Monitor) -> None:
    monitor.log(999, loss=1.0)
    monitor.event("stopped", "by a worker")
    monitor.finish()


def test_copies_are_the_monitor_itself_and_pickles_are_silent(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        assert copy.deepcopy({"trainer": monitor})["trainer"] is monitor
        assert copy.copy(monitor) is monitor
        away = pickle.loads(pickle.dumps(monitor))
        away.log(0, loss=1.0)
        assert away.run_dir is None
    assert not read(tmp_path / "run").curves


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(0, loss=1.0)
        monitor.event("skipped_step", "x")
        assert monitor.before_step(None)
    assert not (tmp_path / "run").exists()
    assert (monitor.rank, monitor.run_dir, monitor.events) == (1, None, [])


def test_every_rank_has_a_folder_of_its_own_when_asked(tmp_path: Path) -> None:
    for rank in range(2):
        with Monitor(tmp_path / "run", rank=rank, every_rank=True) as monitor:
            for step in range(30):
                monitor.log(step, loss=float(np.sin(step + rank)))
    for rank, folder in enumerate((tmp_path / "run", tmp_path / "run" / "rank1")):
        (events,) = folder.glob("events*")
        assert read(events)["loss"].values[0] == np.sin(rank)
    assert len(lossdoctor.read(str(tmp_path / "run"))) == 2


@pytest.mark.slow
def test_a_process_group_made_after_the_monitor_counts(tmp_path: Path) -> None:
    code = """
import sys, lossdoctor, torch.distributed as dist
rank = int(sys.argv[1])
monitor = lossdoctor.Monitor(name="late")
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
for step in range(10):
    monitor.log(step, loss=1.0 + rank)
dist.barrier()
monitor.finish()
dist.destroy_process_group()
"""
    meet = str(tmp_path / "meet")
    started = [subprocess.Popen([sys.executable, "-c", code, str(rank), meet]) for rank in range(2)]
    assert [p.wait(120) for p in started] == [0, 0]
    (folder,) = (tmp_path / "runs").iterdir()
    assert read(folder)["loss"].values.tolist() == [1.0] * 10


# values on their way


class OnItsWay:
    """Stands for a tensor on a GPU: its number is there when somebody says so."""

    def __init__(self, value: float) -> None:
        self.value, self.here, self.waited = value, False, False

    def ready(self) -> bool:
        return self.here

    def result(self) -> float:
        self.waited = not self.here
        return self.value


def test_rows_from_a_gpu_are_kept_in_order_when_they_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live import values

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    losses = [OnItsWay(float(k)) for k in range(6)]
    monitor = Monitor(tmp_path / "run")

    def stored() -> list[int]:
        return read(tmp_path / "run")["loss"].values.tolist() if monitor.step is not None else []  # type: ignore[no-any-return]

    monitor.log(0, loss=losses[0])
    monitor.log(1, loss=losses[1], epoch=0)
    monitor.log(2, loss=2.0)
    losses[1].here = True
    monitor.log(3, loss=losses[3])
    assert not read(tmp_path / "run").curves, "the first is not here: nothing overtakes it"
    losses[0].here = True
    monitor.log(4, loss=losses[4])
    assert stored() == [0, 1, 2]
    assert not any(x.waited for x in losses)
    monitor.finish()
    assert stored() == [0, 1, 2, 3, 4]
    assert [x.waited for x in losses] == [False, False, False, True, True, False]


def test_a_gpu_that_fails_costs_its_values_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live import values

    class Lost(OnItsWay):
        def ready(self) -> bool:
            raise RuntimeError("device-side assert")

        result = ready  # type: ignore[assignment]

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(0, loss=Lost(0.0), epoch=3)
        monitor.log(1, loss=Lost(0.0))
        monitor.log(2, loss=2.0)
    history = read(tmp_path / "run")
    assert (history["loss"].steps.tolist(), history["epoch"].steps.tolist()) == ([2], [0])


def test_a_tensor_on_a_gpu_is_copied_behind_what_is_queued() -> None:
    """No GPU here: an object that says it is on one, and whose copy is a tensor of the CPU."""
    import torch

    from lossdoctor.live.values import number

    class OnGpu:
        is_cuda = True

        def numel(self) -> int:
            return 1

        def detach(self) -> OnGpu:
            return self

        def reshape(self, *_: int) -> torch.Tensor:
            return torch.tensor([0.1], dtype=torch.bfloat16)

    arriving = number(OnGpu())
    assert not isinstance(arriving, float)
    assert arriving.ready()
    assert arriving.result() == float(torch.tensor(0.1, dtype=torch.bfloat16))


@pytest.mark.gpu
def test_losses_on_a_real_gpu(tmp_path: Path) -> None:
    import torch

    weight = torch.ones(1000, 1000, device="cuda", requires_grad=True)
    expected = []
    with Monitor(tmp_path / "run") as monitor:
        for step in range(50):
            loss = (weight * (step + 1)).mean()
            monitor.log(step, loss=loss, learning_rate=0.1)
            expected.append(loss.detach())
    assert read(tmp_path / "run")["loss"].values.tolist() == [float(x) for x in expected]


def test_a_gpu_that_never_delivers_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live import values

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    with Monitor(tmp_path / "run") as monitor:
        for step in range(1500):
            monitor.log(step, loss=OnItsWay(float(step)))
        assert len(monitor._waiting) <= 1000
    assert read(tmp_path / "run")["loss"].values.tolist() == list(range(1500))


def test_importing_it_stays_light() -> None:
    heavy = ("torch", "matplotlib", "scipy", "rich", "orjson")
    code = f"import lossdoctor, sys; lossdoctor.Monitor; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
