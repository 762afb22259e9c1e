"""Extra trees of scikit-learn on rows of the clinic, and how they are written down for lossdoctor to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.advice.dataset import Row
from lossdoctor.core.vocabulary import ACTIONS
from lossdoctor.engine.forest import LEAF
from lossdoctor.engine.inputs import names
from lossdoctor.engine.vitals import names as sign_names

Matrix = NDArray[np.float64]

LEAST_WRITTEN = 40  # per mille: answers below it are written down as zero
UNKNOWN = -30.0  # below every vital sign: an unknown one goes left at every node
ADVICE = tuple(a for a in ACTIONS if a != "none")
SIGNS = sign_names()
OUTCOMES = (*(f"right {a}" for a in ADVICE), *(f"harm {a}" for a in ADVICE))
SETTINGS: Mapping[str, Any] = {"n_estimators": 60, "bootstrap": True, "random_state": 0, "n_jobs": 1}


def inputs_matrix(rows: Sequence[Row], wanted: Sequence[str] = names()) -> Matrix:
    """float64[rows, inputs]."""
    return np.array([[row.inputs.get(name, UNKNOWN) for name in wanted] for row in rows]).reshape(len(rows), -1)


def weights(rows: Sequence[Row]) -> Matrix:
    """Every run counts alike, by however many loggers it is written."""
    times = Counter(row.key for row in rows)
    return np.array([1.0 / times[row.key] for row in rows])


def is_ill(row: Row) -> bool:
    """Some remedy would have helped by a third, or, where they are not trained, the fault did visible harm."""
    return not row.healthy and (row.sick if row.treatable is None else row.treatable)


def fit_detector(rows: Sequence[Row], **settings: Any) -> Any:
    """Trees that tell sick from healthy; rows that are neither are left out."""
    from sklearn.ensemble import ExtraTreesRegressor

    used = [r for r in rows if r.healthy or is_ill(r)]
    ill = np.array([[float(is_ill(r))] for r in used])
    weight = weights(used)
    share = float((weight * ill[:, 0]).sum() / weight.sum())
    weight = weight * np.where(ill[:, 0] > 0, 0.5 / share, 0.5 / (1.0 - share))  # as many sick as healthy
    options = {**SETTINGS, "min_samples_leaf": 4, **settings}
    return ExtraTreesRegressor(**options).fit(inputs_matrix(used), ill[:, 0], weight)


def fit_adviser(rows: Sequence[Row], **settings: Any) -> Any:
    """Trees that tell of a sick run the chance that each action is right, then that each is harmful.

    Asked with the vital signs alone: with what the rules found as well, advice on unseen tasks was worse.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    used = [r for r in rows if r.right is not None and r.treatable]
    options = {**SETTINGS, "min_samples_leaf": 3, **settings}
    return ExtraTreesRegressor(**options).fit(inputs_matrix(used, SIGNS), outcomes(used), weights(used))


def outcomes(rows: Sequence[Row]) -> Matrix:
    """float64[rows, 2 · actions]: whether each action was right, then whether each was harmful."""
    right = [[float(a in (r.right or ())) for a in ADVICE] for r in rows]
    harm = [[float(a in (r.harmful or ())) for a in ADVICE] for r in rows]
    return np.hstack([np.array(right), np.array(harm)])


def causes_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The causes that occur, in alphabetical order."""
    return tuple(sorted({c for r in rows for c in r.causes}))


def fit_causes(rows: Sequence[Row], causes: Sequence[str], **settings: Any) -> Any:
    """Trees that tell the cause of a run that is visibly harmed: shares that add up to one."""
    from sklearn.ensemble import ExtraTreesRegressor

    used = [r for r in rows if r.causes and (r.sick or is_ill(r))]
    shares = np.array([[(c in r.causes) / len(r.causes) for c in causes] for r in used])
    options = {**SETTINGS, "min_samples_leaf": 3, **settings}
    return ExtraTreesRegressor(**options).fit(inputs_matrix(used), shares, weights(used))


def written(
    model: Any, outputs: Sequence[str], inputs: Sequence[str] = names(), *, inner: bool = False
) -> dict[str, Any]:
    """The trees as plain lists: limits with five digits, answers in per mille, zeros left out.

    ``inner``: also the answers of inner nodes, from which it can be told what moved the answer.
    """
    trees = []
    for estimator in model.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        if not np.array_equal(tree.children_left[~leaf], np.flatnonzero(~leaf) + 1):
            raise ValueError("the trees are not written depth first: their left nodes have to be written down")
        values = np.rint(1000.0 * tree.value[:, :, 0]).astype(int)
        trees.append(
            {
                "sign": np.where(leaf, LEAF, tree.feature).tolist(),
                "limit": [0 if end else float(f"{v:.4g}") for v, end in zip(tree.threshold, leaf, strict=True)],
                "right": np.where(leaf, 0, tree.children_right).tolist(),
                "value": [_sparse(v) if inner or end else [] for v, end in zip(values, leaf, strict=True)],
            }
        )
    return {"inputs": list(inputs), "outputs": list(outputs), "trees": trees}


def _sparse(values: NDArray[np.int64]) -> list[int]:
    return [int(n) for i in np.flatnonzero(values >= LEAST_WRITTEN) for n in (i, values[i])]
