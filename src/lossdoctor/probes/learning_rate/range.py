"""The learning-rate range test: a rate for this model, this optimizer and these batches, from some 180 steps."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.probes.chart import Chart, Line, Mark
from lossdoctor.probes.learning_rate.range_reading import COARSE, Floats, Head, Reading, Sweep, head_of, read, suggested
from lossdoctor.probes.learning_rate.range_verdict import compared, confidence, nothing
from lossdoctor.probes.learning_rate.steps import Kept, Steps, momentum_of, normalizes, positive, present_rate, whole
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject

# The second sweep spans this far below and above the rate where the first explodes, and this far below its valley.
BELOW_EDGE, ABOVE_EDGE, BELOW_VALLEY = 300.0, 1.5, 30.0


@dataclass(frozen=True, kw_only=True)
class LRRangeResult(ProbeResult):
    """Where on the axis of learning rates this training falls, and where it breaks.

    All rates are those of the parameter group with the largest one; the others keep their ratio to it.

    Attributes:
        suggestion: a rate for a training of constant rate, and the peak for one with a schedule; None when the losses
            do not show one.
        confidence: how often such a suggestion came within 5 % of the best of a grid search; 0 without a suggestion.
        steepest: the rate at which the loss falls fastest.
        valley: the lowest rate at which the loss is nearly at its least.
        tenth: one tenth of the rate at which the loss explodes.
        stable: the largest rate before a considerable share of the fall is lost again.
        diverges: where the loss is back above its start. Any of these is None when there is no such place.
        present: the optimizer's rate when the test began.
        start, noise: level of the loss before any rate matters, and its spread from batch to batch.
        rates, losses, smoothed: the fine sweep, which everything is read from, up to where it was stopped.
        coarse_rates, coarse_losses: the whole range, with fewer steps.
    """

    test: ClassVar[str] = "lr_range_test"
    title: ClassVar[str] = "Learning-rate range test"

    suggestion: float | None
    confidence: float
    steepest: float | None
    valley: float | None
    tenth: float | None
    stable: float | None
    diverges: float | None
    present: float
    start: float
    noise: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    coarse_rates: tuple[float, ...]
    coarse_losses: tuple[float, ...]

    @property
    def range(self) -> dict[str, float]:
        """The readings that there are, by name."""
        names = ("steepest", "valley", "tenth", "stable")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def charts(self) -> tuple[Chart, ...]:
        # What explodes would press the rest flat.
        top = self.start + 2.0 * max(self.start - min(self.smoothed, default=self.start), 3.0 * self.noise)
        lines = [
            Line("whole range", self.coarse_rates, _below(self.coarse_losses, top), "faint"),
            Line("loss of each batch", self.rates, _below(self.losses, top), "points"),
            Line("smoothed", self.rates, _below(self.smoothed, top)),
        ]
        marks = [Mark(self.suggestion, "suggestion", good=True)] if self.suggestion else []
        places = (("steepest", self.steepest), ("valley", self.valley), ("largest stable", self.stable))
        marks += [Mark(at, name) for name, at in places if at is not None]
        chart = Chart(
            "Loss while the learning rate rises",
            "learning rate",
            "loss",
            tuple(line for line in lines if line.x),
            marks=tuple(marks),
            log_x=True,
        )
        return (chart,)

    def rows(self) -> tuple[tuple[str, str], ...]:
        told = (
            ("suggestion", self.suggestion),
            ("steepest descent", self.steepest),
            ("valley", self.valley),
            ("one tenth of divergence", self.tenth),
            ("largest stable rate", self.stable),
            ("diverges at", self.diverges),
            ("present rate", self.present),
        )
        rows = [(name, f"{value:.2g}") for name, value in told if value is not None]
        if self.suggestion is not None:
            rows.insert(1, ("confidence", f"{self.confidence:.0%}"))
        return tuple(rows)


def lr_range_test(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 180,
    accumulate: int = 1,
    scaler: Any = None,
    autocast: torch.dtype | None = None,
    clip: float | None = None,
    stop: float = 4.0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> LRRangeResult:
    """Train while the learning rate rises from step to step, and read off which rate suits.

    Two sweeps, each from the present state: one over the whole range with a third of the steps, which finds where the
    loss explodes; one with the others over the 2.7 decades below that, which is read. Afterwards everything is as it
    was.

    Args:
        model: as it is before training, or anywhere in it; it is set to training mode when it is wholly in evaluation.
        loss_fn: ``loss_fn(output, target)`` -> scalar; None for models that return their loss.
        loader: a ``DataLoader`` or a list of batches; it is read again from its start as often as needed.
        optimizer: the run's own, of any kind; its groups keep the ratio of their rates.
        lowest, highest: the range of rates, 0 < lowest < highest, at least a factor of 100 apart.
        steps: optimizer steps in all, from 30. Fewer are noisier: 100 to 200 suit.
        accumulate: batches per step.
        scaler: the run's gradient scaler.
        autocast: dtype of mixed precision, for example ``torch.bfloat16``.
        clip: largest norm of the gradient, where the run clips it.
        stop: a sweep ends when its smoothed loss is this many times its least, above 1. For losses that may be negative
            or have fallen far, the rise over the least loss counts in units of the fall.
        forward: ``forward(model, batch)`` -> the loss, for batches of any form.
        progress: a function (done, total), False for silence.

    Returns:
        The rates and, without a doubt about the fall, one suggestion. Its verdict compares the present rate with it.

    Raises:
        UsageError: an option out of range, no optimizer or one of another model, batches that cannot be told.
        UserCodeError: the model, the loss or the loader raised.

    References:
        Smith, "Cyclical learning rates for training neural networks", WACV 2017 (arXiv 1506.01186). Deviations: the
        rate rises exponentially; the second sweep; the suggestion is neither the steepest point nor a tenth of another,
        but a share of the valley (with SGD, of the geometric mean of valley and largest stable rate) that falls with
        the root of 1 - momentum; see :mod:`benchmarks.lr_range`, where it was tuned and is measured.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(256, 4)
    >>> batches = [(x[i : i + 32], x[i : i + 32].sum(1, keepdim=True)) for i in range(0, 256, 32)]
    >>> model = nn.Linear(4, 1)
    >>> found = lr_range_test(model, nn.functional.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=1e-5))
    >>> 0.05 < found.suggestion < 1.0, found.outcome
    (True, 'failed')
    """
    begun = time.perf_counter()
    lowest, highest = positive("lowest", lowest), positive("highest", highest)
    if highest < 100 * lowest:
        raise UsageError(f"the rates go from {lowest:g} to {highest:g}; give a range of at least a factor of 100")
    whole("steps", steps, 30)
    if positive("stop", stop) <= 1:
        raise UsageError(f"stop is {stop!r}; expected a factor above 1, 4 by default")
    subject = Subject(model, loss_fn, loader, optimizer, scaler=scaler, forward=forward)
    stepper = Steps(subject, accumulate=accumulate, autocast=autocast, clip=clip)
    present = present_rate(optimizer)
    first = max(10, steps // 3)
    with shown("Learning-rate range", progress) as tell:
        rates = np.geomspace(lowest, highest, first)
        coarse = _sweep(stepper, rates, stop, None, lambda done: tell(done, steps))
        head = head_of(coarse)
        fine, reading = None, None
        if coarse.taken > first // 4:
            rates = np.geomspace(*_zoom(read(coarse, head, COARSE), highest), steps - first)
            fine = _sweep(stepper, rates, stop, head, lambda done: tell(first + done, steps))
            reading = read(fine, head)
    taken = coarse.taken + (fine.taken if fine else 0)
    return _judged(coarse, fine, head, reading, stepper, present, lowest, highest, taken, time.perf_counter() - begun)


def _zoom(coarse: Reading, highest: float) -> tuple[float, float]:
    """What the second sweep spans: the fall and what ends it."""
    explodes = coarse.diverges or highest
    low = explodes / BELOW_EDGE
    if coarse.falls:
        low = min(low, coarse.valley / BELOW_VALLEY)
    return low, min(explodes * ABOVE_EDGE, highest)


def _sweep(stepper: Steps, rates: Floats, stop: float, head: Head | None, tell: Callable[[int], None]) -> Sweep:
    """Take a step at each rate until the loss explodes; leaves no trace."""
    subject = stepper.subject
    kept = Kept(subject.device)
    watch = _Watch(stop, head, float(np.log10(rates[1] / rates[0])))
    end: int | None = None
    with subject.untouched(), torch.enable_grad():
        if not subject.model.training:
            subject.model.train()
        window: list[Any] = []
        for batch in subject.batches.cycle(len(rates) * stepper.accumulate):
            window.append(batch)
            if len(window) < stepper.accumulate:
                continue
            done = len(kept)
            stepper.set_rate(float(rates[done]))
            fetched = kept.add(stepper.step(window, done))
            window = []
            if fetched:
                tell(len(kept))
                end = watch.ended(kept.values)
                if end is not None:
                    break
        kept.fetch()
        end = watch.ended(kept.values) if end is None else end
    values = np.array(kept.values[:end], dtype=np.float64)
    losses = np.full(len(rates), np.inf)
    losses[: len(values)] = np.where(np.isfinite(values), values, np.inf)
    return Sweep(rates, losses, len(values))


class _Watch:
    """Looks at a sweep's losses as they come, for the step at which it ends; however many come at once."""

    def __init__(self, stop: float, head: Head | None, spacing: float) -> None:
        self._rise, self._head = stop - 1.0, head
        self._factor = math.exp(-spacing / 0.1)
        self._seen: list[float] = []
        self._sum = self._weight = 0.0
        self._least = self._lowest = math.inf

    def ended(self, losses: list[float]) -> int | None:
        """How many losses count, once the sweep is over."""
        for loss in losses[len(self._seen) :]:
            self._seen.append(loss)
            if not math.isfinite(loss):
                return len(self._seen)
            self._sum = self._factor * self._sum + loss
            self._weight = self._factor * self._weight + 1.0
            smoothed = self._sum / self._weight  # dividing by the weights is the bias correction
            self._least = min(self._least, smoothed)
            self._lowest = min(self._lowest, loss)
            # The cheap part of the rule first: this is asked at every step.
            risen = smoothed - self._least
            own = self._least if self._lowest >= 0 else 0.0
            if risen > self._rise * own and len(self._seen) >= 5 and risen > self._rise * self._unit():
                return len(self._seen)
        return None

    def _unit(self) -> float:
        """The fall, or the noise; for losses that were never negative, the least loss itself counts as well."""
        if self._head is not None:
            level, noise = self._head.level, self._head.noise
        else:
            first = self._seen[: max(5, len(self._seen) // 4)]
            level, noise = statistics.median(first), statistics.pstdev(first)
        return max(level - self._least, 3.0 * noise, 1e-12)


def _judged(
    coarse: Sweep,
    fine: Sweep | None,
    head: Head,
    reading: Reading | None,
    stepper: Steps,
    present: float,
    lowest: float,
    highest: float,
    taken: int,
    seconds: float,
) -> LRRangeResult:
    suggestion, sure = None, 0.0
    if reading is not None and reading.falls:
        suggestion = float(f"{suggested(reading, momentum_of(stepper.optimizer), normalizes(stepper.optimizer)):.3g}")
        sure = confidence(reading, float(coarse.rates[len(coarse.rates) // 4]))
    if suggestion is not None and reading is not None:
        outcome, verdict, causes = compared(present, suggestion, reading)
    else:
        outcome, verdict, causes = "unknown", nothing(coarse, head, reading, lowest, highest), {}
    falls = reading if reading is not None and reading.falls else None
    diverges = reading.diverges if reading else float(coarse.rates[max(coarse.taken - 1, 0)])
    measured: Mapping[str, float | None] = {
        "suggested_learning_rate": suggestion,
        "largest_stable_rate": falls.stable if falls else None,
        "divergence_rate": diverges,
    }
    return LRRangeResult(
        outcome=outcome,
        verdict=verdict,
        measurements=tuple(Measurement(n, v) for n, v in measured.items() if v is not None),
        causes=causes,
        steps=taken,
        seconds=seconds,
        suggestion=suggestion,
        confidence=sure,
        steepest=falls.steepest if falls else None,
        valley=falls.valley if falls else None,
        tenth=diverges / 10 if diverges else None,
        stable=falls.stable if falls else None,
        diverges=diverges,
        present=present,
        start=head.level,
        noise=head.noise,
        rates=tuple(fine.rates[: fine.taken].tolist()) if fine else (),
        losses=tuple(fine.losses[: fine.taken].tolist()) if fine else (),
        smoothed=tuple(reading.smoothed[: fine.taken].tolist()) if fine and reading else (),
        coarse_rates=tuple(coarse.rates[: coarse.taken].tolist()),
        coarse_losses=tuple(coarse.losses[: coarse.taken].tolist()),
    )


def _below(values: tuple[float, ...], top: float) -> tuple[float, ...]:
    return tuple(v if v <= top else math.nan for v in values)
