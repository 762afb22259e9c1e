"""Can the model learn a few examples by heart? The first test of any set-up: it rules out most bugs at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import Batches, examples
from lossdoctor.probes.overfit.result import Attempt, OverfitResult, OverfitSubsetResult
from lossdoctor.probes.overfit.verdict import Evidence, judged
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.probes.task.examples import cut, merged, rows
from lossdoctor.probes.task.kind import identify
from lossdoctor.probes.task.levels import floor, guess
from lossdoctor.probes.task.misuse import misuses
from lossdoctor.probes.task.reset import Reset, reinitialise
from lossdoctor.probes.task.run import Course, checked, fresh, outside, quiet, rates, train, unsmoothed
from lossdoctor.probes.task.task import Seen, Task, counts, seen
from lossdoctor.torchkit.objective import unwrapped
from lossdoctor.torchkit.state import preserved

Forward = Callable[[nn.Module, Any], Any]
R = TypeVar("R", bound=OverfitResult)
_LOOKED = 8  # batches among which one with different targets is looked for
_LONGER = 4  # times the steps for a rate at which the loss still falls when they are over


def overfit_one_batch(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    steps: int = 300,
    tolerance: float = 0.1,
    target_loss: float | None = None,
    lr: float | None = None,
    reset: Reset = False,
    seed: int = 0,
    forward: Forward | None = None,
    progress: Progress | bool | None = None,
) -> OverfitResult:
    """Train on one batch, again and again, and see whether the loss reaches what the task allows.

    Regularisation is off: dropout, weight decay, and label smoothing where it can be seen; batch norm works as in
    training. The optimizer starts as if just made, with its own settings, at the rate its schedule starts from. Where
    the goal is not reached, ten times and one tenth of the rate are tried from the same weights, and where the loss
    still falls, four times the steps. The loop is the test's own: what learns here and not in your run speaks for a
    bug in your loop.

    The goal lies ``tolerance`` of the way above the lowest loss that the batch allows, counted from the loss of the
    best constant answer. The lowest is 0 for labels and for numbers; soft labels, smoothing and examples with the same
    inputs and different targets raise it, and so do the first tokens of a language model. It is computed through your
    own loss.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`.
        optimizer: that of the run; without one Adam at 1e-3 is taken.
        steps: updates at each rate, 1 to 100,000.
        tolerance: what may be left of the loss of guessing, 0 to 1 (0.1: R² of 0.9).
        target_loss: the loss at which it counts as learned, where the task cannot be told or you know better.
        lr: the rate in place of the optimizer's own.
        reset: True starts from newly drawn weights, a function initialises the model itself; by default the test
            starts from the weights as they are.
        seed: of all that is random in it.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Returns:
        The verdict, the losses at every rate, the steps it took. Costs at most ``steps`` updates, up to
        seven times that if the goal is not reached.

    Raises:
        UsageError: an option out of its range, or a model, loader or batch that cannot be used.
        UserCodeError: the model, the loss or the loader raised.

    References:
        Karpathy 2019, A Recipe for Training Neural Networks ("overfit one batch").

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
    >>> batch = torch.randn(16, 4), torch.arange(16) % 3
    >>> adam = torch.optim.Adam(model.parameters(), 0.02)
    >>> result = overfit_one_batch(model, nn.functional.cross_entropy, [batch], adam)
    >>> result.outcome, result.learns
    ('passed', True)
    """
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    options = _Options(steps, tolerance, target_loss, lr, reset, seed, progress)
    return _overfitted(subject, options, OverfitResult, lambda batches: [_varied(subject, batches)])


def overfit_subset(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    n: int = 100,
    steps: int = 500,
    tolerance: float = 0.1,
    target_loss: float | None = None,
    lr: float | None = None,
    reset: Reset = False,
    seed: int = 0,
    forward: Forward | None = None,
    progress: Progress | bool | None = None,
) -> OverfitSubsetResult:
    """The same on ``n`` examples in minibatches: more than one batch asks of the model's capacity, still by heart.

    The minibatches are those of the loader, the last one cut to fit; each pass takes them in a new order. The loss
    that is held against the goal is the mean over the last pass.

    Args:
        n: how many examples, from 2 upwards; all there are, where there are fewer.
        steps: updates at each rate, 1 to 100,000.
        others: as in :func:`overfit_one_batch`.

    Returns:
        As :func:`overfit_one_batch` does; the losses are means over one pass.

    Raises:
        UsageError: an option out of its range, or a model, loader or batch that cannot be used.
        UserCodeError: the model, the loss or the loader raised.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1))
    >>> batches = [(x := torch.rand(20, 2), x.prod(1, keepdim=True)) for _ in range(5)]
    >>> adam = torch.optim.Adam(model.parameters(), 0.01)
    >>> overfit_subset(model, nn.functional.mse_loss, batches, adam, n=60).outcome
    'passed'
    """
    checked("n", n, 2, math.inf)
    subject = Subject(model, loss_fn, loader, optimizer, forward=forward)
    options = _Options(steps, tolerance, target_loss, lr, reset, seed, progress)
    return _overfitted(subject, options, OverfitSubsetResult, lambda batches: _subset(batches, n))


@dataclass(frozen=True)
class _Options:
    steps: int
    tolerance: float
    target_loss: float | None
    lr: float | None
    reset: Reset
    seed: int
    progress: Progress | bool | None

    def __post_init__(self) -> None:
        checked("steps", self.steps, 1, 100_000, hint="300 are enough for most models")
        checked("tolerance", self.tolerance, 0, 1, whole=False, hint="0.1 leaves 10 % of the loss of guessing")
        checked("seed", self.seed, 0, 2**63)
        if self.lr is not None:
            checked("lr", self.lr, 1e-30, 1e10, whole=False)
        if self.target_loss is not None:
            checked("target_loss", self.target_loss, -math.inf, math.inf, whole=False)


def _overfitted(subject: Subject, options: _Options, kind: type[R], chosen: Callable[[Batches], list[Any]]) -> R:
    began = time.perf_counter()
    with subject.untouched(), shown(kind.title, options.progress) as tell:
        torch.manual_seed(options.seed)
        kept = reinitialise(subject.model, options.reset) if options.reset else ()
        subject.loss_fn = unsmoothed(subject.loss_fn)
        quiet(subject.model)
        batches = chosen(subject.batches)
        evidence = _levels(subject, options, batches)
        evidence.kept = kept
        if evidence.learnable:
            _attempt(subject, options, batches, evidence, tell)
        told = judged(evidence, subset=kind is OverfitSubsetResult)
    return kind(**told, seconds=time.perf_counter() - began)


def _levels(subject: Subject, options: _Options, batches: list[Any]) -> Evidence:
    """What the loss is before any update, and what it can be."""
    whats = [seen(subject, batch, number) for number, batch in enumerate(batches)]
    task = identify(subject, whats[0])
    whole = merged(whats)
    sizes = [examples(b) for b in batches]
    start = float(sum(size * w.loss.double() for size, w in zip(sizes, whats, strict=True))) / sum(sizes)
    lowest = _floor(task, whats, whole, sizes)
    level = guess(task, whats).constant
    goal = options.target_loss
    if goal is None and lowest is not None and level is not None and math.isfinite(lowest):
        goal = lowest + options.tolerance * (level - lowest)
    parameters = list(unwrapped(subject.model).parameters())
    frozen = sum(p.numel() for p in parameters if not p.requires_grad) / sum(p.numel() for p in parameters)
    return Evidence(
        task=task,
        examples=sum(sizes),
        start=start,
        lowest=lowest,
        guess=level,
        goal=goal,
        given_goal=options.target_loss is not None,
        alike=all(_alike(task, w) for w in ([whole] if whole is not None else whats)),
        misuses=misuses(task, whole or whats[0]),
        outside=outside(subject),
        frozen_share=frozen,
        steps_allowed=options.steps,
        spent=len(whats),
    )


def _floor(task: Task, whats: Sequence[Seen], whole: Seen | None, sizes: Sequence[int]) -> float | None:
    if whole is not None:
        return floor(task, whole)
    floors = [floor(task, w) for w in whats]
    if any(f is None for f in floors):
        return None
    return sum(f * s for f, s in zip(floors, sizes, strict=True) if f is not None) / sum(sizes)


def _attempt(subject: Subject, options: _Options, batches: list[Any], evidence: Evidence, tell: Progress) -> None:
    """Train at the run's rate, then at others, until one reaches the goal; then longer at one that is on its way."""
    own = _trained(subject, options, batches, evidence, 1.0, options.steps, tell)
    factors = [0.1, 10.0] if own.broken or not own.best < evidence.start else [10.0, 0.1]
    for factor in factors:
        if evidence.settled:
            break
        attempt = _trained(subject, options, batches, evidence, factor, options.steps, tell)
        if factor > 1 and not attempt.broken and attempt.best < own.best:
            break  # less of it would be slower still
    if not evidence.settled and evidence.still_falling(slow := evidence.leading):
        _trained(subject, options, batches, evidence, slow.factor, _LONGER * options.steps, tell)
    if evidence.attempts[-1].needed is None:
        _look_at_gradients(subject, batches[0], evidence)


def _trained(
    subject: Subject, options: _Options, batches: list[Any], e: Evidence, factor: float, steps: int, tell: Progress
) -> Attempt:
    """One training from the weights of the start, put among the evidence."""
    loss = subject.loss_fn if isinstance(subject.loss_fn, nn.Module) else None
    total = max(e.spent + steps, options.steps)
    with preserved(subject.model, loss, subject.optimizer):
        optimizer = fresh(subject, options.lr, factor)
        order = _ordered(batches, options.seed, steps)
        window, before = len(batches), e.spent
        course = train(
            subject, optimizer, order, goal=e.goal, window=window, limit=e.limit, tell=lambda n: tell(before + n, total)
        )
        attempt = _as_attempt(factor, rates(optimizer), course, window)
    e.spent += len(course.losses)
    e.attempts.append(attempt)
    return attempt


def _ordered(batches: list[Any], seed: int, steps: int) -> Iterator[Any]:
    """The batches, each pass in a new order, for as many steps as there may be; the same for every rate."""
    generator = torch.Generator().manual_seed(seed)
    given = 0
    while True:
        for index in torch.randperm(len(batches), generator=generator).tolist():
            if given >= steps:
                return
            given += 1
            yield batches[index]


def _as_attempt(factor: float, rate: float, course: Course, window: int) -> Attempt:
    losses = course.losses
    if window > 1:
        whole = [losses[i : i + window] for i in range(0, len(losses) - window + 1, window)]
        losses = tuple(sum(v) / window for v in whole) or losses[:1]
    return Attempt(factor, rate, losses, course.reached, course.broken, window)


def _look_at_gradients(subject: Subject, batch: Any, evidence: Evidence) -> None:
    """Which trainable parameters get no gradient, at the weights from which the training began."""
    plain = unwrapped(subject.model)
    plain.zero_grad(set_to_none=True)
    with torch.enable_grad():
        loss = subject.loss(batch)
        if not loss.requires_grad:
            return
        loss.backward()  # type: ignore[no-untyped-call]
    trained = [(name, p) for name, p in plain.named_parameters() if p.requires_grad]
    zero = torch.stack(
        [torch.zeros((), device=p.device) if p.grad is None else p.grad.abs().amax() for _, p in trained]
    )
    evidence.without_gradient = tuple(n for (n, _), z in zip(trained, (zero == 0).tolist(), strict=True) if z)
    evidence.trained = len(trained)
    evidence.spent += 1


def _alike(task: Task, what: Seen) -> bool:
    """Whether all targets that count are equal, so that one answer fits all examples."""
    target = what.target
    if target is None or target.numel() == 0 or task.kind == "unknown":
        return False
    if task.categorical and not task.soft:
        labels = target[counts(task, target)]
        return labels.numel() == 0 or bool((labels == labels[0]).all())
    rows = target.reshape(len(target), -1)
    return bool((rows == rows[0]).all())


def _varied(subject: Subject, batches: Batches) -> Any:
    """The first batch whose targets are not all equal: the others could be learned without the inputs."""
    looked = batches.take(_LOOKED)
    for number, batch in enumerate(looked):
        what = seen(subject, batch, number)
        if not _alike(identify(subject, what), what):
            return batch
    return looked[0]


def _subset(batches: Batches, n: int) -> list[Any]:
    taken: list[Any] = []
    have = 0
    for batch in batches:
        size = rows(batch)
        short = n - have
        if size is not None and size > short:
            if short >= 2 or not taken:
                taken.append(cut(batch, slice(0, short)))
                have += short
            break
        taken.append(batch)
        have += examples(batch)
        if have >= n:
            break
    if have < 2:
        raise UsageError(f"the loader gave {have} example; overfit_subset needs at least 2")
    return taken
