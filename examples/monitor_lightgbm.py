"""LightGBM: one callback. Needs ``pip install 'lossdoctor[lightgbm]'``."""

from __future__ import annotations

from pathlib import Path

import lightgbm
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from lossdoctor.integrations.lightgbm import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """Give the training data as an evaluation set too: without it nobody can tell over- from underfitting."""
    x, xv, y, yv = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    train, valid = lightgbm.Dataset(x, y), lightgbm.Dataset(xv, yv)
    callback = LossDoctorCallback(run_dir=run_dir, name="tumours")
    lightgbm.train(
        {"objective": "binary", "learning_rate": 0.1, "num_leaves": 7, "verbose": -1},
        train,
        200,
        valid_sets=[train, valid],
        valid_names=["train", "valid"],
        callbacks=[callback],
    )
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
