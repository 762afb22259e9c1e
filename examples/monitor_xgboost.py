"""XGBoost: one callback. Needs ``pip install 'lossdoctor[xgboost]'``."""

from __future__ import annotations

from pathlib import Path

import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from lossdoctor.integrations.xgboost import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """Give the training data as an evaluation set too: without it nobody can tell over- from underfitting."""
    x, xv, y, yv = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    train, valid = xgboost.DMatrix(x, y), xgboost.DMatrix(xv, yv)
    callback = LossDoctorCallback(run_dir=run_dir, name="tumours")
    xgboost.train(
        {"objective": "binary:logistic", "eta": 0.1, "max_depth": 3},
        train,
        200,
        evals=[(train, "train"), (valid, "valid")],
        verbose_eval=False,
        callbacks=[callback],
    )
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
