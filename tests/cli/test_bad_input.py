"""What people and logs get wrong: one clear line, the right exit code, the rest still told, nothing unescaped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.support import Invoke, shell, write_csv


def errors(text: str) -> dict[str, str]:
    return {Path(e["path"]).name: e["error"] for e in json.loads(text)["errors"]}


# paths


def test_a_missing_path(invoke: Invoke) -> None:
    result = invoke("diagnose", "nowhere.csv")
    assert result.code == 2
    assert "nowhere.csv" in result.err
    assert "does not exist" in result.err
    assert result.out == ""


def test_the_rest_is_told_beside_a_missing_path(invoke: Invoke, exploded: Path) -> None:
    result = invoke("diagnose", exploded, "nowhere.csv", "-f", "json")
    assert result.code == 2
    report = json.loads(result.out)
    assert report["runs"][0]["findings"][0]["code"] == "LD101"
    assert "nowhere.csv" in errors(result.out)


def test_an_empty_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    result = invoke("diagnose", "empty.csv")
    assert result.code == 2
    assert "empty" in result.err


def test_a_folder_without_runs(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert invoke("diagnose", folder).code == 2
    (folder / "notes.txt").write_text("nothing to see here\n")
    result = invoke("diagnose", folder)
    assert result.code == 2
    assert "no runs found" in result.err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(invoke: Invoke, exploded: Path, healthy: Path) -> None:
    healthy.chmod(0)
    result = invoke("diagnose", healthy, exploded, "-f", "json")
    assert result.code == 1
    assert "ermission denied" in errors(result.out)["healthy.csv"]
    assert invoke("diagnose", healthy).code == 2


def test_a_file_that_cannot_be_opened(
    invoke: Invoke, exploded: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the one above, for those who run as root."""
    plain = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if self.name == "healthy.csv":
            raise PermissionError(13, "Permission denied", str(self))
        return plain(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refuse)
    result = invoke("diagnose", healthy, exploded, "-f", "json")
    assert result.code == 1
    assert "Permission denied" in errors(result.out)["healthy.csv"]


def test_binary_rubbish(invoke: Invoke, tmp_path: Path, healthy: Path) -> None:
    (tmp_path / "rubbish.bin").write_bytes(bytes(range(256)) * 40)
    alone = invoke("diagnose", "rubbish.bin")
    assert alone.code == 2
    assert "rubbish.bin" in alone.err
    beside = invoke("diagnose", healthy, "rubbish.bin", "-f", "json")
    assert beside.code == 0
    assert list(errors(beside.out)) == ["rubbish.bin"]
    assert invoke("diagnose", healthy, "rubbish.bin", "--strict").code == 2


@pytest.mark.usefixtures("exploded")
def test_a_broken_file_changes_the_code_only_when_strict(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"loss": 1.0, "step": 1}, {"loss": ')
    report = json.loads(invoke("diagnose", tmp_path, "-f", "json").out)
    assert len(report["runs"]) + len(report["errors"]) >= 2
    if report["errors"]:
        assert invoke("diagnose", tmp_path).code == 1
        assert invoke("diagnose", tmp_path, "--strict").code == 2


def test_a_huge_line(invoke: Invoke, tmp_path: Path, healthy: Path) -> None:
    """64 MiB without a line end. The reader's own tests bound its memory; here it must not stop the rest."""
    (tmp_path / "line.log").write_bytes(b"step 1 loss " + b"9" * (64 << 20))
    result = invoke("diagnose", "line.log", healthy, "-f", "json")
    assert result.code in (0, 1)
    assert any(run["run"].endswith("healthy.csv") for run in json.loads(result.out)["runs"])


def test_a_column_of_text(invoke: Invoke, tmp_path: Path) -> None:
    write_csv(tmp_path / "words.csv", [(i, "hello") for i in range(50)])
    result = invoke("diagnose", "words.csv", "-f", "json")
    assert result.code in (0, 2)
    if result.code == 0:
        assert json.loads(result.out)["runs"][0]["status"] == "insufficient_data"
    else:
        assert "words.csv" in result.err


# options


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metric", "val_loss=dev/ce"], ["dev/ce", "loss"]),
        (["--metric", "train_loss=loss", "--metric", "val_loss=loss"], ["train_loss", "val_loss", "'loss'"]),
        (["--metric", "valloss=loss"], ["'valloss'", "'val_loss'"]),
        (["--metric", "val_loss"], ["ROLE=NAME", "'val_loss'"]),
        (["--metric", "=x"], ["ROLE=NAME"]),
        (["--metric", "val_loss=a", "--metric", "val_loss=b"], ["twice"]),
        (["--format", "jsn"], ["'jsn'", "text, json, sarif, junit, html", "'json'"]),
        (["--select", "LD999"], ["'LD999'", "LD"]),
        (["--select", "overfiting"], ["'overfiting'", "overfitting"]),
        (["--ignore", "nonsense-code-x"], ["'nonsense-code-x'", "lossdoctor rules"]),
        (["--fail-on", "warn"], ["'warn'", "warning, critical, never", "'warning'"]),
        (["--context", "clases=10"], ["'clases'", "'classes'"]),
        (["--context", "classes=ten"], ["classes", "'ten'"]),
        (["--context", "classes=-3"], ["classes", "'-3'"]),
        (["--config", "nowhere.toml"], ["nowhere.toml"]),
        (["--jobs", "0"], ["jobs"]),
        (["--frmat", "json"], ["--frmat"]),
    ],
)
def test_a_wrong_option_is_2_and_says_what_is_right(
    invoke: Invoke, healthy: Path, flags: list[str], words: list[str]
) -> None:
    result = invoke("diagnose", healthy, *flags)
    assert result.code == 2
    assert result.out == ""
    for word in words:
        assert word in result.err


def test_no_path_is_2(invoke: Invoke) -> None:
    assert invoke("diagnose").code == 2


def test_an_unknown_command_is_2(invoke: Invoke) -> None:
    result = invoke("diagnos")
    assert result.code == 2
    assert "diagnos" in result.err


@pytest.mark.parametrize(
    "text", ["ignore = 3", "fail_on = 1", "[rules.LD101]\nno-such = 1", "[rules.LD999]\nx = 1", "select = [", "\xff"]
)
def test_a_wrong_settings_file_is_2(invoke: Invoke, healthy: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "lossdoctor.toml").write_bytes(text.encode("latin-1"))
    result = invoke("diagnose", healthy)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "close"), [("LD30l", "LD30"), ("overfit", "overfitting"), ("zzzzzz", "lossdoctor rules")]
)
def test_explaining_what_is_not(invoke: Invoke, word: str, close: str) -> None:
    result = invoke("explain", word)
    assert result.code == 2
    assert close in result.err


# what comes out is escaped

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_control_characters_of_a_log_stay_in_it(invoke: Invoke, tmp_path: Path) -> None:
    rows = [(i, "nan" if i > 60 else 2.0 / (i + 1)) for i in range(100)]
    log = write_csv(tmp_path / "log.csv", rows, f"step,{ESCAPE}loss")
    text = invoke("diagnose", log)
    assert text.code == 1
    assert "\x1b" not in text.out + text.err
    assert "\x07" not in text.out + text.err
    for format in ("json", "sarif", "junit"):
        assert "\x1b" not in invoke("diagnose", log, "-f", format).out


def test_control_characters_of_a_path_stay_in_it(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("diagnose", f"no{ESCAPE}where.csv")
    assert result.code == 2
    assert "\x1b" not in result.err
    log = write_csv(tmp_path / f"a{ESCAPE}b.csv", [(i, 2.0 / (i + 1)) for i in range(100)])
    text = invoke("diagnose", log)
    assert "\x1b" not in text.out + text.err


def test_html_of_a_log_is_escaped(invoke: Invoke, tmp_path: Path) -> None:
    rows = [(i, "nan" if i > 60 else 2.0 / (i + 1)) for i in range(100)]
    log = write_csv(tmp_path / "log.csv", rows, "step,<script>alert(1)</script>loss")
    page = tmp_path / "page.html"
    invoke("diagnose", log, "-f", "html", "-o", page)
    assert "<script>alert(1)" not in page.read_text("utf-8")


def test_a_terminal_without_unicode(exploded: Path) -> None:
    result = shell(["diagnose", exploded], PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert result.code == 1
    assert "LD101" in result.out
    assert "Traceback" not in result.err
