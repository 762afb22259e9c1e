"""The measuring itself: which products are taken, in which order, and what they add up to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from lossdoctor.probes.batches import examples
from lossdoctor.probes.hessian.guard import explained
from lossdoctor.probes.hessian.numbers import Curvatures, Sharpness, is_saddle, stability_of
from lossdoctor.probes.hessian.sample import MeanHessian, Sample, Scaled
from lossdoctor.probes.hessian.step import Step
from lossdoctor.probes.progress import Progress
from lossdoctor.torchkit.hessian import Hessian
from lossdoctor.torchkit.spectrum import Estimate, extreme_eigenvalue, trace

ROUGH, FEW = 0.01, 32  # tolerance of the smallest eigenvalue, and its products at most


@dataclass(frozen=True)
class Plan:
    """What is asked for; see :func:`lossdoctor.probes.hessian.check.curvature`."""

    mode: str
    smallest: bool
    trace_probes: int
    tolerance: float
    max_products: int
    seed: int


def measured(sample: Sample, step: Step | None, plan: Plan, random: bool, tell: Progress) -> Curvatures:
    """All numbers of a test of curvature. A step without ``missing`` is known."""
    with explained():
        hessian = sample.hessian()
        sharpness = _extreme(sample, Scaled(hessian), "largest", plan, tell)
        own = _own_sharpness(sample, hessian, sharpness, step, plan, tell)
        rough = replace(plan, tolerance=ROUGH, max_products=min(FEW, plan.max_products))
        smallest = _extreme(sample, Scaled(hessian), "smallest", rough, tell) if plan.smallest else None
        along = hessian.along_gradient()
        probes = plan.trace_probes
        total = (
            trace(cast(Hessian, hessian), probes, seed=plan.seed, progress=tell)
            if probes
            else Estimate(math.nan, math.nan, 0)
        )
    lr, bound = (step.lr, step.bound) if step is not None else (math.nan, math.nan)
    share = lr / bound if own is not None else math.nan
    ratio, low, high = (share * v for v in (own.value, own.low, own.high)) if own is not None else (math.nan,) * 3
    found = Curvatures(
        sharpness=sharpness,
        gradient_curvature=along,
        gradient_norm=float(hessian.gradient.double().norm()),
        gradient_noise=sample.gradient_noise(),
        loss=hessian.loss,
        trace=total.value,
        trace_error=total.standard_error,
        smallest=smallest,
        preconditioned=own,
        optimizer=step.optimizer if step is not None else "",
        lr=lr,
        momentum=step.momentum if step is not None else math.nan,
        several_rates=step is not None and step.several,
        bound=bound,
        missing=step.missing if step is not None else "",
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        stability=stability_of(ratio, low, high) if step is not None else "",
        saddle=None,
        size=hessian.size,
        batches=len(sample.batches),
        held_out=len(sample.held_out),
        examples=sum(examples(b) for b in sample.batches),
        whole=sample.whole,
        products=hessian.products,
        mode=plan.mode,
        random=random,
    )
    return replace(found, saddle=is_saddle(found)) if smallest is not None else found


def _own_sharpness(
    sample: Sample, hessian: MeanHessian, plain: Sharpness, step: Step | None, plan: Plan, tell: Progress
) -> Sharpness | None:
    """The largest eigenvalue as the optimizer's steps see it; a search of its own only where it needs one."""
    if step is None or step.missing:
        return None
    if step.scale is not None or isinstance(step.decay, Tensor):
        return _extreme(sample, Scaled(hessian, step.scale, step.decay), "largest", plan, tell)
    decay = step.decay
    return replace(
        plain,
        value=plain.value + decay,
        held_out=plain.held_out + decay,
        low=plain.low + decay,
        high=plain.high + decay,
        per_batch=tuple(v + decay for v in plain.per_batch),
        products=0,
    )


def _extreme(
    sample: Sample, operator: Scaled, which: Literal["largest", "smallest"], plan: Plan, tell: Progress
) -> Sharpness:
    # Scaled has all that the search asks of a Hessian (and MeanHessian what the trace does): size, gradient, products.
    found = extreme_eigenvalue(
        cast(Hessian, operator),
        which,
        tolerance=plan.tolerance,
        max_products=plan.max_products,
        seed=plan.seed,
        progress=tell,
    )
    direction = operator.stretched(found.vector.to(operator.device))
    decay = float((torch.as_tensor(operator.decay, device=direction.device) * direction**2).sum())
    curvatures = sample.along(direction) + decay
    held_out, low, high = sample.spread(curvatures, which)
    return Sharpness(
        value=found.value,
        error=found.error,
        residual=found.residual,
        held_out=held_out,
        low=low,
        high=high,
        per_batch=tuple(curvatures[: len(sample.batches)].tolist()),
        products=found.products,
        converged=found.converged,
    )
