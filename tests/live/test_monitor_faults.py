"""How a run ends, and that nothing of the monitor reaches training."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.live import LiveEvent, Monitor, Row, Verdict
from lossdoctor.live.actions import LiveAction
from tests.live.runs import Silent, descend, read

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
    from lossdoctor.live.judging.judge import LiveJudge

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
