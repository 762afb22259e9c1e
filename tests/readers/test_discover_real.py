"""The public logs under tests/data/real, searched as one folder: every run is found once, with the right losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossdoctor.readers import Scan, scan

REAL = Path(__file__).parents[1] / "data" / "real"

# folder -> training loss and its points, validation loss and its points; None where there is none
EXPECTED: dict[str, tuple[str | None, int, str | None, int]] = {
    "algoperf_csv/00": ("train/ctc_loss", 7, "validation/ctc_loss", 7),
    "algoperf_csv/01": ("loss", 47, "validation/loss", 16),
    "algoperf_csv/02": ("train/loss", 64, "validation/loss", 64),
    "algoperf_csv/03": ("train/loss", 77, "validation/loss", 77),
    "algoperf_csv/04": ("train/loss", 371, "validation/loss", 371),
    "algoperf_csv/05": ("loss", 101, "validation/ctc_loss", 1),
    "algoperf_csv/06": ("loss", 1099, "validation/loss", 372),
    "algoperf_csv/07": ("loss", 100, "validation/ctc_loss", 5),
    "algoperf_csv/08": ("train/ctc_loss", 31, "validation/ctc_loss", 31),
    "algoperf_csv/09": ("train/ctc_loss", 5, "validation/ctc_loss", 5),
    "hf_trainer_state/10": ("loss", 1000, None, 0),
    "keras_csv/11": ("loss", 10, "val_loss", 10),
    "keras_csv/12": ("loss", 10, "val_loss", 10),
    "keras_csv/13": ("loss", 10, "val_loss", 10),
    "keras_csv/14": ("loss", 4, "val_loss", 4),
    "keras_csv/15": ("loss", 10, "val_loss", 10),
    "tensorboard/16": ("loss", 60, "validation/loss", 19),
    "tensorboard/17": (None, 0, None, 0),
    "tensorboard/18": ("train/loss", 84, "validation/loss", 84),
    "tensorboard/19": ("loss", 595, "validation/loss", 77),
    "tensorboard/20": ("loss", 164, "validation/loss", 1),
    "textlog/21": ("total_loss", 647, None, 0),
    "textlog/22": ("train/CrossEntropyLoss", 101, None, 0),
    "textlog/23": ("train_loss", 1530, "val_loss", 14),
    "textlog/25": ("train/ctc_loss", 41, "validation/ctc_loss", 41),
    "textlog/26": ("Loss", 94, "test/Average loss", 1),
    "textlog/28": ("train/CrossEntropyLoss", 2003, None, 0),
    "textlog/30": ("total_loss", 98, None, 0),
    "wandb_bin/31": (None, 0, None, 0),
    "wandb_bin/32": ("train/CrossEntropyLoss", 4, None, 0),
    "wandb_output/33": ("train/CrossEntropyLoss", 101, None, 0),
    "wandb_output/34": ("train/CrossEntropyLoss", 6, None, 0),
    "wandb_output/35": ("train/CrossEntropyLoss", 48, None, 0),
    "wandb_output/36": ("train/CrossEntropyLoss", 100, None, 0),
    "wandb_summary/37": (None, 0, None, 0),
}


@pytest.fixture(scope="module")
def found() -> Scan:
    return scan([REAL])


def _folder(path: str) -> str:
    return "/".join(Path(path).relative_to(REAL).parts[:2])


def test_every_run_is_found_once_with_its_losses(found: Scan) -> None:
    assert found.errors == []
    got = {}
    for history in found.histories:
        if _folder(history.path) == "textlog/27":
            continue
        train, val = history.curve("train_loss"), history.curve("val_loss")
        got[_folder(history.path)] = (
            history.roles.primary("train_loss"),
            0 if train is None else len(train),
            history.roles.primary("val_loss"),
            0 if val is None else len(val),
        )
    assert got == EXPECTED


def test_a_log_of_twenty_runs_gives_twenty(found: Scan) -> None:
    runs = [h for h in found.histories if _folder(h.path) == "textlog/27"]
    assert [h.path.rsplit("#", 1)[1] for h in runs] == [str(k) for k in range(1, 21)]
    assert {(len(h["val_loss"]), int(h["val_loss"].steps[-1])) for h in runs} == {(37, 3200)}
    assert len({tuple(h["val_loss"].values) for h in runs}) == 20


def test_what_holds_no_curve_says_why(found: Scan) -> None:
    for history in found.histories:
        if not history.curves:
            assert history.notes, history.path


def test_logs_without_a_loss_and_tables_about_the_logs_are_skipped(found: Scan) -> None:
    skipped = {Path(p).name for p in found.skipped_examples}
    assert skipped == {"PROVENANCE-binary.tsv", "PROVENANCE-tabular.tsv", "PROVENANCE-text.tsv", "run.log"}
    assert found.skipped == 5
