"""``lossdoctor diagnose``: formats, exit codes, baseline, selection, output files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

from lossdoctor.cli.io import progress
from lossdoctor.render.jsonout import schema
from tests.cli.support import Invoke, descent, shell, write_csv


def report_of(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"bare {constant} in the JSON")

    report = json.loads(text, parse_constant=refuse)
    jsonschema.validate(report, schema())
    return report


def codes(report: dict) -> set[str]:
    return {f["code"] for run in report["runs"] for f in run["findings"]}


# exit codes


def test_healthy_is_0(invoke: Invoke, healthy: Path) -> None:
    result = invoke("diagnose", healthy)
    assert result.code == 0
    assert "healthy" in result.out
    assert result.err == ""


def test_critical_is_1(invoke: Invoke, exploded: Path) -> None:
    result = invoke("diagnose", exploded)
    assert result.code == 1
    assert "LD101" in result.out


@pytest.mark.parametrize(("level", "code"), [("critical", 0), ("warning", 1), ("never", 0), (None, 0)])
def test_fail_on(invoke: Invoke, overfit: Path, level: str | None, code: int) -> None:
    flags = [] if level is None else ["--fail-on", level]
    assert invoke("diagnose", overfit, *flags).code == code


def test_fail_on_never_wins_over_critical(invoke: Invoke, exploded: Path) -> None:
    assert invoke("diagnose", exploded, "--fail-on", "never").code == 0


def test_too_little_data_is_0(invoke: Invoke, tmp_path: Path) -> None:
    log = write_csv(tmp_path / "short.csv", [(1, 2.0), (2, 1.9)])
    result = invoke("diagnose", log, "--format", "json")
    assert result.code == 0
    assert report_of(result.out)["runs"][0]["status"] == "insufficient_data"


def test_one_sick_run_among_healthy_ones_is_1(invoke: Invoke, healthy: Path, exploded: Path) -> None:
    assert invoke("diagnose", healthy, exploded).code == 1
    assert invoke("diagnose", healthy.parent).code == 1


# formats


def test_json_is_the_contract(invoke: Invoke, healthy: Path, exploded: Path, overfit: Path) -> None:
    result = invoke("diagnose", healthy, exploded, overfit, "--format", "json")
    report = report_of(result.out)
    assert [Path(r["run"]).name for r in report["runs"]] == ["healthy.csv", "exploded.csv", "overfit.csv"]
    nan = next(f for f in report["runs"][1]["findings"] if f["code"] == "LD101")
    assert nan["onset_step"] == 200
    assert nan["actions"]
    assert report["runs"][2]["metrics"]["val_loss"] == ["val_loss"]
    assert report["errors"] == []


def test_sarif(invoke: Invoke, exploded: Path) -> None:
    log = json.loads(invoke("diagnose", exploded, "-f", "sarif").out)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert any(r["ruleId"] == "LD101" and r["level"] == "error" for r in run["results"])
    rule = next(r for r in run["tool"]["driver"]["rules"] if r["id"] == "LD101")
    assert "What it sees" in rule["help"]["text"]


def test_junit_follows_fail_on(invoke: Invoke, overfit: Path) -> None:
    def failures(level: str) -> str | None:
        return ET.fromstring(invoke("diagnose", overfit, "-f", "junit", "--fail-on", level).out).get("failures")

    assert failures("warning") == "1"
    assert failures("critical") == "0"


def test_html_is_one_file(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = invoke("diagnose", exploded, "--format", "html", "--output", page)
    assert result.code == 1
    assert result.out == ""
    text = page.read_text("utf-8")
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "LD101" in text


def test_format_in_any_case(invoke: Invoke, healthy: Path) -> None:
    assert report_of(invoke("diagnose", healthy, "--format", "JSON").out)["runs"]


# output files


def test_output_is_what_stdout_would_be(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    printed = invoke("diagnose", exploded, "-f", "json").out
    target = tmp_path / "out.json"
    assert invoke("diagnose", exploded, "-f", "json", "-o", target).code == 1
    assert target.read_text() == printed
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_text_into_a_file_has_no_colour(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    invoke("diagnose", exploded, "-o", target)
    assert "LD101" in target.read_text()
    assert "\x1b" not in target.read_text()


@pytest.mark.parametrize("where", ["no/such/folder/out.json", "."])
def test_output_that_cannot_be_written_is_2(invoke: Invoke, exploded: Path, where: str) -> None:
    result = invoke("diagnose", exploded, "-f", "json", "-o", where)
    assert result.code == 2
    assert f"{where}: cannot be written" in result.err


def test_output_to_a_device(exploded: Path) -> None:
    result = shell(["diagnose", exploded, "-f", "json", "-o", "/dev/stdout"])
    assert report_of(result.out)["runs"]


# standard input, and pipes


def test_standard_input(healthy: Path) -> None:
    result = shell(["diagnose", "-", "-f", "json"], data=healthy.read_bytes())
    assert result.code == 0
    assert report_of(result.out)["runs"][0]["points"] == 300


def test_a_closed_pipe_is_quiet(exploded: Path) -> None:
    command = f'"{sys.executable}" -m lossdoctor rules | true; exit ${{PIPESTATUS[0]}}'
    for text in (command, command.replace("rules", f'diagnose -v "{exploded}"'), command.replace("rules", "--help")):
        done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_is_quiet() -> None:
    command = [sys.executable, "-m", "lossdoctor", "diagnose", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def listen() -> None:  # a shell that runs tests in the background has them ignore the signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, **pipes, preexec_fn=listen) as process:  # noqa: PLW1509 -- no threads here
        time.sleep(1.5)  # it waits for standard input by then, or still imports: both must be quiet
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_progress_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress("reading") as told:
        assert told is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("reading") as told:
        assert told is not None
        time.sleep(0.11)
        told(3, 1200, "runs/\x1b[31mred")
    drawn = capsys.readouterr().err
    assert "reading 3 of 1,200" in drawn
    assert "\x1b[31m" not in drawn
    assert drawn.endswith("\r\x1b[K")  # nothing of it stays


# selection


def test_select_and_ignore(invoke: Invoke, exploded: Path) -> None:
    def found(*flags: str) -> set[str]:
        return codes(report_of(invoke("diagnose", exploded, "-f", "json", *flags).out))

    assert "LD101" in found()
    assert "LD101" not in found("--ignore", "LD101")
    assert "LD101" not in found("--select", "LD3,LD4")
    assert "LD101" in found("--select", "loss-nonfinite")
    assert invoke("diagnose", exploded, "--ignore", "LD1").code == 0


def test_metric_chooses_the_loss(invoke: Invoke, tmp_path: Path) -> None:
    rows = [(i, v, 5.0 - v) for i, v in enumerate(descent())]
    log = write_csv(tmp_path / "log.csv", rows, "step,loss,thing")
    report = report_of(invoke("diagnose", log, "-f", "json", "--metric", "train_loss=thing").out)
    assert report["runs"][0]["metrics"]["train_loss"] == ["thing"]


def test_context_enables_a_rule(invoke: Invoke, tmp_path: Path) -> None:
    """A log that ends at step 199 of 1,000 is cut off; without the budget nobody can know."""
    log = write_csv(tmp_path / "log.csv", list(enumerate(descent(200))))
    abstained = report_of(invoke("diagnose", log, "-f", "json", "--select", "LD403").out)
    assert {a["code"] for a in abstained["runs"][0]["abstained"]} == {"LD403"}
    known = report_of(invoke("diagnose", log, "-f", "json", "--select", "LD403", "--context", "planned_steps=1000").out)
    assert codes(known) == {"LD403"}


def test_a_settings_file(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    (tmp_path / "lossdoctor.toml").write_text('ignore = ["LD101"]\nfail-on = "never"\n')
    assert "LD101" not in codes(report_of(invoke("diagnose", exploded, "-f", "json").out))
    other = tmp_path / "other.toml"
    other.write_text('fail-on = "never"\n')
    result = invoke("diagnose", exploded, "-f", "json", "--config", other)
    assert result.code == 0
    assert "LD101" in codes(report_of(result.out))
    assert invoke("diagnose", exploded, "--config", other, "--fail-on", "critical").code == 1


# baseline


def test_a_baseline_accepts_what_it_knows(invoke: Invoke, exploded: Path, overfit: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    invoke("diagnose", exploded, "-f", "json", "-o", known)
    again = invoke("diagnose", exploded, overfit, "-f", "json", "--baseline", known, "--fail-on", "warning")
    report = report_of(again.out)
    assert [r["status"] for r in report["runs"]] == ["healthy", "warning"]
    assert report["runs"][0]["findings"] == []
    assert "LD101" in report["runs"][0]["basis"]
    assert again.code == 1
    assert invoke("diagnose", exploded, "--baseline", known).code == 0


def test_a_finding_that_got_worse_is_new(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    invoke("diagnose", exploded, "-f", "json", "-o", known)
    report = json.loads(known.read_text())
    for finding in report["runs"][0]["findings"]:
        finding["severity"] = "warning"
    known.write_text(json.dumps(report))
    assert invoke("diagnose", exploded, "--baseline", known).code == 1


def test_a_finding_in_another_metric_is_new(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    invoke("diagnose", exploded, "-f", "json", "-o", known)
    known.write_text(known.read_text().replace('"metric": "loss"', '"metric": "other"'))
    assert invoke("diagnose", exploded, "--baseline", known).code == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "runs": [{}]}'])
def test_a_baseline_that_is_none_is_2(invoke: Invoke, exploded: Path, tmp_path: Path, content: str) -> None:
    known = tmp_path / "known.json"
    known.write_text(content)
    result = invoke("diagnose", exploded, "--baseline", known)
    assert result.code == 2
    assert "--baseline" in result.err
    assert "--format json" in result.err


def test_a_missing_baseline_is_2(invoke: Invoke, exploded: Path) -> None:
    result = invoke("diagnose", exploded, "--baseline", "nowhere.json")
    assert result.code == 2
    assert "nowhere.json" in result.err


# many runs


def test_two_processes_say_the_same(tmp_path: Path) -> None:
    for k in range(6):
        values = descent(60, seed=k)
        write_csv(
            tmp_path / f"run{k}" / "log.csv", [(i, "nan" if k == 3 and i > 40 else v) for i, v in enumerate(values)]
        )
    one, two = (shell(["diagnose", tmp_path, "-f", "json", "-j", jobs]) for jobs in (1, 2))
    assert report_of(one.out) == report_of(two.out)
    assert len(report_of(two.out)["runs"]) == 6
    assert one.code == two.code == 1


def test_a_thousand_runs_stay_readable(invoke: Invoke, tmp_path: Path) -> None:
    for k in range(60):
        bad = k == 42
        rows = [(i, "nan" if bad and i > 40 else v) for i, v in enumerate(descent(60, seed=k))]
        write_csv(tmp_path / "runs" / f"run{k:02d}" / "log.csv", rows)
    out = invoke("diagnose", tmp_path / "runs").out
    assert "run42" in out
    assert "run41" not in out
    assert len(out.splitlines()) < 60
    assert "run41" in invoke("diagnose", tmp_path / "runs", "--verbose").out


def test_no_progress_where_nobody_looks(healthy: Path) -> None:
    assert shell(["diagnose", healthy], TERM="xterm-256color").err == ""


@pytest.mark.usefixtures("exploded", "healthy")
def test_golden_text(invoke: Invoke, tmp_path: Path) -> None:
    """The whole text of a small report. After a wanted change: LOSSDOCTOR_GOLDEN=write pytest tests/cli."""
    (tmp_path / "broken.csv").write_bytes(b"\x00\x01\x02\x03" * 64)
    out = invoke("diagnose", "exploded.csv", "healthy.csv", "broken.csv").out
    golden = Path(__file__).with_name("golden_report.txt")
    if os.environ.get("LOSSDOCTOR_GOLDEN") == "write":
        golden.write_text(out, "utf-8")
    assert out == golden.read_text("utf-8")
