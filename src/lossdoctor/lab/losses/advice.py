"""Which loss suits which residuals: the one under which the fit itself would waver least, judged by the residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossdoctor.core.errors import UsageError

Array = NDArray[np.float64]

# The MAD times this is the standard deviation of Gaussian numbers.
_MAD_TO_SIGMA = 1.4826
# Huber's δ in these units keeps 95 % of the mean's efficiency on Gaussian residuals (Huber 1981).
_HUBER_K = 1.345
# A residual beyond so many robust standard deviations is an outlier: 1 in 2,000 Gaussian ones is.
_OUTLIER = 3.5
# The squared error is kept unless another loss needs at most this share of its variance.
_WORTHWHILE = 0.9
# And unless the tails are heavier than Gaussian ones by so many standard errors of the kurtosis.
_ESTABLISHED = 3.0
_FEWEST = 12
_SKEWED = 3.0


@dataclass(frozen=True)
class Suggestion:
    """A loss for given residuals, with the reasons.

    Attributes:
        loss: ``"mse"``, ``"huber"`` or ``"mae"``.
        delta: Huber's δ in units of the residuals, 1.345 robust standard deviations: what Huber would take.
        why: one sentence with its numbers.
        center, sigma: median and 1.4826 MAD of the residuals.
        kurtosis: excess kurtosis (0 for Gaussian, 3 for Laplace residuals).
        outliers: the share beyond 3.5 robust standard deviations from the median.
        variances: name -> the estimated variance of the fit under it, over that under the squared error.
        skew: how many standard errors the mean lies from the median: beyond 3 the losses aim at different places.
    """

    loss: str
    delta: float
    why: str
    center: float
    sigma: float
    kurtosis: float
    outliers: float
    variances: dict[str, float]
    skew: float


def suggest(residuals: ArrayLike) -> Suggestion:
    """Suggest a loss for a regression from the residuals of a first fit.

    Every loss is an estimate of location with an asymptotic variance of E[ψ²]/E[ψ']², ψ its gradient (Huber 1964): the
    variance of the residuals for the squared error, 1/(4f(median)²) for the absolute one, and between them for Huber's.
    All three are estimated from the residuals; squared error is kept unless another saves a tenth of the variance and
    the tails are heavier than a Gaussian's beyond doubt.

    Args:
        residuals: prediction − target, 12 or more finite numbers (of a fit under a robust loss, if outliers are feared:
            squared error hides them by bending towards them).

    Raises:
        UsageError: on fewer, on NaN or Inf, or on residuals most of which are equal.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> suggest(rng.normal(size=500)).loss, suggest(rng.standard_t(2, size=500)).loss
    ('mse', 'huber')
    """
    r = np.asarray(residuals, dtype=np.float64).ravel()
    bad = int((~np.isfinite(r)).sum())
    if bad:
        raise UsageError(f"{bad} of {len(r)} residuals are NaN or Inf; find out why first, no loss mends that")
    if len(r) < _FEWEST:
        raise UsageError(f"{len(r)} residuals tell too little about their tails; give {_FEWEST} or more")
    center = float(np.median(r))
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(r - center)))
    if not sigma > 0.0:
        raise UsageError(
            "more than half of the residuals are equal, so that they have no scale; is this a metric's sum?"
        )
    z = (r - center) / sigma
    outliers = float((np.abs(z) > _OUTLIER).mean())
    spread = float(r.std())
    kurtosis = float(((r - r.mean()) ** 4).mean() / spread**4) - 3.0
    delta = _HUBER_K * sigma
    variances = {"mse": 1.0}
    for name, variance in (("huber", _huber_variance(z)), ("mae", _median_variance(z))):
        variances[name] = variance / float(z.var())
    loss = min(variances, key=lambda name: variances[name])
    heavy = kurtosis > _ESTABLISHED * math.sqrt(24.0 / len(r))
    if variances[loss] > _WORTHWHILE or not heavy:
        loss = "mse"
    elif loss == "mae" and variances["huber"] <= 1.1 * variances["mae"]:
        loss = "huber"  # as good, and with a curvature at its minimum
    skew = float((r.mean() - center) / (spread / math.sqrt(len(r))))
    return Suggestion(
        loss,
        delta,
        _why(loss, variances, outliers, kurtosis, delta, skew),
        center,
        sigma,
        kurtosis,
        outliers,
        variances,
        skew,
    )


def _huber_variance(z: Array) -> float:
    """E[ψ²]/P(|z| < δ)² of Huber's loss at its own centre, z in robust standard deviations."""
    at = 0.0
    for _ in range(50):  # the centre itself, by its own fixed point
        inside = np.abs(z - at) < _HUBER_K
        move = float(np.clip(z - at, -_HUBER_K, _HUBER_K).mean() / inside.mean())
        at += move
        if abs(move) < 1e-12:
            break
    pull = np.clip(z - at, -_HUBER_K, _HUBER_K)
    return float((pull**2).mean() / (np.abs(z - at) < _HUBER_K).mean() ** 2)


def _median_variance(z: Array) -> float:
    """1/(4f²) of the median, f the density there by a Gaussian kernel of Silverman's width, from the quartiles."""
    quartiles = np.quantile(z, [0.25, 0.75])
    width = 0.9 * min(float(z.std()), float(quartiles[1] - quartiles[0]) / 1.34) * len(z) ** -0.2
    density = float(np.exp(-0.5 * (z / width) ** 2).mean() / (width * math.sqrt(2.0 * math.pi)))
    return 1.0 / (4.0 * density**2)


def _why(loss: str, variances: dict[str, float], outliers: float, kurtosis: float, delta: float, skew: float) -> str:
    tails = f"excess kurtosis {kurtosis:.2g}, {100.0 * outliers:.2g} % beyond {_OUTLIER:g} robust standard deviations"
    if loss == "mse":
        text = f"{tails}: not heavy enough beyond doubt for another loss to make the fit much steadier"
    else:
        how = f"with δ = {delta:.3g}" if loss == "huber" else "with its median"
        text = f"{tails}: {loss} {how} leaves {variances[loss]:.2f} of the variance that squared error has"
    if abs(skew) > _SKEWED:
        text += f"; the residuals are skewed (mean {skew:+.1f} standard errors from the median): mean and median differ"
    return text
