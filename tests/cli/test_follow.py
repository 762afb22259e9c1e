"""What a path holds while it is written: waiting, changes, several runs, errors that pass; standard input."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossdoctor.cli.follow import Follower, Pace
from lossdoctor.cli.follow_stdin import StdinSpool
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import ReadError
from tests.cli.support import descent, write_csv


def follower(path: Path | str, **metrics: str) -> Follower:
    return Follower(str(path), metrics, None)


def log(path: Path, first: int, stop: int) -> Path:
    with path.open("a") as stream:
        stream.writelines(f"step {i} loss {v:.4f}\n" for i, v in enumerate(descent(400)) if first <= i < stop)
    return path


def test_what_does_not_exist_is_waited_for(tmp_path: Path) -> None:
    followed = follower(tmp_path / "later" / "train.log")
    assert followed.changed()
    assert followed.look().problem == f"{tmp_path}/later/train.log does not exist yet"
    (tmp_path / "later").mkdir()
    log(tmp_path / "later" / "train.log", 0, 50)
    assert followed.changed()
    assert followed.look().histories[0].points == 50


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_is_empty_is_waited_for(make: object, tmp_path: Path) -> None:
    path = tmp_path / "run"
    make(path)  # type: ignore[operator]
    found = follower(path).look()
    assert (found.problem, found.hopeless) == (f"{path} is empty", False)


def test_only_a_change_is_a_change(tmp_path: Path) -> None:
    path = log(tmp_path / "train.log", 0, 50)
    followed = follower(tmp_path)
    assert followed.changed()
    followed.look()
    assert not followed.changed()
    log(path, 50, 51)
    assert followed.changed()
    followed.look()
    (tmp_path / "model.pt").write_bytes(b"weights")  # no log: not worth a look
    assert not followed.changed()


def test_new_runs_of_a_folder_are_found_and_timed(tmp_path: Path) -> None:
    followed = follower(tmp_path)
    old = log(tmp_path / "a.log", 0, 50)
    os.utime(old, (1_000_000, 1_000_000))
    followed.changed()
    followed.look()
    write_csv(tmp_path / "b" / "log.csv", [(i, v * 2) for i, v in enumerate(descent(60, 5))])
    assert followed.changed()
    histories = followed.look().histories
    assert [Path(h.path).name for h in histories] == ["a.log", "log.csv"]
    assert followed.touched(histories[0]) == 1_000_000
    assert followed.touched(histories[1]) == pytest.approx(time.time(), abs=60)


def test_runs_of_one_file_are_timed_by_it(tmp_path: Path) -> None:
    rows = [(run, i, v) for run in ("a", "b") for i, v in enumerate(descent(40, ord(run)))]
    path = write_csv(tmp_path / "runs.csv", rows, "run,step,loss")
    os.utime(path, (1_000_000, 1_000_000))
    followed = follower(path)
    followed.changed()
    histories = followed.look().histories
    assert len(histories) == 2
    assert [followed.touched(h) for h in histories] == [1_000_000, 1_000_000]


def test_roles_and_context_are_given_to_what_is_found(tmp_path: Path) -> None:
    rows = [(i, v, v) for i, v in enumerate(descent(60))]
    path = write_csv(tmp_path / "a.csv", rows, "step,loss,dev/ce")
    followed = Follower(str(path), {"val_loss": "dev/ce"}, RunContext(planned_steps=70))
    (history,) = followed.look().histories
    assert history.roles.names["val_loss"] == ("dev/ce",)
    assert history.context.planned_steps == 70


def test_a_metric_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    path = log(tmp_path / "train.log", 0, 30)
    followed = follower(path, val_loss="dev_loss")
    found = followed.look()
    assert "no run has a metric 'dev_loss'" in found.problem
    assert not found.hopeless
    with path.open("a") as stream:
        stream.writelines(f"step {i} dev_loss {1 + 1 / (i + 1):.3f}\n" for i in range(0, 30, 3))
    assert followed.look().histories[0].roles.names["val_loss"] == ("dev_loss",)


def test_an_error_of_the_file_system_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log(tmp_path / "train.log", 0, 50)
    followed = follower(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", _refusing)
        followed.changed()
        found = followed.look()
    assert "cannot be opened (Permission denied)" in found.problem
    assert not found.hopeless
    assert followed.changed()  # though nothing of the file has: it is tried again
    assert followed.look().histories[0].points == 50


def _refusing(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("content", "told"),
    [(bytes(range(256)) * 8, "binary data"), (b"\x89PNG\r\n\x1a\n" + bytes(200), "a PNG picture")],
)
def test_what_can_never_be_a_log_is_hopeless(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    found = follower(path).look()
    assert found.hopeless
    assert told in found.problem


def test_text_without_a_metric_may_get_one(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("loading data\n" * 20)
    assert not follower(path).look().hopeless


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_hopeless(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = follower(tmp_path / "pipe").look()
    assert found.hopeless
    assert "is a named pipe" in found.problem


def test_a_broken_file_in_a_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    log(tmp_path / "train.log", 0, 50)
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"loss": 2.0, "step": 1}, {"lo')
    found = follower(tmp_path).look()
    assert found.histories[0].points == 50


def test_a_look_that_was_broken_off_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come between reading a piece and remembering that it was read."""
    path = log(tmp_path / "train.log", 0, 50)
    followed = follower(path)
    followed.look()
    log(path, 50, 100)
    with monkeypatch.context() as patched:
        patched.setattr("lossdoctor.cli.follow_tail.Tail.take", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            followed.look()
    assert followed.look(whole=True).histories[0].points == 100


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_last_line_counts_when_nothing_more_is_written(tmp_path: Path) -> None:
    path = log(tmp_path / "train.log", 0, 50)
    with path.open("a") as stream:
        stream.write("step 50 loss 0.41")
    followed = follower(path)
    assert followed.look().histories[0].points == 50
    assert followed.look(whole=True).histories[0].points == 51


# when to look


def test_looking_costs_a_twentieth_of_the_time_at_most() -> None:
    now = 0.0
    pace = Pace(interval=1.0, clock=lambda: now)
    looks = 0
    while now < 10_000:
        if pace.due():
            with pace:
                now += 3.0
            looks += 1
        now += 0.5
    assert pace.spent / now < 0.055
    assert looks > 150


def test_one_costly_look_does_not_delay_the_next() -> None:
    now = 0.0
    pace = Pace(interval=1.0, clock=lambda: now)
    for cost in (0.01, 5.0, 0.01):
        with pace:
            now += cost
        assert pace.wait == 1.0


# standard input


@pytest.fixture
def pipe() -> Iterator[tuple[StdinSpool, int]]:
    out, into = os.pipe()
    with StdinSpool(out) as spool:
        yield spool, into
    os.close(out)


def test_standard_input_is_kept_as_it_comes(pipe: tuple[StdinSpool, int]) -> None:
    spool, into = pipe
    followed = Follower("-", {}, None, spool.path)
    assert "nothing has come through standard input yet" in followed.look().problem
    rows = [f"step {i} loss {v:.4f}\n".encode() for i, v in enumerate(descent(60))]
    os.write(into, b"".join(rows[:40]))
    assert _soon(lambda: followed.changed() and len(followed.look().histories) == 1)
    (history,) = followed.look().histories
    assert (history.path, history.points) == ("-", 40)
    os.write(into, b"".join(rows[40:]))
    os.close(into)
    assert spool.ended.wait(5)
    assert followed.changed()
    assert followed.look(whole=True).histories[0].points == 60
    assert followed.touched(history) == pytest.approx(time.time(), abs=60)


def test_a_writer_never_waits(pipe: tuple[StdinSpool, int]) -> None:
    """More than a pipe holds, while nobody looks."""
    spool, into = pipe
    wrote = threading.Thread(target=lambda: (os.write(into, b"x" * 1_000_000), os.close(into)))
    wrote.start()
    wrote.join(10)
    assert not wrote.is_alive()
    assert spool.ended.wait(5)
    assert spool.path.stat().st_size == 1_000_000


def test_what_is_passed_on_is_all_of_it_until_nobody_takes_it() -> None:
    out, into = os.pipe()
    taken: list[bytes] = []

    def tee(piece: bytes) -> None:
        if len(taken) == 2:
            raise BrokenPipeError
        taken.append(piece)

    spool = StdinSpool(out)
    spool.tee = tee
    with spool:
        for k in range(5):
            os.write(into, b"line %d\n" % k)
            assert _soon(lambda k=k: spool.path.stat().st_size == 7 * (k + 1))
        os.close(into)
        assert spool.ended.wait(5)
        assert b"".join(taken) == b"line 0\nline 1\n"
        assert spool.path.read_bytes().endswith(b"line 4\n")
    assert not spool.path.exists()
    os.close(out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_full_disk_does_not_stop_the_writer() -> None:
    out, into = os.pipe()
    spool = StdinSpool(out)
    spool.path.unlink()
    spool.path.symlink_to("/dev/full")
    with spool:
        os.write(into, b"step 1 loss 2\n" * 100)
        os.close(into)
        assert spool.ended.wait(5)
        assert "No space left on device" in spool.problem
    os.close(out)


def test_there_must_be_a_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ReadError, match="there is no standard input; pipe a log into it"):
        StdinSpool()


def _soon(true: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False
