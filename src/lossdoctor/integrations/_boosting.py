"""What the boosting libraries share: data set -> metric -> one value per round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory

Results = Mapping[str, Mapping[str, Sequence[Any]]]


def last_values(results: Results) -> dict[str, float]:
    """The newest value of every metric, named ``dataset-metric``; the mean where folds give (mean, deviation).

    >>> last_values({"train": {"logloss": [0.6, 0.5]}, "test": {"auc": [(0.7, 0.01)]}})
    {'train-logloss': 0.5, 'test-auc': 0.7}
    """
    return {f"{d}-{m}": _mean(v[-1]) for d, metrics in results.items() for m, v in metrics.items() if len(v)}


def _mean(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def history_of_results(results: Results, *, name: str = "", first: int = 0, period: int = 1) -> TrainingHistory:
    """A history of evaluation results, its steps every ``period``-th round from ``first`` on.

    Raises:
        UsageError: there are none.
    """
    curves = {
        f"{d}-{m}": (first + period * np.arange(len(v)), np.array([_mean(x) for x in v]))
        for d, metrics in results.items()
        for m, v in metrics.items()
        if len(v)
    }
    if not curves:
        raise UsageError(
            "there are no evaluation results; give the training evaluation sets, the training data among them"
        )
    return TrainingHistory(curves, name=name)
