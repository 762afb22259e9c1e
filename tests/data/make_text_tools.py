"""Write the logs under ``text_tools/`` by letting the real tools print them.

Needs xgboost-cpu, lightgbm, catboost, scikit-learn, keras with the torch back end, and transformers with accelerate:
run it in an environment of its own, ``python tests/data/make_text_tools.py``.
Each tool runs in a process of its own whose
output goes to the file unchanged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "text_tools"
ROWS = 600


def data() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A small classification problem: float32[600, 10] and 0 or 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 10)).astype(np.float32)
    return x, (x @ rng.normal(size=10) + rng.normal(size=ROWS) > 0).astype(np.int64)


def xgboost() -> None:
    """30 boosting rounds, two watched sets."""
    import xgboost as xgb

    x, y = data()
    train, test = xgb.DMatrix(x[:400], y[:400]), xgb.DMatrix(x[400:], y[400:])
    params = {"objective": "binary:logistic", "eval_metric": ["logloss", "error"], "nthread": 1}
    xgb.train(params, train, 30, evals=[(train, "train"), (test, "eval")])


def lightgbm() -> None:
    """30 rounds with log_evaluation."""
    import lightgbm as lgb

    x, y = data()
    train = lgb.Dataset(x[:400], y[:400])
    valid = lgb.Dataset(x[400:], y[400:], reference=train)
    params = {"objective": "binary", "metric": "binary_logloss", "num_threads": 1}
    lgb.train(params, train, 30, [train, valid], callbacks=[lgb.log_evaluation(1)])


def catboost() -> None:
    """30 iterations with an evaluation set."""
    from catboost import CatBoostClassifier

    x, y = data()
    model = CatBoostClassifier(iterations=30, thread_count=1, allow_writing_files=False)
    model.fit(x[:400], y[:400], eval_set=(x[400:], y[400:]))


def sklearn_mlp() -> None:
    """A verbose MLPClassifier with early stopping."""
    from sklearn.neural_network import MLPClassifier

    x, y = data()
    MLPClassifier((16,), max_iter=25, verbose=True, early_stopping=True, random_state=0).fit(x, y)


def sklearn_boosting() -> None:
    """A verbose GradientBoostingClassifier, which prints a table."""
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = data()
    GradientBoostingClassifier(n_estimators=20, verbose=2, subsample=0.8, random_state=0).fit(x, y)


def _keras(verbose: int) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(0)
    x, y = data()
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=6, batch_size=50, validation_split=0.3, verbose=verbose)
    model.evaluate(x, y, verbose=verbose)


def keras_bar() -> None:
    """Keras with its progress bar."""
    _keras(1)


def keras_lines() -> None:
    """Keras with one line per epoch."""
    _keras(2)


def transformers_trainer() -> None:
    """The Hugging Face Trainer on a tiny model: dict lines between tqdm bars."""
    import torch
    from transformers import Trainer, TrainingArguments

    x, y = data()
    rows = [{"x": torch.tensor(a), "labels": torch.tensor(int(b))} for a, b in zip(x, y, strict=True)]

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(10, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.layers(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    arguments = TrainingArguments(
        "unused", num_train_epochs=4, per_device_train_batch_size=16, logging_steps=5, eval_strategy="epoch",
        save_strategy="no", report_to=[], use_cpu=True,
    )  # fmt: skip
    Trainer(Net(), arguments, train_dataset=rows[:400], eval_dataset=rows[400:]).train()


TOOLS = (xgboost, lightgbm, catboost, sklearn_mlp, sklearn_boosting, keras_bar, keras_lines, transformers_trainer)


def main() -> None:
    """Run every tool, or the one named."""
    if len(sys.argv) > 1:
        next(t for t in TOOLS if t.__name__ == sys.argv[1])()
        return
    OUT.mkdir(exist_ok=True)
    for tool in TOOLS:
        with (OUT / f"{tool.__name__}.log").open("wb") as stream:
            subprocess.run([sys.executable, __file__, tool.__name__], stdout=stream, stderr=stream, check=True)


if __name__ == "__main__":
    main()
