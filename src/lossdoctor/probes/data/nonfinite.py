"""Missing and infinite values, in inputs and target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import short
from lossdoctor.probes.data.case import LEVEL, WORST, Case, in_one_batch, rows_of
from lossdoctor.probes.data.finding import DataFinding, of
from lossdoctor.probes.data.remedy import Remedy, pipeline
from lossdoctor.probes.data.statistics import two_sample
from lossdoctor.probes.data.table import Part, Table


def check(case: Case) -> list[DataFinding]:
    """NaN and infinities. One NaN in a batch makes its loss NaN, and with it every weight.

    Missing values that depend on the target (they are missing more often where it is larger, or in one class) say
    something themselves: filled by the median alone that is lost, so the remedy adds an indicator.
    """
    table = case.train
    found = [*_inputs(table, "missing"), *_inputs(table, "infinite")]
    if case.val is not None:
        found += [
            f for kind in ("missing", "infinite") for f in _inputs(case.val, kind, where=" of the validation part")
        ]
    return found + _target(table)


def _bad(values: NDArray[np.floating], kind: str) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(values) if kind == "missing" else np.isinf(values))


def _inputs(table: Table, kind: str, where: str = "") -> list[DataFinding]:
    found = []
    for part in table.parts:
        if not part.numeric and (part.places > 1 or kind == "infinite"):
            continue  # padding
        counts = _bad(part.values, kind).any(axis=1).sum(axis=0)
        worst = [int(j) for j in np.argsort(-counts, kind="stable")[:WORST] if counts[j]]
        found += [_one(table, part, j, kind, where) for j in worst]
        more = int((counts > 0).sum()) - len(worst)
        if more > 0:
            rows = np.flatnonzero(_bad(part.flat(), kind).any(axis=1))
            summary = f"{more:,} more features{where} hold {kind} values; in all {of(len(rows), table.examples)} do"
            found.append(
                DataFinding(
                    check=kind,
                    severity="critical",
                    summary=summary,
                    value=more,
                    count=len(rows),
                    rows=rows_of(table, rows),
                    causes={"bad-data": 8.0},
                )
            )
    return found


def _one(table: Table, part: Part, feature: int, kind: str, where: str) -> DataFinding:
    bad = np.asarray(_bad(part.values[:, :, feature], kind).any(axis=1))
    rows = np.flatnonzero(bad)
    name = table.named(part, feature)
    told = {"missing": "is missing (NaN)", "infinite": "is infinite"}[kind]
    summary = f"{name!r}{where} {told} in {of(len(rows), table.examples)}"
    numbers = {"share": len(rows) / table.examples}
    severity, causes = "critical", {"bad-data": 10.0, **in_one_batch(table, rows)}
    if part.kind == "codes":
        severity, causes = "info", {}
        fill = f'frame[{name!r}] = frame[{name!r}].fillna("missing")'
        remedy = Remedy(what="Make 'missing' a category of its own.", code=fill)
    elif kind == "infinite":
        summary += "; the loss of their batches cannot be finite"
        remedy = Remedy(
            what="Find what made it (a division by zero, a logarithm of 0, an overflow of half precision); drop the"
            " rows, or make the values missing and fill them.",
            code="x[~np.isfinite(x)] = np.nan  # then as for missing values",
        )
    elif len(rows) == table.examples and not np.isfinite(part.values[:, :, feature]).any():
        summary += ": it holds nothing"
        remedy = Remedy(what=f"Drop {name!r}.", code=f"x = np.delete(x, {feature}, axis=1)")
    else:
        told_by = _informative(table, bad)
        numbers["informative_p"] = told_by
        if told_by < LEVEL / max(1, part.features):
            summary += f"; whether it is missing goes with the target (p = {short(told_by)}), so keep that as a feature"
        summary += "; unfilled, the loss of their batches is NaN"
        remedy = pipeline(
            "Fill with the median of the training part, and say where by an indicator.", "impute-standardize"
        )
    return DataFinding(
        check=kind,
        severity=severity,
        summary=summary,
        feature=name,
        value=numbers["share"],
        count=len(rows),
        rows=rows_of(table, rows),
        numbers=numbers,
        causes=causes,
        remedy=remedy,
    )


def _informative(table: Table, missing: NDArray[np.bool_]) -> float:
    """The p-value that the target is the same where the feature is missing and where it is not; 1 where untested."""
    target = table.target
    if target is None or target.kind not in ("classes", "numbers") or min(missing.sum(), (~missing).sum()) < 5:
        return 1.0
    values = target.first
    return two_sample(values[missing], values[~missing], discrete=target.classified).p


def _target(table: Table) -> list[DataFinding]:
    target = table.target
    if target is None or target.kind == "tokens":
        return []
    bad = ~np.isfinite(target.values).all(axis=1)
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    if target.classified and target.declared and len(rows) < table.examples and table.loader:
        summary = f"{of(len(rows), table.examples)} have no label (NaN, or -100, which losses of torch pass over)"
        severity = "warning" if len(rows) * 2 > table.examples else "info"
    else:
        summary, severity = (
            f"the target is missing or infinite in {of(len(rows), table.examples)}: their loss is NaN",
            "critical",
        )
    remedy = Remedy(
        what="Leave these rows out: a target cannot be filled in.",
        code="keep = np.isfinite(y)\nx, y = x[keep], y[keep]",
    )
    return [
        DataFinding(
            check="missing",
            severity=severity,
            summary=summary,
            feature="target",
            value=len(rows) / table.examples,
            count=len(rows),
            rows=rows_of(table, rows),
            remedy=remedy,
            causes={"bad-data": 10.0, **in_one_batch(table, rows)} if severity == "critical" else {},
        )
    ]
