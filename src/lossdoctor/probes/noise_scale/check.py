"""The gradient noise scale: how many examples a batch needs before noise stops being what slows training down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mode as most_common
from typing import Any, ClassVar

import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.probes.chart import Chart
from lossdoctor.probes.hessian.step import trained
from lossdoctor.probes.noise_scale.advice import BatchAdvice, Setting
from lossdoctor.probes.noise_scale.moments import Moments, moments
from lossdoctor.probes.noise_scale.passes import AGAIN, Pass, read_pass
from lossdoctor.probes.noise_scale.words import advised, counted, judged, trade_off, unmeasured
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject

FEWEST = 8  # gradients below which nothing is said
FAR = 10.0  # times the interval that a batch must be off to be called too small or too large


@dataclass(frozen=True, kw_only=True)
class NoiseScaleResult(ProbeResult):
    """What :func:`gradient_noise_scale` found.

    Attributes:
        noise_scale: tr Σ / |G|² in examples, which is also the critical batch size; infinite where the estimate of
            |G|² is not above zero, NaN where nothing could be measured.
        low, high: its confidence interval in examples; ``high`` is infinite where a gradient of zero is possible.
        confidence: of the interval.
        signal: |G|², squared length of the true gradient of the mean loss; unbiased, so it may be below zero.
        variance: tr Σ, variance of the gradient of one example.
        gradients, examples: how many gradients were compared, and over how many examples in all.
        mode: ``"train"`` or ``"eval"``.
        setting: how the run trains at present: its batch, its optimizer's kind and rate.
        advised: a better batch with all that goes with it; None where the present one is right or nothing is known.
    """

    test: ClassVar[str] = "gradient_noise_scale"
    title: ClassVar[str] = "Gradient noise"

    noise_scale: float
    low: float
    high: float
    confidence: float
    signal: float
    variance: float
    gradients: int
    examples: int
    mode: str
    setting: Setting
    advised: BatchAdvice | None = None

    def advice(self, batch_size: int) -> BatchAdvice:
        """What a batch of that many examples per optimizer step asks for: rate, warm-up, accumulation, cost.

        Raises:
            UsageError: no noise scale is known, or a size below 1.
        """
        if not 0 < self.noise_scale < math.inf:
            raise UsageError(f"there is no noise scale to advise by: {self.verdict}")
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be at least 1 example")
        return self.setting.advice(self.noise_scale, batch_size)

    def charts(self) -> tuple[Chart, ...]:
        """Steps against examples: the trade that a batch size makes."""
        if not 0 < self.noise_scale < math.inf:
            return ()
        return (trade_off(self.noise_scale, self.setting, self.advised),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        scale = counted(self.noise_scale) if self.noise_scale < math.inf else "not known"
        told = [
            ("noise scale (critical batch)", scale),
            (f"{self.confidence:.0%} interval", f"{counted(self.low)} to {counted(self.high)} examples"),
            ("present batch", f"{self.setting.batch_size:,} examples per step"),
            ("squared gradient |G|²", f"{self.signal:.4g}"),
            ("variance of one example's gradient", f"{self.variance:.4g}"),
            ("compared", f"{self.gradients:,} gradients over {self.examples:,} examples, in {self.mode} mode"),
        ]
        if self.advised is not None:
            told += advised(self.advised, self.setting)
        return tuple(told)


def gradient_noise_scale(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    batches: int = 64,
    accumulation: int = 1,
    memory_batch: int | None = None,
    mode: str = "train",
    confidence: float = 0.95,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> NoiseScaleResult:
    """The simple noise scale B = tr Σ / |G|², and the batch size, learning rate and warm-up that it speaks for.

    With batches far smaller than B a step is mostly noise: doubling the batch (and the rate) saves nearly half of the
    steps. With batches far larger it is mostly signal: doubling saves nothing. At B training takes twice the fewest
    possible steps and twice the fewest possible examples, which makes it the critical batch size. It holds at these
    parameters: it grows, often a hundredfold, as the loss falls.

    Taken from the gradients of at most ``batches`` batches of one pass, with no gradients of single examples; a loader
    with fewer than 32 batches has them cut into pieces. They are held to be independent draws: shuffle the loader.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`. The loss is a mean over the
            examples; a sum is recognised.
        optimizer: of the run: its kind and rate make the advice concrete, and only what it trains is looked at.
        batches: at most so many batches, at least 2; the interval narrows with their root.
        accumulation: batches of the loader per optimizer step of the run, at least 1.
        memory_batch: the largest batch in examples that fits in memory; the loader's own by default.
        mode: ``"train"``: with dropout and batch norm as in training, whose noise is part of it; or ``"eval"``.
        confidence: of the interval, 0.5 to 0.999.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Returns:
        Outcome ``"passed"`` where the batch is within a factor of ten of the scale's interval, ``"noted"`` where it is
        further off, ``"unknown"`` where the gradient cannot be told from zero (``low`` is what the scale is at least).

    Raises:
        UsageError: an option out of its range, or what Subject refuses.
        UserCodeError: the model, the loss or the loader raised.

    Cost: one forward and one backward pass per batch, and four more to see dropout's noise. Memory: two gradients, a
    quarter of one for signs, and 8,192 numbers per gradient compared.

    Source: McCandlish, Kaplan, Amodei et al. (2018), "An Empirical Model of Large-Batch Training", appendix A.1,
    generalised to batches that differ in size. Deviations: gradients are those before clipping and weight decay. In
    training mode batch norm makes the gradient of a batch more than a mean over examples, and the law in B approximate.
    An example is one row of the batch, also where a mask leaves out some of its tokens. Where a few rare examples carry
    most of the variance, an interval from few examples is too narrow.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(4096, 3)
    >>> y = x @ torch.ones(3, 1) + torch.randn(4096, 1)
    >>> data = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 4096, 64)]
    >>> model = nn.Linear(3, 1)
    >>> _ = nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    >>> result = gradient_noise_scale(model, nn.functional.mse_loss, data)
    >>> result.outcome, result.low < 6.3 < result.high
    ('passed', True)
    """
    _check(batches, accumulation, memory_batch, mode, confidence)
    started = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    parameters = trained(subject)
    with subject.untouched(), shown("gradient noise", progress) as tell:
        seen = read_pass(subject, parameters, batches, mode == "train", tell)
    size = most_common(seen.loaded)
    setting = Setting.of(optimizer, size * accumulation, memory_batch or size, seen.summed, seen.population)
    found = _moments(seen, confidence)
    outcome = _outcome(found, setting.batch_size)
    better = None
    if found is not None and outcome == "noted":
        better = setting.advice(found.scale, setting.target(found.scale))
        better = better if better.batch_size != setting.batch_size else None
    told = unmeasured(seen, FEWEST) if found is None else judged(outcome, found, confidence, setting, better)
    return NoiseScaleResult(
        outcome=outcome,
        verdict=told,
        measurements=_measured(found, seen, setting),
        causes=_causes(found, setting.batch_size),
        steps=len(seen.loaded) + (AGAIN if mode == "train" else 0),
        seconds=time.perf_counter() - started,
        noise_scale=found.scale if found else math.nan,
        low=found.low if found else 0.0,
        high=found.high if found else math.inf,
        confidence=confidence,
        signal=found.signal if found else math.nan,
        variance=found.variance if found else math.nan,
        gradients=len(seen.sizes),
        examples=sum(seen.sizes),
        mode=mode,
        setting=setting,
        advised=better,
    )


def _moments(seen: Pass, confidence: float) -> Moments | None:
    if len(seen.sizes) < FEWEST or seen.nonfinite or not seen.gram.any():
        return None
    return moments(seen.sizes, seen.gram, seen.total, exhausted=seen.exhausted, confidence=confidence)


def _outcome(found: Moments | None, batch_size: int) -> str:
    if found is None or found.high == math.inf:
        return "unknown"
    if found.variance == 0:
        return "passed"
    return "passed" if found.low / FAR <= batch_size <= found.high * FAR else "noted"


def _causes(found: Moments | None, batch_size: int) -> dict[str, float]:
    """How far the scale speaks for a batch that is too small; also by its lower bound alone."""
    if found is None:
        return {}
    if batch_size < found.low / FAR:
        return {"batch-too-small": 1.5}  # no more: near a minimum every batch is
    if batch_size > found.low:
        return {"batch-too-small": 0.3 if batch_size > found.high else 0.6}
    return {}


def _measured(found: Moments | None, seen: Pass, setting: Setting) -> tuple[Measurement, ...]:
    if found is None:
        return ()
    detail = {
        "low": found.low,
        "high": found.high,
        "signal": found.signal,
        "variance": found.variance,
        "batch_size": setting.batch_size,
        "gradients": len(seen.sizes),
    }
    return (Measurement("gradient_noise_scale", found.scale, "examples", detail=detail),)


def _check(batches: int, accumulation: int, memory_batch: int | None, mode: str, confidence: float) -> None:
    if batches < 2:
        raise UsageError(f"batches is {batches}; noise shows between batches: give at least 2, better 64")
    if accumulation < 1:
        raise UsageError(f"accumulation is {accumulation}; give the batches per optimizer step, at least 1")
    if memory_batch is not None and memory_batch < 1:
        raise UsageError(f"memory_batch is {memory_batch}; give the examples that fit in memory, at least 1")
    if mode not in ("train", "eval"):
        raise UsageError(f"mode is {mode!r}; expected 'train' or 'eval'")
    if not 0.5 <= confidence <= 0.999:
        raise UsageError(f"confidence is {confidence}; expected 0.5 to 0.999")
