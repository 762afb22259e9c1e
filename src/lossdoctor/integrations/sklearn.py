"""scikit-learn: the histories that estimators keep, and loops over ``partial_fit``.

>>> from lossdoctor.integrations.sklearn import history_of  # doctest: +SKIP
>>> history_of(MLPClassifier().fit(x, y)).diagnose()  # doctest: +SKIP

scikit-learn has no callbacks: a ``fit`` is judged when it is over, a loop over ``partial_fit`` while it runs.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.integrations._link import framework
from lossdoctor.integrations._sklearn_losses import classifies, loss_of, staged_losses
from lossdoctor.live.guard import Guard, described

framework("sklearn", extra="sklearn")

log = logging.getLogger("lossdoctor")
Held = tuple[Any, Any]


def history_of(estimator: Any, validation: Held | None = None, *, name: str = "") -> TrainingHistory:
    """What a fitted estimator remembers of its training, as a history.

    MLPClassifier and MLPRegressor (``loss_curve_``, ``validation_scores_``), gradient boosting (``train_score_`` of
    each stage) and histogram gradient boosting (``train_score_``, ``validation_score_``, kept with early stopping
    only). Steps are epochs or stages. Of a pipeline the last step is taken, of a search the best estimator.

    Args:
        estimator: fitted.
        validation: held-out (X, y). Boosting is evaluated on it stage by stage, in the unit of its training loss.
        name: a name of the run; the estimator's class by default.

    Raises:
        UsageError: the estimator keeps no history, with what to do instead.
    """
    estimator = _innermost(estimator)
    label = name or type(estimator).__name__
    if hasattr(estimator, "loss_curve_"):
        return _of_perceptron(estimator, label)
    if hasattr(estimator, "do_early_stopping_"):
        return _of_histogram_boosting(estimator, validation, label)
    if hasattr(estimator, "train_score_") and hasattr(estimator, "estimators_"):
        return _of_boosting(estimator, validation, label)
    raise UsageError(
        f"{type(estimator).__name__} keeps no history of its training; MLPClassifier and MLPRegressor (solver 'sgd' or "
        "'adam') and gradient boosting do, once they are fitted; for others, train with partial_fit and log each batch"
    )


def _innermost(estimator: Any) -> Any:
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(getattr(estimator, "steps", None), list):
            estimator = estimator.steps[-1][1]
        else:
            return estimator


def _of_perceptron(model: Any, name: str) -> TrainingHistory:
    curves = {"loss": _numbered(model.loss_curve_)}
    scores = getattr(model, "validation_scores_", None)
    if scores:
        curves["val_accuracy" if classifies(model) else "val_r2"] = _numbered(scores)
    adaptive = model.solver == "sgd" and model.learning_rate != "constant"
    context = RunContext(
        classes=len(model.classes_) if classifies(model) else None,
        planned_steps=model.max_iter,
        steps_per_epoch=1,
        batch_size=None if model.batch_size == "auto" else model.batch_size,
        learning_rate=None if adaptive else model.learning_rate_init,
        weight_decay=model.alpha or None,
        optimizer=model.solver,
    )
    return TrainingHistory(curves, name=name, step_unit="epoch", context=context)


def _of_boosting(model: Any, validation: Held | None, name: str) -> TrainingHistory:
    curves = {"loss": _numbered(model.train_score_)}
    if hasattr(model, "oob_scores_"):  # the samples that a stage left out: held out, but not always the same
        curves["val_loss"] = _numbered(model.oob_scores_)
    if validation is not None:
        x, y = validation
        metric, losses = staged_losses(model, x, y)
        curves[metric] = _numbered(losses)
    return TrainingHistory(curves, name=name, context=_of_stages(model, model.n_estimators))


def _of_histogram_boosting(model: Any, validation: Held | None, name: str) -> TrainingHistory:
    """Scores are losses with the sign turned, before the first tree and after each; or a scorer's, as they are."""
    curves: dict[str, tuple[Any, Any]] = {}
    losses = model.scoring == "loss"
    for kept, split in (("train_score_", ""), ("validation_score_", "val_")):
        scores = np.asarray(getattr(model, kept, ()), dtype=np.float64)
        if len(scores):
            metric = f"{split}loss" if losses else f"{split or 'train_'}{_scorer_name(model)}"
            curves[metric] = (np.arange(len(scores)), -scores if losses else scores)
    if validation is not None:
        x, y = validation
        metric, values = staged_losses(model, x, y)
        curves[metric] = _numbered(values)
    if not curves:
        raise UsageError(
            f"this {type(model).__name__} was trained without early stopping and kept no scores; "
            "fit it with early_stopping=True, or give held-out data: history_of(model, (x_val, y_val))"
        )
    return TrainingHistory(curves, name=name, context=_of_stages(model, model.max_iter))


def _numbered(values: Any) -> tuple[Any, Any]:
    return np.arange(1, len(values) + 1), np.asarray(values, dtype=np.float64)


def _of_stages(model: Any, stages: int) -> RunContext:
    return RunContext(
        classes=len(model.classes_) if classifies(model) else None,
        planned_steps=stages,
        learning_rate=model.learning_rate,
    )


def _scorer_name(model: Any) -> str:
    if isinstance(model.scoring, str):
        return str(model.scoring)
    return "accuracy" if classifies(model) else "r2"  # None: the estimator's own score


def partial_fit(
    monitor: Any,
    estimator: Any,
    x: Any,
    y: Any,
    *,
    validation: Held | None = None,
    every: int = 10,
    step: int | None = None,
    **options: Any,
) -> None:
    """One step of a loop over ``partial_fit``: the estimator learns from a batch, the monitor gets the losses.

    The loss is that of the batch *before* it is learned from, an honest estimate on data not seen yet; the first batch
    has none. ``monitor.should_stop`` says when to leave the loop.

    Args:
        monitor: a Monitor.
        estimator: any with ``partial_fit``: SGDClassifier, SGDRegressor, MLPClassifier, naive Bayes, ….
        x, y: the batch; y is None for clustering, whose loss is the mean squared distance to the nearest centre.
        validation: held-out (X, y), evaluated at every ``every``-th step.
        every: see above, at least 1.
        step: one more than the last one by default.
        options: given to ``estimator.partial_fit``: ``classes`` at the first batch.

    What the estimator itself raises is the caller's; what measuring or logging raises is told once, and left out.
    """
    values = _measured(estimator, x, y, "loss") if _has_learned(estimator) else {}
    if y is None:
        estimator.partial_fit(x, **options)
    else:
        estimator.partial_fit(x, y, **options)
    at = step if step is not None else _GUARD.run("step", "counting steps", _next_step, monitor, default=0)
    if validation is not None and at % max(every, 1) == 0:
        values |= _measured(estimator, *validation, "val_loss")
    if values:
        _GUARD.run("log", "logging", lambda: monitor.log(at, **values))


def _next_step(monitor: Any) -> int:
    last = getattr(monitor, "step", None)
    return 0 if last is None else int(last) + 1


def _has_learned(estimator: Any) -> bool:
    return any(hasattr(estimator, kept) for kept in ("coef_", "coefs_", "classes_", "cluster_centers_"))


def _measured(estimator: Any, x: Any, y: Any, name: str) -> dict[str, float]:
    loss = _GUARD.run(name, f"measuring {name}", loss_of, estimator, x, y)
    return {} if loss is None else {name: loss}


def _tell(part: str, error: Exception) -> None:
    log.warning("partial_fit: %s failed and is left out; training goes on: %s", part, described(error))


_GUARD = Guard(_tell)
