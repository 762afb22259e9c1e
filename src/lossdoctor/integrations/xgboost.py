"""XGBoost: a training callback, and the evaluation results of a finished training as a history.

>>> from lossdoctor.integrations.xgboost import LossDoctorCallback  # doctest: +SKIP
>>> xgboost.train(params, train, evals=[(train, "train"), (valid, "valid")],
...               callbacks=[LossDoctorCallback()])  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lossdoctor.core.history import TrainingHistory
from lossdoctor.integrations._boosting import history_of_results, last_values
from lossdoctor.integrations._link import Link, framework, hook

xgboost = framework("xgboost", extra="xgboost")
TrainingCallback: Any = xgboost.callback.TrainingCallback
_CONFIG = ("eta", "learning_rate", "max_depth", "min_child_weight", "subsample", "colsample_bytree", "lambda", "alpha")


class LossDoctorCallback(TrainingCallback):
    """Records every evaluation metric at every boosting round, as ``train-logloss`` and the like.

    Ends the training where an action asks for it. Without evaluation sets there is nothing to record: give the training
    data as one of them.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one and on other ranks than 0.
    """

    def __init__(self, monitor: Any = None, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorCallback for XGBoost", monitor, options)

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    def before_training(self, model: Any) -> Any:
        self._open(model)
        return model

    @hook
    def _open(self, model: Any) -> None:
        if xgboost.collective.get_rank() == 0:
            config = _config(model)
            self.link.open(self, config, learning_rate=config.get("learning_rate"))

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        self._record(epoch, evals_log)
        stop = self.link.should_stop
        if xgboost.collective.get_world_size() > 1:  # all ranks or none
            stop = bool(xgboost.collective.broadcast(stop, 0))
        return stop

    @hook
    def _record(self, round: int, evals_log: Mapping[str, Any]) -> None:
        self.link.log(round, last_values(evals_log))

    def after_training(self, model: Any) -> Any:
        self.link.close()
        return model


def _config(model: Any) -> dict[str, Any]:
    """The booster's own parameters; none for the folds of ``xgboost.cv``."""
    if not hasattr(model, "save_config"):
        return {}
    learner = json.loads(model.save_config())["learner"]
    booster = learner["gradient_booster"]
    found = {**booster.get("tree_train_param", {}), **booster.get("gblinear_train_param", {})}
    numbers = {k: float(found[k]) for k in _CONFIG if k in found}
    if "eta" in numbers:
        numbers.setdefault("learning_rate", numbers.pop("eta"))
    return {"booster": booster.get("name"), "objective": learner["objective"]["name"], **numbers}


def history_of(trained: Any, *, name: str = "") -> TrainingHistory:
    """The evaluation results of a finished training.

    Args:
        trained: the ``evals_result`` that ``xgboost.train`` filled, or a fitted ``XGBModel``.
        name: a name of the run.

    >>> history_of({"train": {"rmse": [3.0, 2.0]}, "valid": {"rmse": [3.5, 3.0]}}).roles.names
    {'train_loss': ('train-rmse',), 'val_loss': ('valid-rmse',)}
    """
    results = trained if isinstance(trained, Mapping) else trained.evals_result()
    return history_of_results(results, name=name)
