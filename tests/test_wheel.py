"""The wheel, as a user gets it: built, installed alone into a fresh environment, used from outside the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build", reason="pip install build (it is in the extra dev)")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and its core dependencies, nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", wheel], check=True, capture_output=True)
    return folder


def use(home: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [home / "bin" / "lossdoctor", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"lossdoctor"}
    for needed in ("lossdoctor/py.typed", "lossdoctor/render/schema/report.schema.json", "lossdoctor/cli/app.py"):
        assert needed in names
    assert not [n for n in names if "__pycache__" in n or n.endswith((".png", ".whl"))]


def test_only_core_dependencies_come_along(home: Path) -> None:
    listed = subprocess.run(
        [home / "bin" / "python", "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    installed = {p["name"].lower() for p in json.loads(listed.stdout)}
    assert {"lossdoctor", "numpy", "typer", "rich", "orjson"} <= installed
    assert not installed & {"torch", "pandas", "scipy", "polars", "tensorboard", "pyarrow"}


def test_it_diagnoses_real_logs(home: Path, tmp_path: Path) -> None:
    result = use(home, "diagnose", ROOT / "examples" / "logs", "--format", "json", "--fail-on", "never", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert len(report["runs"]) >= 10
    assert len({run["format"] for run in report["runs"]}) >= 4
    assert {"healthy", "critical"} <= {run["status"] for run in report["runs"]}


def test_it_writes_a_page_and_a_picture(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,loss\n" + "".join(f"{i},{2 / (i + 1)}\n" for i in range(200)))
    assert use(home, "diagnose", log, "--format", "html", "-o", "page.html", cwd=tmp_path).returncode == 0
    assert use(home, "plot", log, "-o", "curves.png", cwd=tmp_path).returncode == 0
    assert use(home, "export", log, "-o", "out.csv", cwd=tmp_path).returncode == 0
    for name in ("page.html", "curves.png", "out.csv"):
        assert (tmp_path / name).stat().st_size > 500


def test_a_missing_extra_is_named(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv.zst"
    log.write_bytes(b"\x28\xb5\x2f\xfd" + b"\0" * 64)
    result = use(home, "diagnose", log, cwd=tmp_path)
    assert result.returncode == 2
    assert "lossdoctor[fast]" in result.stderr
