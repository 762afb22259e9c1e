"""Learning-rate schedules by name: those of ``torch.optim.lr_scheduler``, and those it has no ready name for."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import SWALR

from lossdoctor.core.errors import UsageError, nearest

# What a scheduler looks like from here; ReduceLROnPlateau is none of torch's LRScheduler in older versions.
Scheduler = Any
Factor = Callable[[int], float]


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule of the lab.

    Attributes:
        name, title: as it is called here and in print.
        make: (optimizer, steps, **options) -> a torch scheduler, stepped once after each step.
        source: where it comes from; note: what to know.
        follows_loss: it looks at the loss, so it can serve one start only.
    """

    name: str
    title: str
    make: Callable[..., Scheduler]
    source: str = ""
    note: str = ""
    follows_loss: bool = False

    def check(self, options: Mapping[str, Any]) -> None:
        """Raises UsageError when an option is not one of this schedule's."""
        known = [name for name in inspect.signature(self.make).parameters if name not in ("optimizer", "steps")]
        for given in options:
            if given not in known:
                end = nearest(given, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
                raise UsageError(f"the schedule {self.name!r} has no option {given!r}{end}")

    def start(self, optimizer: Optimizer, steps: int, options: Mapping[str, Any]) -> Scheduler:
        """The scheduler over this optimizer; raises UsageError when torch refuses the options."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of a first step it takes by itself
                return self.make(optimizer, steps, **options)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise UsageError(f"the schedule {self.name!r} cannot be made with {dict(options)}: {error}") from error


def _factors(optimizer: Optimizer, factor: Factor) -> Scheduler:
    return lr_scheduler.LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, steps: int) -> Scheduler:  # noqa: ARG001 - all schedules are called alike
    """The same rate throughout."""
    return _factors(optimizer, lambda _: 1.0)


def step(optimizer: Optimizer, steps: int, step_size: int | None = None, gamma: float = 0.1) -> Scheduler:
    """Times ``gamma`` every ``step_size`` steps (a third of the run)."""
    return lr_scheduler.StepLR(optimizer, step_size or max(1, steps // 3), gamma)


def multistep(optimizer: Optimizer, steps: int, milestones: list[int] | None = None, gamma: float = 0.1) -> Scheduler:
    """Times ``gamma`` at each milestone (at 50 % and 75 % of the run)."""
    return lr_scheduler.MultiStepLR(optimizer, milestones or [steps // 2, 3 * steps // 4], gamma)


def exponential(optimizer: Optimizer, steps: int, gamma: float | None = None) -> Scheduler:
    """Times ``gamma`` every step (so that 1 % is left at the end)."""
    return lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1.0 / steps) if gamma is None else gamma)


def linear(optimizer: Optimizer, steps: int, end: float = 0.0) -> Scheduler:
    """In a straight line to the share ``end`` of the rate."""
    return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=end, total_iters=steps)


def polynomial(optimizer: Optimizer, steps: int, power: float = 2.0) -> Scheduler:
    """(1 − t/T) to the given power."""
    return lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=power)


def cosine(optimizer: Optimizer, steps: int, floor: float = 0.0) -> Scheduler:
    """Half a cosine from the rate down to ``floor`` (a rate)."""
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=floor)


def sgdr(optimizer: Optimizer, steps: int, period: int | None = None, growth: int = 2, floor: float = 0.0) -> Scheduler:
    """Cosine with warm restarts; each period (first: a seventh of the run) ``growth`` times the last."""
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period or max(1, steps // 7), growth, eta_min=floor)


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    warmup_share: float = 0.3,
    start_divisor: float = 25.0,
    end_divisor: float = 1e4,
    cycle_momentum: bool = False,
) -> Scheduler:
    """Up to the rate and down far below where it began. ``cycle_momentum`` also turns the momentum down and up."""
    return lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps + 1,  # it is stepped after the last step as well
        pct_start=warmup_share,
        div_factor=start_divisor,
        final_div_factor=end_divisor,
        cycle_momentum=cycle_momentum,
    )


def cyclic(optimizer: Optimizer, steps: int, low: float = 0.1, period: int | None = None) -> Scheduler:
    """A triangle between the share ``low`` of the rate and the rate (five periods in the run)."""
    rates = [group["lr"] for group in optimizer.param_groups]
    half = max(1, (period or max(2, steps // 5)) // 2)
    base = [low * rate for rate in rates]
    return lr_scheduler.CyclicLR(optimizer, base, rates, step_size_up=half, cycle_momentum=False)


def _warmup(steps: int, warmup: int | None) -> int:
    return max(1, steps // 10) if warmup is None else int(warmup)


def warmup(optimizer: Optimizer, steps: int, warmup: int | None = None) -> Scheduler:
    """In a straight line up to the rate over ``warmup`` steps (a tenth of the run), then constant."""
    w = _warmup(steps, warmup)
    return _factors(optimizer, lambda t: min(1.0, (t + 1) / max(1, w)))


def warmup_cosine(optimizer: Optimizer, steps: int, warmup: int | None = None, floor: float = 0.0) -> Scheduler:
    """A straight line up over ``warmup`` steps, then half a cosine down to the share ``floor`` of the rate."""
    w = _warmup(steps, warmup)

    def factor(t: int) -> float:
        if t < w:
            return (t + 1) / w
        share = min(1.0, (t - w) / max(1, steps - w))
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * share))

    return _factors(optimizer, factor)


def warmup_linear(optimizer: Optimizer, steps: int, warmup: int | None = None, floor: float = 0.0) -> Scheduler:
    """A straight line up over ``warmup`` steps, then a straight line down to the share ``floor``."""
    w = _warmup(steps, warmup)

    def factor(t: int) -> float:
        return (t + 1) / w if t < w else floor + (1.0 - floor) * (1.0 - min(1.0, (t - w) / max(1, steps - w)))

    return _factors(optimizer, factor)


def inverse_time(optimizer: Optimizer, steps: int, scale: float | None = None) -> Scheduler:
    """1/(1 + t/s): half the rate after ``scale`` = s steps (a tenth of the run)."""
    s = float(max(1, steps // 10) if scale is None else scale)
    return _factors(optimizer, lambda t: 1.0 / (1.0 + t / s))


def inverse_sqrt(optimizer: Optimizer, steps: int, warmup: int | None = None) -> Scheduler:
    """Up over ``warmup`` steps, then as one over the square root of the step."""
    w = max(1, _warmup(steps, warmup))
    return _factors(optimizer, lambda t: min((t + 1) / w, math.sqrt(w / (t + 1))))


def swa(
    optimizer: Optimizer, steps: int, start: float = 0.75, rate: float | None = None, anneal: int | None = None
) -> Scheduler:
    """The rate until the share ``start`` of the run, then ``rate`` (half of it), while the weights are averaged."""
    begin = int(steps * start)
    final = 0.5 * optimizer.param_groups[0]["lr"] if rate is None else rate
    before = lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
    after = SWALR(optimizer, swa_lr=final, anneal_epochs=anneal or max(1, steps // 20))
    return lr_scheduler.SequentialLR(optimizer, [before, after], [max(1, begin)])


def plateau(
    optimizer: Optimizer, steps: int, factor: float = 0.1, patience: int | None = None, threshold: float = 1e-4
) -> Scheduler:
    """Times ``factor`` when the loss has not fallen for ``patience`` steps (a twentieth of the run)."""
    return lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=max(1, steps // 20) if patience is None else patience, threshold=threshold
    )


_SGDR = "Loshchilov & Hutter, arXiv:1608.03983"
SCHEDULES: dict[str, ScheduleSpec] = {
    spec.name: spec
    for spec in (
        ScheduleSpec("constant", "Constant", constant),
        ScheduleSpec("step", "Step decay", step),
        ScheduleSpec("multistep", "Milestones", multistep),
        ScheduleSpec("exponential", "Exponential decay", exponential),
        ScheduleSpec("linear", "Linear decay", linear),
        ScheduleSpec("polynomial", "Polynomial decay", polynomial),
        ScheduleSpec("cosine", "Cosine annealing", cosine, _SGDR),
        ScheduleSpec("sgdr", "Cosine with warm restarts (SGDR)", sgdr, _SGDR),
        ScheduleSpec("one_cycle", "One cycle", one_cycle, "Smith & Topin, arXiv:1708.07120"),
        ScheduleSpec("cyclic", "Triangles", cyclic, "Smith, arXiv:1506.01186"),
        ScheduleSpec("warmup", "Warmup", warmup, "Goyal et al., arXiv:1706.02677"),
        ScheduleSpec("warmup_cosine", "Warmup and cosine", warmup_cosine, _SGDR),
        ScheduleSpec("warmup_linear", "Warmup and linear decay", warmup_linear, "Devlin et al., arXiv:1810.04805"),
        ScheduleSpec("inverse_time", "Inverse time 1/(1 + t/s)", inverse_time, "Robbins & Monro (1951)"),
        ScheduleSpec("inverse_sqrt", "Inverse square root", inverse_sqrt, "Vaswani et al., arXiv:1706.03762"),
        ScheduleSpec("swa", "Stochastic weight averaging", swa, "Izmailov et al., arXiv:1803.05407"),
        ScheduleSpec("plateau", "Reduce on plateau", plateau, follows_loss=True, note="for one start at a time"),
    )
}
_ALIASES = {"none": "constant", "cosine_restarts": "sgdr", "onecycle": "one_cycle", "reduce_on_plateau": "plateau"}


def names() -> list[str]:
    """The names of all schedules, in the order of the list."""
    return list(SCHEDULES)


def schedule(which: str | Factor | None) -> ScheduleSpec:
    """The schedule of this name, or one that multiplies the rate by ``which(step)``; None: constant.

    Raises:
        UsageError: on an unknown name, with the nearest one.
    """
    if which is None:
        return SCHEDULES["constant"]
    if callable(which):
        factor = which
        return ScheduleSpec("custom", "Your own schedule", lambda optimizer, steps: _factors(optimizer, factor))  # noqa: ARG005
    key = str(which).strip().lower().replace("-", "_").replace(" ", "_").replace("+", "_")
    found = SCHEDULES.get(_ALIASES.get(key, key))
    if found is None:
        end = nearest(key, [*SCHEDULES, *_ALIASES]) or f"; schedules: {', '.join(SCHEDULES)}"
        raise UsageError(f"no schedule is called {which!r}{end}")
    return found


def rates(which: str | Factor | None, lr: float, steps: int, **options: Any) -> NDArray[np.float64]:
    """The learning rate of each step, without a descent; float64[steps].

    >>> rates("inverse_time", 0.1, 3, scale=1.0).round(4).tolist()
    [0.1, 0.05, 0.0333]
    """
    spec = schedule(which)
    if spec.follows_loss:
        raise UsageError(f"the schedule {spec.name!r} follows the loss: its rates are those of a descent")
    spec.check(options)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = spec.start(optimizer, steps, options)
    found = np.empty(steps)
    for at in range(steps):
        found[at] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        advance(scheduler)
    return found


def advance(scheduler: Scheduler, loss: float | None = None) -> None:
    """One step of a scheduler; ``loss`` for one that follows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SequentialLR, which calls its parts in a way torch itself deprecates
        if loss is not None:
            scheduler.step(loss)
        else:
            scheduler.step()
