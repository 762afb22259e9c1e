"""The scale of the inputs, and up to which learning rate it lets a linear model train."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.case import WORST, Case
from lossdoctor.probes.data.finding import DataFinding, listed
from lossdoctor.probes.data.pixels import is_pixels, is_raw
from lossdoctor.probes.data.remedy import pipeline
from lossdoctor.probes.data.stability import Stability
from lossdoctor.probes.data.table import Part, Table

_WIDE = 100.0  # ratio of spreads from which one rate no longer serves all features
_HARMFUL = 10.0  # how much more rate standardised inputs must allow for the scale to be at fault


def check(case: Case) -> list[DataFinding]:
    """Inputs whose raw scale makes training explode at an ordinary learning rate, or unequal scales.

    "Explodes" is computed, not guessed: see :class:`Stability`. Where the caller gives the learning rate it is held to
    that; without it, inputs that allow less than 1e-3 while standardising allows ten times more are told.
    """
    table = case.train
    found: list[DataFinding] = []
    stable = case.stability
    if stable is not None and not any(is_raw(p) for p in table.parts):  # those have a finding of their own
        found += _explodes(table, stable, case.lr)
    return found + [f for part in table.numeric if not is_pixels(part) for f in _spreads(table, part)]


def _explodes(table: Table, stable: Stability, lr: float | None) -> list[DataFinding]:
    target = table.target
    classified = target is not None and target.kind in ("classes", "labels", "tokens")
    now, then = stable.critical(classified)
    loss = "cross-entropy" if classified else "squared error"
    gain = stable.gain
    numbers = {"critical_rate": now, "critical_rate_standardized": then, "largest_eigenvalue": stable.largest}
    bound = "is sure to be stable only" if classified else "is stable only"
    words = f"at this scale gradient descent on a linear model with {loss} {bound} below a rate of {short(now)}"
    if gain >= 1.5:
        words += f"; standardised inputs allow {short(then)}, {short(gain)} times as much"
    name, share = _largest(table)
    if share > 0.5:
        words += f"; {name!r} alone holds {percent(share)} of the inputs' squares"
    if lr is not None and lr > now:
        severity = "critical" if gain >= _HARMFUL and not classified else "warning" if gain >= 2 else "info"
        words += f", and the learning rate is {short(lr)}"
    elif lr is None and now < 1e-3 and gain >= _HARMFUL:
        severity = "warning"
    else:
        return []
    causes = {"critical": {"inputs-unscaled": 8.0}, "warning": {"inputs-unscaled": 4.0}}.get(severity, {})
    remedy = None
    if severity != "info":
        remedy = pipeline(
            "Standardise the inputs: mean 0 and spread 1 per feature, by the training part.", "standardize"
        )
    return [
        DataFinding(
            check="scale",
            severity=severity,
            summary=words,
            feature=name if share > 0.5 else "",
            value=now,
            numbers=numbers,
            causes=causes,
            remedy=remedy,
        )
    ]


def _largest(table: Table) -> tuple[str, float]:
    """(the feature that holds most of the inputs' squares, its share of them)."""
    squares = {
        table.named(part, j): float(np.square(values[np.isfinite(values)]).sum())
        for part in table.numeric
        for j, values in part.columns()
    }
    name = max(squares, key=lambda n: squares[n])
    total = sum(squares.values())
    return name, squares[name] / total if total > 0 else 0.0


def spreads(part: Part) -> NDArray[np.float64]:
    """The size of a feature's ordinary values: its standard deviation; of one that is mostly 0, the root mean square of
    the others, since rare is not small. NaN for those that are constant or are switches (two values, up to 1)."""
    out = np.full(part.features, np.nan)
    for j, values in part.columns():
        held = values[np.isfinite(values)]
        if held.size < 2 or held.min() == held.max():
            continue
        if np.all((held == held.min()) | (held == held.max())) and max(abs(held.min()), abs(held.max())) <= 1:
            continue
        with np.errstate(over="ignore"):
            filled = held[held != 0]
            out[j] = np.sqrt((filled**2).mean()) if 2 * filled.size < held.size else held.std()
    return out


def _spreads(table: Table, part: Part) -> list[DataFinding]:
    spread = spreads(part)
    known = np.flatnonzero(np.isfinite(spread) & (spread > 0))
    if len(known) < 2:
        return []
    order = known[np.argsort(-spread[known], kind="stable")]
    ratio = float(spread[order[0]] / spread[order[-1]])
    if ratio < _WIDE:
        return []
    typical = float(np.median(spread[known]))
    apart = [int(j) for j in order if max(spread[j] / typical, typical / spread[j]) >= np.sqrt(_WIDE)][:WORST]
    names = [table.named(part, j) for j in (apart or [int(order[0])])]
    summary = (
        f"spreads reach from {short(spread[order[-1]])} ({table.named(part, int(order[-1]))!r}) to"
        f" {short(spread[order[0]])} ({table.named(part, int(order[0]))!r}), a ratio of {short(ratio)}: no one learning"
        " rate serves them all"
    )
    if len(names) > 1:
        summary += f"; furthest from the typical {short(typical)}: {listed(names)}"
    return [
        DataFinding(
            check="scale",
            severity="warning",
            summary=summary,
            feature=names[0],
            value=ratio,
            count=len(names),
            numbers={"ratio": ratio, "largest": float(spread[order[0]]), "smallest": float(spread[order[-1]])},
            causes={"inputs-unscaled": 5.0 if ratio >= 1000 else 3.0},
            remedy=pipeline(
                "Standardise the inputs: mean 0 and spread 1 per feature, by the training part.", "standardize"
            ),
        )
    ]
