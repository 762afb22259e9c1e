"""What gets imported, and what must not be: start-up stays quick because of this, whatever the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *("torch", "pandas", "scipy", "tensorboard", "matplotlib", "plotly", "polars", "pyarrow", "sklearn", "narwhals"),
    *(
        "fsspec",
        "tensorflow",
        "keras",
        "jax",
        "transformers",
        "lightning",
        "nicegui",
        "ray",
        "optuna",
        "wandb",
        "mlflow",
    ),
}
# Runs a snippet and prints which top-level packages were loaded at the end of it.
PROBE = """
import json, sys
try:
    {code}
except SystemExit:
    pass
print("\\n@" + json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded(code: str, cwd: Path | None = None) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=cwd,
    )
    return set(json.loads(done.stdout.rpartition("@")[2]))


def command(*arguments: str) -> str:
    return f"sys.argv = ['lossdoctor', *{list(arguments)!r}]; from lossdoctor.__main__ import main; main()"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "".join(f"{i},{2 / (i + 1)}\n" for i in range(200)))
    return path


def test_import_is_next_to_nothing() -> None:
    got = loaded("import lossdoctor")
    assert sorted(got & (HEAVY | {"numpy", "typer", "rich", "orjson"})) == []


def test_version_needs_nothing() -> None:
    assert sorted(loaded(command("--version")) & (HEAVY | {"numpy", "typer", "rich"})) == []


def test_importing_what_the_package_exports_stays_light() -> None:
    got = loaded("import lossdoctor; [getattr(lossdoctor, n) for n in ('TrainingHistory', 'read', 'diagnose')]")
    assert "numpy" in got
    assert sorted(got & (HEAVY | {"typer"})) == []


@pytest.mark.parametrize("format", ["text", "json", "sarif", "junit"])
def test_diagnose_needs_no_heavy_package(log: Path, format: str) -> None:
    # Polars (the extra `fast`) is for large files: importing it costs more than reading a small one without.
    assert sorted(loaded(command("diagnose", str(log), "--format", format)) & HEAVY) == []


def test_diagnose_loads_no_room_it_does_not_enter(log: Path) -> None:
    """Each of these costs 10 to 60 ms."""
    code = command("diagnose", str(log))
    probe = PROBE.replace('name.partition(".")[0] for name', "name for name")
    done = subprocess.run(
        [sys.executable, "-c", probe.format(code=code)], capture_output=True, text=True, timeout=120, check=True
    )
    got = set(json.loads(done.stdout.rpartition("@")[2]))
    unwanted = {
        *("lossdoctor.readers.text.scan", "lossdoctor.cli.baseline", "lossdoctor.render.html"),
        *("lossdoctor.render.pictures", "concurrent.futures.process", "asyncio", "unittest"),
    }
    assert sorted(got & unwanted) == []


def test_a_picture_needs_matplotlib_alone(log: Path, tmp_path: Path) -> None:
    got = loaded(command("plot", str(log), "-o", str(tmp_path / "x.png"), "--dpi", "40"))
    assert got & HEAVY <= {"matplotlib"}


@pytest.mark.parametrize("arguments", [["rules"], ["explain", "LD101"], ["formats"]])
def test_looking_things_up_is_light(arguments: list[str]) -> None:
    assert sorted(loaded(command(*arguments)) & HEAVY) == []


@pytest.mark.parametrize("arguments", [["--help"], ["diagnose", "--help"], ["export", "--help"]])
def test_help_does_not_even_need_numpy(arguments: list[str]) -> None:
    assert sorted(loaded(command(*arguments)) & (HEAVY | {"numpy"})) == []
