"""CSV logs of real tools and of public runs: the names and point counts were written down by looking at the files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Source
from lossdoctor.readers.csv import CsvReader

DATA = Path(__file__).parents[1] / "data"
READER = CsvReader()


def read(path: str) -> TrainingHistory:
    source = Source.from_path(DATA / path)
    assert READER.sniff(source) >= 80
    (history,) = READER.read(source)
    return history


def counts(history: TrainingHistory, *names: str) -> dict[str, int]:
    return {n: len(history[n]) for n in names}


# Per file: the training loss, the validation loss, points of each, points of the gradient norm.
ALGOPERF = {
    "00/eval_measurements.csv": ("train/ctc_loss", "validation/ctc_loss", 7, 7, 0),
    "01/measurements.csv": ("loss", "validation/loss", 47, 16, 47),
    "02/eval_measurements.csv": ("train/loss", "validation/loss", 64, 64, 0),
    "03/eval_measurements.csv": ("train/loss", "validation/loss", 77, 77, 0),
    "04/eval_measurements.csv": ("train/loss", "validation/loss", 371, 371, 0),
    "05/measurements.csv": ("loss", "validation/ctc_loss", 101, 1, 101),
    "06/measurements.csv": ("loss", "validation/loss", 1099, 372, 1099),
    "07/measurements.csv": ("loss", "validation/ctc_loss", 100, 5, 100),
    "08/eval_measurements.csv": ("train/ctc_loss", "validation/ctc_loss", 31, 31, 0),
    "09/eval_measurements.csv": ("train/ctc_loss", "validation/ctc_loss", 5, 5, 0),
}


@pytest.mark.parametrize("file", ALGOPERF)
def test_algoperf(file: str) -> None:
    history = read(f"real/algoperf_csv/{file}")
    train, val, n_train, n_val, n_grad = ALGOPERF[file]
    assert (history.roles.primary("train_loss"), history.roles.primary("val_loss")) == (train, val)
    assert (len(history[train]), len(history[val])) == (n_train, n_val)
    grad = history.curve("grad_norm")
    assert (0 if grad is None else len(grad)) == n_grad
    assert history.step_unit == "step"


def test_algoperf_values() -> None:
    history = read("real/algoperf_csv/01/measurements.csv")
    assert history["loss"].steps[:4].tolist() == [0, 100, 200, 300]
    assert history["loss"].values[0] == 0.90970033
    assert history["validation/loss"].steps[:2].tolist() == [1, 326]
    assert history["validation/loss"].values[1] == 0.3338734332134567
    last = read("real/algoperf_csv/09/eval_measurements.csv")["validation/ctc_loss"]
    assert last.steps.tolist() == [1, 1870, 3778, 5674, 77793]
    assert np.isnan(last.values[-1])


def test_losses_that_end_while_their_companions_go_on_are_told() -> None:
    """pandas writes NaN as an empty cell: what looks like a loss that was not logged may be one that blew up."""
    notes = read("real/algoperf_csv/09/eval_measurements.csv").notes
    assert notes == [
        "test/ctc_loss, train/ctc_loss, validation/ctc_loss: no value from step 7,571 on in 38 rows that hold other"
        " values of the kind; some writers leave a cell empty for NaN"
    ]
    assert read("real/algoperf_csv/08/eval_measurements.csv").notes == []
    assert read("real/algoperf_csv/05/measurements.csv").notes == []


KERAS = {"11": 10, "12": 10, "13": 10, "14": 4, "15": 10}


@pytest.mark.parametrize("number", KERAS)
def test_public_keras_logs_without_epochs(number: str) -> None:
    history = read(f"real/keras_csv/{number}/log.csv")
    assert list(history.curves) == ["val_loss", "val_accuracy", "loss", "accuracy"]
    assert counts(history, *history.curves) == dict.fromkeys(history.curves, KERAS[number])
    assert history.step_unit == "row"
    assert history["loss"].steps.tolist() == list(range(1, KERAS[number] + 1))


def test_public_keras_values() -> None:
    history = read("real/keras_csv/14/log.csv")
    assert history["loss"].values.tolist() == [
        *(0.34324073791503906, 0.34323850274086, 0.3432363271713257, 0.3432341516017914),
    ]


@pytest.mark.parametrize("file", ["training.log", "training.csv"])
def test_keras_csvlogger(file: str) -> None:
    history = read(f"csv/keras/{file}")
    assert list(history.curves) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history["loss"].steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert history.step_unit == "epoch"


def test_lightning() -> None:
    history = read("csv/lightning/metrics.csv")
    assert counts(history, "train_loss_step", "train_loss_epoch", "val_loss", "val_acc") == {
        **{"train_loss_step": 12, "train_loss_epoch": 4, "val_loss": 4, "val_acc": 4},
    }
    assert history["train_loss_step"].steps.tolist() == list(range(4, 60, 5))
    assert history["val_loss"].steps.tolist() == [14, 29, 44, 59]
    assert history.roles.primary("train_loss") == "train_loss_step"
    assert history.roles.primary("val_loss") == "val_loss"
    assert history.context.learning_rate == 0.05  # of the hparams.yaml beside
    assert history.context.classes == 2


@pytest.mark.parametrize("file", ["results.csv", "padded.csv"])
def test_ultralytics(file: str) -> None:
    history = read(f"csv/ultralytics/{file}")
    assert len(history.curves) == 13
    assert history["train/box_loss"].steps.tolist() == [1, 2, 3, 4]
    assert history.step_unit == "epoch"
    assert history.roles.names["learning_rate"] == ("lr/pg0", "lr/pg1", "lr/pg2")
    assert "time" not in history


def test_ultralytics_values_and_arguments() -> None:
    history = read("csv/ultralytics/results.csv")
    assert history["val/dfl_loss"].values.tolist() == [4.15961] * 4
    assert (history.context.batch_size, history.context.planned_steps) == (4, 4)


def test_catboost_tables_are_one_run() -> None:
    folder = DATA / "csv/catboost/catboost_info"
    names = frozenset(p.name for p in folder.iterdir())
    assert READER.claims(folder, names)
    (history,) = READER.read_folder(folder, "shown")
    assert counts(history, *history.curves) == {"learn/Logloss": 20, "test/Logloss": 20, "test/AUC": 20}
    assert history["learn/Logloss"].steps[0] == 0
    assert history.roles.primary("val_loss") == "test/Logloss"
    assert history.path == "shown"
    assert not READER.claims(folder, names | {"catboost_training.json"})


def test_a_table_of_catboost_read_alone_says_which_it_is() -> None:
    assert list(read("csv/catboost/catboost_info/test_error.tsv").curves) == ["test/Logloss", "test/AUC"]


def test_compressed(tmp_path: Path) -> None:
    packed = tmp_path / "metrics.csv.gz"
    packed.write_bytes(gzip.compress((DATA / "csv/lightning/metrics.csv").read_bytes()))
    (history,) = READER.read(Source.from_path(packed))
    assert len(history["train_loss_step"]) == 12


# downloads of dashboards


def test_tensorboard_download_is_named_by_its_file() -> None:
    text = "Wall time,Step,Value\n1700000000.1,10,2.5\n1700000001.1,20,1.5\n"
    source = Source("x", "run-exp_1-tag-train_loss.csv", data=text.encode())
    (history,) = READER.read(source)
    assert history["train_loss"].steps.tolist() == [10, 20]
    assert history["train_loss"].times is not None


def test_wandb_download_holds_several_runs() -> None:
    text = (
        '"Step","fast-frog-3 - train/loss","fast-frog-3 - train/loss__MIN","fast-frog-3 - train/loss__MAX",'
        '"slow-sun-1 - train/loss","slow-sun-1 - train/loss__MIN","slow-sun-1 - train/loss__MAX"\n'
        '"1","2.5","2.5","2.5","","",""\n"2","1.5","1.5","1.5","3","3","3"\n'
    )
    frog, sun = READER.read(Source("w.csv", "w.csv", data=text.encode()))
    assert (frog.name, sun.name) == ("fast-frog-3", "slow-sun-1")
    assert frog["train/loss"].values.tolist() == [2.5, 1.5]
    assert sun["train/loss"].steps.tolist() == [2]
