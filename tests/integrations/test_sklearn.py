"""Histories of scikit-learn's estimators, and loops over ``partial_fit``."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossdoctor import Monitor
from lossdoctor.core.errors import UsageError
from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytest.importorskip("sklearn", reason="pip install 'lossdoctor[sklearn]'")

from sklearn import linear_model, metrics, naive_bayes, neural_network
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lossdoctor.integrations.sklearn import history_of, partial_fit
from lossdoctor.live.actions import StopTraining


def classes(k: int, n: int = 300, seed: int = 0) -> tuple[Any, Any]:
    """k blobs that overlap; labels are words, as users have them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(k, size=n)
    centres = np.array([[math.cos(6.28 * i / k), math.sin(6.28 * i / k)] for i in range(k)])
    return centres[label] * 1.5 + rng.normal(size=(n, 2)), np.array(["cat", "dog", "eel", "fox"])[label]


# histories


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_perceptron_with_early_stopping() -> None:
    x, y = classes(3, 600)
    model = neural_network.MLPClassifier((16,), max_iter=40, early_stopping=True, random_state=0, n_iter_no_change=40)
    history = history_of(model.fit(x, y))
    assert values_of(history, "loss") == model.loss_curve_
    assert values_of(history, "val_accuracy") == pytest.approx(model.validation_scores_)
    assert steps_of(history, "loss") == list(range(1, 41))
    assert history.roles.primary("train_loss") == "loss"
    assert history.roles.primary("val_accuracy") == "val_accuracy"
    assert history.step_unit == "epoch"
    known = history.context.known()
    assert known == {
        "classes": 3, "planned_steps": 40, "steps_per_epoch": 1, "learning_rate": 0.001, "weight_decay": 0.0001,
        "optimizer": "adam",
    }  # fmt: skip
    assert history.name == "MLPClassifier"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_perceptron_that_was_stopped_early_is_told_so() -> None:
    settings = {"solver": "sgd", "learning_rate_init": 0.001, "max_iter": 60, "random_state": 0, "n_iter_no_change": 60}
    history = history_of(neural_network.MLPRegressor(hidden_layer_sizes=(8,), **settings).fit(*line(300)))
    assert [f.name for f in history.diagnose().findings] == ["stopped-too-early"]


@pytest.mark.parametrize(
    ("estimator", "k"),
    [
        (GradientBoostingClassifier, 2), (GradientBoostingClassifier, 3),
        (HistGradientBoostingClassifier, 2), (HistGradientBoostingClassifier, 3),
    ],
)  # fmt: skip
def test_held_out_loss_of_boosting_is_in_the_unit_of_its_training_loss(estimator: Any, k: int) -> None:
    """Given the training data as held-out data, the same values must come out twice."""
    x, y = classes(k)
    model = estimator(random_state=0).fit(x, y)
    history = history_of(model, (x, y))
    if estimator is GradientBoostingClassifier:
        assert values_of(history, "val_loss") == pytest.approx(values_of(history, "loss"), rel=1e-6)
        assert steps_of(history, "val_loss") == steps_of(history, "loss") == list(range(1, 101))
    else:
        assert values_of(history, "val_loss")[-1] == pytest.approx(metrics.log_loss(y, model.predict_proba(x)))
    assert history.context.known() == {"classes": k, "planned_steps": 100, "learning_rate": 0.1}


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "huber"])
def test_regression_by_boosting(loss: str) -> None:
    x, y = line(200)
    model = GradientBoostingRegressor(loss=loss, alpha=0.8, n_estimators=30, random_state=0).fit(x, y)
    history = history_of(model, (x, y))
    if loss == "huber":  # its own unit changes from stage to stage
        assert history.roles.comparable is False
        assert "val_mae" in history.curves
    else:
        assert values_of(history, "val_loss") == pytest.approx(values_of(history, "loss"), rel=1e-6)


def test_exponential_loss() -> None:
    x, y = classes(2)
    model = GradientBoostingClassifier(loss="exponential", n_estimators=20).fit(x, y)
    history = history_of(model, (x, y))
    assert values_of(history, "val_loss") == pytest.approx(values_of(history, "loss"), rel=1e-6)


def test_samples_left_out_by_the_stages_are_held_out() -> None:
    x, y = classes(2)
    model = GradientBoostingClassifier(subsample=0.5, n_estimators=20, random_state=0).fit(x, y)
    assert values_of(history_of(model), "val_loss") == pytest.approx(model.oob_scores_)


def test_histogram_boosting_with_early_stopping() -> None:
    x, y = classes(2, 600)
    model = HistGradientBoostingClassifier(early_stopping=True, n_iter_no_change=100, random_state=0).fit(x, y)
    history = history_of(model)
    assert steps_of(history, "loss") == steps_of(history, "val_loss") == list(range(101))
    assert values_of(history, "val_loss") == pytest.approx(-model.validation_score_)
    assert history.roles.comparable
    assert history.roles.primary("val_loss") == "val_loss"
    assert [f.name for f in history.diagnose().findings][:1] == ["overfitting"]  # 100 rounds of 31 leaves on 540 points
    scored = HistGradientBoostingClassifier(early_stopping=True, scoring="accuracy", max_iter=5, random_state=0)
    found = history_of(scored.fit(x, y))
    assert set(found.curves) == {"train_accuracy", "val_accuracy"}
    assert history_of(HistGradientBoostingRegressor(early_stopping=True, max_iter=5).fit(*line(300))).curves.keys() == {
        "loss", "val_loss",
    }  # fmt: skip


def test_histogram_boosting_regression_counts_half_of_the_square() -> None:
    x, y = line(300)
    model = HistGradientBoostingRegressor(early_stopping=True, max_iter=10, random_state=0, validation_fraction=0.5)
    history = history_of(model.fit(x, y), (x, y), name="held")
    expected = [0.5 * metrics.mean_squared_error(y, p) for p in model.staged_predict(x)]
    assert values_of(history, "val_loss") == pytest.approx(expected)
    assert history.name == "held"


def test_inside_of_pipelines_and_searches() -> None:
    x, y = classes(2)
    pipeline = make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=5))
    search = GridSearchCV(pipeline, {"gradientboostingclassifier__max_depth": [1, 2]}, cv=2).fit(x, y)
    assert history_of(search).name == "GradientBoostingClassifier"


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (RandomForestClassifier(5), "RandomForestClassifier keeps no history of its training; MLPClassifier"),
        (neural_network.MLPClassifier(solver="lbfgs", max_iter=5), "MLPClassifier keeps no history.*solver 'sgd' or"),
        (HistGradientBoostingClassifier(max_iter=3), r"without early stopping.*history_of\(model, \(x_val, y_val\)\)"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_keeps_none_says_what_to_do(estimator: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        history_of(estimator.fit(*classes(2)))


# partial_fit


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.SGDClassifier(loss="log_loss", random_state=0),
        linear_model.SGDClassifier(random_state=0),
        naive_bayes.GaussianNB(),
        neural_network.MLPClassifier((8,), random_state=0, learning_rate_init=0.01),
    ],
    ids=["log_loss", "hinge", "bayes", "mlp"],
)
@pytest.mark.parametrize("k", [2, 4])
def test_losses_before_learning(estimator: Any, k: int, tmp_path: Path) -> None:
    from sklearn.base import clone

    model, twin = clone(estimator), clone(estimator)
    held, labels = classes(k, 100, seed=9), np.unique(classes(k)[1])
    expected = []
    with Monitor(tmp_path / "run") as monitor:
        for i in range(30):
            x, y = classes(k, 32, seed=i)
            if i:
                expected.append(reference(twin, labels, x, y))
            twin.partial_fit(x, y, classes=labels)
            partial_fit(monitor, model, x, y, validation=held, every=5, classes=labels)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "val_loss") == list(range(0, 30, 5))
    assert steps_of(history, "loss") == list(range(1, 30))
    assert values_of(history, "loss") == pytest.approx(expected)
    assert values_of(history, "val_loss")[0] > 0
    assert history.roles.comparable
    assert (model.predict(held[0]) == twin.predict(held[0])).all()


def reference(model: Any, labels: Any, x: Any, y: Any) -> float:
    if hasattr(model, "predict_proba"):
        return float(metrics.log_loss(y, model.predict_proba(x), labels=labels))
    return float(metrics.hinge_loss(y, model.decision_function(x), labels=labels))


def test_regression_clustering_and_classes_only() -> None:
    x, y = line(320)
    monitor = Recording()
    model = linear_model.SGDRegressor(random_state=0)
    for i in range(10):
        partial_fit(monitor, model, x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32])
    losses = [row["loss"] for _, row in monitor.rows]
    assert len(losses) == 9
    assert losses[-1] < losses[0] / 5

    clusters = Recording()
    centres = MiniBatchKMeans(3, random_state=0, n_init=1)
    for i in range(4):
        partial_fit(clusters, centres, x[32 * i : 32 * i + 32], None, step=i)
    nearest = np.sort(((x[96:128, None] - centres.cluster_centers_) ** 2).sum(-1), axis=1)[:, 0].mean()
    assert [s for s, _ in clusters.rows] == [1, 2, 3]
    assert clusters.rows[-1][1]["loss"] == pytest.approx(nearest, rel=0.3)

    errors = Recording()
    perceptron = OnlyPredicts()
    for i in range(3):
        partial_fit(errors, perceptron, x[:4], np.array([0, 1, 1, 1]), step=i)
    assert [row["loss"] for _, row in errors.rows] == [0.75, 0.75]


class OnlyPredicts:
    """A classifier without chances or margins."""

    def partial_fit(self, x: Any, y: Any) -> None:
        self.classes_ = np.unique(y)

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x), dtype=int)


def test_a_diverging_loop_is_told_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    x, y = line(2000)
    model = linear_model.SGDRegressor(learning_rate="constant", eta0=0.3, random_state=0)
    with Monitor(tmp_path / "run", actions=[StopTraining()]) as monitor:
        for i in range(0, 2000, 4):
            partial_fit(monitor, model, x[i : i + 4], y[i : i + 4])
            if monitor.should_stop:
                break
    history = run_in(tmp_path / "run")
    assert len(history["loss"]) < 400
    assert {"announced", "stopped"} <= set(kinds(history))
    assert "LD10" in caplog.text


def test_losses_of_a_diverged_model_are_losses() -> None:
    from lossdoctor.integrations.sklearn import loss_of

    model = linear_model.SGDRegressor().fit(*line(32))
    model.coef_ = np.full(8, 1e200)
    assert loss_of(model, *line(32)) == math.inf
    model.coef_ = np.full(8, math.nan)
    assert math.isnan(loss_of(model, *line(32)))


def test_training_survives_a_broken_monitor(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from lossdoctor.integrations import sklearn as module

    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    monkeypatch.setattr(module, "_GUARD", module.Guard(module._tell))
    x, y = line(64)
    model, twin = linear_model.SGDRegressor(random_state=0), linear_model.SGDRegressor(random_state=0)
    with caplog.at_level(logging.WARNING, "lossdoctor"):
        for _ in range(5):
            twin.partial_fit(x, y)
            partial_fit(Broken(), model, x, y, validation=(x[:, :2], y))
    assert np.array_equal(model.coef_, twin.coef_)
    assert len(caplog.records) <= 4


def test_what_the_estimator_raises_is_the_callers() -> None:
    with pytest.raises(ValueError, match="classes"):
        partial_fit(Recording(), linear_model.SGDClassifier(), *classes(2))
