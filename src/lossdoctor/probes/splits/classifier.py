"""The classifier two-sample test: can a classifier tell which split an example is of?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.probes.data.arrays import drawn
from lossdoctor.probes.data.baseline import design
from lossdoctor.probes.data.statistics import Values
from lossdoctor.probes.data.table import Part, Table
from lossdoctor.signal.tails import normal_sf

CLASSIFIERS = ("auto", "logistic", "boosting", "none")
_FOLDS = 5
_EXAMPLES = 5000  # of each split
# Folds share what they are fitted to and judge what others were fitted to: their mean varies more than that of
# independent ones, by 1 / K + 1 / (K − 1) instead of 1 / K (Nadeau and Bengio 2003).
_CORRECTION = math.sqrt(1.0 + _FOLDS / (_FOLDS - 1.0))
LEAST = 40  # examples of each split below which it is not tried


@dataclass(frozen=True, kw_only=True)
class ClassifierTest:
    """How well a classifier tells the splits apart, on examples that it was not fitted to.

    Attributes:
        classifier: ``"logistic"`` or ``"boosting"``: the one that does it better.
        auc: area under the curve, mean over five folds: 0.5 by guessing, 1 for splits that are wholly apart.
        error: its standard error where the splits are alike: Mann and Whitney's, corrected for the folds' dependence.
        accuracy: share told right, both splits counted alike; 0.5 by guessing.
        p: chance of such an AUC or a larger one where the splits are alike, corrected for the classifiers tried.
    """

    classifier: str
    auc: float
    error: float
    accuracy: float
    p: float


def classifier_test(train: Table, val: Table, classifier: str = "auto") -> ClassifierTest | None:
    """The two-sample test of Lopez-Paz and Oquab (2017), by AUC; None with too few examples or without scikit-learn.

    Raises:
        UsageError: an unknown classifier, or a named one without scikit-learn.
    """
    if classifier not in CLASSIFIERS:
        raise UsageError(
            f"classifier={classifier!r}; expected one of {', '.join(CLASSIFIERS)}"
            f"{nearest(str(classifier), CLASSIFIERS)}"
        )
    if classifier == "none" or min(train.examples, val.examples) < LEAST:
        return None
    if not available():
        if classifier == "auto":
            return None
        raise UsageError(
            f"classifier={classifier!r} needs scikit-learn, which is not installed; run: pip install"
            " 'lossdoctor[sklearn]'"
        )
    joint, label = _joint(train, val)
    x = design(joint, np.arange(joint.examples), width=100)
    if x is None:
        return None
    order = np.random.default_rng(0).permutation(len(x))
    x, label = x[order], label[order]
    kinds = ("logistic", "boosting") if classifier == "auto" else (classifier,)
    tests = [_tested(x, label, kind, len(kinds)) for kind in kinds]
    return min(tests, key=lambda t: (t.p, -t.auc))


def available() -> bool:
    """Whether scikit-learn is installed."""
    from importlib.util import find_spec

    return find_spec("sklearn") is not None


def _joint(train: Table, val: Table) -> tuple[Table, NDArray[np.int64]]:
    """Both splits as one table, at most 5,000 of each, and which is which (1: validation)."""
    a = train.taken(drawn(train.examples, _EXAMPLES))
    b = val.taken(drawn(val.examples, _EXAMPLES))
    parts = tuple(_stacked(p, q) for p, q in zip(a.parts, b.parts, strict=True))
    zeros = np.zeros(a.examples + b.examples, dtype=np.int64)
    label = np.concatenate([np.zeros(a.examples, dtype=np.int64), np.ones(b.examples, dtype=np.int64)])
    return Table(parts, None, zeros, zeros), label


def _stacked(a: Part, b: Part) -> Part:
    width = max(a.places, b.places)
    padded = [
        np.pad(p.values, ((0, 0), (0, width - p.places), (0, 0)), constant_values=np.nan)
        if p.places < width
        else p.values
        for p in (a, b)
    ]
    return Part(a.name, a.kind, np.concatenate(padded), a.names, a.integers)


def _tested(x: Values, label: NDArray[np.int64], kind: str, tried: int) -> ClassifierTest:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    fold = np.empty(len(x), dtype=np.int64)
    for k in (0, 1):  # each fold holds its share of both splits
        places = np.flatnonzero(label == k)
        fold[places] = np.arange(len(places)) % _FOLDS
    aucs, variances, right = [], [], []
    share = label.mean()
    for k in range(_FOLDS):
        fitted, held = fold != k, fold == k
        model = _model(kind).fit(x[fitted], label[fitted])
        score = model.predict_proba(x[held])[:, 1]
        ones, zeros = int(label[held].sum()), int((1 - label[held]).sum())
        aucs.append(float(roc_auc_score(label[held], score)))
        right.append(float(balanced_accuracy_score(label[held], score > share)))
        variances.append((ones + zeros + 1) / (12.0 * ones * zeros))
    auc, error = float(np.mean(aucs)), _CORRECTION * math.sqrt(sum(variances)) / _FOLDS
    p = min(1.0, tried * normal_sf((auc - 0.5) / error))
    return ClassifierTest(classifier=kind, auc=auc, error=error, accuracy=float(np.mean(right)), p=p)


def _model(kind: str) -> Any:
    if kind == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=0.1, max_iter=200)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=8, learning_rate=0.1, early_stopping=False, random_state=0
    )
