"""What is told of a run that is watched, step by step; the watch itself is tested in test_watch.py."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.cli.follow import Follower
from lossdoctor.cli.watch_view import Lines
from lossdoctor.cli.watched import Watched, _beginnings
from lossdoctor.cli.watching import Reasons, Watcher
from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.errors import LossdoctorError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose
from lossdoctor.readers.scanning import read
from lossdoctor.render.panel import PanelState
from lossdoctor.render.text import make_console
from tests.cli.support import descent


class Heard:
    """A view that remembers."""

    def __init__(self) -> None:
        self.console = make_console()
        self.lines: list[str] = []
        self.payloads: list[Mapping[str, Any]] = []
        self.begun: list[str] = []
        self.state = PanelState("")

    def begin(self, run: str, diagnosis: Diagnosis) -> None:
        self.begun.append(f"{run} {diagnosis.history.points}")

    def show(self, state: PanelState) -> None:
        self.state = state

    def say(self, severity: str, run: str, text: str) -> None:
        self.lines.append(f"{severity} {run}: {text}")

    def tell(self, run: str, lines: Lines, payload: Mapping[str, Any]) -> None:
        self.payloads.append(payload)
        for severity, text in lines:
            self.say(severity, run, text)

    def pass_on(self, piece: bytes) -> None:
        raise AssertionError(piece)

    def close(self) -> None:
        pass


class Watching:
    """A watcher whose looks are taken by hand."""

    def __init__(self, path: Path, run: str | None = None, fail_on: str = "critical", **reasons: Any) -> None:
        self.heard = Heard()
        self.watcher = Watcher(
            Follower(str(path), {}, None), self.heard, Settings(fail_on=fail_on), None, Reasons(**reasons), run
        )

    def look(self) -> PanelState:
        if self.watcher.follower.changed():
            self.watcher._look()
        self.watcher._notice_stalls()
        return self.watcher.state()

    @property
    def lines(self) -> list[str]:
        return [line.split(" (")[0] for line in self.heard.lines]


class Log:
    """A text log with some noise, in which things go wrong when told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step = 0
        self.noise = random.Random(3)

    def write(self, count: int, value: float | None = None) -> None:
        with self.path.open("a") as stream:
            for _ in range(count):
                loss = 0.4 + 2 * math.exp(-self.step / 60) + 0.02 * self.noise.gauss(0, 1) if value is None else value
                stream.write(f"step {self.step} loss {loss:.4f}\n")
                self.step += 1


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "train.log")


def test_the_verdict_is_that_of_diagnose_at_that_moment(log: Log) -> None:
    watching = Watching(log.path)
    for count, value in ((30, None), (200, None), (7, None), (5, math.nan), (40, math.nan)):
        log.write(count, value)
        state = watching.look()
        expected = diagnose(read(log.path)[0])
        assert state.diagnosis is not None
        assert state.diagnosis.as_dict() == expected.as_dict()
    assert watching.watcher.last().runs[0].as_dict() == expected.as_dict()


def test_a_finding_is_told_once(log: Log) -> None:
    watching = Watching(log.path)
    log.write(100)
    assert watching.look().status == "healthy"
    for _ in range(5):
        log.write(10, math.nan)
        assert watching.look().status == "critical"
    assert [f["code"] for p in watching.heard.payloads for f in p["announced"]] == ["LD101"]
    assert watching.lines[0] == f"critical {log.path}: LD101 loss-nonfinite"
    assert len(watching.lines) <= 2  # its advice may be told anew when it has changed for good


def test_a_healthy_run_is_never_told_of(log: Log) -> None:
    """Half-way through, its loss still falls, and is flat for a while: nothing of that is news."""
    watching = Watching(log.path)
    for _ in range(40):
        log.write(20)
        assert watching.look().status in ("healthy", "insufficient_data")
    assert watching.lines == []


def test_what_is_found_of_a_run_that_is_opened_late_is_told_at_once(overfit: Path) -> None:
    watching = Watching(overfit)
    state = watching.look()
    assert watching.lines == [f"warning {overfit}: LD301 overfitting"]
    assert state.status == "warning"
    assert [s.note for s in state.findings if s.finding.code == "LD301"] == [""]


def test_that_a_log_ends_is_no_news_while_it_goes_on(log: Log) -> None:
    log.path.write_text("planned: max_steps=4000\n")
    log.write(80)
    watching = Watching(log.path)
    state = watching.look()
    assert state.diagnosis is not None
    found = {f.code for f in state.diagnosis.findings}
    assert "LD205" in found
    assert {s.finding.code for s in state.findings} & {"LD205", "LD403"} == set()


def test_an_event_of_the_log_is_told_once(log: Log) -> None:
    log.write(60)
    watching = Watching(log.path)
    watching.look()
    with log.path.open("a") as stream:
        stream.write("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    watching.look()
    log.write(5)
    watching.look()
    assert [line.partition(": CUDA")[0] for line in watching.lines] == [
        f"warning {log.path}: out of memory at step 59: torch.cuda.OutOfMemoryError"
    ]
    assert watching.heard.payloads[0]["event"]["kind"] == "out_of_memory"


def test_events_before_the_watch_are_not_told(log: Log) -> None:
    log.write(60)
    with log.path.open("a") as stream:
        stream.write("Traceback (most recent call last):\n")
    watching = Watching(log.path)
    watching.look()
    assert watching.lines == []


def test_a_replaced_log_is_judged_anew(log: Log) -> None:
    watching = Watching(log.path)
    log.write(100)
    log.write(20, math.nan)
    watching.look()
    log.path.unlink()
    log.step = 0
    log.write(100)
    assert watching.look().status == "healthy"
    assert watching.lines[1:] == [
        f"info {log.path}: the log was replaced: it is read from its beginning, and judged anew"
    ]  # and not that the NaN is gone


# several runs


def test_the_newest_run_is_watched(tmp_path: Path) -> None:
    a, b = Log(tmp_path / "a.log"), Log(tmp_path / "b.log")
    a.write(60)
    os.utime(a.path, (1e9, 1e9))
    watching = Watching(tmp_path)
    assert watching.look().run == str(a.path)
    b.step = 1  # another run, not the same one copied
    b.write(70)
    state = watching.look()
    assert state.run == str(b.path)
    assert [name for name, _ in state.others] == [str(a.path)]
    assert watching.lines == [f"info {b.path}: is newer and is watched now"]
    assert watching.heard.begun == [f"{a.path} 60", f"{b.path} 70"]


def test_a_run_that_goes_on_beside_the_shown_one_is_judged_too(tmp_path: Path) -> None:
    a, b = Log(tmp_path / "a.log"), Log(tmp_path / "b.log")
    b.step = 1
    watching = Watching(tmp_path)
    for _ in range(3):
        a.write(60, math.nan if a.step > 100 else None)
        b.write(60)
        os.utime(a.path, (1e9 + a.step, 1e9 + a.step))
        watching.look()
    assert f"critical {a.path}: LD101 loss-nonfinite" in watching.lines
    report = watching.watcher.last()
    assert [(Path(d.history.path).name, d.status) for d in report.runs] == [("a.log", "critical"), ("b.log", "healthy")]


@pytest.mark.parametrize("wanted", ["b", "2", "PATH"])
def test_a_run_can_be_chosen(wanted: str, tmp_path: Path) -> None:
    a, b = Log(tmp_path / "a.log"), Log(tmp_path / "b.log")
    b.step = 1
    watching = Watching(tmp_path, run=str(b.path) if wanted == "PATH" else wanted)
    a.write(60)
    assert "there is no run" in watching.look().message or wanted == "PATH"
    b.write(60)
    assert watching.look().run == str(b.path)
    a.write(60)
    watching.look()
    assert [Path(d.history.path).name for d in watching.watcher.last().runs] == ["b.log"]


# waiting, problems, leaving


def test_a_run_that_cannot_be_read_now_keeps_its_verdict(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    rows = [{"loss": v, "step": i} for i, v in enumerate(descent(80))]
    import json

    whole = json.dumps({"log_history": rows})
    path.write_text(whole)
    watching = Watching(path)
    assert watching.look().message == ""
    path.write_text(whole[: len(whole) // 3])
    state = watching.look()
    assert state.diagnosis is not None
    path.write_text(whole)
    assert watching.look().message == ""


def test_no_run_at_all_is_an_error_in_the_end(tmp_path: Path) -> None:
    watching = Watching(tmp_path / "nowhere.log")
    assert watching.look().message == f"waiting: {tmp_path}/nowhere.log does not exist yet"
    with pytest.raises(LossdoctorError, match="does not exist yet"):
        watching.watcher.last()


@pytest.mark.parametrize(("fail_on", "leaves"), [("critical", True), ("warning", True), ("never", False)], ids=str)
def test_it_leaves_on_an_alarm_that_counts(fail_on: str, leaves: bool, log: Log) -> None:
    watching = Watching(log.path, fail_on=fail_on, alarm=True)
    log.write(60)
    watching.look()
    assert not watching.watcher._leaving(0.0)
    log.write(20, math.nan)
    watching.look()
    assert watching.watcher._leaving(0.0) is leaves


def test_it_leaves_when_nothing_comes(log: Log) -> None:
    log.write(60)
    watching = Watching(log.path, timeout=5.0)
    watching.look()
    assert not watching.watcher._leaving(4.9)
    assert watching.watcher._leaving(5.1)
    assert watching.lines == [f"info {log.path}: nothing new came for 5.1 s; leaving"]


def test_it_leaves_with_a_process(log: Log) -> None:
    import subprocess
    import sys

    log.write(60)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watching = Watching(log.path, pid=process.pid)
        watching.look()
        assert not watching.watcher._leaving(0.0)
        process.communicate(b"\n")
    assert watching.watcher._leaving(0.0)


# one run: how fast, how long still, ended, stalled


def watched(history: TrainingHistory, touched: float = 0.0) -> Watched:
    run = Watched(None, Settings())
    run.take(history, touched)
    return run


def timed(count: int = 100, seconds: float = 2.0, planned: int | None = None, **more: Any) -> TrainingHistory:
    times = [1e9 + seconds * i for i in range(count)]
    curve = Curve.make(range(0, 10 * count, 10), descent(count), times)
    return TrainingHistory({"loss": curve}, context=RunContext(planned_steps=planned), **more)


def test_the_rate_is_that_of_the_log_s_own_times() -> None:
    run = watched(timed(planned=2_000))
    assert run.rate == pytest.approx(5.0)
    assert run.seconds_left == pytest.approx((2_000 - 990) / 5.0)
    assert watched(timed()).seconds_left is None


def test_without_times_the_rate_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lossdoctor.cli.watched.time.monotonic", lambda: now)
    run = Watched(None, Settings())
    for count in (50, 60, 70, 80):
        run.take(TrainingHistory(loss=descent(200)[:count]), None)
        now += 5.0
    assert run.rate == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], ""),
        ([{"kind": "session_start", "time": 1.0}, {"kind": "finished", "time": 2.0}], "the run has ended"),
        ([{"kind": "crashed", "time": 2.0}], "the run has crashed"),
        ([{"kind": "finished", "time": 2.0}, {"kind": "restarted", "time": 3.0}], ""),
        ([{"kind": "finished", "time": 2.0}, {"kind": "session_start", "time": 3.0}], ""),
    ],
)
def test_when_a_run_has_ended(events: list[dict[str, Any]], told: str) -> None:
    assert watched(timed(events=events)).ended(time.time()) == told


def test_all_planned_steps_are_an_end_after_a_while() -> None:
    run = watched(timed(planned=991), touched=1_000.0)
    assert run.ended(1_010.0) == ""
    assert run.ended(1_040.0) == "all planned steps are done"


def test_a_log_that_stands_still_is_told_once_and_so_is_that_it_goes_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 2e9
    monkeypatch.setattr("lossdoctor.cli.watching.time.time", lambda: now)
    watching = Watching(log.path)
    for _ in range(30):
        log.write(10)
        os.utime(log.path, (now, now))
        watching.look()
        now += 10
    for _ in range(20):
        now += 60
        state = watching.look()
    assert state.quiet == "nothing was written for 20 min (usually every 10 s): it has ended, or it hangs"
    assert state.rate is None
    log.write(10)
    os.utime(log.path, (now, now))
    assert watching.look().quiet == ""
    assert [line.partition(":")[2].split(":")[0] for line in watching.lines] == [
        " stalled at step 299",
        " went on at step 309",
    ]
    assert [p["event"]["kind"] for p in watching.heard.payloads] == ["stalled", "went_on"]


def test_an_old_log_is_quiet_but_no_news(log: Log) -> None:
    log.write(100)
    os.utime(log.path, (1e9, 1e9))
    watching = Watching(log.path)
    assert "nothing was written for" in watching.look().quiet
    assert watching.lines == []


def test_the_beginnings_that_are_judged_on_opening_have_the_run_s_roles(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(f"step {i} loss {v:.4f} norm {1 + v:.3f}\n" for i, v in enumerate(descent(200))))
    (history,) = read(path)
    assert history.roles.names["grad_norm"] == ("norm",)  # which the reader says, not the name
    parts = _beginnings(history)
    assert [p.points for p in parts] == [100, 130, 160, 180, 184, 192]
    assert all(p.roles.names == history.roles.names for p in parts)
