"""Does the loss start where guessing is? A start elsewhere shows a misused loss or a bad initialisation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from lossdoctor.core.numbers import short
from lossdoctor.probes.batches import examples
from lossdoctor.probes.chart import Chart
from lossdoctor.probes.initial_loss.verdict import Start, judged
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.subject import LossFn, Subject
from lossdoctor.probes.task.kind import identify
from lossdoctor.probes.task.levels import guess
from lossdoctor.probes.task.misuse import misuses, reduction
from lossdoctor.probes.task.reset import Reset, reinitialise
from lossdoctor.probes.task.run import checked, quiet
from lossdoctor.probes.task.task import Seen, Task, counts, seen

_KEPT = 20_000_000  # numbers in the outputs that are kept to make up others beside them


@dataclass(frozen=True, kw_only=True)
class InitialLossResult(ProbeResult):
    """The loss of untrained weights beside that of guessing.

    Attributes:
        initial: the mean loss over the batches read.
        error: its standard error, from the differences between batches; None where there is one batch.
        expected: what an untrained model should start at; None where the task does not tell.
        uniform: of equal shares for all classes: ln K as the loss counts it; None for other tasks.
        constant: of the best answer that is the same for all: the labels' entropy, the targets' variance (squared
            error) or mean absolute deviation; None where it cannot be told.
        zero: of outputs that are all zero; None where the loss does not take them.
        classes: K, or None.
        reduction: ``"mean"`` or ``"sum"`` over the examples, or ``"unknown"``.
        multiple: how many times the plain cross-entropy of one decision the loss is; 1 for a mean.
        misuse: mistakes in how the loss is called, in words.
        weights: ``"given"`` or ``"drawn anew"``.
        task: in words.
        losses: of each batch.
    """

    test: ClassVar[str] = "initial_loss"
    title: ClassVar[str] = "Loss at the start"

    initial: float
    error: float | None
    expected: float | None
    uniform: float | None
    constant: float | None
    zero: float | None
    classes: int | None
    reduction: str
    multiple: float | None
    misuse: tuple[str, ...]
    weights: str
    task: str
    losses: tuple[float, ...]

    def charts(self) -> tuple[Chart, ...]:
        """The loss beside that of each way to guess."""
        named = (("measured", self.initial), *self._levels())
        bars = tuple((name, value) for name, value in named if value is not None and math.isfinite(value))
        return (Chart("Loss at the start and of guessing", "loss", bars=bars),) if len(bars) > 1 else ()

    def rows(self) -> tuple[tuple[str, str], ...]:
        noise = "" if self.error is None else f" ± {short(self.error)}"
        rows = [("task", self.task), ("weights", self.weights), ("loss", f"{short(self.initial)}{noise}")]
        rows += [(name, short(value)) for name, value in self._levels() if value is not None]
        if self.reduction != "unknown":
            rows.append(("over the examples it is", f"a {self.reduction}"))
        return tuple(rows)

    def _levels(self) -> tuple[tuple[str, float | None], ...]:
        even = f"equal shares of {self.classes} classes" if self.classes else "equal shares"
        return ((even, self.uniform), ("best constant answer", self.constant), ("outputs of zero", self.zero))


def check_initial_loss(
    model: nn.Module,
    loss_fn: LossFn | None,
    loader: Iterable[Any],
    *,
    batches: int = 8,
    reset: Reset = None,
    expected: float | None = None,
    seed: int = 0,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    progress: Progress | bool | None = None,
) -> InitialLossResult:
    """The loss of an untrained model against that of guessing: ln K, the labels' entropy, the targets' variance.

    All levels are computed through your own loss, from outputs that are made up: class weights, smoothing, masks and
    sums are in them. Besides, mistakes that show in the outputs are told: a softmax before a cross-entropy, a sigmoid
    before one of logits, an NLL of what are no log-probabilities, shapes that broadcast, labels that are all masked,
    and sums over examples where means were meant.

    The weights are judged as they are, in training mode without dropout: give a freshly made model, or ``reset``.

    Args:
        model, loss_fn, loader, forward: see :class:`~lossdoctor.probes.subject.Subject`.
        batches: how many are read, 1 to 10,000. One evaluation each; no updates.
        reset: True draws all weights anew by the modules' own ``reset_parameters`` before (what your code does to them
            afterwards is not repeated); a function initialises the model in place.
        expected: the loss that an untrained model should have, where you know it.
        seed: of the weights, where they are drawn anew.
        progress: see :func:`~lossdoctor.probes.progress.shown`.

    Raises:
        UsageError: an option out of its range, or a model, loader or batch that cannot be used.
        UserCodeError: the model, the loss or the loader raised.

    References:
        Karpathy 2019, A Recipe for Training Neural Networks ("verify loss @ init").

    >>> _ = torch.manual_seed(0)
    >>> batch = torch.randn(64, 8), torch.arange(64) % 4
    >>> result = check_initial_loss(nn.Linear(8, 4), nn.functional.cross_entropy, [batch])
    >>> result.outcome, round(result.expected, 2)
    ('passed', 1.39)
    """
    checked("batches", batches, 1, 10_000)
    checked("seed", seed, 0, 2**63)
    if expected is not None:
        checked("expected", expected, -1e30, 1e30, whole=False)
    began = time.perf_counter()
    subject = Subject(model, loss_fn, loader, forward=forward)
    with subject.untouched(), shown(InitialLossResult.title, progress) as tell:
        torch.manual_seed(seed)
        kept = reinitialise(subject.model, reset) if reset else ()
        quiet(subject.model)
        whats, sizes = _read(subject, batches, tell)
        start = _start(subject, whats, sizes, expected)
        start = replace(start, drawn=bool(reset), kept=kept)
        told = judged(start)
    return InitialLossResult(
        **told,
        initial=start.initial,
        error=start.error,
        expected=start.expected,
        uniform=start.guess.uniform,
        constant=start.guess.constant,
        zero=start.guess.zero,
        classes=start.task.classes,
        reduction=start.reduction,
        multiple=start.multiple,
        misuse=tuple(m.text for m in start.misuses),
        weights="drawn anew" if reset else "given",
        task=start.task.described(),
        losses=start.losses,
        steps=len(whats),
        seconds=time.perf_counter() - began,
    )


def _read(subject: Subject, count: int, tell: Progress) -> tuple[list[Seen], list[int]]:
    """Batches with what the model gives for them; outputs only as long as they fit."""
    whats: list[Seen] = []
    sizes: list[int] = []
    held = 0
    for number, batch in enumerate(subject.batches):
        what = seen(subject, batch, number)
        held += 0 if what.output is None else what.output.numel()
        whats.append(what if not whats or held <= _KEPT else Seen(None, None, None, what.loss))
        sizes.append(examples(batch))
        tell(number + 1, count)
        if number + 1 >= count:
            break
    return whats, sizes


def _start(subject: Subject, whats: list[Seen], sizes: list[int], expected: float | None) -> Start:
    first = whats[0]
    task = identify(subject, first)
    losses = torch.stack([w.loss for w in whats]).double().tolist()
    kind = reduction(task, first)
    weights = [1.0] * len(sizes) if kind == "sum" else [float(s) for s in sizes]
    # A mean over the labels that count, where they can be counted, weighs a batch by how many it has.
    if kind != "sum" and task.categorical and all(w.target is not None for w in whats):
        weights = [float(counts(task, w.target).sum()) for w in whats if w.target is not None]
    total = sum(weights) or 1.0
    pairs = list(zip(weights, losses, strict=True))
    initial = sum(w * v for w, v in pairs if w) / total
    error = None
    if len(losses) > 1:
        spread = sum(w * (v - initial) ** 2 for w, v in pairs if w) / total
        error = math.sqrt(max(spread, 0.0) / (len(losses) - 1)) if math.isfinite(spread) else None
    level = guess(task, whats)
    return Start(
        task=task,
        initial=initial,
        error=error,
        losses=tuple(losses),
        guess=level,
        expected=expected if expected is not None else _expected(task, level.untrained, level.zero),
        reduction=kind,
        multiple=_multiple(task, level.uniform),
        misuses=misuses(task, first),
    )


def _expected(task: Task, untrained: float | None, zero: float | None) -> float | None:
    """An untrained regression answers about zero: where the targets lie far from it, its loss is that of zero."""
    if untrained is None or task.kind == "unknown":
        return None
    return max(untrained, zero) if task.kind == "regression" and zero is not None else untrained


def _multiple(task: Task, uniform: float | None) -> float | None:
    if uniform is None or task.loss not in ("cross_entropy", "nll", "bce", "bce_logits"):
        return None
    return uniform / math.log(task.classes or 2)
