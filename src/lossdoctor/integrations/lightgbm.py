"""LightGBM: a callback for ``lightgbm.train``, ``lightgbm.cv`` and the estimators' ``fit``.

>>> from lossdoctor.integrations.lightgbm import LossDoctorCallback  # doctest: +SKIP
>>> lightgbm.train(params, train, valid_sets=[train, valid], valid_names=["train", "valid"],
...                callbacks=[LossDoctorCallback()])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.core.history import TrainingHistory
from lossdoctor.integrations._boosting import history_of_results
from lossdoctor.integrations._link import Link, framework, hook

EarlyStopException = framework("lightgbm.callback", extra="lightgbm").EarlyStopException


class LossDoctorCallback:
    """Records every evaluation metric at every boosting round, as ``valid-binary_logloss`` and the like.

    Ends the training where an action asks for it, as LightGBM's own early stopping does. Without evaluation sets there
    is nothing to record: give the training data as one of them.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one.
        order: when it runs among the callbacks of a round: after recording (20), before early stopping (30).
    """

    order = 25
    before_iteration = False

    def __init__(self, monitor: Any = None, **options: Any) -> None:
        self.link = Link("LossDoctorCallback for LightGBM", monitor, options)

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    def __call__(self, env: Any) -> None:
        self._record(env)
        if self.link.should_stop:
            self.link.close()
            raise EarlyStopException(env.iteration, env.evaluation_result_list or [])
        if env.iteration == env.end_iteration - 1:
            self.link.close()

    @hook
    def _record(self, env: Any) -> None:
        found = [tuple(one) for one in env.evaluation_result_list or ()]
        if env.iteration == env.begin_iteration:
            self._open(env, found)
        rate = env.params.get("learning_rate")
        values = {f"{one[0]}-{one[1]}": float(one[2]) for one in found}
        self.link.log(env.iteration, {**values, "learning_rate": rate} if values and rate else values)

    def _open(self, env: Any, found: list[tuple[Any, ...]]) -> None:
        config = {k: v for k, v in env.params.items() if isinstance(v, (bool, int, float, str))}
        directions = {f"direction:{one[0]}-{one[1]}": "max" if one[3] else "min" for one in found}
        self.link.open(
            self,
            config,
            planned_steps=env.end_iteration,
            learning_rate=env.params.get("learning_rate"),
            **directions,
        )


def history_of(trained: Any, *, name: str = "") -> TrainingHistory:
    """The evaluation results of a finished training.

    Args:
        trained: the dict that ``lightgbm.record_evaluation`` filled, or a fitted ``LGBMModel``.
        name: a name of the run.

    >>> history_of({"training": {"l2": [3.0, 2.0]}, "valid_0": {"l2": [3.5, 3.0]}}).roles.names
    {'train_loss': ('training-l2',), 'val_loss': ('valid_0-l2',)}
    """
    results = trained if isinstance(trained, Mapping) else trained.evals_result_
    return history_of_results(results, name=name)
