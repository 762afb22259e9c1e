"""The numbers that a test of curvature gives, and what follows from them by arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.core.errors import UsageError

AT = (0.8, 1.25)  # shares of the stability limit that count as at the edge: full-batch training stays within them
DEEP = 0.2  # a saddle's negative curvature over the largest
LOST = 1.5  # standard errors within which a gradient is as good as zero
IDLE = 1e-3  # of the loss: a gain that is none
LINEAR = 1e-6  # curvature x loss / |gradient|²: how far from a plane the loss is over the way to zero


@dataclass(frozen=True)
class Sharpness:
    """An extreme eigenvalue on the sample, and what it is on other batches.

    Attributes:
        value: on the sample.
        error: of the iteration: an estimate of how far the true eigenvalue of the sample lies from it.
        residual: |Hv - value v|: an eigenvalue lies within it for certain.
        held_out: curvature along the same direction on batches that were not searched; NaN where there are none.
        low, high: 95 % interval for the whole data. The largest value of a sample is too large on average, and that of
            its direction on other batches too small, so it reaches from the one to the other, each with its standard
            error between batches. Equal to ``value`` where the sample is all there is.
        per_batch: the curvature along the direction on each batch of the sample.
        products: Hessian-vector products.
        converged: whether ``error`` is within the tolerance; else the true one lies further out.
    """

    value: float
    error: float
    residual: float
    held_out: float
    low: float
    high: float
    per_batch: tuple[float, ...]
    products: int
    converged: bool


@dataclass(frozen=True, kw_only=True)
class Curvatures:
    """Curvatures in units of the loss per squared unit of the parameters.

    Attributes:
        sharpness: the largest eigenvalue of the Hessian.
        gradient_curvature: along the gradient, gᵀHg / gᵀg; NaN where the gradient is zero.
        gradient_norm: |g| on the sample; ``gradient_noise`` its standard error between batches, as a length; NaN from
            one batch.
        loss: on the sample.
        trace, trace_error: sum of all eigenvalues by Hutchinson's estimator, and its standard error over the probes;
            NaN where it was not asked for.
        smallest: the smallest eigenvalue, where it was asked for.
        preconditioned: the largest eigenvalue as the optimizer's steps see it; None without an optimizer, or where its
            step is not known, for the reason in ``missing``.
        optimizer, lr, momentum: of the optimizer: its class name, its largest rate; "" and NaN without one.
        several_rates: whether its groups differ in their rates; the curvature is in units of the largest then.
        bound: the limit of lr times the preconditioned curvature.
        ratio: lr times the preconditioned sharpness over ``bound``: 1 is the edge of stability; with its 95 % interval
            ``ratio_low`` to ``ratio_high``. NaN where it is not known.
        stability: ``"below"``, ``"at"`` or ``"beyond"`` the edge, ``"unknown"``, or ``""`` without an optimizer.
        saddle: whether the curvature is clearly negative along some direction while the gradient is as good as zero;
            None where the smallest eigenvalue was not asked for.
        size: parameters. ``batches``, ``held_out``, ``examples`` say what the sample held.
        whole: whether the sample is all the loader has.
        products: Hessian-vector products on the sample, in all.
        mode: ``"eval"`` or ``"train"``.
        random: whether the loss draws random numbers; one draw was held fixed.
    """

    sharpness: Sharpness
    gradient_curvature: float
    gradient_norm: float
    gradient_noise: float
    loss: float
    trace: float
    trace_error: float
    smallest: Sharpness | None
    preconditioned: Sharpness | None
    optimizer: str
    lr: float
    momentum: float
    several_rates: bool
    bound: float
    missing: str
    ratio: float
    ratio_low: float
    ratio_high: float
    stability: str
    saddle: bool | None
    size: int
    batches: int
    held_out: int
    examples: int
    whole: bool
    products: int
    mode: str
    random: bool

    def critical_rate(self, momentum: float = 0.0, *, nesterov: bool = False) -> float:
        """The learning rate up to which gradient descent, as ``torch.optim.SGD`` writes it, is stable here.

        2 / λ for plain gradient descent, 2(1 + β) / λ with momentum β, 2(1 + β) / (1 + 2β) / λ for Nesterov's form.
        Infinite where no curvature is positive.

        Raises:
            UsageError: a momentum outside of 0 to 1.
        """
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum is {momentum}; expected 0 up to below 1")
        limit = 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1)
        return limit / self.sharpness.value if self.sharpness.value > 0 else math.inf

    @property
    def critical_lr(self) -> float:
        """The rate at which the optimizer would reach the edge; of plain gradient descent where its step is not known.

        Groups with other rates are in proportion to the largest.
        """
        if self.preconditioned is None:
            return self.critical_rate()
        return self.bound / self.preconditioned.value if self.preconditioned.value > 0 else math.inf


def stability_of(ratio: float, low: float, high: float) -> str:
    """Where a share of the stability limit stands, by its interval.

    >>> stability_of(0.5, 0.4, 0.7), stability_of(1.0, 0.9, 1.1), stability_of(2.0, 1.6, 2.2), stability_of(1, 0.4, 3)
    ('below', 'at', 'beyond', 'unknown')
    """
    if math.isnan(ratio):
        return "unknown"
    if low > AT[1]:
        return "beyond"
    if high <= AT[1]:
        return "below" if ratio < AT[0] else "at"
    return "at" if low >= AT[0] / 2 and high <= AT[1] * 2 else "unknown"


def is_saddle(found: Curvatures) -> bool:
    """Whether the curvature is negative for certain, and of a size, while the gradient is as good as zero.

    Of a size: at least a fifth of the largest curvature; trained nets keep smaller negative ones everywhere. As good as
    zero: within 1.5 of its standard errors, or so short that the best step along it gains less than 0.1 % of the loss.
    """
    if found.smallest is None:
        return False
    least, most = found.smallest, found.sharpness
    if max(least.value + least.residual, least.high) >= 0 or -least.value < DEEP * most.value:
        return False
    gain = found.gradient_norm**2 / (2 * max(most.value, -least.value))
    return found.gradient_norm <= LOST * found.gradient_noise or gain <= IDLE * abs(found.loss)


def is_linear(found: Curvatures) -> bool:
    """Whether the loss has no curvature to speak of while it has a slope: it consists of planes."""
    size = max(abs(found.sharpness.value), abs(found.smallest.value) if found.smallest else 0.0)
    return found.gradient_norm > 0 and size * abs(found.loss) <= LINEAR * found.gradient_norm**2


def is_flat(found: Curvatures) -> bool:
    """Whether the loss changes in no direction at all."""
    return found.gradient_norm == 0 and found.sharpness.value == 0 and found.sharpness.residual == 0
