"""Outliers: values that the feature's own tail does not lead up to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.case import LEVEL, WORST, Case, in_one_batch, rows_of
from lossdoctor.probes.data.finding import DataFinding, of
from lossdoctor.probes.data.pixels import is_pixels
from lossdoctor.probes.data.remedy import pipeline
from lossdoctor.probes.data.sentinel import spike
from lossdoctor.probes.data.statistics import mad_sigma
from lossdoctor.probes.data.table import Table

_TAIL = 0.1  # the share of the values whose spacings say how heavy the tail is
_MOST = 0.01  # beyond this share it is a cluster, not outliers
_LEAST = 50  # values from which a tail can be judged


def check(case: Case) -> list[DataFinding]:
    """Values far out, against the tail of their own feature: a skewed or heavy-tailed one is not called broken.

    Told as a warning where they hold most of the feature's variance (they then dominate its scale, its standardised
    values and the gradients), else as info.
    """
    table = case.train
    found = []
    for part in table.numeric:
        if is_pixels(part):
            continue
        for j, values in part.columns():
            if (hit := far_out(values, LEVEL / (2 * part.features))) is not None:
                found.append(_finding(table, table.named(part, j), values, hit))
    if table.target is not None and table.target.kind == "numbers":
        for k in range(table.target.outputs):
            values = table.target.values[:, k : k + 1]
            if (hit := far_out(values, LEVEL / (2 * table.target.outputs))) is not None:
                found.append(_finding(table, "target", values, hit))
    found.sort(key=lambda f: (-f.rank, -f.value))
    return found[:WORST]


def far_out(values: NDArray[np.float64], level: float) -> NDArray[np.int64] | None:
    """The examples whose value lies beyond a break of the tail, or None.

    The distances d from the median beyond a high point u follow, for every usual tail, a generalised Pareto
    distribution with scale σ and shape ξ (0: exponential, normal, log-normal in the limit; positive: a power law;
    Pickands 1975). Its ordered values have k·log(z₍k₎ / z₍k+1₎) / ξ, with z = 1 + ξ (d − u) / σ, as independent unit
    exponentials (Rényi 1953). σ and ξ are fitted to the spacings *within* the tail, the outermost hundredth left out so
    that outliers do not speak for themselves, and ξ is raised by 2.5 standard errors, to 0 at least. A spacing among
    the outermost that is too long for that is a break. Ties are spread over half their distance to the next value. Of
    several places of one example the furthest counts.

    Args:
        values: ``(examples, places)``.
        level: chance of a false alarm per side.
    """
    finite = np.isfinite(values)
    if finite.sum() < _LEAST:
        return None
    flat = values[finite]
    centre = float(np.median(flat))
    spikes = spike(flat)
    if spikes is not None:  # codes for missing values have their own finding
        finite &= values != spikes[0]
    found = []
    for sign in (1.0, -1.0):
        distance = np.where(finite, sign * (values - centre), -np.inf).max(axis=1)
        places = _break(distance, level)
        found += [] if places is None else [places]
    return np.sort(np.concatenate(found)) if found else None


def _break(distance: NDArray[np.float64], level: float) -> NDArray[np.int64] | None:
    """The outermost examples up to the innermost break of the tail, or None."""
    positive = np.flatnonzero((distance > 0) & np.isfinite(distance))
    m = min(max(int(_TAIL * len(distance)), min(len(distance) // 4, 400)), len(positive) // 2)
    most = max(3, int(_MOST * len(distance)))
    if m < most + 15:
        return None
    top = positive[np.argpartition(-distance[positive], m)[: m + 1]]
    top = top[np.argsort(-distance[top], kind="stable")]
    d = _untied(distance[top])
    inner = np.arange(most + 1, m + 1)
    shape, error = _shape(inner * (d[most:-1] - d[most + 1 :]), np.log(m / inner))
    shape = max(1e-6, shape + 2.5 * error)
    weights = (m / inner) ** shape
    scale = max(float(np.mean(inner * (d[most:-1] - d[most + 1 :]) / weights)), 1e-12 * d[most])
    z = 1.0 + shape * (d[: most + 1] - d[-1]) / scale
    k = np.arange(1, most + 1)
    steps = k * np.log(z[:-1] / z[1:]) / shape
    log_p = -len(inner) * np.log1p(steps / len(inner))  # the scale was estimated: F(2, 2N) instead of an exponential
    hits = np.flatnonzero(log_p < np.log(level / most))
    return np.asarray(top[: hits[-1] + 1], dtype=np.int64) if len(hits) else None


def _shape(steps: NDArray[np.float64], depth: NDArray[np.float64]) -> tuple[float, float]:
    """Shape ξ and its standard error, by likelihood, where the steps are exponentials of mean σ·exp(ξ·depth)."""
    grid = np.linspace(-1.0, 4.0, 101)
    mean = (steps * np.exp(-np.outer(grid, depth))).mean(axis=1)
    likelihood = -np.log(np.maximum(mean, 1e-300)) - grid * depth.mean()
    return float(grid[np.argmax(likelihood)]), 1.0 / np.sqrt(len(steps) * depth.var())


def _untied(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same distances, falling, with ties spread evenly over half the way to their neighbours."""
    distinct, first, counts = np.unique(-d, return_index=True, return_counts=True)
    if len(distinct) == len(d):
        return d
    levels = -distinct
    if len(levels) == 1:
        return d * (1 + 1e-9 * np.arange(len(d), 0, -1))
    gaps = -np.diff(levels)
    width = 0.5 * np.minimum(np.concatenate([[gaps[0]], gaps]), np.concatenate([gaps, [gaps[-1]]]))
    out = d.copy()
    for level, start, count, half in zip(levels, first, counts, width, strict=True):
        if count > 1:
            out[start : start + count] = level + half * np.linspace(1, -1, count + 2)[1:-1]
    return out


def _finding(table: Table, name: str, values: NDArray[np.float64], places: NDArray[np.int64]) -> DataFinding:
    held = np.where(np.isfinite(values), values, np.nan)
    sigma = mad_sigma(values[np.isfinite(values)])
    centre = float(np.nanmedian(held))
    squares = np.nansum((held - centre) ** 2, axis=1)
    share = float(squares[places].sum() / squares.sum())
    furthest = float(np.nanmax(np.abs(held[places] - centre)))
    far = furthest / sigma if sigma > 0 else np.inf
    dominate = share > 0.5
    how_far = (
        f"up to {short(far)} robust standard deviations out"
        if sigma > 0
        else f"up to {short(furthest)} from the median"
    )
    summary = (
        f"{name!r} has {len(places):,} {'value' if len(places) == 1 else 'values'} beyond what its own tail leads up"
        f" to, {how_far}; {'it holds' if len(places) == 1 else 'they hold'} {percent(share)} of its variance"
        f" ({of(len(places), table.examples)})"
    )
    if name == "target":
        remedy = pipeline(
            "Look at these rows; if they are right, take a loss that bounds them (see the suggestion).", "robust"
        )
        remedy = type(remedy)(what=remedy.what, code="loss_fn = torch.nn.HuberLoss(delta=...)  # as suggested below")
    else:
        remedy = pipeline("Look at these rows; if they are right, scale by median and quartiles, or clip.", "robust")
    causes = {"outliers": 5.0 if dominate else 1.8}
    if dominate:
        causes |= {"bad-data": 1.5, **in_one_batch(table, places)}
    return DataFinding(
        check="outliers",
        severity="warning" if dominate else "info",
        summary=summary,
        feature=name,
        value=far,
        count=len(places),
        rows=rows_of(table, places),
        numbers={"variance_share": share, "distance": furthest},
        causes=causes,
        remedy=remedy,
    )
