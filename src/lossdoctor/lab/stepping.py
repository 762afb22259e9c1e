"""The loop of a descent, one step at a time: what is recorded, or not, is for the caller to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.optimizers import OptimizerSpec, Stepper, clipped, optimizer
from lossdoctor.lab.schedules import Factor, ScheduleSpec, advance, schedule
from lossdoctor.lab.surfaces import Surface

EMPTY: Mapping[str, Any] = MappingProxyType({})
# Noise is drawn by a generator of its own, other than that of random starts with the same seed.
_NOISE_STREAM = 0x5EED
# Torch's own grain: below it most operations keep to one thread anyway.
_SMALL = 32_768


@dataclass(frozen=True)
class Settings:
    """What a descent is told besides its surface and its starts; checked when made.

    Attributes:
        optimizer, schedule: by name (a schedule also as a function step -> factor).
        lr: the learning rate; None: the optimizer's own default.
        steps: how many.
        noise: standard deviation of the Gaussian noise on each coordinate of the gradient (over the surface's own).
        langevin: temperature T; after each step each coordinate is kicked by √(2·lr·T) of a Gaussian.
        clip: largest norm of each start's gradient; None: none.
        seed: of the noise.
        options, schedule_options: the optimizer's and the schedule's own keyword arguments.
    """

    optimizer: str = "adam"
    lr: float | None = None
    steps: int = 100
    noise: float | None = None
    langevin: float = 0.0
    schedule: str | Factor | None = None
    clip: float | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    schedule_options: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        spec, plan = self.spec, self.plan
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise UsageError(f"steps is {self.steps!r}; a descent takes a whole number of steps, 1 or more")
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0.0):
            raise UsageError(
                f"lr is {self.lr}; a learning rate is a number above 0 (to go uphill, descend the negative)"
            )
        for name in ("noise", "langevin"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise UsageError(f"{name} is {value}; give 0 or more")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0.0):
            raise UsageError(f"clip is {self.clip}; it is the largest norm of a gradient, above 0 (None: no clipping)")
        spec.check(self.options)
        plan.check(self.schedule_options)

    @property
    def spec(self) -> OptimizerSpec:
        """The optimizer by its name."""
        return optimizer(self.optimizer)

    @property
    def plan(self) -> ScheduleSpec:
        """The schedule by its name."""
        return schedule(self.schedule)

    @property
    def rate(self) -> float:
        """The learning rate that the schedule scales."""
        return self.spec.lr if self.lr is None else float(self.lr)


@contextmanager
def small_work(elements: int) -> Iterator[None]:
    """One torch thread for tensors that are too small to be worth two; the number of threads is put back after.

    Waking a second thread hundreds of times for a few thousand numbers costs more than they do, and on a busy machine
    many times more.
    """
    threads = torch.get_num_threads()
    if elements > _SMALL or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Walk:
    """Starts on their way down: one tensor, one step of all of them at a time.

    Args:
        surface: what is descended.
        x: float64[n, dim], the starts; changed in place.
        settings: how.
    """

    def __init__(self, surface: Surface, x: Tensor, settings: Settings) -> None:
        self.x = x
        self.surface = surface
        self._noise = surface.noise if settings.noise is None else settings.noise
        self._langevin = settings.langevin
        self._clip = settings.clip
        self._generator = torch.Generator().manual_seed(settings.seed ^ _NOISE_STREAM)
        spec, plan = settings.spec, settings.plan
        if spec.closure and (self._noise or self._langevin):
            raise UsageError(
                f"{spec.name!r} compares losses and gradients of several points, which noise makes meaningless; take "
                "another optimizer, or noise=0"
            )
        if plan.follows_loss and len(x) > 1:
            raise UsageError(
                f"the schedule {plan.name!r} follows the loss, and {len(x)} starts would each need their own rate; "
                "descend from one start at a time"
            )
        self._stepper = _stepper(spec, x, settings, surface.loss)
        self._schedulers = [
            plan.start(each, settings.steps, settings.schedule_options) for each in self._stepper.optimizers
        ]
        self._follows = plan.follows_loss
        # A constant rate need not be asked for its next value hundreds of times.
        self._constant = plan.name == "constant"

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._stepper.optimizers[0].param_groups[0]["lr"])

    def look(self) -> tuple[Tensor, Tensor, Tensor]:
        """Loss float64[n], gradient (with its noise) float64[n, dim] and the gradient's norm float64[n], where x is."""
        at = self.x.detach().requires_grad_(True)
        loss = self.surface.loss(at)
        (gradient,) = torch.autograd.grad(loss, at, torch.ones_like(loss))
        if self._noise:
            gradient = gradient + self._noise * self._draw()
        return loss.detach(), gradient, gradient.norm(dim=1)

    def step(self) -> tuple[Tensor, Tensor, float]:
        """One step of all starts. What was seen before it: loss, norm of the gradient before clipping, rate."""
        loss, gradient, norm = self.look()
        rate = self.lr
        self._stepper.step(clipped(gradient, norm, self._clip))
        if self._langevin:
            self.x.add_(self._draw(), alpha=math.sqrt(2.0 * rate * self._langevin))
        if not self._constant:
            for scheduler in self._schedulers:
                advance(scheduler, float(loss[0]) if self._follows else None)
        return loss, norm, rate

    def _draw(self) -> Tensor:
        return torch.randn(self.x.shape, generator=self._generator, dtype=self.x.dtype)


def _stepper(spec: OptimizerSpec, x: Tensor, settings: Settings, loss: Callable[[Tensor], Tensor]) -> Stepper:
    try:
        return Stepper(spec, x, settings.rate, settings.options, loss, settings.clip)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"the optimizer {spec.name!r} refuses {dict(settings.options)}: {error}") from error
