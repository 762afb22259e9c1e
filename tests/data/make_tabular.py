"""Lets the real tools write the table-like logs that the readers' tests read.

    python tests/data/make_tabular.py [TOOL ...]

Every tool trains something tiny and writes its log below ``tests/data/<format>/<tool>/``. A tool that is not installed
is skipped with a word. Install them beside the project: pytorch-lightning, xgboost-cpu, lightgbm, catboost, keras (with
the torch backend), scikit-learn, mlflow-skinny with sqlalchemy and alembic, mmengine-lite, ultralytics, transformers.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import types
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
HERE = Path(__file__).parent


def fresh(*parts: str) -> Path:
    """An empty folder for one tool's log."""
    folder = HERE.joinpath(*parts)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def blobs(n: int = 400, seed: int = 0) -> tuple[Any, Any]:
    """Two overlapping classes of points in eight dimensions."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 8)) + y[:, None] * 0.8
    return x.astype(np.float32), y


def lightning() -> None:
    """CSVLogger: sparse rows, per-step and per-epoch loss, hparams.yaml beside."""
    import pytorch_lightning as pl
    import torch

    class Net(pl.LightningModule):
        def __init__(self, lr: float = 0.05, num_classes: int = 2) -> None:  # noqa: ARG002
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(8, num_classes)

        def training_step(self, batch: Any, index: int) -> Any:  # noqa: ARG002
            loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:  # noqa: ARG002
            logits = self.layer(batch[0])
            self.log("val_loss", torch.nn.functional.cross_entropy(logits, batch[1]))
            self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])

    pl.seed_everything(0)
    x, y = (torch.from_numpy(a) for a in blobs())
    loaders = [
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[part], y[part]), batch_size=20)
        for part in (slice(0, 300), slice(300, 400))
    ]
    folder = fresh("csv", "lightning")
    with tempfile.TemporaryDirectory() as root:
        logger = pl.loggers.CSVLogger(root, name="")
        trainer = pl.Trainer(
            max_epochs=4,
            logger=logger,
            log_every_n_steps=5,
            enable_checkpointing=False,
            enable_progress_bar=False,
            accelerator="cpu",
        )
        trainer.fit(Net(), *loaders)
        for name in ("metrics.csv", "hparams.yaml"):
            shutil.copy(Path(logger.log_dir) / name, folder / name)


def keras() -> None:
    """CSVLogger (epochs from 0, both separators) and ``History.history`` as JSON."""
    import keras as k

    k.utils.set_random_seed(0)
    x, y = blobs()
    folder = fresh("csv", "keras")
    for name, separator in (("training.log", ","), ("training.csv", ";")):
        model = k.Sequential([k.layers.Dense(16, activation="relu"), k.layers.Dense(2, activation="softmax")])
        model.compile(k.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(
            x[:300],
            y[:300],
            epochs=6,
            batch_size=32,
            validation_data=(x[300:], y[300:]),
            verbose=0,
            callbacks=[k.callbacks.CSVLogger(str(folder / name), separator=separator)],
        )
    folder = fresh("json", "keras")
    plain = {name: [float(v) for v in values] for name, values in history.history.items()}
    (folder / "history.json").write_text(json.dumps(plain))
    document = {"history": plain, "epoch": history.epoch, "params": history.params}
    (folder / "history_object.json").write_text(json.dumps(document))


def xgboost() -> None:
    """``evals_result`` of the plain and of the scikit-learn interface."""
    import xgboost as xgb

    x, y = blobs()
    train, test = xgb.DMatrix(x[:300], y[:300]), xgb.DMatrix(x[300:], y[300:])
    result: dict[str, Any] = {}
    settings = {"objective": "binary:logistic", "eval_metric": ["logloss", "error"], "nthread": 1, "seed": 0}
    xgb.train(settings, train, 20, [(train, "train"), (test, "eval")], evals_result=result, verbose_eval=False)
    folder = fresh("json", "xgboost")
    (folder / "evals_result.json").write_text(json.dumps(result))
    model = xgb.XGBClassifier(n_estimators=12, n_jobs=1, eval_metric="logloss")
    model.fit(x[:300], y[:300], eval_set=[(x[:300], y[:300]), (x[300:], y[300:])], verbose=False)
    (folder / "sklearn_evals_result.json").write_text(json.dumps(model.evals_result()))


def lightgbm() -> None:
    """``record_evaluation`` as JSON, and as the CSV that a data frame of it makes."""
    import lightgbm as lgb

    x, y = blobs()
    train = lgb.Dataset(x[:300], y[:300])
    result: dict[str, Any] = {}
    lgb.train(
        {"objective": "binary", "metric": ["binary_logloss", "auc"], "num_threads": 1, "verbosity": -1, "seed": 0},
        train,
        20,
        [train, lgb.Dataset(x[300:], y[300:], reference=train)],
        ["training", "valid_1"],
        callbacks=[lgb.record_evaluation(result)],
    )
    (fresh("json", "lightgbm") / "evals_result.json").write_text(json.dumps(result))


def catboost() -> None:
    """``catboost_info``: JSON and two tables; once with one test set, once with two."""
    import catboost as cb

    x, y = blobs()
    for name, parts in (("one", [(300, 400)]), ("two", [(300, 350), (350, 400)])):
        with tempfile.TemporaryDirectory() as root:
            model = cb.CatBoostClassifier(
                iterations=20, train_dir=root, thread_count=1, random_seed=0, custom_metric=["AUC"], verbose=False
            )
            model.fit(x[:300], y[:300], eval_set=[(x[a:b], y[a:b]) for a, b in parts])
            folder = fresh("json", "catboost", name, "catboost_info")
            for file in ("catboost_training.json", "learn_error.tsv", "test_error.tsv", "time_left.tsv"):
                if (Path(root) / file).exists():
                    shutil.copy(Path(root) / file, folder / file)
    tables = fresh("csv", "catboost", "catboost_info")
    for file in ("learn_error.tsv", "test_error.tsv"):
        shutil.copy(HERE / "json" / "catboost" / "one" / "catboost_info" / file, tables / file)


def sklearn() -> None:
    """``loss_curve_`` and ``validation_scores_`` of an MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    x, y = blobs()
    model = MLPClassifier((8,), max_iter=25, early_stopping=True, random_state=0, n_iter_no_change=30).fit(x, y)
    document = {"loss_curve_": model.loss_curve_, "validation_scores_": model.validation_scores_}
    document["n_iter_"] = model.n_iter_
    (fresh("json", "sklearn") / "mlp.json").write_text(json.dumps(document, default=float))


def mlflow() -> None:
    """A file store and a database with two runs each: steps, no steps, NaN and infinity, a deleted run."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.tracking import MlflowClient

    for folder, uri in _mlflow_stores():
        client = MlflowClient(uri)
        experiment = client.create_experiment("digits", artifact_location=f"{folder.name}-artifacts")
        for name, rate in (("slow", 0.01), ("fast", 10.0)):
            run = client.create_run(experiment, run_name=name, start_time=1_700_000_000_000).info.run_id
            for key, value in {"lr": rate, "batch_size": 32, "optimizer": "sgd", "num_classes": 10}.items():
                client.log_param(run, key, value)
            loss = 2.3
            for step in range(1, 31):
                loss = loss * 0.95 if rate < 1 else loss * 1e20 if step < 18 else float("nan")
                client.log_metric(run, "train/loss", loss, timestamp=1_700_000_000_000 + step * 1000, step=step)
                if step % 10 == 0:
                    client.log_metric(run, "val_loss", loss * 1.1, timestamp=1_700_000_000_500 + step * 1000, step=step)
                if step <= 5:
                    client.log_metric(run, "unstepped", step * 0.5, timestamp=1_700_000_000_000 + step * 1000)
            client.set_terminated(run, "FINISHED" if rate < 1 else "FAILED")
        gone = client.create_run(experiment, run_name="gone").info.run_id
        client.log_metric(gone, "loss", 1.0, step=1)
        client.delete_run(gone)
    _without_machine(HERE / "mlflow")


def _without_machine(folder: Path) -> None:
    """Pack the database (empty pages, mostly) and keep the paths of this machine out of both stores."""
    for meta in folder.rglob("meta.yaml"):
        lines = meta.read_text().splitlines()
        swapped = [f"{x.split(':')[0]}: file:///mlruns" if x.startswith("artifact_") else x for x in lines]
        meta.write_text("\n".join(swapped) + "\n")
    database = folder / "mlflow.db"
    if database.exists():
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE runs SET artifact_uri = 'file:///mlruns'")
            connection.execute("UPDATE experiments SET artifact_location = 'file:///mlruns'")
            connection.commit()
            connection.execute("VACUUM")
        (folder / "mlflow.db.gz").write_bytes(gzip.compress(database.read_bytes(), mtime=0))
        database.unlink()


def _mlflow_stores() -> list[tuple[Path, str]]:
    folder = fresh("mlflow")
    stores = [(folder / "mlruns", str(folder / "mlruns"))]
    try:
        import sqlalchemy  # noqa: F401

        stores.append((folder, f"sqlite:///{folder / 'mlflow.db'}"))
    except ImportError:
        print("mlflow: no database without sqlalchemy and alembic")
    return stores


def mmengine() -> None:
    """``vis_data/scalars.json`` of a Runner: training rows by iteration, validation rows by epoch."""
    import torch
    from mmengine.evaluator import BaseMetric
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Net(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 2)

        def forward(self, x: Any, y: Any, mode: str = "loss") -> Any:
            logits = self.layer(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, y)} if mode == "loss" else (logits, y)

    class Accuracy(BaseMetric):
        default_prefix = "accuracy"

        def process(self, data_batch: Any, data_samples: Any) -> None:  # noqa: ARG002
            logits, y = data_samples
            self.results.append((int((logits.argmax(1) == y).sum()), len(y)))

        def compute_metrics(self, results: Any) -> dict[str, float]:
            return {"top1": 100.0 * sum(a for a, _ in results) / sum(b for _, b in results)}

    x, y = (torch.from_numpy(a) for a in blobs())
    loaders = [
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[part], y[part]), batch_size=20)
        for part in (slice(0, 300), slice(300, 400))
    ]
    with tempfile.TemporaryDirectory() as root:
        runner = Runner(
            Net(),
            root,
            train_dataloader=loaders[0],
            val_dataloader=loaders[1],
            val_evaluator=[Accuracy()],
            train_cfg={"by_epoch": True, "max_epochs": 4, "val_interval": 1},
            val_cfg={},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
            randomness={"seed": 0},
            default_hooks={"logger": {"type": "LoggerHook", "interval": 5}},
        )
        runner.train()
        found = next(Path(root).rglob("vis_data/scalars.json"))
        folder = fresh("jsonl", "mmengine", "vis_data")
        shutil.copy(found, folder / "scalars.json")


def transformers() -> None:
    """``trainer_state.json`` with evaluation, and the rows of a second checkpoint."""
    import torch
    from transformers import Trainer, TrainingArguments

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 2)

        def forward(self, x: Any, labels: Any = None) -> Any:
            logits = self.layer(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    x, y = blobs()
    rows = [{"x": x[i], "labels": int(y[i])} for i in range(len(y))]
    with tempfile.TemporaryDirectory() as root:
        arguments = TrainingArguments(
            root,
            num_train_epochs=3,
            per_device_train_batch_size=20,
            logging_steps=5,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            seed=0,
            learning_rate=0.05,
            disable_tqdm=True,
        )
        trainer = Trainer(Net(), arguments, train_dataset=rows[:300], eval_dataset=rows[300:])
        trainer.train()
        trainer.save_state()
        folder = fresh("json", "transformers")
        shutil.copy(Path(root) / "trainer_state.json", folder / "trainer_state.json")
        shutil.copy(Path(root) / "checkpoint-30" / "trainer_state.json", folder / "checkpoint_state.json")


def ultralytics() -> None:
    """``results.csv`` and ``args.yaml`` of a YOLO trained on eight noise pictures."""
    import cv2

    _plain_nms()
    from ultralytics import YOLO

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as root:
        for part in ("train", "val"):
            for kind in ("images", "labels"):
                (Path(root) / kind / part).mkdir(parents=True)
            for i in range(8):
                picture = rng.integers(0, 80, (64, 64, 3), dtype=np.uint8)
                picture[16:48, 16:48] = 220
                cv2.imwrite(f"{root}/images/{part}/{i}.png", picture)
                Path(root, "labels", part, f"{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        data = Path(root) / "data.yaml"
        data.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [square]\n")
        model = YOLO("yolov8n.yaml")
        model.train(
            data=str(data),
            epochs=4,
            imgsz=64,
            batch=4,
            workers=0,
            device="cpu",
            project=root,
            name="run",
            plots=False,
            save=False,
            amp=False,
            seed=0,
        )
        folder = fresh("csv", "ultralytics")
        shutil.copy(Path(root) / "run" / "results.csv", folder / "results.csv")
        kept = [x for x in (Path(root) / "run" / "args.yaml").read_text().splitlines() if root not in x]
        (folder / "args.yaml").write_text("\n".join(kept) + "\n")
    # Until version 8.2.77 the same writer padded names and values: "%23s," for each name, "%23.5g," for each value.
    rows = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()]
    lines = ["".join(f"{name:>23}," for name in rows[0]).rstrip(",")]
    lines += ["".join(f"{float(v):>23.5g}," for v in row).rstrip(",") for row in rows[1:]]
    (folder / "padded.csv").write_text("\n".join(lines) + "\n")


def _plain_nms() -> None:
    """Non-maximum suppression in Python, where torchvision's compiled one does not fit the installed torch."""
    import torch

    try:
        import torchvision

        return
    except RuntimeError:
        for name in [m for m in sys.modules if m.startswith("torchvision")]:
            del sys.modules[name]
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")

    def nms(boxes: Any, scores: Any, threshold: float) -> Any:
        order, kept = scores.argsort(descending=True).tolist(), []
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        while order:
            first = order.pop(0)
            kept.append(first)
            rest = torch.tensor(order, dtype=torch.long)
            low, high = (
                torch.maximum(boxes[rest, :2], boxes[first, :2]),
                torch.minimum(boxes[rest, 2:], boxes[first, 2:]),
            )
            overlap = (high - low).clamp(min=0).prod(1)
            order = rest[overlap / (area[rest] + area[first] - overlap) <= threshold].tolist()
        return torch.tensor(kept, dtype=torch.long)

    library.impl("nms", nms, "CPU")
    globals()["_KEPT"] = library
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True


def frames() -> None:
    """Parquet: a wide data frame with holes, and a long one as experiment databases export it."""
    import polars as pl

    folder = fresh("parquet")
    step = np.arange(0, 200, 2)
    loss = 2.0 * np.exp(-step / 80) + 0.1
    val = [float(v) * 1.2 if s % 20 == 0 else None for s, v in zip(step, loss, strict=True)]
    stamps = [(1_700_000_000 + int(s)) * 1_000_000 for s in step]
    wide = pl.DataFrame({"global_step": step, "train_loss": loss, "val_loss": val, "note": ["x"] * len(step)})
    wide = wide.with_columns(pl.Series("timestamp", stamps).cast(pl.Int64).cast(pl.Datetime("us")))
    wide.write_parquet(folder / "wide.parquet")
    long = [
        {"run_id": run, "metric": metric, "step": int(s), "value": float(v) * factor}
        for run, factor in (("a", 1.0), ("b", 2.0))
        for metric, every in (("loss", 1), ("val_loss", 10))
        for s, v in zip(step[::every], loss[::every], strict=True)
    ]
    pl.DataFrame(long).write_parquet(folder / "long.parquet")


TOOLS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        *(lightning, keras, xgboost, lightgbm, catboost, sklearn, mlflow, mmengine, transformers, ultralytics, frames),
    )
}


def main(names: list[str]) -> None:
    """Make the logs of the tools named, of all of them without a name."""
    for name in names or list(TOOLS):
        try:
            TOOLS[name]()
            print(f"{name}: written")
        except ImportError as error:
            print(f"{name}: skipped, {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
