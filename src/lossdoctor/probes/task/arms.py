"""Short trainings that differ in one thing only, compared on examples that none of them saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.batches import Batches
from lossdoctor.probes.subject import Subject
from lossdoctor.probes.task.examples import halves, rows
from lossdoctor.probes.task.run import fresh, quiet, train
from lossdoctor.torchkit.state import preserved

_TRAINED, _COMPARED = 4, 2  # examples of the smallest part to train on (batch norm needs some), and to compare on
_ENOUGH = 8  # parts from which a comparison has some power


@dataclass(frozen=True)
class Arm:
    """One training.

    Attributes:
        steps: after how many updates it was evaluated, from 0 on.
        held: the loss of every held-out part at each of them.
        trained: the loss of every step, before its update.
        broken: what ended it early, or nothing.
    """

    steps: tuple[int, ...]
    held: tuple[tuple[float, ...], ...]
    trained: tuple[float, ...]
    broken: str = ""

    @property
    def curve(self) -> tuple[float, ...]:
        """The mean held-out loss at each evaluation."""
        return tuple(sum(v) / len(v) for v in self.held)

    @property
    def best(self) -> tuple[float, ...]:
        """The parts' losses where their mean is lowest, after some training."""
        later = [v for v in self.held[1:] if all(math.isfinite(x) for x in v)]
        return min(later, key=sum, default=self.held[0])

    @property
    def level(self) -> float:
        """The mean held-out loss over all evaluations but the first: low where it is learned fast and well."""
        later = [v for v in self.curve[1:] if math.isfinite(v)]
        return sum(later) / len(later) if later else math.nan


def parts(batches: Sequence[Any], at_least: int = _ENOUGH, smallest: int = _COMPARED) -> list[Any]:
    """The batches, cut in halves until there are enough to tell a difference from its noise, where they can be cut."""
    pieces = list(batches)
    while len(pieces) < at_least:
        finer = [p for piece in pieces for p in halves(piece, smallest)]
        if len(finer) == len(pieces):
            break
        pieces = finer
    return pieces


def divided(batches: Batches, count: int, share: float) -> tuple[list[Any], list[Any]]:
    """(to train on, held out): spread over the loader, so that an order in it does no harm.

    Raises:
        UsageError: too few examples for both.
    """
    pieces = parts(batches.take(count), 4, _TRAINED)
    if len(pieces) < 3:
        size = rows(pieces[0])
        raise UsageError(
            f"the loader gave {len(pieces)} batch{'es' if len(pieces) > 1 else ''}"
            f"{'' if size is None else f' of {size}'}, too few to train on some and hold others out; give at least 4"
        )
    every = max(2, round(1 / share))
    held = [p for i, p in enumerate(pieces) if i % every == every - 1]
    return [p for i, p in enumerate(pieces) if i % every != every - 1], parts(held)


def arm(
    subject: Subject,
    batches: Callable[[], Iterator[Any]],
    held: Sequence[Any],
    *,
    steps: int,
    points: int = 5,
    lr: float | None = None,
    scale: float = 1.0,
    seed: int = 0,
    tell: Callable[[int], None] | None = None,
) -> Arm:
    """Train from the present weights and put them back; the same seed for all that is random.

    Args:
        batches: makes the batches to train on, as many as are asked for.
        held: what the loss is measured on, in evaluation mode.
        steps, points: updates, and evaluations spread evenly over them.
        lr: the rate in place of the optimizer's own.
        scale: factor on the rate.
        tell: called with the number of steps so far.
    """
    loss = subject.loss_fn if isinstance(subject.loss_fn, nn.Module) else None
    marks = sorted({round(steps * (i + 1) / points) for i in range(points)} - {0})
    with preserved(subject.model, loss, subject.optimizer):
        torch.manual_seed(seed)
        optimizer = fresh(subject, lr, scale)
        stream = batches()
        at, kept, broken = [0], [losses(subject, held)], ""
        trained: list[float] = []
        for mark in marks:
            quiet(subject.model)
            before = at[-1]
            course = train(
                subject,
                optimizer,
                _first(stream, mark - before),
                tell=None if tell is None else (lambda n, before=before: tell(before + n)),  # type: ignore[misc]
            )
            trained += course.losses
            broken = course.broken
            if broken:
                break
            at.append(mark)
            if tell is not None:
                tell(mark)
            kept.append(losses(subject, held))
    return Arm(tuple(at), tuple(kept), tuple(trained), broken)


@torch.no_grad()
def losses(subject: Subject, pieces: Iterable[Any]) -> tuple[float, ...]:
    """The loss of each part in evaluation mode: one transfer for all."""
    subject.model.eval()
    told = [subject.loss(piece, number) for number, piece in enumerate(pieces)]
    return tuple(torch.stack(told).double().tolist())


def around(batches: Sequence[Any], seed: int) -> Callable[[], Iterator[Any]]:
    """The batches again and again, each pass in another order; the same orders for the same seed."""

    def stream() -> Iterator[Any]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[index]

    return stream


def _first(stream: Iterator[Any], count: int) -> Iterator[Any]:
    for _ in range(count):
        yield next(stream)
