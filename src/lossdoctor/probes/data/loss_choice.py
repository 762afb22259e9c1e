"""Which loss fits the target: by the tails of what a robust baseline leaves, or by the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.baseline import Baseline
from lossdoctor.probes.data.statistics import Values, excess_kurtosis, mad_sigma, tail_index
from lossdoctor.probes.data.table import Table, Target

HUBER = 1.345  # times the residuals' robust standard deviation: efficient to 95 % where they are normal
_BETTER = 0.95  # relative variance below which, beyond its error, another loss is worth its change
_VERY_HEAVY = 1.5  # tail index below which the median is preferred where it is about as good: it needs no delta
_RESAMPLED = 40  # bootstrap samples for that error


@dataclass(frozen=True, kw_only=True)
class LossSuggestion:
    """Which loss fits, and why.

    Attributes:
        loss: ``"MSE"``, ``"Huber"``, ``"MAE"``, ``"Poisson"``, ``"MSE of the logarithm"``, ``"cross-entropy"``, ….
        code: the line of torch.
        reason: the evidence in words.
        delta: of Huber's loss, in units of the target; NaN for the others.
        kurtosis, kurtosis_error: excess kurtosis of the residuals (0: normal) and its error under normality.
        tail_index, tail_index_error: Hill's: below 2 the residuals have no finite variance, below 4 no kurtosis.
        huber_variance, mae_variance: the variance of an estimate by these losses, relative to that by squared errors
            (1), for residuals like these: the loss with the least is the one that makes most of the data.
        skewness: of the target, (q90 + q10 − 2·median) / (q90 − q10): 0 symmetric, towards 1 a tail to the right.
    """

    loss: str
    code: str
    reason: str
    delta: float = math.nan
    kurtosis: float = math.nan
    kurtosis_error: float = math.nan
    tail_index: float = math.nan
    tail_index_error: float = math.nan
    huber_variance: float = math.nan
    mae_variance: float = math.nan
    skewness: float = math.nan

    def __str__(self) -> str:
        return f"{self.loss}: {self.reason}"


def suggest(table: Table, base: Baseline | None) -> LossSuggestion | None:
    """The loss that fits the target; None where there is none, too little of it, or one of several numbers.

    For numbers three estimators of a location are compared on the residuals of the baseline: the mean (MSE), Huber's
    with delta = 1.345 · 1.4826 · MAD, and the median (MAE), by their asymptotic variances σ², E[ψ²] / E[ψ']² and
    1 / (4 f(0)²). Light tails make the mean the best, heavier ones Huber's, very heavy ones the median. Positive
    targets that are skewed, and counts, have losses of their own, since the others then aim at different things (mean
    and median differ).
    """
    target = table.target
    if target is None:
        return None
    if target.kind != "numbers":
        return _classes(target)
    if target.outputs > 1:
        return None
    y = target.first
    y = y[np.isfinite(y)]
    if len(y) < 40 or y.min() == y.max():
        return None
    residuals = base.residuals if base is not None and len(base.residuals) else y - np.median(y)
    of = "of a linear baseline" if base is not None and base.linear else "from the median"
    skewness = kelly_skewness(y)
    return _counts(y, target, skewness) or _positive(y, skewness) or _tails(residuals, of, skewness)


def _tails(r: Values, of: str, skewness: float) -> LossSuggestion:
    kurtosis, error = excess_kurtosis(r)
    index, index_error = tail_index(r)
    sigma = mad_sigma(r) or float(r.std())
    delta = HUBER * sigma
    huber, mae = relative_variances(r, delta)
    huber_error, mae_error, ratio_error = _errors(r, delta)
    evidence = f"the residuals {of} have an excess kurtosis of {short(kurtosis)} ± {error:.2g} (normal: 0)"
    if math.isfinite(index):
        evidence += f" and a tail index of {short(index)} ± {index_error:.2g}"
    if huber + 2.5 * huber_error >= _BETTER and mae + 2.5 * mae_error >= _BETTER:
        loss, code = "MSE", "loss_fn = torch.nn.MSELoss()"
        reason = f"{evidence}: tails light enough for squared errors"
    elif mae / huber + 2.5 * ratio_error < _BETTER or (index + index_error < _VERY_HEAVY and mae < 1.1 * huber):
        loss, code = "MAE", "loss_fn = torch.nn.L1Loss()"
        reason = f"{evidence}: so heavy that absolute errors need {_share(mae)} of the data that squared errors need"
    else:
        loss, code = "Huber", f"loss_fn = torch.nn.HuberLoss(delta={delta:.4g})"
        reason = (
            f"{evidence}: Huber's loss with delta = 1.345 · 1.4826 · MAD = {short(delta)} (in units of the target)"
            f" needs {_share(huber)} of the data that squared errors need"
        )
    return LossSuggestion(
        loss=loss,
        code=code,
        reason=reason,
        delta=delta if loss == "Huber" else math.nan,
        kurtosis=kurtosis,
        kurtosis_error=error,
        tail_index=index,
        tail_index_error=index_error,
        huber_variance=huber,
        mae_variance=mae,
        skewness=skewness,
    )


def _share(relative: float) -> str:
    return percent(relative) if relative >= 0.01 else "less than 1 %"


def relative_variances(r: Values, delta: float) -> tuple[float, float]:
    """Asymptotic variances of Huber's estimate and of the median, relative to that of the mean.

    >>> laplace = np.random.default_rng(0).laplace(size=20000)
    >>> [round(v, 1) for v in relative_variances(laplace, 1.345 * 1.4826 * np.log(2))]
    [0.7, 0.5]
    """
    centre = float(np.median(r))
    for _ in range(10):
        centre += float(np.clip(r - centre, -delta, delta).mean())
    inside = float((np.abs(r - centre) <= delta).mean())
    variance = float(r.var())
    if variance <= 0 or inside <= 0:
        return 1.0, 1.0
    huber = float((np.clip(r - centre, -delta, delta) ** 2).mean()) / inside**2
    density = _density_at_median(r)
    return huber / variance, 1.0 / (4.0 * density**2) / variance


def _errors(r: Values, delta: float) -> tuple[float, float, float]:
    """Standard errors of both relative variances and of their ratio, by the bootstrap."""
    rng = np.random.default_rng(0)
    drawn = np.array([relative_variances(r[rng.integers(0, len(r), len(r))], delta) for _ in range(_RESAMPLED)])
    ratio = drawn[:, 1] / np.maximum(drawn[:, 0], 1e-12)
    return float(drawn[:, 0].std()), float(drawn[:, 1].std()), float(ratio.std())


def _density_at_median(r: Values) -> float:
    """The density at the median, from the share of values around it (with the width that n^(−1/5) allows)."""
    half = min(0.25, 0.5 * len(r) ** -0.2)
    low, high = np.quantile(r, [0.5 - half / 2, 0.5 + half / 2])
    return half / float(high - low) if high > low else math.inf


def kelly_skewness(y: Values) -> float:
    """(q90 + q10 − 2·median) / (q90 − q10)."""
    low, middle, high = np.quantile(y, [0.1, 0.5, 0.9])
    return float((high + low - 2 * middle) / (high - low)) if high > low else 0.0


def _counts(y: Values, target: Target, skewness: float) -> LossSuggestion | None:
    """Counts: whole numbers from 0 that are small or skewed."""
    if not target.integers or y.min() < 0 or (y.mean() > 20 and skewness < 0.2) or len(np.unique(y)) < 3:
        return None
    if y.min() > 2 or y.mean() > 1000:  # whole by rounding: prices, years
        return None
    dispersion = float(y.var() / y.mean())
    if skewness < 0.1 and not 0.7 <= dispersion <= 1.3:  # grades, digits
        return None
    reason = f"the target counts (whole numbers from {y.min():.0f} to {y.max():.0f}, mean {short(float(y.mean()))})"
    code = "loss_fn = torch.nn.PoissonNLLLoss()  # the model gives the logarithm of the mean"
    if dispersion > 3:
        reason += (
            f"; their variance is {short(dispersion)} times their mean, more than Poisson's: if the inputs do not"
            " explain that, a negative binomial likelihood fits better"
        )
    else:
        reason += f"; their variance is {short(dispersion)} times their mean (Poisson: 1)"
    return LossSuggestion(loss="Poisson", code=code, reason=reason, skewness=skewness)


def _positive(y: Values, skewness: float) -> LossSuggestion | None:
    """Positive numbers over orders of magnitude, whose logarithm is about symmetric."""
    if y.min() <= 0:
        return None
    low, high = np.quantile(y, [0.01, 0.99])
    log = kelly_skewness(np.log(y))
    if skewness < 0.3 or abs(log) > 0.5 * skewness or high / low < 10:
        return None
    reason = (
        f"the target is positive, reaches over a factor of {short(float(high / low))} and leans right (skewness"
        f" {short(skewness)}, of its logarithm {short(log)}): relative errors are what counts; predictions come back"
        " by exp"
    )
    code = "y = torch.log(y)\nloss_fn = torch.nn.MSELoss()"
    return LossSuggestion(loss="MSE of the logarithm", code=code, reason=reason, skewness=skewness)


def _classes(target: Target) -> LossSuggestion | None:
    if target.kind == "labels":
        reason = f"{target.outputs:,} yes/no labels per example, each on its own"
        return LossSuggestion(loss="binary cross-entropy", code="loss_fn = torch.nn.BCEWithLogitsLoss()", reason=reason)
    if target.kind == "tokens":
        return LossSuggestion(
            loss="cross-entropy",
            code="loss_fn = torch.nn.CrossEntropyLoss(ignore_index=-100)",
            reason="a class per place",
        )
    counts = np.bincount(target.codes[target.codes >= 0], minlength=len(target.classes))
    present = counts[counts > 0]
    if len(present) < 2:
        return None
    ratio = float(present.max() / present.min())
    reason = f"{len(present):,} classes"
    if len(present) == 2:
        code = "loss_fn = torch.nn.BCEWithLogitsLoss()  # one output; or CrossEntropyLoss with two"
        if ratio >= 10:
            weight = counts[0] / max(1, counts[1])
            code = f"loss_fn = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor({weight:.4g}))"
            reason += f", the commoner {ratio:,.0f} times as often as the other"
        return LossSuggestion(loss="cross-entropy", code=code, reason=reason)
    code = "loss_fn = torch.nn.CrossEntropyLoss()"
    if ratio >= 10:
        code = "loss_fn = torch.nn.CrossEntropyLoss(weight=weight)  # see the finding on balance"
        reason += f", the commonest {ratio:,.0f} times as often as the rarest"
    return LossSuggestion(loss="cross-entropy", code=code, reason=reason)
