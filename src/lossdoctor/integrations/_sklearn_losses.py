"""Losses of scikit-learn estimators on given data, also where predictions have become NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEAST = np.finfo(np.float64).eps  # the least chance that counts, as for scikit-learn


def classifies(model: Any) -> bool:
    """Whether an estimator has classes."""
    return hasattr(model, "classes_")


def loss_of(model: Any, x: Any, y: Any) -> float:
    """Mean loss of an estimator: log loss, hinge loss or errors of a classifier, squared error of a regressor.

    Of a clustering, whose ``y`` is None, the mean squared distance to the nearest centre.
    """
    with np.errstate(all="ignore"):  # a diverged model has a loss too: inf or NaN
        if y is None:
            return float(np.mean(np.min(model.transform(x), axis=1) ** 2))
        if not classifies(model):
            return _squared(y, model.predict(x))
        if hasattr(model, "predict_proba"):
            return _log_loss(model.classes_, y, model.predict_proba(x))
        if hasattr(model, "decision_function"):
            return _hinge(model.classes_, y, model.decision_function(x))
        return float(np.mean(model.predict(x) != np.asarray(y)))


def staged_losses(model: Any, x: Any, y: Any) -> tuple[str, list[float]]:
    """Name and values, stage by stage, of a boosting's loss: the unit of its training loss, where it can be had.

    The Huber loss changes its delta from stage to stage, so that (like gamma and Poisson) it is given as ``val_mae``,
    which nobody takes for the training loss.
    """
    histogram = not hasattr(model, "estimators_")
    if classifies(model):
        if model.loss == "exponential":
            signs = np.where(np.asarray(y) == model.classes_[1], 1.0, -1.0)
            return "val_loss", [float(np.mean(np.exp(-signs * np.ravel(m)))) for m in model.staged_decision_function(x)]
        # GradientBoostingClassifier counts two classes by their deviance, which is twice the log loss.
        factor = 2.0 if len(model.classes_) == 2 and not histogram else 1.0
        return "val_loss", [factor * _log_loss(model.classes_, y, p) for p in model.staged_predict_proba(x)]
    stages: Iterable[Any] = model.staged_predict(x)
    if model.loss == "squared_error":
        return "val_loss", [_squared(y, p) * (0.5 if histogram else 1.0) for p in stages]  # the one counts halves
    if model.loss == "quantile":
        alpha = model.quantile if histogram else model.alpha
        return "val_loss", [_pinball(y, p, alpha) for p in stages]
    name = "val_loss" if model.loss == "absolute_error" else "val_mae"
    return name, [float(np.mean(np.abs(np.asarray(y) - p))) for p in stages]


def _squared(y: Any, predicted: Any) -> float:
    return float(np.mean((np.asarray(y, dtype=np.float64) - predicted) ** 2))


def _pinball(y: Any, predicted: Any, alpha: float) -> float:
    off = np.asarray(y, dtype=np.float64) - predicted
    return float(np.mean(np.maximum(alpha * off, (alpha - 1) * off)))


def _log_loss(classes: Any, y: Any, chances: Any) -> float:
    of_truth = np.asarray(chances, dtype=np.float64)[np.arange(len(y)), np.searchsorted(classes, np.asarray(y))]
    return float(np.mean(-np.log(np.maximum(of_truth, _LEAST))))


def _hinge(classes: Any, y: Any, decision: Any) -> float:
    """Of two classes max(0, 1 - m); of more, by the margin over the best wrong class (Crammer and Singer)."""
    scores = np.asarray(decision, dtype=np.float64)
    truth = np.searchsorted(classes, np.asarray(y))
    if scores.ndim == 1:
        margins: Floats = np.where(truth == 1, scores, -scores)
    else:
        rows = np.arange(len(truth))
        others = scores.copy()
        others[rows, truth] = -np.inf
        margins = scores[rows, truth] - others.max(axis=1)
    return float(np.mean(np.maximum(0.0, 1.0 - margins)))
