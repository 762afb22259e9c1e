"""The callbacks in real trainings of XGBoost, LightGBM and CatBoost, which share what they record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossdoctor
from lossdoctor.core.errors import UsageError
from lossdoctor.live.actions import StopTraining
from tests.integrations.support import Broken, Recording, kinds, run_in, steps_of, values_of

pytestmark = pytest.mark.slow

ROUNDS = 120


def noisy(n: int = 2000, seed: int = 0) -> tuple[Any, Any]:
    """Two classes, a fifth of the labels turned round: deep trees learn the noise by heart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    y = (x[:, 0] + x[:, 1] > 0) ^ (rng.random(n) < 0.2)
    return x, y.astype(int)


class XGBoost:
    first, train, valid = 0, "train-logloss", "valid-logloss"

    def __init__(self) -> None:
        self.package = pytest.importorskip("xgboost", reason="pip install 'lossdoctor[xgboost]'")
        import lossdoctor.integrations.xgboost as module

        self.module = module

    def fit(self, callback: Any, rate: float = 0.1, depth: int = 2, rounds: int = ROUNDS) -> tuple[int, Any]:
        (x, y), (xv, yv) = noisy(), noisy(seed=1)
        sets = [(self.package.DMatrix(x, y), "train"), (self.package.DMatrix(xv, yv), "valid")]
        results: dict[str, Any] = {}
        params = {"objective": "binary:logistic", "eta": rate, "max_depth": depth, "nthread": 1, "lambda": 0.0}
        booster = self.package.train(
            params, sets[0][0], rounds, evals=sets, evals_result=results, verbose_eval=False,
            callbacks=[callback] if callback else None,
        )  # fmt: skip
        return booster.num_boosted_rounds(), results


class LightGBM:
    first, train, valid = 0, "train-binary_logloss", "valid-binary_logloss"

    def __init__(self) -> None:
        self.package = pytest.importorskip("lightgbm", reason="pip install 'lossdoctor[lightgbm]'")
        import lossdoctor.integrations.lightgbm as module

        self.module = module

    def fit(self, callback: Any, rate: float = 0.1, depth: int = 2, rounds: int = ROUNDS) -> tuple[int, Any]:
        (x, y), (xv, yv) = noisy(), noisy(seed=1)
        sets = [self.package.Dataset(x, y), self.package.Dataset(xv, yv)]
        results: dict[str, Any] = {}
        params = {
            "objective": "binary", "learning_rate": rate, "max_depth": depth, "num_leaves": 2**depth, "num_threads": 1,
            "min_data_in_leaf": 1, "verbose": -1,
        }  # fmt: skip
        callbacks = [self.package.record_evaluation(results), *([callback] if callback else [])]
        booster = self.package.train(
            params, sets[0], rounds, valid_sets=sets, valid_names=["train", "valid"], callbacks=callbacks
        )
        return booster.current_iteration(), results


class CatBoost:
    first, train, valid = 1, "learn-Logloss", "validation-Logloss"

    def __init__(self) -> None:
        self.package = pytest.importorskip("catboost", reason="pip install 'lossdoctor[catboost]'")
        import lossdoctor.integrations.catboost as module

        self.module = module

    def fit(self, callback: Any, rate: float = 0.1, depth: int = 2, rounds: int = ROUNDS) -> tuple[int, Any]:
        (x, y), held = noisy(), noisy(seed=1)
        model = self.package.CatBoostClassifier(
            iterations=rounds, learning_rate=rate, depth=depth, thread_count=1, verbose=False, random_seed=0,
            use_best_model=False, allow_writing_files=False, l2_leaf_reg=0.0, leaf_estimation_iterations=1,
            bootstrap_type="No",
        )  # fmt: skip
        model.fit(x, y, eval_set=held, callbacks=[callback] if callback else None)
        return model.tree_count_, model.get_evals_result()


@pytest.fixture(params=[XGBoost, LightGBM, CatBoost], ids=lambda k: k.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_curves_and_steps(library: Any, tmp_path: Path) -> None:
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    rounds, results = library.fit(callback)
    monitor = callback.monitor
    assert rounds == ROUNDS
    del callback  # CatBoost does not say that the training is over
    history = run_in(tmp_path / "run")
    for name in (library.train, library.valid):
        data, metric = name.split("-")
        assert steps_of(history, name) == list(range(library.first, library.first + ROUNDS))
        assert values_of(history, name) == pytest.approx(results[data][metric], rel=1e-5)
    assert history.roles.primary("train_loss") == library.train
    assert history.roles.primary("val_loss") == library.valid
    assert history.roles.comparable
    assert kinds(history) == ["finished"]
    assert history.diagnose().status == "healthy"
    assert not monitor.should_stop


def test_the_history_of_results_is_the_same(library: Any, tmp_path: Path) -> None:
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    _, results = library.fit(callback, rounds=30)
    del callback
    live, afterwards = run_in(tmp_path / "run"), library.module.history_of(results, name="afterwards")
    assert afterwards.name == "afterwards"
    for name in (library.train, library.valid):
        assert steps_of(afterwards, name) == steps_of(live, name)
        assert values_of(afterwards, name) == pytest.approx(values_of(live, name), rel=1e-5)
    with pytest.raises(UsageError, match="there are no evaluation results; give the training evaluation sets"):
        library.module.history_of({})


def test_a_sick_run_is_told_and_stopped(
    library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    """Trees deep enough to learn the noise by heart: the held-out loss rises from the first rounds on."""
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining("warning")])
    rounds, _ = library.fit(callback, rate=0.5, depth=6, rounds=400)
    assert rounds < 400
    del callback
    history = run_in(tmp_path / "run")
    assert {"announced", "stopped"} <= set(kinds(history))
    assert history.diagnose().status in ("warning", "critical")
    assert "LD301" in caplog.text


def test_training_survives_a_broken_monitor(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    plain, with_it = library.fit(None, rounds=20), library.fit(library.module.LossDoctorCallback(Broken()), rounds=20)
    assert plain == with_it


def test_a_ready_monitor_is_obeyed_and_left_open(library: Any) -> None:
    monitor = Recording(stop_after=7)
    rounds, _ = library.fit(library.module.LossDoctorCallback(monitor))
    assert rounds == 7
    assert len(monitor.rows) == 7
    assert monitor.finished == 0


def test_xgboost_estimators_searches_and_folds(tmp_path: Path) -> None:
    library = XGBoost()
    (x, y), held = noisy(), noisy(seed=1)
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    model = library.package.XGBClassifier(n_estimators=20, n_jobs=1, callbacks=[callback])
    model.fit(x, y, eval_set=[(x, y), held], verbose=False)
    history = run_in(tmp_path / "run")
    assert history.roles.primary("train_loss") == "validation_0-logloss"
    assert history.roles.primary("val_loss") == "validation_1-logloss"
    assert callback.monitor.config["objective"] == "binary:logistic"
    assert callback.monitor.context.learning_rate == pytest.approx(0.3)
    assert values_of(library.module.history_of(model), "validation_1-logloss") == pytest.approx(
        values_of(history, "validation_1-logloss"), rel=1e-5
    )
    from sklearn.base import clone

    clone(model).fit(x, y, eval_set=[held], verbose=False)

    folds = library.module.LossDoctorCallback(run_dir=tmp_path / "folds")
    params = {"objective": "binary:logistic", "nthread": 1}
    frame = library.package.cv(params, library.package.DMatrix(x, y), 20, nfold=3, callbacks=[folds])
    found = run_in(tmp_path / "folds")
    assert values_of(found, "test-logloss") == pytest.approx(frame["test-logloss-mean"], rel=1e-5)


def test_xgboost_goes_on(tmp_path: Path) -> None:
    library = XGBoost()
    x, y = noisy()
    data = library.package.DMatrix(x, y)
    model = None
    for _ in range(2):
        callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
        params = {"objective": "binary:logistic", "nthread": 1}
        model = library.package.train(
            params, data, 10, evals=[(data, "train")], verbose_eval=False, xgb_model=model, callbacks=[callback]
        )
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train-logloss") == list(range(20))
    assert kinds(history) == ["finished", "restarted", "finished"]


def test_lightgbm_estimators_rates_and_directions(tmp_path: Path) -> None:
    library = LightGBM()
    (x, y), held = noisy(), noisy(seed=1)
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    model = library.package.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)
    decay = library.package.reset_parameter(learning_rate=lambda i: 0.1 * 0.9**i)
    model.fit(x, y, eval_set=[(x, y), held], eval_metric=["auc", "binary_logloss"], callbacks=[callback, decay])
    history = run_in(tmp_path / "run")
    assert values_of(history, "learning_rate") == pytest.approx([0.1 * 0.9**i for i in range(20)])
    assert history.roles.primary("train_loss") == "training-binary_logloss"
    assert history.roles.primary("val_loss") == "valid_1-binary_logloss"
    context = callback.monitor.context
    assert context.planned_steps == 20
    assert context.directions["valid_1-auc"] == "max"
    assert context.directions["valid_1-binary_logloss"] == "min"
    assert kinds(history) == ["finished"]
    found = library.module.history_of(model)
    assert values_of(found, "valid_1-auc") == pytest.approx(values_of(history, "valid_1-auc"), rel=1e-5)


def test_lightgbm_folds_and_its_own_early_stopping(tmp_path: Path) -> None:
    library = LightGBM()
    (x, y), held = noisy(), noisy(seed=1)
    folds = library.module.LossDoctorCallback(run_dir=tmp_path / "folds")
    params = {"objective": "binary", "num_threads": 1, "verbose": -1}
    data = library.package.Dataset(x, y)
    found = library.package.cv(params, data, 20, nfold=3, callbacks=[folds])
    assert values_of(run_in(tmp_path / "folds"), "valid-binary_logloss") == pytest.approx(
        found["valid binary_logloss-mean"], rel=1e-5
    )
    early = library.package.early_stopping(3, verbose=False)
    callback = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    sets = [library.package.Dataset(*held)]
    booster = library.package.train(params, data, 200, valid_sets=sets, callbacks=[callback, early])
    del callback
    history = run_in(tmp_path / "run")
    assert len(history["valid_0-binary_logloss"]) == booster.best_iteration + 3 < 200
    assert kinds(history) == ["finished"]


def test_catboost_trainings_in_a_row_and_metrics_now_and_then(tmp_path: Path) -> None:
    library = CatBoost()
    (x, y), held = noisy(), noisy(seed=1)
    with_it = library.module.LossDoctorCallback(run_dir=tmp_path / "run")
    for _ in range(2):
        model = library.package.CatBoostRegressor(
            iterations=21, metric_period=5, thread_count=1, verbose=False, allow_writing_files=False
        )
        model.fit(x, y.astype(float), eval_set=held, callbacks=[with_it])
    with_it.finish()
    histories = lossdoctor.read(tmp_path / "run")
    assert len(histories) == 2
    learned = model.get_evals_result()["learn"]["RMSE"]
    for history in (*histories, library.module.history_of(model)):
        assert steps_of(history, "learn-RMSE") == [1, 6, 11, 16, 21]
        assert values_of(history, "learn-RMSE") == pytest.approx(learned, rel=1e-5)
        assert history.roles.primary("val_loss") == "validation-RMSE"


def test_xgboost_on_two_workers() -> None:
    """One records, and both stop at the same round."""
    library = XGBoost()
    tracker = library.package.tracker.RabitTracker(host_ip="127.0.0.1", n_workers=2)
    tracker.start()
    code = """
import json, sys
import xgboost
from lossdoctor.integrations.xgboost import LossDoctorCallback
from tests.integrations.support import Recording
from tests.integrations.test_boosting import noisy
monitor = Recording(stop_after=5)
with xgboost.collective.CommunicatorContext(**json.loads(sys.argv[1])):
    rank = xgboost.collective.get_rank()
    x, y = noisy(seed=rank)
    data = xgboost.DMatrix(x, y)
    callback = LossDoctorCallback(monitor if rank == 0 else None)
    model = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 50, evals=[(data, "train")],
                          verbose_eval=False, callbacks=[callback])
    print(rank, model.num_boosted_rounds(), len(monitor.rows), callback.monitor is None)
"""
    told = json.dumps(tracker.worker_args())
    root = Path(__file__).parents[2]
    workers = [
        subprocess.Popen([sys.executable, "-c", code, told], cwd=root, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    lines = sorted(worker.communicate(timeout=120)[0].splitlines()[-1] for worker in workers)
    assert lines == ["0 5 5 False", "1 5 0 True"]
