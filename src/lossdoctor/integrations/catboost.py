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
        self._counts: dict[str, int] = {}

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
            self._counts = {}
        self._last = info.iteration
        # With metric_period, what was evaluated some iterations ago is still the last value.
        results = info.metrics or {}
        counts = {f"{d}-{m}": len(values) for d, metrics in results.items() for m, values in metrics.items()}
        values = last_values(results)
        self.link.log(info.iteration, {n: v for n, v in values.items() if counts[n] != self._counts.get(n)})
        self._counts = counts

    def finish(self) -> None:
        """The training is over."""
        self.link.close()


def history_of(trained: Any, *, name: str = "") -> TrainingHistory:
    """The metrics of a finished training.

    Args:
        trained: a fitted model, or what its ``get_evals_result()`` gives (which does not know ``metric_period``).
        name: a name of the run.

    >>> history_of({"learn": {"RMSE": [3.0, 2.0]}, "validation": {"RMSE": [3.5, 3.0]}}).roles.names
    {'train_loss': ('learn-RMSE',), 'val_loss': ('validation-RMSE',)}
    """
    if isinstance(trained, Mapping):
        return history_of_results(trained, name=name, first=1)
    period = trained.get_param("metric_period") or 1
    return history_of_results(trained.get_evals_result(), name=name, first=1, period=period)
