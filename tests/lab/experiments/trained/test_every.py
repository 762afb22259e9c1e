"""What holds for every trained experiment."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments import base
from lossdoctor.lab.experiments.trained import NAMES
from tests.lab.experiments.trained.conftest import Runner


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_shows_what_it_says(name: str, outcome: Runner) -> None:
    result = outcome(name)
    assert result.panels
    assert result.tables
    assert result.sources
    assert len(result.text) > 200
    assert "nan" not in result.text.replace("NaN", "")
    for panel in result.panels:
        assert panel.title
        assert panel.x_label
        assert panel.y_label
        assert panel.lines
        for line in panel.lines:
            assert line.label or line.group
    assert all(isinstance(v, str | int | float) for v in result.numbers.values())
    for run in result.runs.values():
        assert isinstance(run, TrainingHistory)
        assert run.roles.primary("train_loss") == "loss"
        if "val_loss" in run:  # not in a run that ends before its first validation
            assert run.roles.primary("val_loss") == "val_loss"
        assert run.diagnose().status in ("healthy", "warning", "critical")


def test_each_is_listed_with_its_options() -> None:
    for name in NAMES:
        spec = base.get(name)
        assert spec.name == name
        assert spec.about
        assert len(spec.about) < 120
        for option in spec.options:
            assert option.meaning
            assert option.kind == "str" or math.isfinite(option.low)


def test_listing_does_not_import_torch() -> None:
    code = (
        "import sys; from lossdoctor.lab.experiments import base; base.every(); "
        "sys.exit(any(m.startswith('torch') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
