"""Examples that occur twice: within the training part, and in both parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import percent
from lossdoctor.probes.data.case import Case, rows_of
from lossdoctor.probes.data.finding import MOST_ROWS, DataFinding, of
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.rows import blank, chance_pairs, fingerprints, groups
from lossdoctor.probes.data.table import Table

_CHANCE = 0.05  # equal pairs expected by chance from which equal rows are no sign of copies


def check(case: Case) -> list[DataFinding]:
    """Equal inputs: copies within the training part, and examples that are in training and validation (a leak).

    Rows are compared by hashes of their inputs. Where few features with few values make equal rows by chance (a lower
    bound is computed from how often each feature ties), they are not called copies.
    """
    return within(case.train) + ([] if case.val is None else across(case.train, case.val))


def within(table: Table) -> list[DataFinding]:
    """Copies within one split; rows that a sampler drew again are not copies."""
    kept = _once(table)
    if kept is not None:
        table = table.taken(kept)
    if table.examples < 2:
        return []
    found = []
    empty = blank(table)
    count = int(empty.sum())
    if count > 1 and table.numeric:  # texts of one code are padding or blanks, as texts have them
        rows = np.flatnonzero(empty)
        summary = f"{of(count, table.examples)} are blank: all their inputs hold one value"
        found.append(
            DataFinding(
                check="blank-rows",
                severity="warning" if count > 0.05 * table.examples else "info",
                summary=summary,
                value=count / table.examples,
                count=count,
                rows=rows_of(table, rows),
                causes={"bad-data": 2.5} if count > 0.05 * table.examples else {},
                remedy=Remedy(what="Look at how they came about; leave them out."),
            )
        )
    group = groups(fingerprints(table)[0])
    sizes = np.bincount(group)
    copies = int((sizes - 1)[sizes > 1].sum()) - max(0, count - 1)
    if copies <= 0:
        return found
    chance = chance_pairs(table, table.examples * (table.examples - 1) / 2)
    if chance > _CHANCE:
        return found
    rows = np.flatnonzero((sizes[group] > 1) & ~empty)
    rows = rows[np.argsort(group[rows], kind="stable")]  # copies side by side
    share = copies / table.examples
    pair = f" (for example rows {table.rows[rows[0]]} and {table.rows[rows[1]]})" if len(rows) > 1 else ""
    summary = (
        f"{of(copies, table.examples)} repeat the inputs of another{pair}; the largest group holds {int(sizes.max()):,}"
    )
    severity = "warning" if share >= 0.05 else "info"
    remedy = Remedy(
        what="Unless they are oversampled on purpose, keep one of each, before the data are split.",
        code="x, keep = np.unique(x, axis=0, return_index=True)\ny = y[keep]",
    )
    found.append(
        DataFinding(
            check="duplicates",
            severity=severity,
            summary=summary,
            value=share,
            count=copies,
            rows=rows_of(table, rows),
            numbers={"share": share, "chance_pairs": chance},
            causes={"bad-data": 1.5, "too-little-data": 1.5} if severity == "warning" else {},
            remedy=remedy,
        )
    )
    return found


def _once(table: Table) -> NDArray[np.int64] | None:
    """Each index of the data set once, where some were drawn again."""
    if not table.indexed:
        return None
    first = np.unique(table.rows, return_index=True)[1]
    return np.sort(first).astype(np.int64) if len(first) < table.examples else None


def across(train: Table, val: Table) -> list[DataFinding]:
    """Validation examples whose inputs are in the training part too."""
    if not comparable(train, val):
        return []
    ours, theirs = fingerprints(train, val)
    shared = np.isin(theirs, ours) & ~blank(val)
    count = int(shared.sum())
    if not count or chance_pairs(train, float(train.examples) * val.examples) > _CHANCE:
        return []
    share = count / val.examples
    severity = "info" if share < 0.02 or count < 3 else "critical" if share >= 0.05 else "warning"
    rows = np.flatnonzero(shared)
    first = int(np.flatnonzero(ours == theirs[rows[0]])[0])
    agree = _same_target(train, val, ours, theirs, rows)
    summary = (
        f"{of(count, val.examples, 'validation rows')} are in the training part too (validation row"
        f" {val.rows[rows[0]]} is training row {train.rows[first]}): the validation loss looks better than it is"
    )
    if agree is not None and agree < 0.99:
        summary += f"; only {percent(agree)} of them have the same target there"
    if train.cut:
        summary += f"; only {train.examples:,} training rows were compared, so there may be more"
    ratio = 15.0 if severity == "critical" else 4.0 if severity == "warning" else 1.3
    remedy = Remedy(
        what="Split by groups of equal rows (or by person, scene, document), not by rows.",
        code=(
            "from sklearn.model_selection import GroupShuffleSplit\n"
            "group = np.unique(x, axis=0, return_inverse=True)[1]\n"
            "train, val = next(GroupShuffleSplit(1, test_size=0.2, random_state=0).split(x, y, group))"
        ),
    )
    return [
        DataFinding(
            check="leak",
            severity=severity,
            summary=summary,
            value=share,
            count=count,
            rows=tuple(int(r) for r in val.rows[rows[:MOST_ROWS]]),
            numbers={"share": share},
            causes={"data-leak": ratio},
            remedy=remedy,
        )
    ]


def comparable(train: Table, val: Table) -> bool:
    """Whether both hold the same inputs, of the same form."""
    return len(train.parts) == len(val.parts) and all(
        a.features == b.features and a.kind == b.kind and (a.places == b.places or not a.numeric)
        for a, b in zip(train.parts, val.parts, strict=True)
    )


def _same_target(
    train: Table, val: Table, ours: NDArray[np.void], theirs: NDArray[np.void], rows: NDArray[np.int64]
) -> float | None:
    """The share of shared examples with the same target in both; None without targets to compare."""
    a, b = train.target, val.target
    if a is None or b is None or a.kind != b.kind or a.outputs != b.outputs:
        return None
    first = {h: i for i, h in reversed(list(enumerate(ours.tolist())))}
    places = [first[h] for h in theirs[rows].tolist()]
    left, right = a.told()[places], b.told()[rows]
    return float(np.all(left == right, axis=1).mean())
