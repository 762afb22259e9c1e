"""Short runs at several learning rates from the present state: would a lower or a higher one now do better?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Measurement
from lossdoctor.probes.batches import Batches
from lossdoctor.probes.chart import Chart, Line
from lossdoctor.probes.learning_rate.range_reading import smooth
from lossdoctor.probes.learning_rate.steps import Kept, Steps, momentum_of, normalizes, positive, present_rate, whole
from lossdoctor.probes.learning_rate.trial_numbers import Floats, Start, compared, diverged, mean_of, start_of
from lossdoctor.probes.learning_rate.trial_verdict import judged
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject

FACTORS = (0.1, 1 / 3, 1.0, 3.0, 10.0)
ENOUGH = 5  # validation batches from which on they decide
LAST = 0.5  # share of a run, at its end, whose losses are compared


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One short run.

    Attributes:
        factor: of the present rate; ``rate`` is the largest group's.
        losses: of every batch, before its step; the run ends where they are no longer finite.
        last: mean over the last half.
        difference, error: mean of the paired differences to the run at the present rate over the last half, below 0
            where this one is better, and its standard error.
        p: probability of such a difference by noise alone.
        validation, validation_difference, validation_error: the same of the validation loss after the run; None
            without validation batches.
        validation_p: likewise; 1 where there are too few batches to tell.
        diverged: the run ended far above where it began.
    """

    factor: float
    rate: float
    losses: tuple[float, ...]
    last: float
    difference: float
    error: float
    p: float
    validation: float | None
    validation_difference: float | None
    validation_error: float | None
    validation_p: float
    diverged: bool


@dataclass(frozen=True, kw_only=True)
class LRTrialResult(ProbeResult):
    """The runs side by side.

    Attributes:
        better: ``"lower"``, ``"higher"``, ``"same"`` or ``"unclear"``: which way the loss is better.
        best: the factor of the present rate that did best.
        present: the present rate.
        decided_by: ``"train"`` or ``"validation"``.
        trials: one for each factor, from the lowest.
    """

    test: ClassVar[str] = "lr_trial"
    title: ClassVar[str] = "Learning-rate trial"

    better: str
    best: float
    present: float
    decided_by: str
    trials: tuple[Trial, ...]

    def charts(self) -> tuple[Chart, ...]:
        lines = []
        for trial in self.trials:
            losses = np.array([v for v in trial.losses if math.isfinite(v)])  # at most the last one is not
            smoothed = smooth(losses, 1.0, 5.0)[0].tolist() if len(losses) else []
            name = f"{trial.rate:.2g} (×{trial.factor:.2g})" + (", diverged" if trial.diverged else "")
            lines.append(Line(name, tuple(range(1, len(smoothed) + 1)), tuple(smoothed)))
        positive_only = all(min(t.losses, default=1.0) > 0 for t in self.trials)
        title = "Loss from the present state on, same batches"
        return (Chart(title, "step", "loss, smoothed", tuple(lines), log_y=positive_only),)

    def rows(self) -> tuple[tuple[str, str], ...]:
        return tuple((f"rate {t.rate:.2g} (×{t.factor:.2g})", _row(t)) for t in self.trials)


def _row(trial: Trial) -> str:
    if trial.diverged:
        return "diverged"
    told = f"loss {trial.last:.4g}{_beside(trial.difference, trial.error, trial.factor)}"
    if trial.validation is not None:
        told += f"; validation {trial.validation:.4g}"
        told += _beside(trial.validation_difference, trial.validation_error, trial.factor)
    return told


def _beside(difference: float | None, error: float | None, factor: float) -> str:
    if factor == 1.0 or difference is None or error is None or not math.isfinite(difference):
        return ""
    return f", {difference:+.2g}" + (f" ± {error:.1g}" if math.isfinite(error) else "")


def lr_trial(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    factors: Sequence[float] = FACTORS,
    steps: int = 80,
    val_loader: Iterable[Any] | None = None,
    val_batches: int = 50,
    accumulate: int = 1,
    scaler: Any = None,
    autocast: torch.dtype | None = None,
    clip: float | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> LRTrialResult:
    """Train a little further at the present rate, lower and higher, and say which way the loss is better.

    Every run begins at the same state of model, optimizer and random generators and sees the same batches in the same
    order; so the noise of the batches drops out of the differences. Afterwards everything is as it was.

    A short run favours low rates where the loss has come down to its noise: there any decay lowers it at once (Wu et
    al., "Understanding short-horizon bias in stochastic meta-optimization", ICLR 2018). The verdict then says decay,
    not a lower rate for the whole run.

    Args:
        model: as the run left it; it is set to training mode when it is wholly in evaluation.
        loss_fn: ``loss_fn(output, target)`` -> scalar; None for models that return their loss.
        loader: a ``DataLoader`` or a list of batches. One whose order comes from generators of its own gives every run
            other batches; the differences are then noisier, and their standard errors say so.
        optimizer: the run's own, with its state.
        factors: of the present rate, above 0; 1 is added where it is missing.
        steps: of each run, from 20; 50 to 100 suit.
        val_loader: where given, its loss after each run decides, if it has at least 5 batches.
        val_batches: how many of them are used.
        accumulate: batches per step.
        scaler, autocast, clip: as in :func:`~lossdoctor.probes.learning_rate.range.lr_range_test`.
        forward: ``forward(model, batch)`` -> the loss, for batches of any form.
        progress: a function (done, total), False for silence.

    Returns:
        The runs, compared with the one at the present rate by paired tests, corrected for their number and for noise
        that remembers. A difference counts when it is no noise, at least a tenth of what the run gains meanwhile, and a
        quarter of the noise from batch to batch. ``steps`` counts optimizer steps and validation batches.

    Raises:
        UsageError: an option out of range, no optimizer or one whose rate is 0, batches that cannot be told.
        UserCodeError: the model, the loss or the loader raised.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(256, 4)
    >>> batches = [(x[i : i + 32], x[i : i + 32].sum(1, keepdim=True)) for i in range(0, 256, 32)]
    >>> model = nn.Linear(4, 1)
    >>> found = lr_trial(model, nn.functional.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=1e-3), steps=40)
    >>> found.better, found.best
    ('higher', 10.0)
    """
    begun = time.perf_counter()
    whole("steps", steps, 20)
    whole("val_batches", val_batches, 1)
    wanted = sorted({positive("each of factors", f) for f in factors} | {1.0})
    if len(wanted) < 2:
        raise UsageError(f"factors is {tuple(factors)!r}; give at least one other than 1, for example (0.1, 10)")
    subject = Subject(model, loss_fn, loader, optimizer, scaler=scaler, forward=forward)
    stepper = Steps(subject, accumulate=accumulate, autocast=autocast, clip=clip)
    present = present_rate(optimizer)
    if not present > 0:
        raise UsageError(f"the optimizer's learning rate is {present:g}; a trial needs one above 0 to compare with")
    validation = None if val_loader is None else Batches(val_loader, subject.device)
    remembers = momentum_of(optimizer) > 0 or normalizes(optimizer)  # plain SGD does not tell how far the run is
    fresh = not any(optimizer.state.get(p) for p in stepper.parameters) if remembers else None
    runs: dict[float, Floats] = {}
    checks: dict[float, Floats] = {}
    with shown("Learning-rate trial", progress) as tell:
        for number, factor in enumerate(wanted):
            with subject.untouched(), torch.enable_grad():
                runs[factor] = _run(stepper, present * factor, steps, _part(tell, number, len(wanted), steps))
                if validation is not None:
                    checks[factor] = _validated(subject, stepper, validation, val_batches)
    start = start_of(runs)
    trials = _trials(runs, checks, start, present)
    spent = sum(len(r) for r in runs.values()) + sum(len(c) for c in checks.values())
    by_validation = bool(checks) and len(checks[1.0]) >= ENOUGH
    opinion = judged(trials, start, fresh=fresh, by_validation=by_validation)
    return LRTrialResult(
        outcome=opinion.outcome,
        verdict=opinion.verdict,
        measurements=(Measurement("better_learning_rate", present * opinion.best, detail={"better": opinion.better}),),
        causes=opinion.causes,
        steps=spent,
        seconds=time.perf_counter() - begun,
        better=opinion.better,
        best=opinion.best,
        present=present,
        decided_by="validation" if by_validation else "train",
        trials=trials,
    )


def _part(tell: Progress, number: int, count: int, steps: int) -> Callable[[int], None]:
    return lambda done: tell(number * steps + done, count * steps)


def _run(stepper: Steps, rate: float, steps: int, tell: Callable[[int], None]) -> Floats:
    """Losses up to the first that is not finite, which is the last."""
    subject = stepper.subject
    if not subject.model.training:
        subject.model.train()
    stepper.set_rate(rate)
    kept = Kept(subject.device)
    window: list[Any] = []
    for batch in subject.batches.cycle(steps * stepper.accumulate):
        window.append(batch)
        if len(window) < stepper.accumulate:
            continue
        fetched = kept.add(stepper.step(window, len(kept)))
        window = []
        if fetched:
            tell(len(kept))
            if not math.isfinite(kept.values[-1]):
                break
    kept.fetch()
    losses = np.array(kept.values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(losses))
    return losses[: bad[0] + 1] if len(bad) else losses


@torch.no_grad()
def _validated(subject: Subject, stepper: Steps, batches: Batches, count: int) -> Floats:
    subject.model.eval()
    kept = Kept(subject.device, every=count)
    for number, batch in enumerate(batches.take(count)):
        with stepper.cast():
            kept.add(subject.loss(batch, number).detach())
    kept.fetch()
    return np.array(kept.values, dtype=np.float64)


def _trials(runs: dict[float, Floats], checks: dict[float, Floats], start: Start, present: float) -> tuple[Trial, ...]:
    base, steps = runs[1.0], max(len(r) for r in runs.values())
    first = round(steps * (1 - LAST))
    trials = []
    for factor, losses in runs.items():
        told = compared(_whole(losses, steps)[first:], _whole(base, steps)[first:])
        check = mean_of(checks[factor] - checks[1.0]) if checks else None
        trials.append(
            Trial(
                factor=factor,
                rate=present * factor,
                losses=tuple(losses.tolist()),
                last=float(_whole(losses, steps)[first:].mean()),
                difference=told.mean,
                error=told.error,
                p=told.p,
                validation=float(checks[factor].mean()) if checks else None,
                validation_difference=check.mean if check else None,
                validation_error=check.error if check else None,
                validation_p=check.p if check else 1.0,
                diverged=diverged(losses, start),
            )
        )
    return tuple(trials)


def _whole(losses: Floats, steps: int) -> Floats:
    """A run that ended early, filled up with infinity."""
    return np.concatenate([np.where(np.isfinite(losses), losses, np.inf), np.full(steps - len(losses), np.inf)])
