"""CatBoost: one callback. Needs ``pip install 'lossdoctor[catboost]'``."""

from __future__ import annotations

from pathlib import Path

from catboost import CatBoostClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from lossdoctor.integrations.catboost import LossDoctorCallback


def main(run_dir: str | Path | None = None) -> LossDoctorCallback:
    """The training data is evaluated by itself; give held-out data as ``eval_set``."""
    x, xv, y, yv = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    callback = LossDoctorCallback(run_dir=run_dir, name="tumours")
    model = CatBoostClassifier(iterations=200, depth=4, verbose=False, allow_writing_files=False)
    model.fit(x, y, eval_set=(xv, yv), callbacks=[callback])
    callback.finish()
    return callback


if __name__ == "__main__":
    print(main().monitor.diagnosis)
