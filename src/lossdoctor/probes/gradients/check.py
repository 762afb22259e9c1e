"""check_gradients: do gradients arrive in every layer, of what size, and what does the optimizer make of them?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.gradients.judge import judged
from lossdoctor.probes.gradients.measure import Measured, Passes, learned_share, nudge, sizes, updates
from lossdoctor.probes.gradients.result import GradientsResult
from lossdoctor.probes.gradients.watch import Watch
from lossdoctor.probes.learning_rate.steps import Steps, whole
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.torchkit.objective import unwrapped

EXAMPLES = 128  # a unit that fires rarely must not count as dead for want of examples
MOST_BATCHES = 32


def check_gradients(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    batches: int = 6,
    scaler: Any = None,
    autocast: torch.dtype | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> GradientsResult:
    """Whether every layer gets a gradient, of what size, and how far the optimizer's steps move it.

    It tells of vanishing and exploding gradients (norm of the first layers over the last ones', below 1e-3 or above
    70), zero and non-finite ones; of units that are dead (the row of a linear or convolutional layer gets no gradient
    from any example, and still none after all weights moved a little, which wakes branches that begin at zero) or
    saturated (sigmoid and tanh beyond 0.97 of their range); of parameters that never get a gradient: frozen, not
    reached by the loss, never used; of parameters that the optimizer does not hold or does not move. Gradients are
    taken in training mode, one batch after the other at the present weights, then as many steps of the optimizer are
    taken, and all is put back.

    Args:
        model: measured below ``torch.compile`` and data-parallel wrappers. Its submodules keep their modes when it is
            in training mode, so that frozen statistics stay frozen.
        loss_fn: ``loss_fn(output, target)`` -> scalar, or None for models that return their loss.
        loader: a ``DataLoader`` or a list of batches.
        optimizer: of the run; without it nothing is said of updates and of parameters that it lacks.
        batches: how many, at least 1; more are read where they hold fewer than 128 examples together, at most 32.
        scaler: the run's ``GradScaler``: gradients are taken at its present scale.
        autocast: the dtype of mixed precision, or None.
        forward: ``forward(model, batch)`` -> loss, for batches of any form.
        progress: a function of (done, total), False for silence; by default a bar on a terminal.

    Returns:
        Numbers per layer in the order of the forward pass, and the names of the parameters that are not well. Its
        measurements are ``layer_grad_ratio``, ``dead_fraction``, ``update_ratio``, ``nonfinite_gradients`` and
        ``frozen_fraction``.

    Raises:
        UsageError: an option out of range, a model without parameters, a loader without batches, a loss that is no
            scalar.
        UserCodeError: the model, the loss or the loader raised.

    Cost: ``batches`` forward and backward passes, as many steps with an optimizer, and as many passes again when
    something gets a gradient of exactly zero.

    Deviations: layers of embeddings and weights that are used twice are left out of the ratio of first to last, whose
    size they distort. The 0.97, the 70 and the 1e-3 are rules of thumb; the norms are medians over the batches.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> data = [(torch.randn(64, 4), torch.randn(64, 1)) for _ in range(2)]
    >>> result = check_gradients(model, nn.functional.mse_loss, data, torch.optim.Adam(model.parameters()))
    >>> [layer.name for layer in result.layers]
    ['0.weight', '2.weight']

    References: Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks; Lu
    et al. 2019, Dying ReLU and Initialization, arXiv:1903.06733.
    """
    whole("batches", batches, 1)
    began = time.perf_counter()
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
    subject = Subject(unwrapped(model), loss_fn, loader, optimizer, scaler=scaler, forward=forward)
    with subject.untouched(), shown("gradients", progress) as tell:
        if not subject.model.training:
            subject.model.train()
        found = _measured(subject, batches, autocast, tell)
    return judged(found, time.perf_counter() - began)


def _measured(subject: Subject, count: int, autocast: torch.dtype | None, tell: Progress) -> Measured:
    taken = _enough(subject, count)
    total = len(taken) * (2 if subject.optimizer is not None else 1)
    found = Measured.of(subject, taken, autocast)
    with torch.enable_grad():
        watch = Watch(subject.model)
        first = Passes(subject, autocast)
        for number, batch in enumerate(taken):
            if not first.run(batch, number, watch):
                return found  # the loss has no graph: there is nothing more to see
            tell(number + 1, total)
        found.first_passes(first, watch)
        if found.finite and found.doubtful:
            # What is zero because weights behind it are zero wakes up when these move; what is dead does not.
            with subject.untouched():
                nudge(subject.parameters)
                second = Passes(subject, autocast)
                for number, batch in enumerate(taken):
                    second.run(batch, number)
            found.second_passes(second)
        if subject.optimizer is not None and found.finite and found.steppable:
            with subject.untouched():
                steps = Steps(subject, autocast=autocast)
                found.updates = updates(steps, taken, lambda done: tell(len(taken) + done, total))
                found.steps += len(taken)
        if found.finite and found.extreme:
            found.learned = learned_share(subject, taken, autocast)
    return found


def _enough(subject: Subject, count: int) -> list[Any]:
    """So many batches, and more of them until there are enough examples."""
    taken: list[Any] = []
    seen = 0
    for batch in subject.batches:
        taken.append(batch)
        seen += sizes(batch)
        if len(taken) >= count and (seen >= EXAMPLES or len(taken) >= MOST_BATCHES):
            break
    return taken
