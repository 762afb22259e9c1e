"""How the labels are spread over the classes."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.numbers import percent
from lossdoctor.probes.data.case import Case
from lossdoctor.probes.data.finding import DataFinding, listed
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.table import Table, Target

_IMBALANCED = 10.0  # how many times more often the commonest class occurs than the rarest
_FEW = 10  # examples of a class below which nothing can be said about it


def check(case: Case) -> list[DataFinding]:
    """A single class, classes without examples, few examples, imbalance; classes of validation that training lacks."""
    table, target = case.train, case.train.target
    if target is None or target.kind not in ("classes", "labels"):
        return [] if target is None or target.kind != "numbers" else _constant_target(target)
    if target.kind == "labels":
        return _labels(target)
    codes = target.codes[target.codes >= 0]
    counts = np.bincount(codes, minlength=len(target.classes))
    present = np.flatnonzero(counts)
    found: list[DataFinding] = []
    if len(present) == 1:
        return [_single(table, target.classes[present[0]])]
    found += _gaps(target, counts)
    found += _imbalance(target, counts)
    rare = [target.classes[k] for k in present if counts[k] < _FEW]
    if rare:
        what = "class has" if len(rare) == 1 else "classes have"
        summary = (
            f"{len(rare):,} {what} fewer than {_FEW} examples ({listed(rare)}): too few to learn them, or to judge that"
        )
        found.append(
            DataFinding(
                check="few-examples",
                severity="info",
                summary=summary,
                count=len(rare),
                value=float(counts[present].min()),
                causes={"too-little-data": 1.5},
                remedy=Remedy(what="Get more of them, or merge them with a related class."),
            )
        )
    return found + _unseen(case, target, counts)


def _single(table: Table, name: str) -> DataFinding:
    """All labels alike. All zeros may be a placeholder of a model that has no target."""
    placeholder = name == "0" and not table.cut
    read = f" of the {table.examples:,} examples that were read" if table.cut else ""
    summary = f"all labels{read} are {name!r}: there is nothing to tell apart"
    what = "Look at how the labels are read."
    causes = {"labels-uninformative": 8.0, "bad-data": 4.0}
    if table.cut and table.loader:
        what = "Shuffle the training data."
        causes["data-unshuffled"] = 6.0
    if placeholder:
        summary += ", unless they are a placeholder that the loss does not use (then: task='none')"
        causes = {"labels-uninformative": 3.0}
    return DataFinding(
        check="balance",
        severity="info" if placeholder else "critical",
        summary=summary,
        value=1.0,
        causes=causes,
        remedy=Remedy(what=what),
    )


def _gaps(target: Target, counts: np.ndarray) -> list[DataFinding]:
    """Whole-number labels that do not count 0, 1, 2 …, as cross-entropy wants them."""
    if not target.declared:
        if target.integers and target.classes and target.classes[0].startswith("-"):
            if target.classes == ("-1", "1"):
                summary = "the labels are -1 and 1: cross-entropy wants 0 and 1 (a hinge loss takes them as they are)"
                severity = "info"
            else:
                summary = f"there are negative labels ({target.classes[0]}): cross-entropy counts classes from 0"
                severity = "warning"
            return [
                DataFinding(
                    check="labels",
                    severity=severity,
                    summary=summary,
                    causes={"bad-data": 1.5} if severity == "warning" else {},
                    remedy=Remedy(what="Number them from 0.", code="y = np.unique(y, return_inverse=True)[1]"),
                )
            ]
        return []
    there = {target.classes[k] for k in np.flatnonzero(counts)}
    missing = [str(k) for k in range(min(target.declared, 10_000)) if str(k) not in there]
    if not missing:
        return []
    if missing == ["0"]:
        summary = f"the labels count from 1 to {target.declared - 1}, cross-entropy from 0: one output is never right"
        remedy = Remedy(what="Number them from 0.", code="y = y - 1")
    else:
        what = "class has" if len(missing) == 1 else "classes have"
        summary = f"{len(missing):,} of {target.declared:,} {what} no example ({listed(missing)})"
        remedy = Remedy(what="Look whether they were lost in reading or splitting; else number the others from 0.")
    return [
        DataFinding(
            check="labels",
            severity="info",
            summary=summary,
            value=float(len(missing)),
            count=len(missing),
            remedy=remedy,
        )
    ]


def _imbalance(target: Target, counts: np.ndarray) -> list[DataFinding]:
    present = counts[counts > 0]
    ratio = float(present.max() / present.min())
    if ratio < _IMBALANCED:
        return []
    top, low = int(np.argmax(counts)), int(np.argmin(np.where(counts > 0, counts, counts.max() + 1)))
    share = float(counts[top] / counts.sum())
    lines = "counts = torch.bincount(y_train).clamp_min(1)\nweight = counts.sum() / (len(counts) * counts)"
    summary = (
        f"class {target.classes[top]!r} occurs {ratio:,.0f} times as often as {target.classes[low]!r}; always answering"
        f" {target.classes[top]!r} is right in {percent(share)}, so judge by more than accuracy"
    )
    remedy = Remedy(
        what="Weigh the classes by the inverse of their frequency (or its root, where the loss becomes too noisy), or"
        " draw them evenly with WeightedRandomSampler.",
        code=f"{lines}\nloss_fn = torch.nn.CrossEntropyLoss(weight=weight)",
    )
    return [
        DataFinding(
            check="imbalance",
            severity="info",
            summary=summary,
            value=ratio,
            count=int(counts[low]),
            numbers={"majority_share": share, "rarest": float(counts[low])},
            causes={"loss-misused": 1.2},
            remedy=remedy,
        )
    ]


def _unseen(case: Case, target: Target, counts: np.ndarray) -> list[DataFinding]:
    """Classes of the validation part that the training part lacks."""
    if case.val is None or case.val.target is None or not case.val.target.classified:
        return []
    theirs = case.val.target
    there = {target.classes[k] for k in np.flatnonzero(counts)}
    counted = np.bincount(theirs.codes[theirs.codes >= 0], minlength=len(theirs.classes))
    unseen = [theirs.classes[k] for k in np.flatnonzero(counted) if theirs.classes[k] not in there]
    if not unseen:
        return []
    rows = int(sum(counted[theirs.classes.index(c)] for c in unseen))
    many = rows >= max(3, 0.005 * case.val.examples)
    summary = (
        f"{len(unseen):,} classes of the validation part are not in the training part ({listed(unseen)}; {rows:,} rows)"
    )
    return [
        DataFinding(
            check="labels",
            severity="warning" if many else "info",
            summary=summary,
            value=float(len(unseen)),
            count=rows,
            causes={"validation-differs": 6.0} if many else {},
            remedy=Remedy(what="Split by class: stratify=y."),
        )
    ]


def _labels(target: Target) -> list[DataFinding]:
    """Several yes/no labels per example."""
    shares = np.nanmean(target.values, axis=0)
    still = [target.classes[k] for k in np.flatnonzero((shares == 0) | (shares == 1))]
    if not still:
        return []
    all_of_them = len(still) == len(shares)
    summary = f"{len(still):,} of {len(shares):,} labels never vary ({listed(still)})"
    return [
        DataFinding(
            check="balance",
            severity="critical" if all_of_them else "info",
            summary=summary,
            value=len(still) / len(shares),
            count=len(still),
            causes={"labels-uninformative": 8.0} if all_of_them else {},
        )
    ]


def _constant_target(target: Target) -> list[DataFinding]:
    finite = target.values[np.isfinite(target.values)]
    if not finite.size or finite.min() != finite.max() or len(target.values) < 2:
        return []
    summary = f"the target is {finite[0]:g} in every example: there is nothing to learn"
    return [
        DataFinding(
            check="balance",
            severity="critical",
            summary=summary,
            value=1.0,
            causes={"labels-uninformative": 8.0, "bad-data": 4.0},
            remedy=Remedy(what="Look at how the target is read."),
        )
    ]


def majority_share(table: Table) -> float:
    """Share of the commonest class."""
    target = table.target
    codes = np.zeros(0, dtype=np.int64) if target is None else target.codes[target.codes >= 0]
    return float(np.bincount(codes).max() / len(codes)) if len(codes) else 1.0
