"""``lossdoctor watch`` as a process: through pipes, on a terminal of its own, while somebody writes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.support import Invoke, Result, descent, shell, write_csv

# Appends a row every few milliseconds, as a training loop does: path, rows, first NaN, seconds between rows.
WRITER = """
import math, random, sys, time
path, count, broken, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
noise = random.Random(3)
out = sys.stdout if path == "-" else open(path, "a")
for i in range(count):
    loss = float("nan") if i >= broken else 0.4 + 2 * math.exp(-i / 60) + 0.02 * noise.gauss(0, 1)
    print(f"step {i}/{count} loss {loss:.4f} grad_norm {1 + 0.1 * noise.random():.3f} lr 3e-4", file=out, flush=True)
    time.sleep(pause)
"""
NEVER = 10**9
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextlib.contextmanager
def writing(path: Path | str, count: int = 200, broken: int = NEVER, pause: float = 0.01) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", WRITER, str(path), str(count), str(broken), str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def watch(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lossdoctor", "watch", *map(str, arguments)]


def rows(count: int = 200, broken: int = NEVER) -> bytes:
    return b"".join(
        b"step %d loss %s\n" % (i, b"nan" if i >= broken else b"%.4f" % v) for i, v in enumerate(descent(count))
    )


# wrong usage and single looks


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.log", "--interval", "0"], "--interval must be at least 0.1 seconds, got 0"),
        (["a.log", "--interval", "nan"], "--interval must be at least 0.1 seconds, got nan"),
        (["a.log", "--timeout", "-1"], "--timeout must be above 0 seconds, got -1"),
        (["a.log", "--tee"], "--tee passes on standard input, and a.log is none; give - as the path"),
        (["a.log", "--format", "html"], "unknown format 'html'; allowed are text, json"),
        (["a.log", "--select", "LD999"], "LD999"),
        (["a.log", "--metric", "val_los=x"], "did you mean 'val_loss'?"),
        (["a.log", "--context", "planed_steps=9"], "did you mean 'planned_steps'?"),
        (["a.log", "--fail-on", "nothing"], "allowed are warning, critical, never"),
        (["a.log", "--webhook", "ftp://h/secret"], "--webhook: a webhook needs an http:// or https:// URL"),
        (["a.log", "--webhook", "http://h/s", "--webhook-style", "teams"], "unknown style for --webhook-style 'teams'"),
        ([""], "the path is empty"),
    ],
)
def test_wrong_usage_is_one_line(arguments: Sequence[str], told: str, invoke: Invoke) -> None:
    done = invoke("watch", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert "secret" not in done.err


def test_one_look_shows_the_panel(exploded: Path, invoke: Invoke) -> None:
    done = invoke("watch", exploded, "--once")
    assert (done.code, done.err) == (1, "")
    assert re.search(r"^. ✗ critical +", done.out.replace("╭─", ".", 1))
    assert "LD101 loss-nonfinite" in done.out
    assert "Ctrl-C" not in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize(("fail_on", "code"), [("warning", 1), ("critical", 0), ("never", 0)])
def test_exit_codes_are_those_of_diagnose(fail_on: str, code: int, overfit: Path, invoke: Invoke) -> None:
    assert invoke("watch", overfit, "--once", "--fail-on", fail_on).code == code
    assert invoke("diagnose", overfit, "--fail-on", fail_on).code == code


def test_once_with_plain_is_the_report_of_diagnose(exploded: Path, invoke: Invoke) -> None:
    assert invoke("watch", exploded, "--once", "--plain").out == invoke("diagnose", exploded).out


def test_once_without_a_run_is_an_error(tmp_path: Path, invoke: Invoke) -> None:
    done = invoke("watch", tmp_path / "nowhere.log", "--once")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"lossdoctor: error: {tmp_path}/nowhere.log does not exist yet\n"


def test_what_can_never_be_a_log_is_told_at_once(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(range(256)) * 40)
    began = time.monotonic()
    done = invoke("watch", path)
    assert done.code == 2
    assert "binary data that no reader recognises" in done.err
    assert time.monotonic() - began < 5


def test_rules_metrics_and_context_are_those_of_diagnose(tmp_path: Path, invoke: Invoke) -> None:
    table = [(i, v, 0.5 + 0.01 * max(0, i - 100)) for i, v in enumerate(descent(300))]
    path = write_csv(tmp_path / "a.csv", table, "step,loss,dev/ce")
    options = ("--metric", "val_loss=dev/ce", "--context", "planned_steps=300", "--ignore", "LD301")
    watched = json.loads(invoke("watch", path, "--once", "-f", "json", *options).out.splitlines()[-1])
    diagnosed = json.loads(invoke("diagnose", path, "-f", "json", *options).out)
    assert watched["report"] == diagnosed
    assert diagnosed["runs"][0]["metrics"]["val_loss"] == ["dev/ce"]
    assert diagnosed["runs"][0]["findings"]


# lines


def test_standard_input_is_watched_to_its_end() -> None:
    done = shell(["watch", "-"], data=rows(broken=120))
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d info: standard input: watched: 200 points, step 0 to 199", lines[0])
    assert re.match(
        r"\d\d:\d\d:\d\d critical: standard input: LD101 loss-nonfinite \(critical, from step 120\)", lines[1]
    )
    assert "✗ critical  -" in lines
    assert "\x1b" not in done.out


def test_the_end_is_what_diagnose_says_of_the_same_input() -> None:
    data = rows(broken=150) + b"step 200 loss 0.4"  # without a line end: it is the last line
    watched, diagnosed = shell(["watch", "-"], data=data), shell(["diagnose", "-"], data=data)
    assert watched.out.endswith(diagnosed.out)
    assert watched.code == diagnosed.code == 1


@pytest.mark.parametrize("data", [b"", b"hello\nworld\n"])
def test_standard_input_without_a_run_is_an_error(data: bytes) -> None:
    done = shell(["watch", "-"], data=data)
    assert done.code == 2
    assert done.err.startswith("lossdoctor: error: ")
    assert done.err.count("\n") == 1


def test_tee_passes_every_byte_on_and_tells_on_standard_error() -> None:
    data = b"\xff\x00 no text\r50%\r100%\n" + rows(broken=120)
    done = subprocess.run([*watch("-", "--tee")], input=data, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, data)  # no log, but passed on to its end
    done = subprocess.run([*watch("-", "--tee")], input=rows(broken=120), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, rows(broken=120))
    assert b"critical: standard input: LD101" in done.stderr


def test_json_lines_are_json() -> None:
    done = shell(["watch", "-", "--format", "json"], data=rows(broken=120))
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [t["kind"] for t in told] == ["remark", "verdict", "report"]
    assert [f["code"] for f in told[1]["announced"]] == ["LD101"]
    assert told[2]["report"]["runs"][0]["status"] == "critical"


def test_a_reader_that_leaves_does_not_break_the_writer_off(tmp_path: Path) -> None:
    """``train | lossdoctor watch - | head -1``: the training writes to its end."""
    marker = tmp_path / "written"
    program = f"{WRITER}\nopen({str(marker)!r}, 'w').write('all')"
    command = f"'{sys.executable}' -c \"$PROGRAM\" - 300 100 0.01 | '{sys.executable}' -m lossdoctor watch - | head -1"
    done = subprocess.run(
        ["sh", "-c", command], env={**os.environ, "PROGRAM": program}, capture_output=True, timeout=60, check=False
    )
    assert done.stdout.count(b"\n") == 1
    assert marker.read_text() == "all"


def test_a_log_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "train.log"
    process = subprocess.Popen(
        watch(path, "--interval", "0.1", "--timeout", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    path.parent.mkdir()
    with writing(path, 150, 100, 0.005) as writer:
        writer.wait(30)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    told = [line[9:] for line in (first + out).splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert told[0] == f"info: {path}: waiting: {path} does not exist yet"
    assert told[1].startswith(f"info: {path}: watched: ")
    assert next(t.partition(" (")[0] for t in told if "LD101" in t) == f"critical: {path}: LD101 loss-nonfinite"
    assert re.fullmatch(rf"info: {path}: nothing new came for [\d.]+ s; leaving", told[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_diagnosis(number: int, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(rows(broken=120))
    process = subprocess.Popen(
        watch(path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_listen,  # noqa: PLW1509
    )
    assert process.stdout is not None
    while "LD101" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert f"✗ critical  {path}" in out


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell's children ignore it


def test_ctrl_c_waits_for_what_the_training_still_writes() -> None:
    """Ctrl-C reaches both ends of a pipe; a training that then saves its state must not find the pipe closed."""
    process = subprocess.Popen(
        watch("-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_listen,  # noqa: PLW1509
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(rows(100))
    process.stdin.flush()
    assert b"watched" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert b"waiting for the end of standard input" in process.stdout.readline()
    process.stdin.write(rows(200, broken=150)[len(rows(100)) :])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")
    assert "✗ critical  -" in out.decode()


# a terminal


class Terminal:
    """The command on a pseudo-terminal of some size."""

    def __init__(self, command: Sequence[str], width: int = 80, height: int = 24, **variables: str) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child
            signal.signal(signal.SIGINT, signal.default_int_handler)
            plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            os.execve(command[0], list(command), {**plain, "TERM": "xterm-256color", **variables})
        self.out = b""

    def read(self, seconds: float, until: str = "") -> str:
        """What is shown in so many seconds, or until something is."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (until and until in self.out.decode("utf-8", "replace")):
            if select.select([self.fd], [], [], left)[0]:
                try:
                    piece = os.read(self.fd, 1 << 16)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                self.out += piece
        return self.out.decode("utf-8", "replace")

    def end(self) -> Result:
        """Ctrl-C, and how it ends."""
        os.write(self.fd, b"\x03")
        out = self.read(30)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return Result(os.waitstatus_to_exitcode(status), out, "")


def frames(out: str) -> list[list[str]]:
    """The panels that were drawn, as lines without escapes."""
    plain = ESCAPES.sub("", out).replace("\r", "")
    return [("╭" + part).split("╯")[0].split("\n") for part in plain.split("╭")[1:]]


pytest.importorskip("pty")


def test_the_panel_on_a_terminal_while_a_run_is_written(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    with writing(path, 250, 120, 0.01):
        terminal = Terminal(watch(path, "--interval", "0.2"))
        terminal.read(40, until="LD101 loss-nonfinite (critical")
        terminal.read(1.5)
        done = terminal.end()
    assert done.code == 1
    drawn = frames(done.out)
    assert len(drawn) >= 2
    assert all(len(line) == 80 for frame in drawn for line in frame[:-1])
    assert all(len(frame) <= 24 for frame in drawn)
    assert any("✗ critical" in frame[0] and str(path)[-10:] in frame[0] for frame in drawn)
    assert any("of 250" in line for line in drawn[-1])
    assert any("grad norm" in line for line in drawn[-1])
    assert done.out.count("LD101 loss-nonfinite (critical") == 1  # told once, above the panel
    assert done.out.rindex("\x1b[?25h") > done.out.rindex("\x1b[?25l")  # the cursor is back
    assert "metrics   train_loss = loss" in ESCAPES.sub("", done.out)  # the whole diagnosis in the end


def test_a_narrow_terminal(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(rows(broken=120))
    terminal = Terminal(watch(path), width=40, height=16)
    terminal.read(30, until="╯")
    done = terminal.end()
    (frame, *_) = frames(done.out)
    assert all(len(line) == 40 for line in frame[:-1])
    assert len(frame) <= 16
    assert any("LD101" in line for line in frame)


def test_no_color_has_none(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(rows(broken=120))
    terminal = Terminal(watch(path), NO_COLOR="1")
    terminal.read(30, until="╯")
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", terminal.end().out))
    assert codes <= {"0", "1", "2", "", "1;2"}  # bold and dim are no colours


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(rows(broken=120))
    terminal = Terminal(watch(path), PYTHONIOENCODING="ascii")
    terminal.read(30, until="Ctrl-C ends")
    done = terminal.end()
    assert done.out.isascii()
    assert "?" * 3 not in done.out
    assert "+- x critical" in ESCAPES.sub("", done.out)


@pytest.mark.parametrize(("variables", "option"), [({"TERM": "dumb"}, ()), ({}, ("--plain",))])
def test_a_dumb_terminal_and_a_screen_reader_get_lines(
    variables: dict[str, str], option: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(rows(broken=120))
    terminal = Terminal(watch(path, *option), **variables)
    terminal.read(30, until="LD101")
    done = terminal.end()
    assert done.code == 1
    assert "╭" not in done.out
    assert "\x1b[?25l" not in done.out
    assert re.search(r"\d\d:\d\d:\d\d critical: .*LD101 loss-nonfinite", done.out)
