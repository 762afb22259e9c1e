"""Equal inputs with different targets: the best that any model can do on them is limited."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.numbers import percent
from lossdoctor.probes.data.case import Case, rows_of
from lossdoctor.probes.data.finding import DataFinding, of
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.rows import blank, chance_pairs, fingerprints, groups


def check(case: Case) -> list[DataFinding]:
    """Labels that contradict one another for identical inputs, and the error that no model can undercut.

    Where inputs tie by chance (few features with few values), the same inputs may rightly have different targets: that
    is told as info, as the share of errors that is irreducible; otherwise as noise in the labels.
    """
    table, target = case.train, case.train.target
    if target is None or target.kind not in ("classes", "numbers") or table.examples < 2:
        return []
    keep = np.flatnonzero(np.isfinite(target.values).all(axis=1) & ~blank(table))
    table = table.taken(keep)
    group = groups(fingerprints(table)[0]) if len(keep) else np.zeros(0, dtype=np.int64)
    sizes = np.bincount(group)
    repeated = np.flatnonzero(sizes[group] > 1) if len(group) else np.zeros(0, dtype=np.int64)
    if not len(repeated):
        return []
    values = target.values[keep][:, 0]
    order = np.lexsort((values[repeated], group[repeated]))
    rows = repeated[order]
    same_group = group[rows][1:] == group[rows][:-1]
    differs = same_group & (values[rows][1:] != values[rows][:-1])
    if not differs.any():
        return []
    contradicted = np.isin(group, np.unique(group[rows][1:][differs]))
    count = int(contradicted.sum())
    places = np.flatnonzero(contradicted)
    places = places[np.argsort(group[places], kind="stable")]
    chance = chance_pairs(table, table.examples * (table.examples - 1) / 2) > 0.05
    if target.classified:
        pairs = np.unique(np.stack([group[places], values[places].astype(np.int64)]), axis=1, return_counts=True)
        best = np.zeros(len(sizes))
        np.maximum.at(best, pairs[0][0], pairs[1])
        lost = float((sizes[np.unique(group[places])] - best[np.unique(group[places])]).sum()) / table.examples
        limit = f"no model can be right on more than {percent(1 - lost)} of these data"
    else:
        means = np.bincount(group, values) / np.maximum(1, sizes)
        within = float(((values - means[group]) ** 2)[contradicted].sum()) / table.examples
        total = float(values.var())
        lost = within / total if total > 0 else 0.0
        limit = f"{percent(lost)} of the target's variance cannot be explained by any model"
    severity = "warning" if lost >= 0.01 and not chance else "info"
    reason = "; with so few different inputs that need not be an error" if chance else ""
    summary = (
        f"{of(count, table.examples)} have the inputs of another row but a different target (for example rows"
        f" {table.rows[places[0]]} and {table.rows[places[1]]}): {limit}{reason}"
    )
    causes = {"label-noise": 5.0, "bad-data": 2.0} if severity == "warning" else {"label-noise": 1.3}
    remedy = Remedy(what="Look at these rows: correct the labels, or add the feature that tells them apart.")
    return [
        DataFinding(
            check="contradictions",
            severity=severity,
            summary=summary,
            value=lost,
            count=count,
            rows=rows_of(table, places),
            numbers={"irreducible": lost},
            causes=causes,
            remedy=remedy,
        )
    ]
