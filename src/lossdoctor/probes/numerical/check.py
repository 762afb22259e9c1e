"""gradient_check: is what autograd says the derivative of what the forward pass computes?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.learning_rate.steps import whole
from lossdoctor.probes.numerical.differences import EPS, derivative, noise_of, noise_places
from lossdoctor.probes.numerical.function import Function, of_function, of_loss
from lossdoctor.probes.numerical.result import CoordinateCheck, GradientCheckResult, concluded
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.subject import LossFn
from lossdoctor.torchkit.state import preserved

_LONGEST = 0.1  # step, however coarse the precision


def gradient_check(
    model: Callable[..., Any],
    loss_fn: LossFn | Any = None,
    loader: Iterable[Any] | None = None,
    *,
    inputs: Any = None,
    coordinates: int = 64,
    examples: int = 16,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> GradientCheckResult:
    """Compare autograd's gradient with centred differences, for a loss or a layer of your own.

    ``gradient_check(model, loss_fn, loader)`` takes the loss of the first examples of the loader and its parameters;
    ``gradient_check(function, inputs)`` a layer, a function or a ``torch.autograd.Function.apply`` with its inputs,
    and the parameters too when it is a module; what it returns is weighed with fixed random numbers to a scalar.

    Everything runs in float64 in the present mode, with all random generators set to the same state (and buffers put
    back) before each evaluation, so that dropout is a fixed mask. Of each tensor are looked at: the coordinate with
    the largest gradient, random ones, and one random direction, which sees all coordinates at once. The step is
    cbrt(eps)·max(1, |x|), where eps is the noise that the evaluations are found to have; two steps extrapolate
    (Richardson) and tell kinks: where the left and the right derivative differ, any value between is right.

    Args:
        model: a module, or a function of the inputs.
        loss_fn: ``loss_fn(output, target)`` -> scalar, or the inputs.
        loader: batches for ``loss_fn``; the first one is used.
        inputs: a tensor, a tuple of arguments or a mapping of them. Those that require a gradient are checked; when
            none does, all that are real numbers.
        coordinates: about how many single derivatives, at least 1; every tensor gets one where there are as many.
        examples: of the first batch, at least 1.
        seed: of the choice of coordinates.
        forward: ``forward(model, batch)`` -> loss, in place of ``loss_fn``.
        progress: a function of (done, total), False for silence; by default a bar on a terminal.

    Returns:
        The worst coordinate by name and index; failed above a relative error of 1e-2 beyond what rounding explains,
        good below 1e-7, where kinks excuse 1e-4.

    Raises:
        UsageError: two evaluations at the same place differ; nothing to differentiate; inputs or options of a wrong
            kind; something is fixed to float32.
        UserCodeError: the model or the function raised.

    Cost: 4 evaluations of the loss per derivative, of which there are ``coordinates`` and one per tensor, and 25 more.

    >>> layer = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    >>> gradient_check(layer, torch.randn(5, 3), progress=False).outcome
    'passed'

    References: Karpathy, CS231n, Gradient checks (the figures 1e-2, 1e-4, 1e-7); Moré and Wild 2011, Estimating
    computational noise.
    """
    whole("coordinates", coordinates, 1)
    whole("examples", examples, 1)
    began = time.perf_counter()
    if loader is None and forward is None and inputs is None and not callable(loss_fn):
        loss_fn, inputs = None, loss_fn
    with shown("gradient check", progress) as tell:
        if inputs is not None:
            around, build = of_function(model, inputs)
        elif loader is not None:
            if not isinstance(model, nn.Module):
                raise UsageError(f"with a loader the model is a torch.nn.Module, not {type(model).__name__}")
            around, build = of_loss(model, loss_fn, loader, forward, examples)
        else:
            raise UsageError("give a loss and a loader, or gradient_check(function, inputs)")
        with preserved(*around), torch.enable_grad():
            checked = Function(*build())
            checks, noise = _compared(checked, coordinates, seed, tell)
            return concluded(
                checks, checked.here, noise, graph=checked.graph, steps=checked.calls,
                seconds=time.perf_counter() - began,
            )  # fmt: skip


def _compared(f: Function, count: int, seed: int, tell: Progress) -> tuple[list[CoordinateCheck], float]:
    """All comparisons, and the noise of one evaluation."""
    if not math.isfinite(f.here):
        return [], math.nan
    random = torch.Generator().manual_seed(seed)
    directions = [_random_like(t, random) for _, t in f.points]
    length = math.sqrt(sum(float(d.square().sum()) for d in directions))
    together = [(i, d / length) for i, d in enumerate(directions)]
    step = EPS ** (1 / 3)
    with f.along([(f.points[i][1], d) for i, d in together]) as value:
        noise = noise_of(finite if len(finite := _finite(map(value, noise_places(step)))) > 4 else [f.here] * 5)
    # A value may be near zero because its terms cancel; the gradient tells their size too.
    scale = max(abs(f.here), math.sqrt(sum(float(g.square().sum()) for g in f.gradients)), 1e-300)
    step = min(max(noise / scale, EPS) ** (1 / 3), _LONGEST)
    jobs = [*_single(f, directions, count, random)]
    if len(f.points) > 1:
        jobs.append(("all together", (), together))
    checks = []
    for number, (name, index, moves) in enumerate(jobs):
        slope = sum(float((f.gradients[i] * d).sum()) for i, d in moves)
        size = max(1.0, float(f.points[moves[0][0]][1].detach()[index].abs())) if index else 1.0
        with f.along([(f.points[i][1], d) for i, d in moves]) as value:
            found = derivative(value, f.here, step * size, noise)
        if found is not None:
            checks.append(CoordinateCheck.of(name, index, slope, found))
        tell(number + 1, len(jobs))
    return checks, noise


Job = tuple[str, tuple[int, ...], list[tuple[int, Tensor]]]  # name, index, (place of the tensor, direction)


def _single(f: Function, directions: Sequence[Tensor], count: int, random: torch.Generator) -> Iterator[Job]:
    """Of each tensor a random direction, the coordinate of the largest gradient, and random ones."""
    chosen = list(range(len(f.points)))
    if len(f.points) > count:  # evenly, with the first and the last
        chosen = sorted({round(k * (len(f.points) - 1) / max(count - 1, 1)) for k in range(count)})
    each = max(1, count // len(chosen))
    for i in chosen:
        name, tensor = f.points[i]
        size = tensor.numel()
        if size > 1:
            yield name, (), [(i, directions[i] / directions[i].norm())]
        places = [int(f.gradients[i].abs().argmax()), *torch.randint(size, (each - 1,), generator=random).tolist()]
        for place in dict.fromkeys(places):
            index = tuple(int(k) for k in np.unravel_index(place, tensor.shape)) if tensor.dim() else ()
            one = torch.zeros_like(tensor)
            one[index] = 1.0
            yield name, index, [(i, one)]


def _random_like(tensor: Tensor, random: torch.Generator) -> Tensor:
    return torch.randn(tensor.shape, generator=random, dtype=torch.float64).to(tensor.device)


def _finite(values: Iterable[float]) -> list[float]:
    return [v for v in values if math.isfinite(v)]
