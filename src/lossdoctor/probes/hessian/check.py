"""The curvature of the loss at a model's parameters: which learning rates it allows, and whether this is a saddle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.probes.chart import Chart
from lossdoctor.probes.hessian.guard import draws_random, graph_bytes, set_mode
from lossdoctor.probes.hessian.measure import Plan, measured
from lossdoctor.probes.hessian.numbers import Curvatures
from lossdoctor.probes.hessian.sample import Sample
from lossdoctor.probes.hessian.step import step_of, trained
from lossdoctor.probes.hessian.words import chart, judged, listed
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject

KEPT = 512 * 2**20  # bytes of graphs that are kept


@dataclass(frozen=True, kw_only=True)
class CurvatureResult(ProbeResult, Curvatures):
    """What :func:`curvature` found: the numbers of :class:`~lossdoctor.probes.hessian.numbers.Curvatures`."""

    test: ClassVar[str] = "curvature"
    title: ClassVar[str] = "Curvature"

    def charts(self) -> tuple[Chart, ...]:
        """Curvatures against the limit of stability."""
        return chart(self)

    def rows(self) -> tuple[tuple[str, str], ...]:
        return listed(self)


def curvature(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    batches: int = 8,
    mode: str = "train",
    smallest: bool = False,
    trace_probes: int = 8,
    tolerance: float = 1e-3,
    max_products: int = 64,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> CurvatureResult:
    """The largest curvature λ of the loss, and the learning rates that it allows.

    To second order gradient descent shrinks the error along a direction of curvature λ only while its rate is below
    2 / λ; beyond, it overshoots further with every step. Full-batch training raises λ until it reaches this edge and
    then stays there (Cohen et al. 2021); mini-batches keep it below. The same holds for Adam with the eigenvalue of
    P^(-1/2) H P^(-1/2), P being its root of the second moment, and 38 in place of 2 (Cohen et al. 2022).

    The eigenvalue is searched on a sample of batches and held against as many others, since the largest value of a
    sample is too large on average.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`.
        optimizer: of the run, with its state: says whether its rate is stable, for SGD, Adam, AdamW, RMSprop, Adagrad
            and their subclasses. Only what it trains is looked at, and its L2 weight decay is part of the curvature.
        batches: to search on, at least 1; as many more are held against them.
        mode: ``"train"``: batch norm by the batch, as the optimizer's steps and its state see it; or ``"eval"``: by its
            running statistics. Dropout is off in both.
        smallest: look for the smallest eigenvalue too: negative where this is a saddle. To a tolerance of 1 %, in at
            most 32 products more.
        trace_probes: products for the trace; 0 for none.
        tolerance: wanted relative error of the eigenvalue.
        max_products: at most so many products for an eigenvalue.
        seed: of the start vector and the probes.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Returns:
        Outcome ``"passed"`` below the edge of stability or without an optimizer, ``"noted"`` at it, a little beyond it,
        or at a saddle, ``"failed"`` at more than twice the limit and where the loss is flat in all directions,
        ``"unknown"`` where batches differ too much or the loss is piecewise linear.

    Raises:
        UsageError: an option out of its range; parameters in half precision; a loss that is not finite, not the same
            twice, or cannot be differentiated twice; what Subject refuses.
        UserCodeError: the model, the loss or the loader raised.

    Cost: 6 to 22 products for the eigenvalue, as many for a preconditioned one, one along the gradient and
    ``trace_probes``. A product evaluates every batch of the sample; an evaluation takes one to three training steps
    while the graphs of the sample fit into 512 MiB and are kept, else three to eight. Memory: that, and some 300 bytes
    per parameter, most of it for the search's vectors on the CPU.

    Deviations: P is held fixed over the step. Kinks (ReLU, absolute error) have no second derivative; what is measured
    is the curvature of the pieces. A loss that draws random numbers is measured at one draw.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> data = [(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1))]
    >>> result = curvature(layer, nn.functional.mse_loss, data, torch.optim.SGD(layer.parameters(), lr=0.1))
    >>> round(result.sharpness.value, 4), round(result.critical_lr, 4), result.stability
    (4.0, 0.5, 'below')
    """
    _check(batches, mode, trace_probes, tolerance, max_products)
    started = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    parameters = trained(subject)
    _check_precision(parameters)
    plan = Plan(mode, smallest, trace_probes, tolerance, max_products, seed)
    device = subject.device.type
    # Rounding to half precision, which autocast does, would drown the second derivatives.
    with subject.untouched(), torch.autocast(device, enabled=False), shown("curvature", progress) as tell:
        set_mode(model, mode)
        taken = subject.batches.take(2 * batches)
        random = draws_random(subject, taken[0])
        keep = graph_bytes(subject, taken[0], parameters) * min(batches, len(taken)) <= KEPT
        sample = Sample(subject, taken[:batches], taken[batches:], parameters, keep=keep)
        step = step_of(optimizer, parameters) if optimizer is not None else None
        found = measured(sample, step, plan, random, tell)
    outcome, verdict, causes = judged(found)
    return CurvatureResult(
        outcome=outcome,
        verdict=verdict,
        measurements=_measurements(found),
        causes=causes,
        steps=sample.evaluations,
        seconds=time.perf_counter() - started,
        **vars(found),
    )


def _measurements(found: Curvatures) -> tuple[Measurement, ...]:
    sharp = found.sharpness
    detail = {"low": sharp.low, "high": sharp.high, "held_out": sharp.held_out, "critical_lr": found.critical_lr}
    told = [Measurement("sharpness", sharp.value, detail=detail)]
    if not math.isnan(found.ratio):
        interval = {"low": found.ratio_low, "high": found.ratio_high, "optimizer": found.optimizer, "lr": found.lr}
        told.append(Measurement("stability_ratio", found.ratio, "of the limit", detail=interval))
    if found.smallest is not None:
        told.append(Measurement("smallest_curvature", found.smallest.value, detail={"saddle": bool(found.saddle)}))
    return tuple(told)


def _check_precision(parameters: list[nn.Parameter]) -> None:
    low = sorted({str(p.dtype).removeprefix("torch.") for p in parameters} - {"float32", "float64"})
    if low:
        raise UsageError(
            f"the model has parameters in {' and '.join(low)}, whose rounding hides curvature: test a copy in single"
            " precision, copy.deepcopy(model).float()"
        )


def _check(batches: int, mode: str, trace_probes: int, tolerance: float, max_products: int) -> None:
    if batches < 1:
        raise UsageError(f"batches is {batches}; give at least 1 to search on, better 8")
    if mode not in ("eval", "train"):
        raise UsageError(f"mode is {mode!r}; expected 'eval' or 'train'")
    if trace_probes < 0:
        raise UsageError(f"trace_probes is {trace_probes}; give 0 for no trace, or 8 or more")
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance is {tolerance}; expected a relative error between 0 and 1, such as 1e-3")
    if max_products < 1:
        raise UsageError(f"max_products is {max_products}; give at least 1, better 64")
