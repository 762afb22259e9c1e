"""The public logs: names and counts as seen by looking at the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.errors import NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.textlog import TextLogReader

REAL = Path(__file__).parents[1] / "data" / "real"


def source(folder: str) -> Source:
    (path,) = (REAL / folder).iterdir()
    return Source.from_path(path)


def read(folder: str) -> TrainingHistory:
    (history,) = TextLogReader().read(source(folder))
    return history


# folder -> name -> (points, first step, last step, first value, last value), read off the files
CURVES = {
    "textlog/21": {
        "total_loss": (647, 19, 12979, 0.4109, 0.2129),
        "loss_cls": (647, 19, 12979, 0.2853, 0.106),
        "loss_rpn_loc": (647, 19, 12979, 0.01603, 0.01612),
        "lr": (647, 19, 12979, 0.00019981, 0.01),
    },
    "textlog/22": {
        "train/CrossEntropyLoss": (101, 10, 1010, 9.099, 3.803),
        "train/Perplexity": (101, 10, 1010, 8949.0, 44.84),
        "optim/total_grad_norm": (101, 10, 1010, 6.914, 0.2814),
    },
    "textlog/23": {"train_loss": (1530, 1, 1530, 10.8258, 3.2408), "val_loss": (14, 0, 1530, 10.8258, 3.2791)},
    "textlog/25": {
        "train/ctc_loss": (41, 1, 46544, 31.081983345184696, 0.18741413683222),
        "validation/ctc_loss": (41, 1, 46544, 30.224800460020127, 0.42040995),
        "test/ctc_loss": (41, 1, 46544, 30.200777650878386, 0.22829236),
        "validation/wer": (41, 1, 46544, 2.565808912277314, 0.11989572),
    },
    "textlog/26": {"Loss": (94, 0, 59520, 2.290191, 0.068813), "test/Average loss": (1, 59520, 59520, 0.0553, 0.0553)},
    "textlog/27": {"val_loss": (740, 0, 3200, 10.82584, 3.27815)},
    "textlog/28": {
        "train/CrossEntropyLoss": (2003, 1, 2003, 11.33, 3.674),
        "train/Perplexity": (2003, 1, 2003, 83461.0, 39.43),
    },
    "textlog/30": {"total_loss": (98, 19, 1979, 0.1562, 0.1634), "lr": (98, 19, 1979, 0.02038, 0.04)},
    "wandb_output/33": {"train/CrossEntropyLoss": (101, 10, 1010, 9.133, 3.795)},
    "wandb_output/34": {
        "train/CrossEntropyLoss": (6, 1, 6, 11.28, 9.570),
        "train/Perplexity": (6, 1, 6, 78984.0, 14322.0),
    },
    "wandb_output/35": {"train/CrossEntropyLoss": (48, 10, 480, 10.0, 9.649)},
    "wandb_output/36": {"train/CrossEntropyLoss": (100, 10, 1000, 9.099, 4.062)},
}


@pytest.mark.parametrize("folder", sorted(CURVES))
def test_curves(folder: str) -> None:
    history = read(folder)
    assert TextLogReader().sniff(source(folder)) == 50
    assert history.step_unit == "step"
    for name, (points, first_step, last_step, first, last) in CURVES[folder].items():
        curve = history[name]
        assert (len(curve), int(curve.steps[0]), int(curve.steps[-1])) == (points, first_step, last_step), name
        np.testing.assert_allclose(curve.values[[0, -1]], [first, last], rtol=1e-6)


@pytest.mark.parametrize("folder", sorted(CURVES))
def test_no_loss_that_is_none(folder: str) -> None:
    """Configuration, source code and result tables around the log add no loss curve."""
    roles = read(folder).roles
    losses = {*roles.names.get("train_loss", ()), *roles.names.get("val_loss", ()), *roles.auxiliary}
    allowed = {
        "textlog/21": {"total_loss", "loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"},
        "textlog/22": {"train/CrossEntropyLoss", "train/Perplexity"},
        "textlog/23": {"train_loss", "val_loss"},
        "textlog/25": {f"{s}/{m}" for s in ("train", "validation", "test") for m in ("ctc_loss", "wer")},
        "textlog/26": {"Loss", "test/Average loss"},
        "textlog/27": {"val_loss"},
    }
    allowed["textlog/30"] = allowed["textlog/21"]
    assert losses <= allowed.get(folder, allowed["textlog/22"])


@pytest.mark.parametrize("folder", ["textlog/24", "textlog/29"])
def test_time_for_loss_is_no_loss(folder: str) -> None:
    """These two logs time the computation of the loss; they hold no loss."""
    with pytest.raises(NotRecognizedError, match="no loss or other metric recurs"):
        TextLogReader().read(source(folder))


def test_twenty_runs_in_one_file_stay_in_order() -> None:
    steps = read("textlog/27")["val_loss"].steps
    assert int((steps == 0).sum()) == 20
    assert int((steps == 3200).sum()) == 20
    assert np.array_equal(steps, np.tile(steps[:37], 20))


def test_tracebacks_of_imports_are_events() -> None:
    history = read("textlog/25")
    assert {e["event"] for e in history.events} == {"traceback"}
    assert history.events[0]["line"] == 39


def test_all_samples_are_tested() -> None:
    have = {f"{kind}/{p.name}" for kind in ("textlog", "wandb_output") for p in (REAL / kind).iterdir()}
    assert have == {*CURVES, "textlog/24", "textlog/29"}
