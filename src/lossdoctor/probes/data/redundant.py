"""Features that say nothing, say the same, or say the target itself."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lossdoctor.probes.data.case import WORST, Case
from lossdoctor.probes.data.finding import DataFinding, listed
from lossdoctor.probes.data.forms import float_view
from lossdoctor.probes.data.pixels import is_pixels
from lossdoctor.probes.data.remedy import Remedy
from lossdoctor.probes.data.table import Part, Table

_MOST_PAIRED = 2000  # features up to which every pair is compared


def check(case: Case) -> list[DataFinding]:
    """Constant, duplicated and perfectly correlated features; features that equal the target or give it away."""
    table = case.train
    found: list[DataFinding] = []
    for part in table.numeric:
        found += _constant(table, part)
        if part.kind != "image":
            found += _doubled(table, part)
        if part.kind == "table":
            found += _gives_away(table, part)
    return found


def _constant(table: Table, part: Part) -> list[DataFinding]:
    flat = part.values.reshape(-1, part.features)
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(flat, axis=0), np.fmax.reduce(flat, axis=0)
    same = np.flatnonzero(low == high)
    if not len(same) or len(flat) < 2:
        return []
    names = [table.named(part, int(j)) for j in same]
    if len(same) == part.features:
        summary = f"{part.name} does not vary: every example holds the same values"
        return [
            DataFinding(
                check="constant",
                severity="critical",
                summary=summary,
                value=1.0,
                count=len(same),
                causes={"bad-data": 8.0, "labels-uninformative": 5.0, "training-loop-bug": 2.0},
                remedy=Remedy(what="Look at how the inputs are made: they are one and the same."),
            )
        ]
    what = "is" if len(same) == 1 else "are"
    summary = f"{len(same):,} of {part.features:,} features {what} constant ({listed(names)}) and tell nothing"
    remedy = Remedy(
        what="Drop them; a standardisation written by hand divides by zero there (StandardScaler does not).",
        code=f"x = np.delete(x, {same[:20].tolist()}{'' if len(same) <= 20 else ' + ...'}, axis=1)",
    )
    return [
        DataFinding(
            check="constant",
            severity="info",
            summary=summary,
            feature=names[0],
            value=len(same) / part.features,
            count=len(same),
            remedy=remedy,
        )
    ]


def _doubled(table: Table, part: Part) -> list[DataFinding]:
    """Pairs of features that are equal, or of which one is the other scaled and shifted."""
    found = [*_equal(part), *_proportional(part)]
    if not found:
        return []
    pairs = list({(b, a): (a, b, how) for a, b, how in reversed(found)}.values())[::-1]
    first = pairs[0]
    words = [f"{table.named(part, b)!r} {how} {table.named(part, a)!r}" for a, b, how in pairs[:3]]
    more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
    summary = (
        f"{'; '.join(words)}{more}: they tell nothing new, and a linear model's weights for them are not determined"
    )
    drop = sorted({b for _, b, _ in pairs})
    remedy = Remedy(
        what="Keep one of each pair.",
        code=f"x = np.delete(x, {drop[:20]}{'' if len(drop) <= 20 else ' + ...'}, axis=1)",
    )
    return [
        DataFinding(
            check="duplicated-features",
            severity="info",
            summary=summary,
            feature=table.named(part, first[1]),
            value=float(len(drop)),
            count=len(drop),
            remedy=remedy,
        )
    ]


def _varies(x: NDArray[np.floating]) -> bool:
    finite = x[np.isfinite(x)]
    return bool(finite.size and finite.min() != finite.max())


def _equal(part: Part) -> Iterator[tuple[int, int, str]]:
    seen: dict[bytes, int] = {}
    for j in range(part.features):
        column = np.ascontiguousarray(float_view(part.values[:, :, j]))
        if not _varies(column):
            continue
        first = seen.setdefault(blake2b(column.tobytes(), digest_size=16).digest(), j)
        if first != j:
            yield first, j, "equals"


def _proportional(part: Part) -> Iterator[tuple[int, int, str]]:
    """Pairs with a correlation of ±1 up to rounding, over the examples where both are there."""
    if not 2 <= part.features <= _MOST_PAIRED or part.examples < 10 or is_pixels(part):
        return
    x = part.values.reshape(-1, part.features)[:50_000].astype(np.float64)
    finite = np.isfinite(x)
    count = np.maximum(1, finite.sum(axis=0))
    with np.errstate(all="ignore"):
        centred = np.where(finite, x - np.where(finite, x, 0).sum(axis=0) / count, 0.0)
        norm = np.sqrt((centred**2).sum(axis=0))
        unit = centred / np.where((norm > 0) & np.isfinite(norm), norm, np.inf)
        close = np.argwhere(np.triu(np.abs(unit.T @ unit) > 1 - 1e-5, 1))
    rounding = 1e-10 if part.values.dtype == np.float64 else 1e-6
    for a, b in close[:200]:
        both = finite[:, a] & finite[:, b]
        if both.sum() < 10 or both.mean() < 0.5:
            continue
        r = float(np.corrcoef(x[both, a], x[both, b])[0, 1])
        if abs(r) > 1 - rounding:
            yield int(a), int(b), "is proportional to" if r > 0 else "is the negative of"


def _gives_away(table: Table, part: Part) -> list[DataFinding]:
    """Features from which the target can be read off: it, scaled and shifted, or one value per class."""
    target = table.target
    if target is None or table.examples < 30 or target.kind not in ("classes", "numbers") or target.outputs > 1:
        return []
    y = target.first
    found = []
    for j, values in part.columns():
        x = values[:, 0]
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 30 or not _varies(x[both]) or not _varies(y[both]):
            continue
        if target.classified:
            how = _one_value_per_class(x[both], y[both])
        else:
            r = float(np.corrcoef(x[both], y[both])[0, 1])
            how = f"their correlation is {r:.6f}" if abs(r) > 1 - 1e-5 else ""
        if how:
            name = table.named(part, j)
            summary = f"{name!r} gives the target away ({how}): will it be there when the model is used?"
            found.append(
                DataFinding(
                    check="target-leak",
                    severity="warning",
                    summary=summary,
                    feature=name,
                    value=1.0,
                    count=int(both.sum()),
                    causes={"data-leak": 6.0},
                    remedy=Remedy(
                        what=f"If it is made from the target, drop {name!r}.", code=f"x = np.delete(x, {j}, axis=1)"
                    ),
                )
            )
    return found[:WORST]


def _one_value_per_class(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """How a feature with few values names the classes; "" where it does not."""
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < 5:
        return ""
    values = np.unique(x)
    if len(values) < len(classes) or len(values) > 2 * len(classes):
        return ""
    of_value = [np.unique(y[x == v]) for v in values]
    return f"each of its {len(values)} values goes with one class" if all(len(c) == 1 for c in of_value) else ""
