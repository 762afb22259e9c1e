"""Logs to point the command line at, and the command line in this process."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from lossdoctor.cli.app import run
from tests.cli.support import Invoke, Result, descent, write_csv


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Run the command line in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "healthy.csv", list(enumerate(descent())))


@pytest.fixture
def exploded(tmp_path: Path) -> Path:
    """Healthy for 200 steps, then NaN."""
    values = [v if i < 200 else math.nan for i, v in enumerate(descent())]
    return write_csv(tmp_path / "exploded.csv", list(enumerate(values)))


@pytest.fixture
def overfit(tmp_path: Path) -> Path:
    """Training falls on, validation turns at a third: a warning, not critical."""
    rng = random.Random(1)
    rows = [
        (i, 0.05 + 2 * math.exp(-i / 30) + 0.003 * rng.gauss(0, 1),
         0.5 + 1.6 * math.exp(-i / 12) + 0.4 * max(0, i - 40) / 80 + 0.01 * rng.gauss(0, 1))
        for i in range(120)
    ]  # fmt: skip
    return write_csv(tmp_path / "overfit.csv", rows, "epoch,loss,val_loss")
