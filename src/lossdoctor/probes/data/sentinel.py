"""Values that stand for a missing one: 0, −1, 999 where no such value belongs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import short
from lossdoctor.probes.data.case import WORST, Case, rows_of
from lossdoctor.probes.data.finding import DataFinding, of
from lossdoctor.probes.data.remedy import pipeline
from lossdoctor.probes.data.table import Table

_LEAST = 0.005  # share of the examples from which a value can be a spike
# What people and programs write in place of a missing number.
_CODES = (
    0.0,
    -1.0,
    *(s * (10.0**k - 1) for k in range(1, 9) for s in (1.0, -1.0)),
    -2147483648.0,
    2147483647.0,
    65535.0,
    -32768.0,
    -9223372036854775808.0,
    float(np.finfo(np.float32).max),
    -float(np.finfo(np.float32).max),
    1e20,
    -1e20,
    1e30,
    -1e30,
)


def check(case: Case) -> list[DataFinding]:
    """A spike at 0, −1, 9, 99, 999 … that does not belong to the feature's distribution.

    Such a value is called a code for "missing" where it occurs in at least 0.5 % of the rows and either stands apart
    from all others by more than their interquartile range, or is a spike of exact ties amid values that hardly ever
    tie, or is the only negative one. A zero at the lower end of a feature that comes close to zero anyway (rain,
    spending, pixels, counts) is none.
    """
    table = case.train
    found: list[DataFinding] = []
    for part in table.parts:
        if part.kind != "table":
            continue
        for j, values in part.columns():
            name = table.named(part, j)
            hit = spike(values[:, 0])
            if hit is not None and len(found) < 2 * WORST:
                found.append(_finding(table, name, values[:, 0], *hit))
    return sorted(found, key=lambda f: -f.value)[:WORST]


def spike(values: NDArray[np.float64]) -> tuple[float, str, bool] | None:
    """(the value, why it is no ordinary one, whether that is nearly sure), or None."""
    held = values[np.isfinite(values)]
    if len(held) < 100:
        return None
    distinct, counts = np.unique(held, return_counts=True)
    if len(distinct) < 10:
        return None
    candidates = np.flatnonzero(np.isin(distinct, _CODES) & (counts >= max(5, _LEAST * len(held))))
    for k in candidates[np.argsort(-counts[candidates], kind="stable")]:
        rest, times = np.delete(distinct, k), np.delete(counts, k)
        if (why := _strange(float(distinct[k]), int(counts[k]), rest, times)) is not None:
            return float(distinct[k]), *why
    return None


def _strange(value: float, count: int, rest: NDArray[np.float64], times: NDArray[np.int64]) -> tuple[str, bool] | None:
    """Why a value is no ordinary one of its feature, and whether that is nearly sure."""
    low, high = np.interp((0.25, 0.75), np.cumsum(times) / times.sum(), rest)
    spread = max(float(high - low), 1e-300)
    gap = float(np.min(np.abs(rest - value)))
    outside = value < rest[0] or value > rest[-1]
    # The rest may come close by an accident; a mere half of a percent of it does not make the value ordinary.
    edge = np.interp(0.005 if value < rest[0] else 0.995, np.cumsum(times) / times.sum(), rest)
    if outside and gap > 0.25 * spread and abs(value - edge) > spread:
        return f"{short(gap / spread)} interquartile ranges from the nearest other value", True
    if value == -1 and outside and rest[0] >= 0 and count > 3 * float(times[:3].mean()) and len(rest) >= 10:
        return "the only negative value", True
    # A spike of ties in the middle of values that hardly ever tie.
    if not outside and count > 20 * float(np.max(times)) and count > 20 * float(np.mean(times)):
        near = int(times[np.abs(rest - value) < 0.05 * spread].sum())
        if count > 5 * near:
            return (
                f"{count:,} exact ties amid values of which none occurs more than {int(np.max(times)):,} times",
                False,
            )
    return None


def _finding(table: Table, name: str, values: NDArray[np.float64], value: float, why: str, sure: bool) -> DataFinding:
    rows = np.flatnonzero(values == value)
    share = len(rows) / table.examples
    summary = (
        f"{name!r} is exactly {value:g} in {of(len(rows), table.examples)}, {why}: it may stand for a missing value"
    )
    return DataFinding(
        check="sentinel",
        severity="warning" if sure else "info",
        summary=summary,
        feature=name,
        value=share,
        count=len(rows),
        rows=rows_of(table, rows),
        numbers={"code": value, "share": share},
        causes={"bad-data": 2.5, "outliers": 1.5} if sure else {},
        remedy=pipeline(
            "If it does, fill it with the median of the others and say where by an indicator.",
            "sentinel",
            missing=value,
        ),
    )
