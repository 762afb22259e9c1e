"""eval_mode_gap: the same training batches in training mode and in evaluation mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import Batches, examples
from lossdoctor.probes.learning_rate.steps import whole
from lossdoctor.probes.modes.measure import Modes, Seen
from lossdoctor.probes.modes.verdict import EvalModeResult, concluded
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.torchkit.objective import unwrapped


def eval_mode_gap(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    *,
    batches: int = 20,
    passes: int = 3,
    val_loader: Iterable[Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> EvalModeResult:
    """The loss of the same training batches in both modes of the model, and which modules make the difference.

    Dropout makes training mode worse; kept statistics of batch normalisation that do not describe the data make
    evaluation mode worse. Both are told apart by switching one kind of module at a time. Where evaluation is worse,
    the statistics are also made anew from the same batches: when that closes the gap they are stale.

    Args:
        model: training mode is as it is now, where submodules may be frozen in evaluation mode; when the whole model is
            in evaluation mode, what ``train()`` makes of it.
        loss_fn: ``loss_fn(output, target)`` -> scalar, or None for models that return their loss.
        loader: the training batches, as they are used in training: the batch size matters.
        batches: how many, at least 1; the noise is that between batches, so that one alone cannot tell.
        passes: through dropout, which are averaged, at least 1.
        val_loader: validation batches (as many are read): whether a gap to the validation loss lies in the mode or in
            the data.
        forward: ``forward(model, batch)`` -> loss, for batches of any form.
        progress: a function of (done, total), False for silence; by default a bar on a terminal.

    Returns:
        Its measurement ``eval_mode_gap`` is the loss in evaluation minus the one in training mode, with both in its
        detail; it is left out where noise or statistics that have seen only a few steps do not let it be told.

    Raises:
        UsageError: an option out of range, a model without parameters, a loader without batches.
        UserCodeError: the model, the loss or the loader raised.

    Cost: forward passes only, ``batches`` times (1 + 2 · ``passes``) with dropout alone, and once or three times more
    with batch normalisation.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 1))
    >>> data = [(x := torch.randn(64, 4), x[:, :1]) for _ in range(8)]
    >>> found = eval_mode_gap(model, nn.functional.mse_loss, data, progress=False)
    >>> found.gap < 0, found.kinds
    (True, ('dropout',))

    References: Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, arXiv:2105.07576; Li et al. 2018, Understanding
    the disharmony between dropout and batch normalization, arXiv:1801.05134.
    """
    whole("batches", batches, 1)
    whole("passes", passes, 1)
    began = time.perf_counter()
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
    subject = Subject(unwrapped(model), loss_fn, loader, forward=forward)
    validation = None if val_loader is None else Batches(val_loader, subject.device)
    with subject.untouched(), shown("modes", progress) as tell:
        seen = _seen(subject, batches, passes, validation, tell)
    steps = sum(t.size for t in seen.tables.values()) + (0 if seen.validation is None else len(seen.validation))
    return concluded(seen, steps, time.perf_counter() - began)


def _seen(subject: Subject, count: int, passes: int, validation: Batches | None, tell: Progress) -> Seen:
    taken = subject.batches.take(count)
    modes = Modes(subject)
    kinds, fresh = modes.kinds(), modes.freshness()
    acting = tuple(k for k in ("dropout", "norm") if k in kinds)
    total = 2 + len(acting) + (validation is not None)
    tables = {"eval": modes.losses(taken, ())}
    tell(1, total)
    random = "dropout" in kinds or "other" in kinds  # modules of unknown kinds may draw numbers, too
    tables["train"] = modes.losses(taken, kinds, passes if random else 1)
    tell(2, total)
    for number, kind in enumerate(acting):
        tables[kind] = modes.losses(taken, (kind,), passes if kind == "dropout" else 1)
        tell(3 + number, total)
    worse = bool(tables["eval"].double().mean() > tables["train"].double().mean())
    if "norm" in kinds and worse:
        tables["recomputed"] = modes.recomputed(taken)
    seen = Seen(acting, max(map(examples, taken)), fresh)
    if validation is not None:
        seen.validation = modes.losses(validation.take(count), ())[0].double().cpu().numpy()
        tell(total, total)
    seen.tables = {name: table.double().cpu().numpy() for name, table in tables.items()}
    return seen
