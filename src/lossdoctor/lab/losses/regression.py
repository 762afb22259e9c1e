"""Loss functions of an error: how far the prediction lies from the target."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.losses.base import LossFunction


def _zero(error: Tensor) -> Tensor:
    return torch.zeros_like(error)


def mse() -> LossFunction:
    """Squared error e². Its pull grows with the error without end: one outlier outweighs many points."""
    return LossFunction(
        "mse",
        "Squared error (MSE)",
        "e²",
        "regression",
        lambda e: functional.mse_loss(e, _zero(e), reduction="none"),
        "the mean",
        "errors like a Gaussian's, without outliers; where large errors really are worse than in proportion",
        "Gauss (1809)",
    )


def mae() -> LossFunction:
    """Absolute error |e|. Every error pulls alike, so that the best constant is the median; it has a kink at 0."""
    return LossFunction(
        "mae",
        "Absolute error (MAE)",
        "|e|",
        "regression",
        lambda e: functional.l1_loss(e, _zero(e), reduction="none"),
        "the median",
        "many or heavy outliers; where the middle matters and not the sum",
        "Boscovich (1757); Laplace (1793)",
    )


def huber(delta: float = 1.0) -> LossFunction:
    """½e² up to δ, then δ(|e| − ½δ): squared near 0, absolute far away.

    Args:
        delta: δ, where the one passes into the other, in units of the error; above 0. 1.345 standard deviations of the
            errors keep 95 % of the squared error's efficiency on Gaussian ones.
    """
    if not delta > 0.0:
        raise UsageError(f"delta is {delta}; the Huber loss turns from squared to absolute at an error above 0")
    return LossFunction(
        "huber",
        f"Huber, δ = {delta:g}",
        "½e² where |e| ≤ δ, else δ(|e| − ½δ)",
        "regression",
        lambda e: functional.huber_loss(e, _zero(e), reduction="none", delta=delta),
        "between the median (small δ) and the mean (large δ)",
        "mostly Gaussian errors with some outliers; δ says which is which",
        "Huber, Annals of Mathematical Statistics 35 (1964)",
    )


def log_cosh() -> LossFunction:
    """log cosh e: like Huber, with two smooth derivatives everywhere and nothing to set."""

    def function(e: Tensor) -> Tensor:
        # log((exp(e) + exp(−e))/2), put together so that it neither overflows nor has a kink at 0; the threshold is
        # where softplus turns into its argument, far enough out to lose nothing.
        return functional.softplus(-2.0 * e, threshold=100.0) + e - math.log(2.0)

    return LossFunction(
        "log_cosh",
        "Log-cosh",
        "log cosh e",
        "regression",
        function,
        "close to Huber's with δ = 1",
        "as Huber, for an optimizer that needs curvature; scale the errors to about 1 first",
    )


def quantile(q: float = 0.9) -> LossFunction:
    """Pinball loss: q|e| when the prediction is too low, (1 − q)|e| when it is too high.

    Args:
        q: the quantile to predict, between 0 and 1.
    """
    if not 0.0 < q < 1.0:
        raise UsageError(f"q is {q}; a quantile lies between 0 and 1")
    return LossFunction(
        "quantile",
        f"Quantile, q = {q:g}",
        "−qe where e < 0, else (1 − q)e",
        "regression",
        lambda e: torch.maximum(-q * e, (1.0 - q) * e),
        f"the {q:g} quantile",
        "predicting a bound instead of the middle; skewed errors",
        "Koenker & Bassett, Econometrica 46 (1978)",
    )
