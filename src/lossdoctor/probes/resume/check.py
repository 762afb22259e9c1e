"""resume_test: does a run that is saved and resumed go on as if it had not been interrupted?"""

from __future__ import annotations

import io
import math
import random as python_random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lossdoctor.core.errors import LossdoctorError, UsageError, UserCodeError
from lossdoctor.probes.learning_rate.steps import Steps, whole
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.resume.result import ResumeResult, concluded
from lossdoctor.probes.resume.state import Difference, differences, make_fresh, state_of
from lossdoctor.probes.shuffle.order import same_batches
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.torchkit.rng import RandomState

_WARM = 3  # steps before saving, so that there is state to lose
_FLOAT = 1e-6  # relative difference of losses that sums in another order may have


def resume_test(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    scheduler: Any = None,
    scaler: Any = None,
    save: Callable[[Path], Any] | None = None,
    load: Callable[[Path], Any] | None = None,
    steps: int = 3,
    autocast: torch.dtype | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> ResumeResult:
    """Save, resume, and compare the state and the next steps with those of the uninterrupted run.

    After three steps the run is saved; then the same steps are made twice: at once, and after everything was put into
    the state of a process that has just begun (random weights, an empty optimizer, schedules at their start) and loaded
    again. Without ``save`` and ``load`` the ``state_dict`` of each object that was given goes through ``torch.save`` in
    memory, which tells whether they hold all; with them your own checkpoints are tested.

    Args:
        model, loss_fn, loader, optimizer: as in training.
        scheduler: stepped after each step.
        scaler: the run's ``GradScaler``.
        save: ``save(path)`` writes a checkpoint, a file or a folder at a path that is free.
        load: ``load(path)`` loads it into the very objects that are given here (a closure over them).
        steps: that are compared, at least 2: a lost momentum shows in the second.
        autocast: the dtype of mixed precision, or None.
        forward: ``forward(model, batch)`` -> loss, for batches of any form.
        progress: a function of (done, total), False for silence; by default a bar on a terminal.

    Returns:
        What was not restored, by name, with the loss and the learning rate that come of it.

    Raises:
        UsageError: one of ``save`` and ``load`` without the other; an option out of range; no optimizer.
        UserCodeError: the model, the loss, the loader, ``save`` or ``load`` raised.

    Cost: 3 + 3 · ``steps`` training steps, and one checkpoint.

    Deviations: state that lives elsewhere (averaged weights, counters of the script) is not seen. What training does
    not change (frozen weights, constant buffers) need not be in a checkpoint. A fresh optimizer has the settings that
    it has now, and the learning rate from ``initial_lr`` where a scheduler keeps it.

    >>> model = nn.Linear(2, 1)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> def save(path): torch.save(model.state_dict(), path)
    >>> def load(path): model.load_state_dict(torch.load(path, weights_only=True))
    >>> data = [(torch.randn(8, 2), torch.randn(8, 1)) for _ in range(6)]
    >>> resume_test(model, nn.functional.mse_loss, data, optimizer, save=save, load=load, progress=False).lost
    ('optimizer',)
    """
    whole("steps", steps, 2)
    if (save is None) is not (load is None):
        raise UsageError("give both save(path) and load(path), or neither")
    for name, given in (("save", save), ("load", load)):
        if given is not None and not callable(given):
            raise UsageError(f"{name} is a {type(given).__name__}; expected a function of a path")
    began = time.perf_counter()
    subject = Subject(model, loss_fn, loader, optimizer, scheduler=scheduler, scaler=scaler, forward=forward)
    with subject.untouched(), shown("resume", progress) as tell:
        if not model.training:
            model.train()
        found = _compared(subject, steps, autocast, save, load, tell)
    cost = _WARM + 3 * steps
    tolerance = max(_FLOAT, 10 * _apart(found.first.losses, found.again.losses))
    agree = _apart(found.first.losses, found.resumed.losses) <= tolerance and found.first.rates == found.resumed.rates
    return concluded(
        found.differences,
        (found.first.losses, found.resumed.losses),
        (found.first.rates, found.resumed.rates),
        agree,
        found.rng_restored,
        found.random,
        found.repeats,
        save is not None,
        (cost, time.perf_counter() - began),
    )


@dataclass(frozen=True)
class _Run:
    losses: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class _Found:
    first: _Run
    again: _Run
    resumed: _Run
    differences: list[Difference]
    rng_restored: bool | None
    random: bool
    repeats: bool


def _compared(
    subject: Subject,
    steps: int,
    autocast: torch.dtype | None,
    save: Callable[[Path], Any] | None,
    load: Callable[[Path], Any] | None,
    tell: Progress,
) -> _Found:
    batches = list(subject.batches.cycle(_WARM + steps))
    repeats = same_batches(batches[:1], subject.batches.take(1)) and len(subject.batches.take(2)) > 1
    before = state_of(subject)
    _run(subject, batches[:_WARM], autocast)
    tell(1, 5)
    rest = batches[_WARM:]
    saved, random = state_of(subject), RandomState.take()
    with TemporaryDirectory(prefix="lossdoctor-") as folder:
        path = Path(folder) / "checkpoint.pt"
        buffer = _saved(subject) if save is None else _asked("save()", save, path)
        with subject.untouched():
            first = _run(subject, rest, autocast)
        tell(2, 5)
        with subject.untouched():
            again = _run(subject, rest, autocast)
        tell(3, 5)
        other = _other_draws(subject, rest[:1], autocast)
        make_fresh(subject, before, saved)
        _reseed()
        if load is None:
            _loaded(subject, buffer)
        else:
            _asked("load()", load, path)
        tell(4, 5)
        restored = None if load is None else _equal(RandomState.take(), random)
        found = differences(saved, state_of(subject))
        random.restore()  # so that only what was lost makes a difference
        resumed = _run(subject, rest, autocast)
        tell(5, 5)
    return _Found(first, again, resumed, found, restored, other != first.losses[0], repeats)


def _run(subject: Subject, batches: Sequence[Any], autocast: torch.dtype | None) -> _Run:
    steps = Steps(subject, autocast=autocast)
    losses: list[Tensor] = []
    rates: list[float] = []
    for number, batch in enumerate(batches):
        rates.append(float(steps.optimizer.param_groups[0]["lr"]))
        losses.append(steps.step([batch], number))
        if isinstance(subject.scheduler, ReduceLROnPlateau):
            subject.scheduler.step(float(losses[-1]))
        elif subject.scheduler is not None:
            subject.scheduler.step()
    return _Run(tuple(torch.stack(losses).double().tolist()), tuple(rates))


def _other_draws(subject: Subject, batches: Sequence[Any], autocast: torch.dtype | None) -> float:
    """The next loss with other random numbers."""
    with subject.untouched():
        _reseed()
        return _run(subject, batches, autocast).losses[0]


def _reseed() -> None:
    """Other states of all generators; what comes back of them was loaded."""
    python_random.seed(987654321)
    np.random.seed(987654321)
    torch.manual_seed(987654321)


def _saved(subject: Subject) -> io.BytesIO:
    buffer = io.BytesIO()
    state = {name: part.state_dict() for name, part in _stateful(subject).items()}
    try:
        torch.save(state, buffer)
    except Exception as error:
        raise UserCodeError("torch.save of the state_dicts", error) from error
    buffer.seek(0)
    return buffer


def _loaded(subject: Subject, buffer: io.BytesIO) -> None:
    try:
        with torch.serialization.safe_globals([Counter]):  # milestones of schedules
            state = torch.load(buffer, map_location=subject.device, weights_only=True)
    except Exception as error:
        raise UserCodeError("torch.load(weights_only=True) of the state_dicts", error) from error
    for name, part in _stateful(subject).items():
        _asked(f"load_state_dict() of the {name}", part.load_state_dict, state[name])


def _stateful(subject: Subject) -> dict[str, Any]:
    parts = {
        "model": subject.model,
        "optimizer": subject.optimizer,
        "scheduler": subject.scheduler,
        "scaler": subject.scaler,
    }
    return {name: part for name, part in parts.items() if part is not None and hasattr(part, "state_dict")}


def _asked(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except LossdoctorError:
        raise
    except Exception as error:
        raise UserCodeError(where, error) from error


def _equal(a: RandomState, b: RandomState) -> bool:
    """Whether torch's generators agree; scripts rarely use the others within a step."""
    return torch.equal(a.cpu, b.cpu) and len(a.cuda) == len(b.cuda) and all(map(torch.equal, a.cuda, b.cuda))


def _apart(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest relative difference; NaN agrees with NaN."""
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x == y or (math.isnan(x) and math.isnan(y)):
            continue
        if not (math.isfinite(x) and math.isfinite(y)):
            return math.inf
        worst = max(worst, abs(x - y) / max(abs(x), abs(y)))
    return worst
