"""Many starts, one surface, one optimizer: the paths, their losses, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lossdoctor.core.context import RunContext
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab import convergence
from lossdoctor.lab.critical import NEAR, CriticalPoints, critical_lr, critical_points
from lossdoctor.lab.schedules import Factor
from lossdoctor.lab.starts import check_first, check_path, starts_of, surface_of
from lossdoctor.lab.stepping import EMPTY, Settings, Walk, small_work
from lossdoctor.lab.surfaces import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Descent:
    """What n starts did on a surface. Steps are counted from 0, the start.

    A start that diverges goes on in floating point as a training run would: huge, then Inf, then NaN. Nothing is cut.

    Attributes:
        surface: the surface.
        path: float64[steps + 1, n, dim].
        values: float64[steps + 1, n], the surface at the path, as shown (a maximised surface: to be large).
        grad_norms: float64[steps + 1, n], before clipping, with the noise there was.
        learning_rates: float64[steps], the rate of each step.
        settings: how it was made.
    """

    surface: Surface
    path: Array
    values: Array
    grad_norms: Array
    learning_rates: Array
    settings: Settings
    _verdicts: dict[int, convergence.Verdict] = field(default_factory=dict, init=False, repr=False)

    @property
    def n(self) -> int:
        """The number of starts."""
        return int(self.path.shape[1])

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.path) - 1

    @property
    def losses(self) -> Array:
        """What was descended: the values, or their negatives on a maximised surface; float64[steps + 1, n]."""
        return self.surface.shown(self.values)

    @property
    def ends(self) -> Array:
        """Where the starts ended; float64[n, dim]."""
        return np.asarray(self.path[-1])

    @property
    def best(self) -> int:
        """The start that ended lowest: what random restarts keep."""
        last = self.losses[-1]
        return int(np.argmin(np.where(np.isnan(last), np.inf, last)))

    @cached_property
    def best_so_far(self) -> Array:
        """The lowest loss at an end after 1, 2, … n restarts; float64[n]."""
        last = self.losses[-1]
        return np.asarray(np.minimum.accumulate(np.where(np.isnan(last), np.inf, last)))

    @property
    def noisy(self) -> bool:
        """Whether chance had a hand in the path."""
        noise = self.surface.noise if self.settings.noise is None else self.settings.noise
        return noise > 0.0 or self.settings.langevin > 0.0

    # what became of each start

    @cached_property
    def critical(self) -> CriticalPoints:
        """The critical point next to each end, found by Newton's iteration, with its kind and its curvatures."""
        if not self.noisy:
            return critical_points(self.surface, self.ends)
        # Noise keeps an end from a minimum: look from the middle of its wandering, as far as it wanders.
        tail = self.path[-max(1, len(self.path) // 4) :]
        with np.errstate(over="ignore", invalid="ignore"):  # of starts that are lost
            middle = tail.mean(axis=0)
            wander = np.sqrt(((tail - middle) ** 2).sum(axis=2).mean(axis=0))
        return critical_points(self.surface, middle, reach=np.maximum(NEAR, 3.0 * wander / self.surface.width))

    def verdict(self, start: int = 0) -> convergence.Verdict:
        """The state of one start with what it was judged by. See :mod:`lossdoctor.lab.convergence`."""
        i = self._index(start)
        if i not in self._verdicts:
            self._verdicts[i] = convergence.judge(
                self.path[:, i], self.losses[:, i], self.surface, self.critical.at(i), noisy=self.noisy
            )
        return self._verdicts[i]

    def state(self, start: int = 0) -> str:
        """What became of one start, from its dynamics: one of :data:`lossdoctor.lab.convergence.STATES`."""
        return self.verdict(start).state

    @property
    def states(self) -> list[str]:
        """The state of every start."""
        return [self.state(i) for i in range(self.n)]

    @cached_property
    def minima(self) -> Array:
        """The surface's known minima, or, where none are known, those that the starts found; float64[k, dim]."""
        return self.surface.minima if len(self.surface.minima) else self.critical.distinct_minima

    def minimum(self, start: int = 0) -> int | None:
        """Which of :attr:`minima` a start ended at; None when it ended at none of them."""
        i = self._index(start)
        if not (self.critical.near[i] and self.critical.kinds[i] == "minimum"):
            return None
        apart = np.linalg.norm(self.minima - self.critical.points[i], axis=1)
        found = int(np.argmin(apart)) if len(apart) else -1
        return found if found >= 0 and apart[found] <= 1e-6 * self.surface.width else None

    def steps_to(self, tolerance: float = 0.01, start: int = 0, *, above: float | None = None) -> int | None:
        """The first step at which the loss is within ``tolerance`` of the lowest one; None: never.

        Args:
            tolerance: in units of the loss, above 0.
            start: which start.
            above: the loss to come near; by default the lowest known minimum of the surface, or, where none is known,
                the lowest loss that any start has seen.
        """
        if not tolerance > 0.0:
            raise UsageError(f"the tolerance is {tolerance}; give a loss above 0")
        column = self.losses[:, self._index(start)]
        floor = above if above is not None else self._floor
        hit = np.flatnonzero(column - floor <= tolerance)
        return int(hit[0]) if len(hit) else None

    @property
    def _floor(self) -> float:
        return self.surface.lowest if self.surface.lowest is not None else float(np.nanmin(self.losses))

    @cached_property
    def critical_lr(self) -> float | None:
        """The rate beyond which it cannot stay at the sharpest minimum it reached, or at the lowest known.

        2/λmax for gradient descent, 2(1 + β)/λmax with momentum, 2(1 + β)/((1 + 2β)λmax) with Nesterov's. For an
        optimizer that rescales the gradient it is gradient descent's, for comparison. None where no minimum is known.
        """
        reached = {m for m in map(self.minimum, range(self.n)) if m is not None}
        if not len(self.minima):
            return None
        if not reached:
            reached = {int(np.argmin(self.surface.shown(self.surface(self.minima))))}
        return min(self.critical_lr_at(self.minima[m]) for m in reached)

    def critical_lr_at(self, point: ArrayLike) -> float:
        """The critical rate at a point, for the momentum that was used; Inf where nothing curves upwards."""
        settings = {**self.settings.spec.fixed, **self.settings.options}
        plain = self.settings.spec.class_name == "SGD"
        return critical_lr(
            self.surface,
            point,
            momentum=float(settings.get("momentum", 0.0)) if plain else 0.0,
            nesterov=plain and bool(settings.get("nesterov", False)),
        )

    # what a training run would have logged

    def averaged(self, since: float | None = None) -> Array:
        """The running mean of the path, as weight averaging keeps it; float64[steps + 1, n, dim].

        Args:
            since: the share of the run after which averaging begins (the schedule's for ``"swa"``, else 0.75); until
                then the path itself.
        """
        if since is None:
            since = float(self.settings.schedule_options.get("start", 0.75))
        if not 0.0 <= since < 1.0:
            raise UsageError(f"averaging since {since} of the run; give a share from 0 up to 1")
        begin = int(self.steps * since) + 1
        out = self.path.copy()
        counts = np.arange(1, len(out) - begin + 1, dtype=np.float64)[:, None, None]
        out[begin:] = np.cumsum(self.path[begin:], axis=0) / counts
        return out

    def history(self, start: int = 0) -> TrainingHistory:
        """One start as a training run: loss, learning rate and gradient norm of every step, so that every rule applies.

        >>> from lossdoctor.lab import descend
        >>> run = descend("quadratic", "sgd", lr=1.2, starts=[[0.0]], steps=60).history()
        >>> run.diagnose().status
        'critical'
        """
        i = self._index(start)
        at = np.arange(self.steps + 1, dtype=np.int64)
        curves = {
            "loss": Curve(at, np.ascontiguousarray(self.losses[:, i])),
            "learning_rate": Curve(at[:-1], self.learning_rates),
            "grad_norm": Curve(at, np.ascontiguousarray(self.grad_norms[:, i])),
        }
        context = RunContext(
            planned_steps=self.steps,
            learning_rate=self.settings.rate,
            clip_norm=self.settings.clip,
            optimizer=self.settings.spec.title,
        )
        where = ", ".join(f"{v:.6g}" for v in self.path[0, i])
        name = f"{self.surface.name}, {self.settings.spec.name}, lr {self.settings.rate:g}, from ({where})"
        return TrainingHistory(curves, name=name, format="lab", context=context)

    @property
    def histories(self) -> list[TrainingHistory]:
        """Every start as a training run."""
        return [self.history(i) for i in range(self.n)]

    def _index(self, start: int) -> int:
        if not -self.n <= start < self.n:
            raise UsageError(f"there is no start {start}; this descent has {self.n}, counted from 0")
        return start % self.n

    def __repr__(self) -> str:
        s = self.settings
        return (
            f"<Descent on {self.surface.name!r}: {self.n} starts, {self.steps} steps of {s.spec.name}, lr {s.rate:g}>"
        )


def descend(
    surface: str | Surface | Callable[..., Any],
    optimizer: str = "adam",
    lr: float | None = None,
    starts: ArrayLike | int = 1,
    steps: int = 100,
    noise: float | None = None,
    schedule: str | Factor | None = None,
    clip: float | None = None,
    *,
    langevin: float = 0.0,
    seed: int = 0,
    schedule_options: Mapping[str, Any] = EMPTY,
    dim: int | None = None,
    domain: Any = None,
    surface_options: Mapping[str, Any] = EMPTY,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Descent:
    """Descend a surface from many starts at once.

    Args:
        surface: a name (``lossdoctor lab list``), a Surface, or any function of torch tensors.
        optimizer: a name, see :data:`lossdoctor.lab.optimizers.OPTIMIZERS`.
        lr: the learning rate, above 0; by default the optimizer's own.
        starts: float64[n, dim] inside the domain; or one point; or a count, drawn evenly from the domain.
        steps: how many steps, 1 or more.
        noise: standard deviation of Gaussian noise on each coordinate of each gradient, as of a mini-batch; by default
            the surface's own.
        schedule: a name, see :data:`lossdoctor.lab.schedules.SCHEDULES`, or a function step -> factor.
        clip: the largest norm of a start's gradient.
        langevin: a temperature T: after each step every coordinate gets √(2·lr·T) of Gaussian noise.
        seed: of the random starts and of the noise; the global generators are left alone.
        schedule_options: the schedule's own arguments.
        dim, domain: of a user's function; without a domain it is (−5, 5), widened to hold the starts.
        surface_options: the surface's own parameters.
        progress: called with (steps done, steps).
        options: the optimizer's own arguments (``momentum=0.9``).

    Raises:
        UsageError: on an unknown name, a wrong number or shape, a start outside the domain, or a surface that returns
            NaN inside its domain. That a descent diverges is a result, not an error.

    >>> run = descend("himmelblau", "adam", lr=0.1, starts=[[0.0, 0.0], [-3.0, 3.0]], steps=400)
    >>> run.path.shape, run.states, run.minimum(0)
    ((401, 2, 2), ['damped oscillation', 'damped oscillation'], 0)
    """
    settings = Settings(
        optimizer, lr, steps, noise, langevin, schedule, clip, seed, dict(options), dict(schedule_options)
    )
    made = surface_of(surface, starts, dim, domain, surface_options)
    first = starts_of(made, starts, seed)
    x = torch.from_numpy(first.copy())
    walk = Walk(made, x, settings)
    path = np.empty((steps + 1, *first.shape))
    losses, norms = np.empty((steps + 1, len(first))), np.empty((steps + 1, len(first)))
    rates = np.empty(steps)
    with small_work(x.numel()):
        for step in range(steps):
            path[step] = x.numpy()
            loss, norm, rates[step] = walk.step()
            losses[step], norms[step] = loss.numpy(), norm.numpy()
            if step == 0:
                check_first(made, first, losses[0])
            if progress is not None:
                progress(step + 1, steps)
        loss, _, norm = walk.look()
        path[-1], losses[-1], norms[-1] = x.numpy(), loss.numpy(), norm.numpy()
    check_path(made, path, losses, norms)
    return Descent(made, path, made.shown(losses), norms, rates, settings)
