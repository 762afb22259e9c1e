"""A plain tree ensemble over simple curve features: what one gets without any knowledge of training.

It is fitted on the tuning half only and asked about a task that it has never seen (leave one task out). Extra trees of
scikit-learn tell whether something is wrong, with the threshold at 5 % of alarms among the healthy runs it was fitted
on (out of bag), and rank the actions by the share of trees that call them right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import Opinion, distinct, points
from lossdoctor.core.history import TrainingHistory

FALSE_ALARMS = 0.05
LEAST = 20  # runs of a kind, fewer are not fitted
SETTINGS: Mapping[str, Any] = {"n_estimators": 400, "min_samples_leaf": 2, "bootstrap": True, "random_state": 0}

Vector = NDArray[np.float64]


def curve_features(values: Sequence[float]) -> list[float]:
    """Twelve numbers of one curve, free of its scale; NaN where it is not logged or too short."""
    raw = np.asarray(values, dtype=float)
    finite = raw[np.isfinite(raw)]
    if len(finite) < 4:
        return [math.log1p(len(raw)), 1.0 - len(finite) / max(1, len(raw)), *[math.nan] * 10]
    y = np.clip(finite, -1e30, 1e30)
    n, tenth, quarter = len(y), max(1, len(y) // 10), max(1, len(y) // 4)
    start, end = float(np.mean(y[:tenth])), float(np.mean(y[-tenth:]))
    width = max(1, n // 20)
    smooth = np.convolve(y, np.ones(width) / width, mode="valid")
    best_at = int(np.argmin(smooth))
    scale = float(np.median(np.abs(y))) + 1e-12
    steps = np.diff(y)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) + 1e-12
    wild = np.std(steps) / noise
    level = abs(start - float(smooth[best_at])) + 1e-12
    late = float(np.mean(y[-quarter:]) - np.mean(y[-2 * quarter : -quarter]))
    lag = float(np.corrcoef(y[:-1], y[1:])[0, 1]) if np.std(y) > 1e-9 * scale else 1.0
    return [
        math.log1p(len(raw)),
        1.0 - n / len(raw),
        (start - end) / scale,
        (end - float(smooth[best_at])) / level,
        best_at / max(1, len(smooth) - 1),
        math.log10(noise / scale),
        math.log10(wild + 1e-12),
        late / level,
        float(np.max(y) - start) / scale,
        lag,
        float(np.mean(np.sign(steps[1:]) != np.sign(steps[:-1]))),
        math.log10(level / scale),
    ]


def features(history: TrainingHistory) -> Vector:
    """The features of a run: those of its curves, of the gap, the gradient norm and the learning rate."""
    train, val = points(history, "train_loss")[1], points(history, "val_loss")[1]
    norm, rate = points(history, "grad_norm")[1], points(history, "learning_rate")[1]
    gap = math.nan
    if len(train) >= 4 and len(val) >= 4:
        a, b = float(np.mean(train[-max(1, len(train) // 10) :])), float(np.mean(val[-max(1, len(val) // 10) :]))
        gap = (b - a) / (abs(a) + 1e-12)
    classes = history.context.classes
    start = float(np.mean(train[:3])) / math.log(classes) if classes and train else math.nan
    end = float(np.mean(train[-10:])) / math.log(classes) if classes and train else math.nan
    level = math.log10(float(np.median(norm)) + 1e-12) if norm and np.isfinite(norm).any() else math.nan
    moved = float(np.argmax(np.asarray(rate) < 0.5 * max(rate)) / len(rate)) if rate and max(rate) > 0 else math.nan
    low = math.log10(min(rate) / max(rate) + 1e-6) if rate and max(rate) > 0 else math.nan
    one_rate = math.log10(max(rate)) if rate and max(rate) > 0 else math.nan
    parts = [*curve_features(train), *curve_features(val), *curve_features(norm)]
    out = np.array([*parts, gap, start, end, level, moved, low, one_rate])
    filled: Vector = np.clip(np.nan_to_num(out, nan=-99.0, posinf=1e6, neginf=-1e6), -1e6, 1e6)
    return filled


@dataclass(frozen=True)
class Example:
    """A run to fit on: whether it is sick, and its right actions where they are known."""

    history: TrainingHistory
    task: str
    sick: bool
    right: tuple[str, ...] | None = None


@dataclass
class Trees:
    """An ensemble per unseen task, fitted when it is first asked for."""

    examples: Sequence[Example]
    fitted: dict[str, _Fitted | None] = field(default_factory=dict)

    def ask(self, history: TrainingHistory, task: str) -> Opinion | None:
        """Its opinion of a run of a task that it leaves out; None where too few runs are there to fit on."""
        if task not in self.fitted:
            self.fitted[task] = _fit([e for e in self.examples if e.task != task])
        model = self.fitted[task]
        return None if model is None else model.ask(features(history))


@dataclass(frozen=True)
class _Fitted:
    detector: Any
    threshold: float
    adviser: Any
    actions: tuple[str, ...]

    def ask(self, vector: Vector) -> Opinion:
        score = float(self.detector.predict_proba(vector[None])[0, 1])
        advice: tuple[str, ...] = ()
        if self.adviser is not None:
            ranked = np.argsort(-self.adviser.predict(vector[None])[0], kind="stable")
            advice = distinct(self.actions[i] for i in ranked)
        return Opinion(score > self.threshold, advice, score=score)


def _fit(examples: Sequence[Example]) -> _Fitted | None:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    sick = np.array([e.sick for e in examples])
    if sick.sum() < LEAST or (~sick).sum() < LEAST:
        return None
    x = np.array([features(e.history) for e in examples])
    detector = ExtraTreesClassifier(**SETTINGS, class_weight="balanced", oob_score=True).fit(x, sick)
    threshold = float(np.quantile(detector.oob_decision_function_[~sick, 1], 1.0 - FALSE_ALARMS))
    advised = [i for i, e in enumerate(examples) if e.right]
    actions = tuple(sorted({a for i in advised for a in examples[i].right or ()}))
    if len(advised) < LEAST or len(actions) < 2:
        return _Fitted(detector, threshold, None, ())
    wanted = np.array([[a in (examples[i].right or ()) for a in actions] for i in advised], dtype=float)
    return _Fitted(detector, threshold, ExtraTreesRegressor(**SETTINGS).fit(x[advised], wanted), actions)
