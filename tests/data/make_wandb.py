"""Makes the W&B logs under tests/data/wandb/ with wandb itself, offline.

Needs wandb (made with 0.31): ``python tests/data/make_wandb.py [FOLDER]``.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


def offline_run(name: str, target: Path, config: dict[str, Any], log: Any) -> None:
    """One offline run; its .wandb file (and summary) are copied to ``target``."""
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=folder)
        settings = wandb.Settings(
            console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True, host="host", root_dir=folder, program="train.py",
        )  # fmt: skip
        run = wandb.init(project="clinic", name=name, id=name, config=config, settings=settings, dir=folder)
        log(run)
        run.finish()
        wandb.teardown()  # the log is whole only when wandb's own process has ended
        target.mkdir(parents=True, exist_ok=True)
        for found in sorted(Path(folder).rglob("*")):
            if found.name.endswith(".wandb") or found.name == "wandb-summary.json":
                shutil.copyfile(found, target / found.name)


def plain(run: Any) -> None:
    """Nested values, NaN and Inf, a validation loss every tenth step, text and a switch among the numbers."""
    import wandb

    for step in range(60):
        row: dict[str, Any] = {
            "train": {"loss": 2 * math.exp(-step / 20), "acc": step / 60},
            "lr": 1e-3,
            "phase": "train",
        }
        if step == 7:
            row["train"]["loss"] = math.nan
        if step == 8:
            row["train"]["loss"] = math.inf
        if step % 10 == 9:
            row |= {"val/loss": 1.0 / (step + 1), "improved": True, "weights": wandb.Histogram([1.0, 2.0, 2.5])}
        run.log(row)


def lightning(run: Any) -> None:
    """What Lightning's WandbLogger logs: trainer/global_step in every row, W&B's own step merely counting rows."""
    for step in range(0, 500, 50):
        run.log({"train_loss": 1 / (step + 1), "epoch": step // 100, "trainer/global_step": step + 49})
        run.log({"val_loss": 2 / (step + 1), "epoch": step // 100, "trainer/global_step": step + 49})


def long(run: Any) -> None:
    """Rows longer than a block of the log, so that records are split over blocks."""
    for step in range(4):
        run.log({"loss": 1.0 - step / 10, **{f"layer.{i}.norm": i + step / 10 for i in range(320)}})


def nothing(run: Any) -> None:
    """A run that logs no row."""


def main(root: Path) -> None:
    """All of them."""
    config = {
        "optim": {"lr": 0.003, "name": "sgd"},
        "batch_size": 64,
        "num_classes": 10,
        "max_steps": 60,
        "optimizer": "adamw",
    }
    for name, log in (("plain", plain), ("lightning", lightning), ("long", long), ("nothing", nothing)):
        offline_run(name, root / name, config, log)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "wandb")
