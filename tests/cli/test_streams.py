"""What goes through pipes and odd terminals: encodings, full disks, closed streams, standard input, URLs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import Invoke, shell, write_csv


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-16"])
def test_a_terminal_of_any_encoding(exploded: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", "diagnose", str(exploded)],
        capture_output=True,
        env={"PATH": "", "PYTHONIOENCODING": encoding, "HOME": str(exploded.parent)},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert "LD101 loss-nonfinite" in done.stdout.decode(encoding)


def test_json_is_utf8_whatever_the_terminal(tmp_path: Path) -> None:
    """It is meant for programs: a run's name must come through."""
    path = write_csv(tmp_path / "größe-☃" / "log.csv", [(i, 1 / (i + 1)) for i in range(60)])
    done = shell(["diagnose", path, "--format", "json"], PYTHONIOENCODING="ascii")
    assert json.loads(done.out)["runs"][0]["run"] == str(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_is_one_line(exploded: Path, form: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lossdoctor", "diagnose", str(exploded), "--format", form],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"standard output: No space left on device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes standard output")
def test_without_standard_output_the_exit_code_still_tells(exploded: Path) -> None:
    command = f'"{sys.executable}" -m lossdoctor diagnose "{exploded}" >&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_standard_input_compressed(exploded: Path) -> None:
    done = shell(["diagnose", "-", "--format", "json"], data=gzip.compress(exploded.read_bytes()))
    (run,) = json.loads(done.out)["runs"]
    assert (done.code, run["run"], run["findings"][0]["code"]) == (1, "-", "LD101")


def test_an_empty_standard_input_is_2() -> None:
    done = shell(["diagnose", "-"])
    assert done.code == 2
    assert "standard input is empty" in done.err


def test_urls(invoke: Invoke, exploded: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="pip install 'lossdoctor[remote]'")
    fsspec.filesystem("memory").pipe("/fleet/a/log.csv", exploded.read_bytes())
    for url in ("memory://fleet/a/log.csv", "memory://fleet"):
        result = invoke("diagnose", url, "--format", "json")
        (run,) = json.loads(result.out)["runs"]
        assert (result.code, run["status"]) == (1, "critical")
        assert run["run"].endswith("fleet/a/log.csv")
    result = invoke("diagnose", "memory://nowhere/at-all")
    assert result.code == 2
    assert "does not exist" in result.err
