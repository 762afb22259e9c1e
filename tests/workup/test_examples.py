"""The examples of work-ups and proofs do what their pages say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_prove_digits(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="pip install 'lossdoctor[prove]'")
    proof = load("prove_digits").main(2500)
    assert proof.best_config["lr"] < 3.0
    assert proof.steps <= 2500
    assert "helps: loss" in capsys.readouterr().out


def test_workup_digits(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("workup_digits").main()
    assert result.cause == "frozen-or-detached"
    assert result.posterior["frozen-or-detached"] > 10 * result.prior["frozen-or-detached"]
    assert "check_gradients" in capsys.readouterr().out


def test_every_example_is_tested() -> None:
    found = {p.stem for kind in ("prove", "workup") for p in EXAMPLES.glob(f"{kind}_*.py")}
    assert found == {"prove_digits", "workup_digits"}
