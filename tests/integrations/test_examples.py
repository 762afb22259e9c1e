"""The examples with each framework run, in seconds, and leave a run that can be diagnosed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lossdoctor.core.history import TrainingHistory
from tests.integrations.support import kinds, run_in
from tests.test_examples import EXAMPLES, load

os.environ.setdefault("KERAS_BACKEND", "torch")
# Example -> the package it needs, its training loss, how many rows of it there are, and its validation loss.
CURVES: dict[str, tuple[str, str, int, str | None]] = {
    "torch": ("torch", "loss", 440, "val_loss"),
    "sklearn": ("sklearn", "loss", 399, "val_loss"),
    "accelerate": ("accelerate", "train/loss", 285, None),
    "catboost": ("catboost", "learn-Logloss", 200, "validation-Logloss"),
    "fastai": ("fastai", "train_loss", 220, "valid_loss"),
    "jax": ("optax", "loss", 300, None),
    "keras": ("keras", "loss", 225, "val_loss"),
    "lightgbm": ("lightgbm", "train-binary_logloss", 200, "valid-binary_logloss"),
    "lightning": ("lightning", "train_loss", 220, "val_loss"),
    "transformers": ("transformers", "loss", 120, "eval_loss"),
    "xgboost": ("xgboost", "train-logloss", 200, "valid-logloss"),
}
IN_DEV = ("torch", "sklearn")


def test_there_is_one_for_each_integration_and_all_are_short() -> None:
    found = {
        p.stem.removeprefix("monitor_"): len(p.read_text("utf-8").splitlines()) for p in EXAMPLES.glob("monitor_*")
    }
    integrations = {p.stem for p in (EXAMPLES.parent / "src/lossdoctor/integrations").glob("[!_]*.py")}
    assert set(found) == set(CURVES) == integrations | {"torch", "jax"}
    assert max(found.values()) <= 40


@pytest.mark.parametrize(
    "name", [n if n in IN_DEV else pytest.param(n, marks=pytest.mark.slow) for n in CURVES], ids=str
)
def test_it_runs(name: str, tmp_path: Path) -> None:
    package, train, rows, val = CURVES[name]
    pytest.importorskip(package)
    load(f"monitor_{name}").main(tmp_path / "run")
    history: TrainingHistory = run_in(tmp_path / "run")
    assert history.roles.primary("train_loss") == train
    assert history.roles.primary("val_loss") == val
    assert len(history[train]) == rows
    assert history[train].values[-1] < history[train].values[0]
    assert kinds(history) == ["finished"]
    assert not history.diagnose().alarm, history.diagnose()


def test_the_loop_of_torch_is_told_when_it_goes_wrong(tmp_path: Path, judged_often: None) -> None:
    pytest.importorskip("torch")
    monitor = load("monitor_torch").main(tmp_path / "run", learning_rate=100.0)
    assert "announced" in kinds(run_in(tmp_path / "run"))
    assert monitor.diagnosis.alarm


def test_boosting_on_few_examples_overfits(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    _, history = load("monitor_sklearn").main(tmp_path / "run")
    assert [f.code for f in history.diagnose().findings][:1] == ["LD301"]
