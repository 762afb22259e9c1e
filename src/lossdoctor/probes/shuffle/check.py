"""shuffle_test: do batches come in an order that hurts?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.probes.batches import examples
from lossdoctor.probes.learning_rate.steps import Steps, whole
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.shuffle.order import Digest, grouping, picked, pooled, same_batches
from lossdoctor.probes.shuffle.result import ShuffleResult, Trial, concluded
from lossdoctor.probes.subject import LossFn, Subject

_FAR = 8  # batches read for each one that is kept, where an epoch is longer than the trial
_COMPARED = 8  # batches at the beginning of two passes
_RUNS = 3  # random orders, whose spread is the noise
_CHECKS = 8  # times at which the held-out loss is measured
_HELD = (0.15, 16, 512)  # share of the examples that is held out, at least, at most


def shuffle_test(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    steps: int = 80,
    seed: int = 0,
    scaler: Any = None,
    autocast: torch.dtype | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> ShuffleResult:
    """Whether the order of the batches is the cause of a saw-tooth, or of forgetting.

    First the order itself: do two passes begin alike, and are the examples of a batch more alike than chance makes them
    (targets and inputs, by a permutation test on random projections; classes count as classes)? Where neither is so,
    nothing is trained. Otherwise the model is trained from its present state on the examples in the loader's order and,
    three times, in random orders, in batches of the same size; part of them, spread over the whole order, is held out
    and its loss compared in evaluation mode over the later half of the steps.

    Args:
        model, loss_fn, loader: as in training.
        optimizer: of the run; without it the order is looked at and its harm is not tried.
        steps: of each training, at least 8. As many batches are kept on the model's device, evenly spread where the
            epoch is longer (of at most 8 times as many).
        seed: of the random orders and projections.
        scaler, autocast: of mixed precision, where the run uses it.
        forward: ``forward(model, batch)`` -> loss, for batches of any form.
        progress: a function of (done, total), False for silence; by default a bar on a terminal.

    Returns:
        Failed where the order does harm beyond the spread of the random ones and 5 %, or where most of the variation
        lies between batches and no training could be tried.

    Raises:
        UsageError: an option out of range, a loader without batches or one that can be read only once.
        UserCodeError: the model, the loss or the loader raised.

    Cost: reading one epoch (at most ``8 · steps`` batches); where the order is suspicious 4 · ``steps`` training steps.

    Deviations: when the epoch is shorter than the trial, its first order is repeated. Batches that cannot be mixed
    (inputs of different lengths) are not trained on.

    >>> data = [(torch.full((16, 1), float(i)), torch.full((16, 1), float(i))) for i in range(8)]
    >>> found = shuffle_test(nn.Linear(1, 1), nn.functional.mse_loss, data, progress=False)
    >>> found.same_order, found.outcome
    (True, 'failed')

    References: Bengio 2012, Practical recommendations for gradient-based training of deep architectures, on shuffling;
    McCloskey and Cohen 1989, on forgetting.
    """
    whole("steps", steps, _CHECKS)
    began = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, scaler=scaler, forward=forward)
    with subject.untouched(), shown("order", progress) as tell:
        kept, digest, beginning, count, number = _read(subject, steps, seed)
        same = None if count < 2 else same_batches(beginning, subject.batches.take(len(beginning)))
        labels, inputs = grouping(digest.targets, seed), grouping(digest.inputs, seed)
        suspicious = same or any(g is not None and g.found for g in (labels, inputs))
        trial, why, cost = None, "", 0
        if suspicious and optimizer is None:
            why = "Give the optimizer to try whether that does harm."
        elif suspicious:
            trial, why, cost = _trial(subject, kept, steps, seed, autocast, tell)
    return concluded(same, labels, inputs, trial, why, (count, number), cost, time.perf_counter() - began)


def _read(subject: Subject, steps: int, seed: int) -> tuple[list[Any], Digest, list[Any], int, int]:
    """One pass: batches that are kept, numbers of all examples, the first batches, how many batches and examples."""
    try:
        length = len(subject.loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        length = steps
    most = min(length, _FAR * steps) if length else steps
    every = max(1, -(-most // steps))
    digest = Digest(seed)
    kept: list[Any] = []
    beginning: list[Any] = []
    count = number = 0
    for batch in subject.batches:
        if count < _COMPARED:
            beginning.append(batch)
        if count % every == 0 and len(kept) < steps:
            kept.append(batch)
        digest.add(batch)
        number += examples(batch)
        count += 1
        if count >= most:
            break
    return kept, digest, beginning, count, number


def _trial(
    subject: Subject, kept: list[Any], steps: int, seed: int, autocast: torch.dtype | None, tell: Progress
) -> tuple[Trial | None, str, int]:
    """The paired training; with why there is none, and its cost in steps."""
    pool = pooled(kept) if len(kept) > 1 else None
    if pool is None:
        return None, "Batches cannot be mixed (their shapes differ), so that its harm could not be tried.", 0
    sizes = [examples(b) for b in kept]
    size, count = max(sizes), sum(sizes)
    random = torch.Generator().manual_seed(seed)
    held_count = min(max(int(_HELD[0] * count), _HELD[1]), _HELD[2])
    if count - held_count < 4 * size:
        return None, f"{count} examples are too few to try its harm.", 0
    mixed = torch.randperm(count, generator=random)
    held, rest = mixed[:held_count], mixed[held_count:].sort().values
    if not subject.model.training:
        subject.model.train()
    Steps(subject, autocast=autocast)  # what is wrong with the optimizer is said before anything is trained
    at = tuple(sorted({round((k + 1) * steps / _CHECKS) for k in range(_CHECKS)}))
    curves = []
    for run in range(1 + _RUNS):
        order = _epochs(rest, size, steps, None if run == 0 else random)
        with subject.untouched():
            curves.append(_curve(subject, pool, order, held, size, at, autocast))
        tell(run + 1, 1 + _RUNS)
    losses = torch.stack([torch.stack(c) for c in curves]).double().cpu().tolist()
    return Trial(at, tuple(losses[0]), tuple(map(tuple, losses[1:]))), "", (1 + _RUNS) * steps


def _epochs(rest: Tensor, size: int, steps: int, random: torch.Generator | None) -> Iterator[Tensor]:
    """Places of the examples of each step: in order, or shuffled in each epoch; without incomplete batches."""
    given = 0
    while given < steps:
        order = rest if random is None else rest[torch.randperm(len(rest), generator=random)]
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]
            given += 1
            if given >= steps:
                return


def _curve(
    subject: Subject,
    pool: Any,
    order: Iterator[Tensor],
    held: Tensor,
    size: int,
    at: tuple[int, ...],
    autocast: torch.dtype | None,
) -> list[Tensor]:
    """Held-out losses at these steps, on the device."""
    training = Steps(subject, autocast=autocast)
    losses = []
    for number, places in enumerate(order):
        training.step([picked(pool, places)], number)
        if number + 1 in at:
            with _evaluating(subject.model), training.cast():
                pieces = torch.split(held, size)
                parts = [subject.loss(picked(pool, h), number).detach() for h in pieces]
            weights = torch.tensor([len(h) for h in pieces], device=parts[0].device, dtype=parts[0].dtype)
            losses.append((torch.stack(parts) * weights).sum() / weights.sum())
    return losses


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module's own mode comes back."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
