"""CatBoost: a callback for ``fit`` (on the CPU: CatBoost takes none on a GPU).

>>> from lossdoctor.integrations.catboost import LossDoctorCallback  # doctest: +SKIP
>>> CatBoostClassifier().fit(x, y, eval_set=(x_val, y_val), callbacks=[LossDoctorCallback()])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.core.history import TrainingHistory
from lossdoctor.integrations._boosting import history_of_results, last_values
from lossdoctor.integrations._link import Link, framework, hook

framework("catboost", extra="catboost")


class LossDoctorCallback:
    """Records every metric at every iteration, as ``learn-Logloss`` and ``validation-Logloss``.

    Ends the training where an action asks for it. CatBoost does not tell a callback that the training is over: a run is
    finished when the callback is gone, when the next training begins, or by :meth:`finish`.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one.
    """

    def __init__(self, monitor: Any = None, **options: Any) -> None:
        self.link = Link("LossDoctorCallback for CatBoost", monitor, options)
        self._last = 0

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    def after_iteration(self, info: Any) -> bool:
        """Called by CatBoost; False ends the training."""
        self._record(info)
        return not self.link.should_stop

    @hook
    def _record(self, info: Any) -> None:
        if self._last == 0 or info.iteration <= self._last:
            self.link.open(self)
        self._last = info.iteration
        self.link.log(info.iteration, last_values(info.metrics or {}))

    def finish(self) -> None:
        """The training is over."""
        self.link.close()


def history_of(trained: Any, *, name: str = "") -> TrainingHistory:
    """The metrics of a finished training.

    Args:
        trained: what ``get_evals_result()`` gives, or a fitted model.
        name: a name of the run.

    >>> history_of({"learn": {"RMSE": [3.0, 2.0]}, "validation": {"RMSE": [3.5, 3.0]}}).roles.names
    {'train_loss': ('learn-RMSE',), 'val_loss': ('validation-RMSE',)}
    """
    results = trained if isinstance(trained, Mapping) else trained.get_evals_result()
    return history_of_results(results, name=name, first=1)
