"""Logs that the real tools printed (``tests/data/make_text_tools.py``), against what is in the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader

DATA = Path(__file__).parents[1] / "data" / "text_tools"


def read(tool: str) -> TrainingHistory:
    (history,) = TextLogReader().read(Source.from_path(DATA / f"{tool}.log"))
    return history


# tool -> unit, name -> (points, first step, last step, first value, last value)
TOOLS = {
    "xgboost": (
        "step",
        {"train-logloss": (30, 0, 29, 0.52599, 0.03668), "eval-logloss": (30, 0, 29, 0.60036, 0.41556)},
    ),
    "lightgbm": (
        "step",
        {
            "training's binary_logloss": (30, 1, 30, 0.645603, 0.166033),
            "valid_1's binary_logloss": (30, 1, 30, 0.660843, 0.39998),
        },
    ),
    "catboost": (
        "step",
        {"learn/loss": (30, 0, 29, 0.6683432, 0.3600791), "test/loss": (30, 0, 29, 0.6755336, 0.4760357)},
    ),
    "sklearn_mlp": (
        "step",
        {"loss": (21, 1, 21, 0.74368626, 0.58438679), "Validation score": (21, 1, 21, 0.6, 0.683333)},
    ),
    "sklearn_boosting": (
        "step",
        {"Train Loss": (20, 1, 20, 1.3121, 0.7038), "OOB Improve": (20, 1, 20, 0.057, -0.0098)},
    ),
    "keras_bar": ("epoch", {"loss": (6, 1, 6, 0.8098, 0.6804), "val_loss": (6, 1, 6, 0.8129, 0.6981)}),
    "keras_lines": ("epoch", {"loss": (6, 1, 6, 0.8098, 0.6804), "val_loss": (6, 1, 6, 0.8129, 0.6981)}),
    "transformers_trainer": ("step", {"eval_loss": (4, 25, 100, 0.6752, 0.6731)}),
}


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_tool(tool: str) -> None:
    unit, curves = TOOLS[tool]
    history = read(tool)
    assert history.step_unit == unit
    for name, (points, first_step, last_step, first, last) in curves.items():
        curve = history[name]
        assert (len(curve), int(curve.steps[0]), int(curve.steps[-1])) == (points, first_step, last_step)
        np.testing.assert_allclose(curve.values[[0, -1]], [first, last])
    roles = history.roles
    assert roles.primary("train_loss") in history.curves
    if tool not in ("sklearn_mlp", "sklearn_boosting"):
        assert roles.primary("val_loss") in history.curves


def test_trainer_rows_take_their_step_from_the_bar() -> None:
    """A bar is drawn now and then only, so the steps may lag behind by one logging interval."""
    history = read("transformers_trainer")
    curve = history["loss"]
    assert len(curve) == 20
    assert np.abs(curve.steps - np.arange(5, 101, 5)).max() <= 5
    assert history.context.planned_steps == 100


def test_all_tools_are_tested() -> None:
    assert {p.stem for p in DATA.iterdir()} == set(TOOLS)
