"""The examples run, and the shipped logs are what their provenance says."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lossdoctor

EXAMPLES = Path(__file__).parents[1] / "examples"
LOGS = EXAMPLES / "logs"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test() -> None:
    tested = {"checkup_target", "demo", "diagnose_in_python", "record_in_a_loop", "test_my_training"}
    found = {p.stem for p in EXAMPLES.glob("*.py") if not p.stem.startswith(("monitor_", "prove_", "workup_"))}
    assert found == tested  # the others are run by the test_examples.py of tests/integrations and of tests/workup


def test_diagnose_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("diagnose_in_python").main().status == "warning"
    assert "LD301 overfitting" in capsys.readouterr().out


def test_record_in_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("record_in_a_loop")
    assert example.main(1.05).diagnose()["issues"] == ["LOSS_EXPLOSION"]
    assert example.main(0.45).diagnose()["status"] == "healthy"
    assert "what to do" in capsys.readouterr().out


def test_my_training() -> None:
    load("test_my_training").test_training_is_healthy()


def test_the_target_of_a_checkup() -> None:
    """Sound as it is; each change that it names breaks what it says."""
    pytest.importorskip("torch")
    from lossdoctor.probes import checkup

    make = load("checkup_target").make
    tests = ["initial_loss", "overfit_one_batch", "check_data"]
    sound = checkup(make(), select=tests, quick=True, progress=False)
    assert (sound.status, sound.errors) == ("healthy", ())
    fast = checkup(make(lr=30.0), select=tests, quick=True, progress=False)
    assert [r.test for r in fast.results if r.outcome == "failed"] == ["overfit_one_batch"]
    unscaled = checkup(make(scale=1000.0), select=tests, quick=True, progress=False)
    assert unscaled.causes[0].name == "inputs-unscaled"


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a part of the logs; all of them are for ``make demo``."""
    written = load("demo").main(LOGS / "keras-mlp", tmp_path)
    assert [p.name for p in written] == ["report.html", "keras-mlp.png"]
    assert all(p.stat().st_size > 1000 for p in written)
    assert str(tmp_path / "report.html") in capsys.readouterr().out


def test_every_log_has_its_provenance() -> None:
    with (EXAMPLES / "PROVENANCE.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {r["file"] for r in rows} == {p.relative_to(EXAMPLES).as_posix() for p in LOGS.rglob("*") if p.is_file()}
    assert {r["licence"] for r in rows} <= {"MIT", "Apache-2.0"}
    assert all(len(r["commit"]) == 40 and "/" in r["repository"] for r in rows)


@pytest.mark.parametrize(
    ("folder", "format", "points", "status"),
    [
        ("algoperf-conformer", "csv", 100, "critical"),
        ("algoperf-deepspeech", "csv", 7, "critical"),
        ("algoperf-fastmri", "tensorboard", 60, "healthy"),
        ("algoperf-ogbg", "tensorboard", 595, "warning"),
        ("algoperf-resnet", "csv", 1099, "warning"),
        ("keras-mlp", "csv", 10, "warning"),
        ("modded-nanogpt", "text", 1530, "healthy"),
        ("olmo-1b", "text", 101, "healthy"),
        ("olmo-20m", "text", 48, "warning"),
        ("olmo-layernorm", "wandb", 4, "insufficient_data"),
        ("qlora", "json", 1000, "healthy"),
    ],
)
def test_the_logs_come_out_right(folder: str, format: str, points: int, status: str) -> None:
    (run,) = lossdoctor.read(LOGS / folder)
    assert (run.format, run.points) == (format, points)
    assert run.diagnose().status == status
